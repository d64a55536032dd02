"""The three streams of a jail: what the caller says, as descriptors for the jail and ends for the caller."""

from __future__ import annotations

import os
import subprocess
from typing import Protocol

from jail.errors import SpecError
from jail.spawn import INHERIT

PIPE, STDOUT, DEVNULL = subprocess.PIPE, subprocess.STDOUT, subprocess.DEVNULL
NO_DESCRIPTOR = -99


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
        if stderr == STDOUT and stdout is None:
            stdout = 1
        # Before anything is opened: that could get the number of what is closed.
        known = [_known(number, stream) for number, stream in enumerate((stdin, stdout, stderr))]
        try:
            first, second = self._end(0, known[0]), self._end(1, known[1])
            self.theirs = (first, second, second if known[2] == STDOUT else self._end(2, known[2]))
        except BaseException:
            self.close_all()
            raise

    def _end(self, number: int, known: int) -> int:
        if known == PIPE:
            reader, writer = os.pipe()
            self.ours[number], theirs = (writer, reader) if number == 0 else (reader, writer)
            self.opened.append(theirs)
            return theirs
        if known == DEVNULL:
            self.opened.append(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
            return self.opened[-1]
        return known

    def close_theirs(self) -> None:
        """The jail has its own by now, and must be alone with them: or nobody would see an end."""
        while self.opened:
            os.close(self.opened.pop())

    def close_all(self) -> None:
        """Nothing was started."""
        self.close_theirs()
        while self.ours:
            os.close(self.ours.popitem()[1])


def _known(number: int, stream: Stream) -> int:
    """The descriptor, or INHERIT, PIPE, DEVNULL, STDOUT. Raises SpecError."""
    if stream is None:
        return INHERIT
    descriptor = stream if isinstance(stream, int) else _fileno(stream)
    if descriptor in (PIPE, DEVNULL) or (descriptor == STDOUT and number == 2):
        return descriptor
    name = ("stdin", "stdout", "stderr")[number]
    if isinstance(stream, bool) or descriptor < 0:
        raise SpecError(f"expected None, PIPE, DEVNULL, a descriptor or an open file, got {stream!r}", name)
    try:
        os.fstat(descriptor)
    except OSError as error:
        raise SpecError(f"descriptor {descriptor}: {error.strerror}", name) from None
    return descriptor


def _fileno(stream: HasFileno) -> int:
    try:
        number: object = stream.fileno()
    except (AttributeError, OSError, ValueError):
        return NO_DESCRIPTOR
    return number if isinstance(number, int) and number >= 0 else NO_DESCRIPTOR
