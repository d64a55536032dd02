"""The example units of the gateway under the machine's own systemd."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.features import PROJECT
from support.gateway import received
from support.installation import Installation
from support.processes import alive_after, descendants, hold

RUNNING = Path("/run/systemd/system")
EXAMPLES = PROJECT / "examples" / "gateway"
SERVICES = {
    "echo.sh": "exec cat\n",
    "late.sh": "echo begun\nread line\necho $line\n",
    "eater.py": "def handler(req, res):\n    return str(len(bytearray(1 << 30)))\n",
}
PTH = "gateway.pth"  # what it needs is not beside the system's Python, and $PYTHONPATH does not count
EATER = 'memory = "64M"\ntimeout = "60s"\n'


def control(*words: str) -> str:
    ended = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False)
    assert ended.returncode == 0 or words[0] == "stop", ended.stderr
    return ended.stdout.strip()


@dataclass
class Units:
    """The socket's unit, which is active, and the service's, which its first connection starts."""

    name: str
    address: str

    def show(self, name: str) -> str:
        return control("show", "--value", f"--property={name}", f"{self.name}.service")

    def connect(self) -> socket.socket:
        made = socket.socket(socket.AF_UNIX)
        made.settimeout(300)
        made.connect(self.address)
        return made

    def ask(self, path: str, body: bytes = b"") -> bytes:
        with self.connect() as connection:
            connection.sendall(post(path, len(body)) + body)
            return received(connection)

    def journal(self, *words: str) -> list[str]:
        """The command that shows what the journal has of the service."""
        return ["journalctl", "--lines=all", "--output=cat", "--unit", f"{self.name}.service", *words]

    def await_line(self, *words: str) -> None:
        """Until the journal has a line with all the words."""
        with subprocess.Popen(self.journal("--follow"), stdout=subprocess.PIPE, text=True) as journal:
            assert journal.stdout is not None
            assert next((line for line in journal.stdout if all(word in line for word in words)), None)
            journal.kill()

    def all_processes(self) -> list[int]:
        """Those in its cgroup and what descends from them, as pidfds: jails have cgroups of their own."""
        top = Path("/sys/fs/cgroup" + self.show("ControlGroup"))
        inside = {int(pid) for file in top.rglob("cgroup.procs") for pid in file.read_text().split()}
        return hold(inside.union(*map(descendants, inside)))


def post(path: str, length: int) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    return head.encode()


@pytest.fixture(scope="module")
def units(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Units]:
    """Their own settings, but for the places of program, services, token and socket, and shorter times."""
    if not RUNNING.is_dir():
        pytest.skip("no systemd runs here")
    found = importlib.util.find_spec("uvicorn")
    if found is None or found.origin is None:
        pytest.skip("pyjail-linux[serve] is not installed")
    request.getfixturevalue("root_user")
    installation: Installation = request.getfixturevalue("installation")
    place = tmp_path_factory.mktemp("units")
    for folder in (place, *place.parents[:2]):
        folder.chmod(0o755)
    services = place / "services"
    services.mkdir()
    for name, text in SERVICES.items():
        (services / name).write_text(text)
    (services / "eater.toml").write_text(EATER)
    (place / "token").write_text("a-token-of-enough-signs")
    made = Units(f"pyjail-test-gateway-{os.getpid()}", str(place / "socket"))
    changed = {
        "/usr/local/bin/pyjail serve /srv/services": f"{installation.pyjail} serve {services}",
        "token:/etc/pyjail/token": f"token:{place / 'token'}",
        "127.0.0.1:8080": made.address,
        # An emulated machine takes its time.
        "WatchdogSec=30": "WatchdogSec=20\nTimeoutAbortSec=1\nTimeoutStartSec=infinity",
    }
    (installation.packages / PTH).write_text(f"{Path(found.origin).parents[1]}\n")
    for kind in ("service", "socket"):
        text = (EXAMPLES / f"pyjail.{kind}").read_text()
        for old in (old for old in changed if old in text):
            text = text.replace(old, changed[old])
        (RUNNING / f"{made.name}.{kind}").write_text(text)
    control("daemon-reload")
    control("start", f"{made.name}.socket")
    yield made
    subprocess.run(made.journal("--no-pager"), check=False)  # which is shown where a test fails
    control("stop", f"{made.name}.socket", f"{made.name}.service")
    for kind in ("service", "socket"):
        (RUNNING / f"{made.name}.{kind}").unlink()
    (installation.packages / PTH).unlink()
    control("daemon-reload")


def test_the_first_connection_starts_it_and_a_stop_lets_requests_end(units: Units) -> None:
    assert units.show("ActiveState") == "inactive"
    assert units.ask("/echo", b"hello").endswith(b"hello\r\n0\r\n\r\n")
    units.await_line("request", "service=echo", "status=200")
    control("start", f"{units.name}.service")  # comes back when it has said that it is ready
    assert (units.show("ActiveState"), units.show("Result")) == ("active", "success")
    assert b"502" in units.ask("/eater").partition(b"\r\n")[0]
    units.await_line("service=eater", "verdict=out-of-memory")

    with units.connect() as under_way:
        under_way.sendall(post("/late", 4))
        came = b""
        while b"begun" not in came:
            came += under_way.recv(4096)
        held = units.all_processes()
        assert len(held) > 3
        control("stop", "--no-block", f"{units.name}.service")
        units.await_line("stopping", "requests=1")
        under_way.sendall(b"end\n")
        assert received(under_way).endswith(b"end\n\r\n0\r\n\r\n")
    assert alive_after(held, 60) == []
    control("stop", f"{units.name}.service")  # comes back when it has stopped
    ended = [units.show(name) for name in ("ActiveState", "Result", "ExecMainStatus")]
    assert ended == ["inactive", "success", "0"]  # its socket's unit starts it again when somebody comes


def test_one_that_hangs_is_started_anew_and_nothing_of_it_is_left(units: Units) -> None:
    with units.connect() as under_way:
        under_way.sendall(post("/late", 4))
        assert under_way.recv(4096).startswith(b"HTTP/1.1 200")
        held = units.all_processes()
        os.kill(int(units.show("MainPID")), signal.SIGSTOP)
        units.await_line("Watchdog timeout")
        assert alive_after(held, 60) == []
    assert units.ask("/echo", b"again").endswith(b"again\r\n0\r\n\r\n")
    assert units.show("NRestarts") == "1"
