"""A person at a terminal: an interactive shell on a pty, typed at, and read until an answer shows up."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from types import TracebackType

from support.launcher import Launcher

PATIENCE = 60.0  # seconds until a test fails instead of hanging


class Terminal:
    """`bash -i` on a pty of its own, as the launcher's user, with job control."""

    def __init__(self, launcher: Launcher) -> None:
        self.master, slave = pty.openpty()
        environment = launcher.user.environment() | {
            "PS1": "ready> ",
            "pyjail": str(launcher.installation.pyjail),
        }
        os.fchown(slave, launcher.user.uid, -1)
        self.shell = subprocess.Popen(
            ["/bin/bash", "--norc", "--noprofile", "--noediting", "-i"],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            cwd=launcher.user.home,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            **launcher.user.identity(),
        )
        os.close(slave)
        self.seen = b""

    def __enter__(self) -> Terminal:
        self.until(b"ready> ")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.shell.kill()
        self.shell.wait()
        os.close(self.master)

    def key(self, what: bytes) -> None:
        """Type, without a newline: b"\\x03" is Ctrl-C, b"\\x1a" Ctrl-Z."""
        os.write(self.master, what)

    def line(self, text: str) -> None:
        """Type a line. Its echo is swallowed, so that a wait cannot be fulfilled by it."""
        self.key(text.encode() + b"\n")
        self.until(text[-20:].encode() + b"\r\n")

    def until(self, what: bytes) -> bytes:
        """Read until `what` has shown up; everything before it."""
        end = time.monotonic() + PATIENCE
        while what not in self.seen:
            ready, _, _ = select.select([self.master], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"{what!r} did not show up after {self.seen!r}"
            self.seen += os.read(self.master, 65536)
        before, _, self.seen = self.seen.partition(what)
        return before

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
