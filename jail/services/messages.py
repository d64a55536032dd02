"""What a service says on descriptor 3: one JSON object a line, untrusted. See docs/services.md.

`MessageReader` reads no descriptor itself: bytes go in as they came, messages come out, within bounds on the
length of a line, the number of lines and their sum. What is no message is counted and passed over.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MAX_LINE = 64 << 10
"""Bytes of a line, without its newline."""
MAX_LINES = 4096
MAX_TOTAL = 1 << 20
"""Bytes of all lines of one answer together, which may all have to be kept until its head comes."""
MAX_HEADERS = 128
MAX_TEXT = 16 << 10
"""Characters of each text in an error."""

TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")  # RFC 9110
STATUSES = range(200, 600)


@dataclass(frozen=True)
class Head:
    """The response's status and header fields, names in lower case, checked: a name is a token, a value holds
    no control characters and is latin-1."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Log:
    """A line for the service's log. Text that the service wrote: it may hold control characters."""

    message: str
    level: str = "info"


@dataclass(frozen=True)
class Error:
    """What went wrong, in the service's words (`messages`) or in the supervisor's (`verdict`)."""

    name: str
    message: str
    stack: str = ""
    kind: str = ""
    """What of `verdict.KINDS` it is, where the supervisor says it."""


@dataclass(frozen=True)
class End:
    """The service says that its answer is complete. What counts is how the jail ended."""


Message = Head | Log | Error | End


class MessageReader:
    """Takes the stream of one service apart."""

    def __init__(self) -> None:
        self.malformed = 0
        """Lines that were no message."""
        self.full = False
        """More came than is read: nothing is taken any more, and the descriptor should be closed."""
        self._part = bytearray()
        self._too_long = False
        self._lines = self._total = 0

    def feed(self, data: bytes) -> list[Message]:
        """The messages that these bytes complete, in order."""
        found: list[Message] = []
        for piece in _lines(data):
            if self.full:
                break
            self._take(piece, found)
        return found

    def finish(self) -> list[Message]:
        """The stream has ended: the message on a last line without a newline, if there is one."""
        found: list[Message] = []
        if not self.full and (self._part or self._too_long):
            self._complete(found)
        return found

    def _take(self, piece: bytes, found: list[Message]) -> None:
        self._total += len(piece)
        if self._total > MAX_TOTAL:
            self.full = True
            self._part.clear()
            return
        line = piece.removesuffix(b"\n")
        if len(self._part) + len(line) > MAX_LINE:
            self._too_long = True
            self._part.clear()
        elif not self._too_long:
            self._part += line
        if len(line) < len(piece):
            self._complete(found)

    def _complete(self, found: list[Message]) -> None:
        message = None if self._too_long else parse_message(bytes(self._part))
        self._part.clear()
        self._too_long = False
        self._lines += 1
        self.full = self._lines >= MAX_LINES
        if message is None:
            self.malformed += 1
        else:
            found.append(message)


def _lines(data: bytes) -> list[bytes]:
    """Apart at newlines alone, which stay."""
    *whole, last = data.split(b"\n")
    return [line + b"\n" for line in whole] + ([last] if last else [])


def parse_message(line: bytes) -> Message | None:
    """The message on a line, or None where it is none. Never raises."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    kind = value.get("type")
    if kind == "head":
        return _head(value)
    if kind == "log" and isinstance(value.get("message"), str):
        level = value.get("level", "info")
        return Log(clean(value["message"]), level if isinstance(level, str) and level.isalpha() else "info")
    if kind == "error":
        texts = [value.get(name, "") for name in ("name", "message", "stack")]
        if all(isinstance(text, str) for text in texts):
            return Error(*(clean(text)[:MAX_TEXT] for text in texts))
    return End() if kind == "end" else None


def _head(value: Mapping[str, Any]) -> Head | None:
    status, headers = value.get("status", 200), value.get("headers", {})
    if not isinstance(status, int) or isinstance(status, bool) or status not in STATUSES:
        return None
    if not isinstance(headers, dict) or len(headers) > MAX_HEADERS:
        return None
    found: list[tuple[str, str]] = []
    for name, values in headers.items():
        for each in values if isinstance(values, list) else [values]:
            text = str(each) if isinstance(each, int) and not isinstance(each, bool) else each
            if not name or not TOKEN.issuperset(name) or not is_field_value(text):
                return None
            found.append((name.lower(), text.strip(" \t")))
    return Head(status, tuple(found)) if len(found) <= MAX_HEADERS else None


def is_field_value(value: object) -> bool:
    """Whether HTTP can carry it in a header field."""
    return isinstance(value, str) and all(
        char == "\t" or " " <= char <= "~" or "\x80" <= char <= "\xff" for char in value
    )


def clean(text: str) -> str:
    """Without halves of surrogate pairs, which no encoding can write."""
    return text.encode("utf-8", "replace").decode() if not text.isascii() else text


def grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, str | list[str]]:
    """Values by name; of several with one name a list."""
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}
