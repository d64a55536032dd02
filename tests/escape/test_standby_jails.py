"""What a hostile program can do to jails that stand ready beside it, and to the serving jailer: nothing."""

from __future__ import annotations

import ast

import pytest
from support.launcher import Launcher
from support.scripts import Scripts
from support.serving import SERVING

HOSTILE = """
import os, re, signal
found = {}
# Descriptors of its own: nothing but streams, so no channel to a supervisor or to another jail.
found["descriptors"] = sorted(int(name) for name in os.listdir("/proc/self/fd"))[:-1]
found["kinds"] = sorted({os.readlink(f"/proc/self/fd/{n}").split(":")[0] for n in found["descriptors"]})
# Memory: what it was forked from held the plans and the words of other runs.
found["secret"] = False
for line in open("/proc/self/maps"):
    span, access = line.split()[:2]
    start, end = (int(word, 16) for word in span.split("-"))
    if access.startswith("r") and end - start < 1 << 24 and "[v" not in line:
        try:
            with open("/proc/self/mem", "rb", 0) as memory:
                memory.seek(start)
                found["secret"] |= bool(re.search(rb"PRIVATE-(?=WORD)", memory.read(end - start)))
        except OSError:
            pass
# Everybody that it can name.
found["signalled"] = 0
for pid in range(2, 4000):
    if pid != os.getpid():
        try:
            os.kill(pid, signal.SIGKILL)
            found["signalled"] += 1
        except OSError:
            pass
for pid in (-1, 1):
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass
# Sockets by name.
try:
    found["unix"] = len(open("/proc/net/unix").readlines()) - 1
except OSError:
    found["unix"] = 0
print(found, flush=True)
"""


@pytest.fixture
def scripts(pyjail: Launcher) -> Scripts:
    return Scripts(pyjail)


def test_nothing_of_others_is_within_reach(scripts: Scripts) -> None:
    found = scripts.answer(SERVING + f"""
code = {HOSTILE!r}
server = serving()
jail.run(["/bin/true", "PRIVATE-" + "WORD"], env={{"SECRET": "PRIVATE-" + "WORD"}})
keep(3)
standing = children(server)
done, ahead, streams = run_ahead(["/usr/bin/python3", "-ISc", code], stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
left = standing & children(server)
after = [run_ahead(["/bin/sh", "-c", "exit 3"]) for _ in range(2)]
answer(out=streams[0].decode(), ahead=ahead, left=len(left), same=serving() == server,
       after=[[done.exit_code, ahead] for done, ahead, _ in after])
""")
    assert found["ahead"]
    seen = ast.literal_eval(found["out"])
    assert seen["descriptors"] == [0, 1, 2]
    assert seen["kinds"] == ["/dev/null", "pipe"]
    assert not seen["secret"]
    assert seen["signalled"] == 0
    assert seen["unix"] == 0
    assert found["left"] == 2
    assert found["same"]
    assert found["after"] == [[3, True], [3, True]]


def test_a_jail_that_stood_ready_is_used_once(scripts: Scripts) -> None:
    """What one run leaves in memory, in its folders or running, the next does not find."""
    found = scripts.answer(SERVING + """
server = serving()
keep(2)
leave = "echo x >/tmp/left; echo x >/dev/shm/left; (setsid sleep 1000 &); ipcmk -M 64 >/dev/null"
first = run_ahead(["/bin/sh", "-c", leave])
look = "ls -A /tmp /dev/shm; ipcs -m | grep -c 0x; ls /proc | grep -c '^[0-9]'"
second = run_ahead(["/bin/sh", "-c", look], stdout=PIPE)
answer(ahead=[first[1], second[1]], out=second[2][0].decode())
""")
    assert found["ahead"] == [True, True]
    assert "left" not in found["out"]
    assert "\\n0\\n" in found["out"].replace("\n", "\\n")


def test_one_run_has_nothing_of_the_words_of_the_last(scripts: Scripts) -> None:
    """Neither by its own memory nor by /proc of its init, which was made before anybody had asked."""
    found = scripts.answer(SERVING + """
server = serving()
keep(1)
secret = "PRIVATE-" + "WORD"
run_ahead(["/bin/true", secret], env={"SECRET": secret})
keep(1)
code = '''
import os
files = [f"/proc/{pid}/{name}" for pid in ("self", "1") for name in ("cmdline", "environ")]
seen = b"".join(open(file, "rb").read() for file in files if os.access(file, os.R_OK))
print(b"PRIVATE-" + b"WORD" in seen)
'''
done, ahead, streams = run_ahead(["/usr/bin/python3", "-ISc", code], stdout=PIPE)
answer(ahead=ahead, out=streams[0].decode())
""")
    assert found == {"ahead": True, "out": "False\n"}
