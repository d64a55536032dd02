"""Calls that wait for a decision, where our binding goes beyond Debian's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import seccomp

FRAME = f"""
import os, socket, sys, threading
sys.path.insert(0, {str(Path(seccomp.__file__).parent.parent)!r})
import seccomp as s
f = s.SyscallFilter(s.ALLOW)
"""
SCRIPTS = {
    "a descriptor for the other process": """
f.add_rule(s.NOTIFY, 'openat')
ours, theirs = socket.socketpair()
pid = os.fork()
if pid == 0:
    f.load(); socket.send_fds(theirs, [b' '], [f.get_notify_fd()])
    os._exit(0 if os.read(os.open('/etc/passwd', os.O_RDONLY), 9) == b'' else 1)
_, (listener,), _, _ = socket.recv_fds(ours, 1, 1)
null = os.open('/dev/null', os.O_RDONLY)
n = f.receive_notify(fd=listener); assert f.id_valid_notify(n, fd=listener)
there = f.notify_addfd(s.NotificationAddfd(n, 0, null), fd=listener); assert there > 2
f.respond_notify(s.NotificationResponse(n, there), fd=listener)
assert not f.id_valid_notify(n, fd=listener)
print(os.waitpid(pid, 0)[1])
try: f.notify_addfd(s.NotificationAddfd(n, 0, null), fd=listener)
except RuntimeError as error: print(error)
""",
    "other threads run while one waits": """
f.add_rule(s.NOTIFY, 'getppid'); f.load()
def listen():
    n = f.receive_notify(); f.respond_notify(s.NotificationResponse(n, 0, -77))
thread = threading.Thread(target=listen); thread.start()
import ctypes
print(ctypes.CDLL(None).getppid()); thread.join()  # its C function takes -errno for the id
""",
}
PRINTED = {
    "a descriptor for the other process": "0\nLibrary error (errno = -2)\n",
    "other threads run while one waits": "-77\n",
}


@pytest.mark.skipif(not seccomp.supports("addfd"), reason="Linux 5.9")
@pytest.mark.parametrize("name", SCRIPTS)
def test_notifications(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FRAME + SCRIPTS[name]], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, PRINTED[name]), done.stderr


def test_what_the_library_lacks_says_so() -> None:
    made = seccomp.SyscallFilter(seccomp.ALLOW)
    for feature, call in (("precompute", made.precompute), ("transactions", made.start_transaction)):
        if seccomp.supports(feature):
            call()
        else:
            with pytest.raises(NotImplementedError, match=rf"{feature}.*2\.6"):
                call()
    with pytest.raises(ValueError, match="nosuch"):
        seccomp.supports("nosuch")


def test_the_version() -> None:
    assert seccomp.__version__ == ".".join(map(str, seccomp.library_version()))
