"""The three streams of a jail: what the caller says, as descriptors for the jail and ends for the caller."""

from __future__ import annotations

import os
import subprocess
from typing import Protocol

from jail.errors import SpecError
from jail.spawn import INHERIT, SAME_AS_STDOUT

PIPE, STDOUT, DEVNULL = subprocess.PIPE, subprocess.STDOUT, subprocess.DEVNULL


class HasFileno(Protocol):
    """A file or a socket."""

    def fileno(self) -> int: ...


Stream = int | HasFileno | None
"""None for the caller's own, PIPE, DEVNULL, STDOUT (as stderr), a descriptor, or what has a `fileno()`: a
file, a socket."""


class Ends:
    """Descriptors for the jail (`theirs`, by number) and the caller's ends of pipes (`ours`)."""

    def __init__(self, stdin: Stream, stdout: Stream, stderr: Stream) -> None:
        self.ours: dict[int, int] = {}
        self.opened: list[int] = []
        try:
            self.theirs = (self._end(0, stdin), self._end(1, stdout), self._end(2, stderr))
        except BaseException:
            self.close_all()
            raise

    def _end(self, number: int, stream: Stream) -> int:
        if stream is None:
            return INHERIT
        if stream == PIPE:
            reader, writer = os.pipe()
            self.ours[number], theirs = (writer, reader) if number == 0 else (reader, writer)
            self.opened.append(theirs)
            return theirs
        if stream == DEVNULL:
            self.opened.append(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
            return self.opened[-1]
        if stream == STDOUT and number == 2:
            return SAME_AS_STDOUT
        descriptor = stream if isinstance(stream, int) else _fileno(stream)
        name = ("stdin", "stdout", "stderr")[number]
        if isinstance(stream, bool) or descriptor < 0:
            raise SpecError(
                f"expected None, PIPE, DEVNULL, a descriptor or an open file, got {stream!r}", name
            )
        try:
            os.fstat(descriptor)
        except OSError as error:
            raise SpecError(f"descriptor {descriptor}: {error.strerror}", name) from None
        return descriptor

    def close_theirs(self) -> None:
        """The jail has its own by now, and must be alone with them: or nobody would see an end."""
        while self.opened:
            os.close(self.opened.pop())

    def close_all(self) -> None:
        """Nothing was started."""
        self.close_theirs()
        while self.ours:
            os.close(self.ours.popitem()[1])


def _fileno(stream: HasFileno) -> int:
    try:
        number: object = stream.fileno()
    except (AttributeError, OSError, ValueError):
        return -1
    return number if isinstance(number, int) else -1
