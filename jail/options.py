"""The options of `run`, `start` and their asynchronous twins, for who passes them on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from jail.streams import HasFileno, Stream


class StartAsync(TypedDict, total=False):
    stdin: Stream
    stdout: Stream
    stderr: Stream
    descriptors: Mapping[int, int | HasFileno] | None
    env: Mapping[str, str] | None
    code: str | bytes | None


class Start(StartAsync, total=False):
    text: bool
    encoding: str | None
    errors: str | None


class RunAsync(Start, total=False):
    input: Any
    capture_output: bool
    check: bool
    max_output: int


class Run(RunAsync, total=False):
    timeout: float | None
