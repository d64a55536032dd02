"""The node module run-service, and what comes of a service, from it or from the command in its place."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

VERSION = "run-service@3.0.1"
MAIN = "from jail.cli.runservice import main; raise SystemExit(main())"


@dataclass(frozen=True)
class Ran:
    """What came of one service: body, lines of JSON and other lines on stderr, exit status."""

    body: bytes
    told: list[dict[str, Any]]
    log: str
    status: int

    @classmethod
    def of(cls, done: Any) -> Ran:
        lines = done.stderr.decode().splitlines(keepends=True)
        told = [json.loads(line) for line in lines if line.startswith('{"type"')]
        log = "".join(line for line in lines if not line.startswith('{"type"'))
        return cls(done.stdout, told, log, done.returncode)

    @property
    def types(self) -> list[str]:
        return [line["type"] for line in self.told]

    @property
    def error(self) -> str | None:
        return next((line["payload"].get("error") for line in self.told if line["type"] == "error"), None)


Run = Callable[..., Ran]


def fetch(folder: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    words = [
        "npm",
        "install",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--prefix",
        str(folder),
        VERSION,
    ]
    try:
        done = subprocess.run(words, capture_output=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{VERSION} cannot be had: npm does not come to an end")
    if done.returncode != 0:
        pytest.skip(f"{VERSION} cannot be had: {done.stderr.decode().splitlines()[-1:]}")
