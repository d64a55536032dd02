"""A payload with a terminal of its own turns against who is at its other side: it types into the caller's
terminal, leaves it in another mode, makes the supervisor wait, or keeps what was typed."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from jailed.patience import SLOWNESS
from jailed.terminal import PATIENCE
from support.launcher import Launcher, Running
from support.processes import descendants

FIRST = 4096  # more than any answer has


@dataclass
class Person:
    """At the terminal `follower`, by `leader`; nobody's controlling terminal."""

    leader: int
    follower: int
    before: list[Any]

    def until(self, what: bytes) -> bytes:
        seen = b""
        while what not in seen:
            ready, _, _ = select.select([self.leader], [], [], PATIENCE)
            assert ready, f"{what!r} did not show up after {seen!r}"
            seen += os.read(self.leader, FIRST)
        return seen

    def as_before(self) -> bool:
        return termios.tcgetattr(self.follower) == self.before

    def unread(self) -> int:
        """How many bytes a shell would find typed."""
        state = termios.tcgetattr(self.follower)
        state[3] &= ~termios.ICANON
        termios.tcsetattr(self.follower, termios.TCSANOW, state)
        found = struct.unpack("i", fcntl.ioctl(self.follower, termios.FIONREAD, b"    "))[0]
        assert isinstance(found, int)
        return found


@pytest.fixture
def person(pyjail: Launcher) -> Iterator[Person]:
    leader, follower = pty.openpty()
    os.fchown(follower, pyjail.user.uid, pyjail.user.gid)
    yield Person(leader, follower, termios.tcgetattr(follower))
    os.close(leader)
    os.close(follower)


def at(pyjail: Launcher, person: Person, code: str, *options: str) -> Running:
    """Python code in a jail, the person's terminal standing for its own."""
    words = pyjail.words(code, options=["--pty", *options])
    return pyjail.popen(*words, stdin=person.follower, stdout=person.follower, stderr=subprocess.PIPE)


def answer_of(text: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text[text.index(b"{") :])
    return found


def test_no_descriptor_and_no_name_leads_to_the_callers_terminal(pyjail: Launcher, person: Person) -> None:
    code = """
own = os.stat("/dev/pts/0")
open_ones = [os.stat(fd) for fd in range(1024) if attempt(os.fstat, fd) == "ok"]
os.write(os.open("/dev/tty", os.O_RDWR), b"by its name\\n")
answer(tty=[os.ttyname(fd) for fd in (0, 1, 2)],
       strange=[st.st_rdev for st in open_ones if (st.st_dev, st.st_rdev) != (own.st_dev, own.st_rdev)],
       names=sorted(os.listdir("/dev/pts")),
       console=attempt(os.open, "/dev/console", os.O_RDWR),
       others=[attempt(os.open, f"/dev/pts/{n}", os.O_RDWR) for n in range(1, 50)],
       made=[attempt(os.mknod, "/tmp/tty", 0o20666, os.makedev(136, n)) for n in range(4)])
"""
    with at(pyjail, person, code) as process:
        seen = person.until(b"}\r\n")
        assert process.wait(60) == 0
    assert b"by its name\r\n" in seen
    found = answer_of(seen)
    assert found["tty"] == ["/dev/pts/0"] * 3
    assert found["strange"] == []
    assert found["names"] == ["0", "ptmx"]
    assert found["console"] == "ENOENT"
    assert set(found["others"]) == {"ENOENT"}
    assert set(found["made"]) == {"EPERM"}


def test_nothing_is_typed_into_either_terminal(pyjail: Launcher, person: Person) -> None:
    """TIOCSTI and TIOCLINUX to begin with, and what else would change whose terminal it is."""
    code = """
STI, LINUX, CONS, SETD, SCTTY, SIG, PKT, VHANGUP, LOCK = (
    0x5412, 0x541C, 0x541D, 0x5423, 0x540E, 0x40045436, 0x5420, 0x5437, 0x5457)
def everything():
    return {str(number): [call(16, fd, number, word) for fd in (0, 1, 2)]
            for number, word in ((STI, b"Z"), (STI | 1 << 32, b"Z"), (LINUX, bytes([6])), (CONS, 0),
                                 (SETD, (21).to_bytes(4, "little")), (SIG, 2),
                                 (PKT, (1).to_bytes(4, "little")), (VHANGUP, 0), (LOCK, bytes(60)))}
found = {"leader": everything()}
if os.fork() == 0:
    os.setsid()
    found["steal"] = call(16, 0, SCTTY, 1)
    found["other"] = everything()
    answer(**found)
    os._exit(0)
os.wait()
"""
    with at(pyjail, person, code) as process:
        seen = person.until(b"}\r\n")
        assert process.wait(60) == 0
    found = answer_of(seen)
    assert found["steal"] == "EPERM"
    for who in ("leader", "other"):
        for number, results in found[who].items():
            assert set(results) <= {"EPERM", "ENOTTY", "EINVAL", "EIO"}, number
    assert person.as_before()
    assert person.unread() == 0


def test_what_it_types_without_a_policy_is_typed_at_its_own(pyjail: Launcher, person: Person) -> None:
    """Where nothing refuses TIOCSTI, there is still no terminal but the jail's own to type at."""
    code = """
found = [call(16, fd, number, b"Z") for fd in (0, 1, 2) for number in (0x5412, 0x541C)]
answer(found=found, dev_tty=call(16, os.open("/dev/tty", os.O_RDWR), 0x5412, b"Z"))
"""
    with at(pyjail, person, code, "--seccomp", "off") as process:
        found = answer_of(person.until(b"}\r\n"))
        assert process.wait(60) == 0
    assert found["found"][1] in ("ENOTTY", "EPERM")
    assert person.as_before()
    assert person.unread() == 0


def test_its_modes_are_its_own(pyjail: Launcher, person: Person) -> None:
    code = """
import termios, tty
for fd in (0, 1, 2, os.open("/dev/tty", os.O_RDWR)):
    state = termios.tcgetattr(fd)
    state[3] |= termios.ECHO | termios.ICANON | termios.ISIG
    termios.tcsetattr(fd, termios.TCSANOW, state)
    termios.tcsetwinsize(fd, (7, 9))
print("changed", flush=True)
os.read(0, 100)
tty.setraw(0)
"""
    with at(pyjail, person, code) as process:
        person.until(b"changed")
        during = termios.tcgetattr(person.follower)
        assert not during[3] & (termios.ECHO | termios.ICANON | termios.ISIG)
        assert termios.tcgetwinsize(person.follower) != (7, 9)
        os.write(person.leader, b"\r")
        assert process.wait(60) == 0
    assert person.as_before()


def fill(leader: int) -> None:
    """Type until nobody takes it any more."""
    os.set_blocking(leader, False)
    typed = 0
    room = select.poll()
    room.register(leader, select.POLLOUT)
    while room.poll(300):
        typed += os.write(leader, b"rm -rf /\r" * 400)
    os.set_blocking(leader, True)
    assert typed > 8192


def test_what_was_typed_and_not_taken_is_no_command_afterwards(pyjail: Launcher, person: Person) -> None:
    """Also where the supervisor's hands were full: it waits with what the payload does not read."""
    code = "print('up', flush=True); os.kill(os.getpid(), 19); os._exit(0)"
    with at(pyjail, person, code) as process:
        person.until(b"up")
        fill(person.leader)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
    assert person.as_before()
    assert person.unread() == 0


def fact(pid: int, name: str) -> str:
    """A line of proc_pid_status(5)."""
    with open(f"/proc/{pid}/status") as file:
        (line,) = [line for line in file if line.startswith(f"{name}:")]
    return line.partition(":")[2].strip()


def test_a_flood_that_nobody_reads_takes_no_memory_and_no_attention(pyjail: Launcher, person: Person) -> None:
    code = "os.write(1, b'up')\nwhile True: os.write(1, b'x' * 65536)"
    with at(pyjail, person, code, "--grace", "0.1") as process:
        person.until(b"up")
        payload = descendants(process.pid)[-1]
        while fact(payload, "State")[0] != "S":  # until there is no room
            os.sched_yield()
        most = int(fact(process.pid, "VmHWM").split()[0])
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
    assert most < 4096  # KiB
    assert person.as_before()


@pytest.mark.parametrize(
    "trick",
    [
        "fcntl.ioctl(0, 0x540C)",  # TIOCEXCL: nobody else may open it
        "os.set_blocking(0, False)",
        "termios.tcflow(0, termios.TCIOFF); termios.tcflow(0, termios.TCION)",
        "[termios.tcflush(0, queue) for queue in (0, 1)]",
        "fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid()); fcntl.fcntl(0, 10, 9)",
        "fcntl.ioctl(0, 0x5422)",  # TIOCNOTTY: let it go
        "[os.close(fd) for fd in (0, 1, 2)]; [os.open('/dev/pts/0', os.O_RDWR) for _ in range(3)]",
        "fcntl.flock(0, fcntl.LOCK_EX)",
    ],
)
def test_output_still_comes_through(pyjail: Launcher, person: Person, trick: str) -> None:
    code = "import fcntl, signal, termios; signal.signal(1, signal.SIG_IGN)\n"
    code += trick + "\nos.write(1, b'through')"
    with at(pyjail, person, code) as process:
        person.until(b"through")
        assert process.wait(60) == 0
    assert person.as_before()


def test_output_that_was_stopped_does_not_stop_the_end(pyjail: Launcher, person: Person) -> None:
    code = "import termios; os.write(1, b'up'); termios.tcflow(1, termios.TCOOFF); os.write(1, b'x' * 100000)"
    with at(pyjail, person, code, "--timeout", str(SLOWNESS), "--grace", "0.1") as process:
        person.until(b"up")
        assert process.wait(60) == 124
    assert person.as_before()


def test_terminals_inside_are_few(pyjail: Launcher, person: Person) -> None:
    code = """
opened = [attempt(os.open, "/dev/ptmx", os.O_RDWR | os.O_NOCTTY) for _ in range(100)]
answer(number=opened.count("ok"), then=sorted(set(opened) - {"ok"}))
"""
    with at(pyjail, person, code) as process:
        found = answer_of(person.until(b"}\r\n"))
        assert process.wait(60) == 0
    assert found == {"number": 31, "then": ["ENOSPC"]}
