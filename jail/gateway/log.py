"""Lines on stderr: one for each request, and what services and the gateway itself have to say.

What comes from outside is written so that it cannot pass for a line, or a field, of its own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import queue
import select
import threading
import time
from collections.abc import Mapping
from typing import Protocol

WAITING = 1000
"""Lines that wait for who reads the log; further ones are lost, and counted."""
FLUSH = 1.0
"""Seconds in which the last lines leave."""


class Raw(Protocol):
    """A stream without a buffer."""

    def write(self, data: memoryview, /) -> int | None:
        """How many bytes it took; None where it does not block and is full."""

    def fileno(self) -> int:
        """Its descriptor."""


class Log:
    """Writes lines in one of the forms `text` and `json`. A thread does, so that whoever reads them slowly,
    or not at all, holds up no request; without logging's handlers, since its end waits for their locks, nor
    a buffer, since the interpreter's does. A stream that is gone loses them."""

    def __init__(self, form: str, stream: Raw | None = None) -> None:
        self.form = form
        self.stream: Raw = stream or open(2, "wb", buffering=0, closefd=False)  # noqa: SIM115
        self._waiting: queue.Queue[bytes | None] = queue.Queue(WAITING)
        self._lost = 0
        self._thread = threading.Thread(target=self._pass_on, name="pyjail-log", daemon=True)
        self._thread.start()

    def write(self, event: str, **fields: object) -> None:
        """One event. Does not wait."""
        if self._lost:
            lost = f"{self._lost} lines of this log were lost, because nobody took them"
            if self._put("warning", message=lost):
                self._lost = 0
        if not self._put(event, **fields):
            self._lost += 1

    def close(self) -> None:
        """Let the last lines leave."""
        try:
            self._waiting.put(None, timeout=FLUSH)
        except queue.Full:
            return
        self._thread.join(FLUSH)

    def _put(self, event: str, **fields: object) -> bool:
        fields = {name: value for name, value in fields.items() if value is not None}
        if self.form == "json":
            text = json.dumps({"time": round(time.time(), 3), "event": event, **fields})
        else:
            text = f"pyjail: {event}{''.join(f' {name}={shown(value)}' for name, value in fields.items())}"
        try:
            self._waiting.put_nowait((text + "\n").encode("utf-8", "backslashreplace"))
        except queue.Full:
            return False
        return True

    def _pass_on(self) -> None:
        while (line := self._waiting.get()) is not None:
            left = memoryview(line)
            try:
                while left:
                    written = self.stream.write(left)
                    if written is None:
                        select.select([], [self.stream], [])
                    left = left[written or 0 :]
            except (OSError, ValueError):
                pass


def shown(value: object) -> str:
    """A value as a word: quoted where it is none."""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    plain = text and text.isascii() and text.isprintable() and not set(text) & set(' "=\\')
    return text if plain else json.dumps(text)


class Bridge(logging.Handler):
    """What the server's own logger says, as our lines."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self.log = log

    def emit(self, record: logging.LogRecord) -> None:
        fields: Mapping[str, object] = {}
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, asyncio.CancelledError):
            return  # a request that was cut off at the end: its own line says so
        if error is not None:
            fields = {"error": repr(error), "trace": self.formatter_of(record)}
        self.log.write(record.levelname.lower(), message=record.getMessage().strip(), **fields)

    def formatter_of(self, record: logging.LogRecord) -> str:
        """The traceback, in one value."""
        assert record.exc_info is not None
        return logging.Formatter().formatException(record.exc_info)
