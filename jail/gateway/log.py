"""Lines on stderr: one for each request, and what services and the gateway itself have to say.

What comes from outside is written so that it cannot pass for a line, or a field, of its own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import Mapping
from typing import IO


class Log:
    """Writes lines in one of the forms `text` and `json`. A stderr that is gone or full loses them."""

    def __init__(self, form: str, stream: IO[str] | None = None) -> None:
        self.form = form
        self.stream = stream if stream is not None else sys.stderr

    def write(self, event: str, **fields: object) -> None:
        """One event."""
        fields = {name: value for name, value in fields.items() if value is not None}
        if self.form == "json":
            text = json.dumps({"time": round(time.time(), 3), "event": event, **fields})
        else:
            text = f"pyjail: {event}{''.join(f' {name}={shown(value)}' for name, value in fields.items())}"
        try:
            self.stream.write(text + "\n")
            self.stream.flush()
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
