"""CVE-2017-5226, CVE-2019-10063: a payload pushes key strokes into its caller's terminal.

The payload runs on the caller's own pty. It must have no controlling terminal, and TIOCSTI and TIOCLINUX must
be refused, also with bits above the 32 that the kernel looks at.
"""

from __future__ import annotations

import json
import os
import pty
import subprocess
import termios
from collections.abc import Iterator

import pytest
from support.installation import SYSTEM_PYTHON
from support.launcher import Launcher

ATTACK = """
TIOCSTI, TIOCLINUX, TIOCSCTTY, TIOCSPGRP, IOCTL = 0x5412, 0x541C, 0x540E, 0x5410, 16
def everything():
    found = {"tty": [os.isatty(fd) for fd in (0, 1, 2)], "dev_tty": attempt(os.open, "/dev/tty", os.O_RDWR)}
    found["push"] = [call(IOCTL, 0, TIOCSTI | high, b"Z") for high in (0, 1 << 32, 0xdead << 32)]
    found["console"] = [call(IOCTL, 0, TIOCLINUX | high, bytes([6])) for high in (0, 1 << 32)]
    return found
found = everything()
if os.fork() == 0:  # a new session may take a free terminal as its own, and try again
    os.setsid()
    found["steal"] = call(IOCTL, 0, TIOCSCTTY, 1)
    found["reopen"] = attempt(os.open, "/proc/self/fd/0", os.O_RDWR)
    found["again"] = everything()
    answer(**found)
    os._exit(0)
os.wait()
"""


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    leader, follower = pty.openpty()
    state = termios.tcgetattr(follower)
    state[3] &= ~(termios.ICANON | termios.ECHO)  # each pushed byte would be readable at once, and alone
    termios.tcsetattr(follower, termios.TCSANOW, state)
    try:
        yield leader, follower
    finally:
        os.close(leader)
        os.close(follower)


def test_nothing_is_pushed_into_the_callers_terminal(pyjail: Launcher, terminal: tuple[int, int]) -> None:
    _, follower = terminal
    os.fchown(follower, pyjail.user.uid, pyjail.user.gid)
    taker = "import fcntl, os, sys; fcntl.ioctl(0, 0x540E, 0); os.execv(sys.argv[1], sys.argv[1:])"
    words = pyjail.words(ATTACK)
    with pyjail.popen(
        "-I",
        "-S",
        "-c",
        taker,
        str(pyjail.installation.pyjail),
        *words,
        program=SYSTEM_PYTHON,
        start_new_session=True,
        stdin=follower,
        stdout=subprocess.PIPE,
    ) as process:
        out = process.communicate(timeout=60)[0]
    found = json.loads(out)
    assert found["tty"] == [True, False, True] or found["tty"] == [True, False, False]
    assert found["dev_tty"] in ("ENOENT", "ENXIO", "EACCES", "EPERM")
    for attack in (found, found["again"]):
        assert attack["push"] == ["EPERM"] * 3
        assert attack["console"] == ["EPERM"] * 2
    os.set_blocking(follower, False)
    with pytest.raises(BlockingIOError):
        os.read(follower, 100)
