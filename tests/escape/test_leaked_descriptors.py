"""CVE-2024-21626, CVE-2016-9962: a descriptor that leads out of the jail, a folder's above all.

Whatever the caller had open is closed unless passed by name, and a folder is refused even then: `openat(fd,
"..")` would walk the host.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support.launcher import Completed, Launcher

OPEN = """
found = {}
for fd in range(0, 4096):
    try:
        os.fstat(fd)
        found[fd] = os.readlink("/proc/self/fd/%d" % fd)
    except OSError:
        pass
answer(open=found, cwd=os.getcwd(), climbed=os.listdir("/proc/self/cwd/../../../.."), root=os.listdir("/"))
"""


def test_only_the_standard_three_are_open(pyjail: Launcher) -> None:
    leaks = [
        os.open("/", os.O_RDONLY | os.O_DIRECTORY),
        os.open("/etc/passwd", os.O_RDONLY),
        os.memfd_create("leak", 0),
    ]
    high = os.dup2(leaks[0], 900)
    try:
        result = pyjail.python(OPEN, pass_fds=[*leaks, high], stdin=subprocess.DEVNULL)
    finally:
        for fd in [*leaks, high]:
            os.close(fd)
    assert set(result.answer["open"]) == {"0", "1", "2"}


def test_the_working_folder_is_inside(jailed: Callable[..., Completed]) -> None:
    found = jailed(OPEN).answer
    assert found["cwd"] == "/tmp"
    assert sorted(found["climbed"]) == sorted(found["root"])


@pytest.mark.parametrize("stream", ["stdin", "stdout", "stderr"])
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_PATH], ids=["open", "path"])
def test_a_folder_as_a_standard_stream_is_refused(
    pyjail: Launcher, place: Path, stream: str, flags: int
) -> None:
    marker = place / "ran"
    folder = os.open("/", flags | os.O_DIRECTORY)
    try:
        result = pyjail.run(
            "run", "--bind", str(place), "--", "/usr/bin/touch", str(marker), **{stream: folder}
        )
    finally:
        os.close(folder)
    assert result.returncode == 125
    # Refused before Python or a plan is looked for, so nobody knows of --outcome-fd yet.
    assert result.outcome is None or result.outcome["status"] == "setup-failed"
    assert not marker.exists()


@pytest.mark.parametrize(
    "flags",
    [os.O_RDONLY | os.O_DIRECTORY, os.O_PATH | os.O_DIRECTORY, os.O_PATH],
    ids=["folder", "folder-path", "file-path"],
)
def test_a_passed_descriptor_that_leads_to_the_host_is_refused(pyjail: Launcher, flags: int) -> None:
    fd = os.open("/" if flags & os.O_DIRECTORY else "/etc/hostname", flags)
    try:
        result = pyjail.run("run", "--pass-fd", str(fd), "--", "/bin/true", pass_fds=[fd])
    finally:
        os.close(fd)
    assert result.returncode == 125, result.stderr


def test_a_namespace_descriptor_is_refused(pyjail: Launcher) -> None:
    """setns(2) is filtered as well; a jail has no use for one."""
    fd = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        result = pyjail.python(
            "answer(setns=call(308, int(sys.argv[1]), 0))",
            str(fd),
            pass_fds=[fd],
            options=["--pass-fd", str(fd)],
        )
    finally:
        os.close(fd)
    assert result.returncode == 125 or result.answer["setns"] in ("EPERM", "ENOSYS")


def test_a_folder_received_over_a_socket_has_no_way_up_to_leave(pyjail: Launcher) -> None:
    """A service socket can still hand a folder in: that is the other side's doing. The jail's own folders,
    however, given to a jail of another root, must not lead anywhere but into itself."""
    result = pyjail.python("""
import socket
left, right = socket.socketpair()
socket.send_fds(left, [b"x"], [os.open("/usr", os.O_RDONLY | os.O_DIRECTORY)])
fd = socket.recv_fds(right, 1, 1)[1][0]
for _ in range(50):
    fd = os.open("..", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
answer(same=os.path.samestat(os.fstat(fd), os.stat("/")))
""")
    assert result.answer["same"] is True
