"""A gateway as a process, and the clients that tests talk to it with."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

COMMAND = (sys.executable, "-c", "from jail.cli import main; raise SystemExit(main())", "serve")


@dataclass
class Gateway:
    """One that listens on a unix socket and on a port of the loopback."""

    process: subprocess.Popen[str]
    folder: Path
    socket: Path
    port: int
    log: Path

    def client(self) -> httpx.Client:
        return httpx.Client(
            transport=httpx.HTTPTransport(uds=str(self.socket)), base_url="http://x", timeout=60
        )

    def tcp(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)

    def service(self, name: str, text: str, **settings: str | int) -> None:
        """Write a service and its settings."""
        file = self.folder / name
        if settings:
            lines = [
                f"{key.replace('_', '-')} = {value if isinstance(value, int) else repr(value)}"
                for key, value in settings.items()
            ]
            file.with_suffix(".toml").write_text("\n".join(lines) + "\n")
        file.write_text(text)
        file.chmod(0o755 if text.startswith("#!") else 0o644)

    def raw(self, tcp: bool = False) -> socket.socket:
        """A connection without a client on top."""
        if tcp:
            return socket.create_connection(("127.0.0.1", self.port), timeout=30)
        made = socket.socket(socket.AF_UNIX)
        made.settimeout(30)
        made.connect(str(self.socket))
        return made

    def logged(self, *words: str) -> str:
        """The first line of the log with all the words, waited for."""
        with open(self.log) as file:
            while self.process.poll() is None:
                for line in file:
                    if all(word in line for word in words):
                        return line
                os.sched_yield()
        raise AssertionError(f"no line with {words} in {self.log.read_text()}")

    def descendants(self) -> list[int]:
        """Processes below the gateway, but for the jailers that wait."""
        return below(self.process.pid)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def below(pid: int) -> list[int]:
    """All processes that descend from one."""
    children = [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return [
        *children,
        *(each for child in children if Path(f"/proc/{child}").exists() for each in below(child)),
    ]


@contextmanager
def gateway(top: Path, options: Sequence[str] = (), *, path: Path | None = None) -> Iterator[Gateway]:
    """Start one; what it says on stderr is kept in a file."""
    folder = top / "services"
    folder.mkdir(exist_ok=True)
    top.chmod(0o755)
    listen = socket.create_server(("127.0.0.1", 0))
    log = top / "log"
    with open(log, "w") as stderr:
        process = subprocess.Popen(
            [
                *COMMAND,
                str(path or folder),
                "--listen",
                f"unix:{top / 'socket'}",
                "--listen",
                f"fd:{listen.fileno()}",
                *options,
            ],
            stderr=stderr,
            pass_fds=[listen.fileno()],
            text=True,
        )
    made = Gateway(process, folder, top / "socket", listen.getsockname()[1], log)
    listen.close()
    try:
        made.logged("listening", "http")
        yield made
        assert "Traceback" not in log.read_text()
    finally:
        process.kill()
        process.wait()


def received(connection: socket.socket) -> bytes:
    """All until the end; an end by a reset is ConnectionResetError."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)
