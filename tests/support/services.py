"""Runs services by `pyjail service run`, as one user, and takes apart what comes back."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.launcher import Launcher, checked


@dataclass(frozen=True)
class Answer:
    """One answer: exit status, body, the supervisor's lines of JSON, the service's own log, the outcome."""

    status: int
    body: bytes
    told: list[dict[str, Any]]
    log: str
    outcome: dict[str, Any]

    @property
    def last(self) -> dict[str, Any]:
        return self.told[-1]

    @property
    def types(self) -> list[str]:
        return [line["type"] for line in self.told]

    @property
    def kind(self) -> str:
        """What went wrong, or "" for a complete answer."""
        assert self.types.count("error") + self.types.count("end") == 1
        assert (self.status == 0) == (self.last["type"] == "end")
        return str(self.last.get("kind", ""))


@dataclass(frozen=True)
class Services:
    """Services that one user writes and runs."""

    pyjail: Launcher
    place: Path

    def write(self, name: str, text: str | bytes, mode: int = 0o644) -> str:
        path = self.place / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        self.pyjail.user.owns(path)
        return str(path)

    def run(self, name: str, text: str, *options: str, **more: Any) -> Answer:
        """Write the service and run it."""
        mode = 0o755 if text.startswith("#!") else 0o644
        return self.answer(*options, self.write(name, text, mode), **more)

    def answer(self, *words: str, body: bytes = b"", protocol: str = "json", **more: Any) -> Answer:
        """What `pyjail service run` with these words does."""
        outcome = os.memfd_create("outcome", 0)
        try:
            asked: Sequence[str] = ("--protocol", protocol, "--outcome-fd", str(outcome))
            done = self.pyjail.run(
                "service", "run", *asked, *words, pass_fds=(outcome,), **({"input": body} | more)
            )
            text = os.pread(outcome, 1 << 20, 0)
        finally:
            os.close(outcome)
        lines = done.stderr.decode().splitlines(keepends=True)
        told = [json.loads(line) for line in lines if line.startswith('{"type"')]
        log = "".join(line for line in lines if not line.startswith('{"type"'))
        return Answer(done.returncode, done.stdout, told, log, checked(text) if text else {})
