"""What a service manager is told (sd_notify(3)) and hands over (sd_listen_fds(3)), played by the test."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from support.launcher import Completed, Launcher

SH = ("/bin/sh", "-c")


class Manager:
    """A socket that reads as systemd's does: the messages, and who sent them."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.bind(address.replace("@", "\0"))
        if address.startswith("/"):
            Path(address).chmod(0o666)

    def hear(self) -> tuple[list[str], int]:
        """The next message's lines, and the sender's pid."""
        text, ancillary, _, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(12))
        return text.decode().split("\n"), int.from_bytes(ancillary[0][2][:4], "little")

    def fill(self) -> None:
        """Leave no room for a message."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler:
            filler.connect(self.address.replace("@", "\0"))
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    filler.send(b"FILLER=1")

    def heard(self) -> list[list[str]]:
        """All messages that are there."""
        self.socket.setblocking(False)
        found = []
        try:
            while True:
                found.append(self.hear()[0])
        except BlockingIOError:
            return found


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, place: Path) -> Iterator[Manager]:
    made = Manager(str(place / "notify") if request.param == "path" else f"@pyjail-test-{os.getpid()}")
    with made.socket:
        yield made


def test_a_manager_is_told_of_start_stop_and_end(pyjail: Launcher, manager: Manager) -> None:
    words = ("run", "--notify", "--", *SH, "trap 'exit 9' TERM; echo up; sleep 1000 & wait")
    env = {"NOTIFY_SOCKET": manager.address}
    with pyjail.popen(*words, env=env, stdout=subprocess.PIPE) as process:
        assert manager.hear() == (["READY=1", "STATUS=running"], process.pid)
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGTERM)
        assert manager.hear()[0] == ["STOPPING=1", "STATUS=asked to end"]
        assert process.wait(60) == 9
    assert manager.heard() == [["STATUS=exited", "EXIT_STATUS=9"]]


def test_a_manager_that_reads_late_holds_nothing_up_and_hears_all(ordinary_pyjail: Launcher) -> None:
    manager = Manager(f"@pyjail-late-{os.getpid()}")
    with manager.socket:
        manager.fill()
        words = ("run", "--notify", "--", *SH, "trap 'echo asked; read it; exit 9' TERM; echo up; read it")
        env = {"NOTIFY_SOCKET": manager.address}
        with ordinary_pyjail.popen(*words, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
            process.send_signal(signal.SIGTERM)
            assert process.stdout.readline() == b"asked\n"
            heard = manager.heard()
            process.stdin.close()
            assert process.wait(60) == 9
        lines = [line for message in heard + manager.heard() for line in message if line != "FILLER=1"]
    ready, stopping = ["READY=1", "STATUS=running"], ["STOPPING=1", "STATUS=asked to end"]
    assert lines == [*ready, *stopping, "STATUS=exited", "EXIT_STATUS=9"]


@pytest.mark.parametrize(
    ("options", "command", "expected"),
    [
        pytest.param((), ("/bin/true",), ["exited", "0"], id="success"),
        pytest.param((), (*SH, "kill -9 $$"), ["signaled", "137"], id="signal"),
        pytest.param(("--timeout", "200ms"), ("sleep", "1000"), ["timed-out", "124"], id="timeout"),
        pytest.param(("--audit",), ("/bin/true",), ["exited", "0"], id="audit"),
    ],
)
def test_the_end_is_told(
    pyjail: Launcher, place: Path, options: Sequence[str], command: Sequence[str], expected: list[str]
) -> None:
    manager = Manager(str(place / "notify"))
    with manager.socket:
        pyjail.run("run", "--notify", *options, "--", *command, env={"NOTIFY_SOCKET": manager.address})
        first, *_, last = manager.heard()
    assert first[0] == "READY=1"
    assert last == [f"STATUS={expected[0]}", f"EXIT_STATUS={expected[1]}"]


@pytest.mark.parametrize("command", ["/no/such\nREADY=1", "/etc/passwd"])
def test_a_program_that_did_not_start_is_never_ready(pyjail: Launcher, place: Path, command: str) -> None:
    manager = Manager(str(place / "notify"))
    with manager.socket:
        env = {"NOTIFY_SOCKET": manager.address}
        r = pyjail.run("run", "--notify", "--", command, env=env)
        ((status, code),) = manager.heard()
    assert status.startswith("STATUS=cannot execute ")
    assert code == f"EXIT_STATUS={r.returncode}"
    assert r.returncode in (126, 127)


def test_without_the_option_nobody_is_told_and_the_payload_cannot(pyjail: Launcher, place: Path) -> None:
    manager = Manager(str(place / "notify"))
    with manager.socket:
        env = {"NOTIFY_SOCKET": manager.address}
        r = pyjail.run("run", "--", *SH, 'echo "[$NOTIFY_SOCKET]"', env=env)
        assert (r.stdout, manager.heard()) == (b"[]\n", [])


def test_without_a_manager_it_runs_all_the_same(pyjail: Launcher) -> None:
    assert pyjail.run("run", "--notify", "--listen-fds", "--", "/bin/true").returncode == 0


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("/nowhere/notify", b"ENOENT"),
        ("/etc/passwd", b"ECONNREFUSED"),
        ("vsock:2:1234", b"EINVAL"),
        ("/" + "n" * 107, b"ENAMETOOLONG"),
        ("", b"EINVAL"),
    ],
)
def test_a_manager_that_is_not_there(pyjail: Launcher, address: str, why: bytes) -> None:
    """The service would be waited for in vain."""
    r = pyjail.run("run", "--notify", "--", "/bin/echo", "ran", env={"NOTIFY_SOCKET": address})
    assert (r.returncode, r.stdout) == (125, b"")
    assert b"cannot reach the service manager at NOTIFY_SOCKET" in r.stderr
    assert why in r.stderr or address.startswith("/etc")  # an ordinary user may be refused first


ACTIVATED = """
found = {name: os.environ.get(name) for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")}
import fcntl, socket
open_ = [number for number in range(100) if attempt(fcntl.fcntl, number, fcntl.F_GETFD) == "ok"]
text = socket.socket(fileno=3).accept()[0].recv(100).decode() if 3 in open_ else ""
answer(pid=os.getpid(), open=open_, text=text, **found)
"""
# As a service manager does it: the sockets from 3 on, and the number of the process that becomes the service.
ACTIVATE = 'exec 3<&"$A" 4<&"$B"; LISTEN_PID=$(($$ + OTHER)) exec "$@"'


def activated(pyjail: Launcher, *options: str, other: int = 0, count: str = "2") -> Completed:
    """Run ACTIVATED with a listening socket that somebody has connected and written to."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as caller,
        socket.socket() as spare,
    ):
        caller.sendall(b"hello")
        words = pyjail.words(ACTIVATED, options=options)
        told = {"LISTEN_FDS": count, "LISTEN_FDNAMES": "web:spare", "OTHER": str(other)}
        told |= {"A": str(server.fileno()), "B": str(spare.fileno())}
        return pyjail.run(
            "-c", ACTIVATE, "sh", pyjail.installation.pyjail, *words,
            program="/bin/bash", pass_fds=(server.fileno(), spare.fileno()), env=told,
        )  # fmt: skip


@pytest.mark.parametrize("more", [(), ("--pass-fd", "4"), ("--audit",)], ids=["plain", "pass-fd", "audit"])
def test_sockets_are_handed_on(pyjail: Launcher, more: Sequence[str]) -> None:
    """With the payload's own pid, and nothing else of the caller's."""
    answer = activated(pyjail, "--listen-fds", *more).answer
    assert answer["LISTEN_PID"] == str(answer["pid"])
    assert (answer["LISTEN_FDS"], answer["LISTEN_FDNAMES"]) == ("2", "web:spare")
    assert (answer["open"], answer["text"]) == ([0, 1, 2, 3, 4], "hello")


@pytest.mark.parametrize(
    ("options", "given"),
    [((), {}), (("--listen-fds",), {"other": 1}), (("--listen-fds",), {"count": "0"})],
    ids=["not asked for", "for another process", "none"],
)
def test_sockets_that_are_not_handed_on(
    pyjail: Launcher, options: Sequence[str], given: dict[str, int]
) -> None:
    answer = activated(pyjail, *options, **given).answer  # type: ignore[arg-type]
    assert answer["open"] == [0, 1, 2]
    assert answer["LISTEN_FDS"] in (None, "0")


@pytest.mark.parametrize(
    ("count", "why"),
    [
        ("x", b"cannot take over the sockets of LISTEN_FDS: invalid argument"),
        ("65", b"cannot take over the sockets of LISTEN_FDS: invalid argument"),
        ("-1", b"cannot take over the sockets of LISTEN_FDS: invalid argument"),
        ("60", b"cannot pass descriptor "),
    ],
)
def test_a_count_that_makes_no_sense(pyjail: Launcher, count: str, why: bytes) -> None:
    r = activated(pyjail, "--listen-fds", count=count)
    assert (r.returncode, r.stdout) == (125, b"")
    assert why in r.stderr


def test_an_open_folder_among_the_sockets_is_refused(pyjail: Launcher) -> None:
    script = 'exec 3</; LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" run --listen-fds -- /bin/echo ran'
    r = pyjail.run("-c", script, pyjail.installation.pyjail, program="/bin/bash")
    assert (r.returncode, r.stdout) == (125, b"")
    assert b"cannot pass descriptor 3" in r.stderr
