"""Python programs that use the library, started as one user."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import Any

from support.launcher import Completed, Launcher, Running

PRELUDE = """
import json, os, select, signal, socket, sys, threading, time
import jail
from jail import DEVNULL, PIPE, STDOUT, Jail

def answer(**found):
    os.write(1, (json.dumps(found) + "\\n").encode())

def has_ended(pidfd):
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(60_000))
"""


@dataclass(frozen=True)
class Scripts:
    """Runs Python code that has imported jail; what it gives to `answer(...)` is read back."""

    launcher: Launcher

    def words(self, code: str, *arguments: str) -> list[str]:
        """The interpreter's words."""
        return ["-X", "dev", "-c", PRELUDE + code, *arguments]

    def run(self, code: str, *arguments: str, **options: Any) -> Completed:
        """To the end; it must exit with 0."""
        done = self.launcher.run(
            *self.words(code, *arguments), program=self.launcher.installation.python, **options
        )
        assert done.returncode == 0, done.stderr.decode()
        return done

    def answer(self, code: str, *arguments: str, **options: Any) -> dict[str, Any]:
        """What it found."""
        return self.run(code, *arguments, **options).answer

    def started(self, code: str, *arguments: str) -> tuple[Running, bytes]:
        """One that goes on after it has said its first line."""
        running = self.launcher.popen(
            *self.words(code, *arguments), program=self.launcher.installation.python,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        assert running.stdout is not None
        return running, running.stdout.readline()
