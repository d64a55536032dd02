"""The three streams of a jail: what the caller says, as descriptors for the jail and ends for the caller."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from typing import Protocol

from jail.errors import SpecError

PIPE, STDOUT, DEVNULL = subprocess.PIPE, subprocess.STDOUT, subprocess.DEVNULL
NO_DESCRIPTOR, INHERIT, NOTHING = -99, -100, -101


class HasFileno(Protocol):
    """A file or a socket."""

    def fileno(self) -> int: ...


Stream = int | HasFileno | None
"""None for the caller's own, PIPE, DEVNULL, STDOUT (as stderr), a descriptor, or what has a `fileno()`: a
file, a socket."""


class Ends:
    """Descriptors for the jail (`theirs`, by their number in it; none where it is to get the caller's own of
    0, 1 and 2) and the caller's ends of pipes (`ours`). NOTHING stands for DEVNULL where `null` is false: the
    serving jailer has one."""

    def __init__(self, stdin: Stream, stdout: Stream, stderr: Stream, *, null: bool = True) -> None:
        self.ours: dict[int, int] = {}
        self.opened: list[int] = []
        self._null = -1 if null else NOTHING
        if stderr == STDOUT and stdout is None:
            stdout = 1
        # Before anything is opened: that could get the number of what is closed.
        known = [_known(number, stream) for number, stream in enumerate((stdin, stdout, stderr))]
        try:
            found = [self._end(0, known[0]), self._end(1, known[1])]
            found.append(found[1] if known[2] == STDOUT else self._end(2, known[2]))
            self.theirs = {
                number: descriptor for number, descriptor in enumerate(found) if descriptor != INHERIT
            }
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
            if self._null == -1:
                self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
                self.opened.append(self._null)
            return self._null
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
    if stream in (PIPE, DEVNULL) or (stream == STDOUT and number == 2):
        return stream
    name = ("stdin", "stdout", "stderr")[number]
    return _open(stream, name, "None, PIPE, DEVNULL, a descriptor or an open file")


def passed(wanted: Mapping[int, int | HasFileno], name: str) -> dict[int, int]:
    """Descriptors for the jail, by their number in it. Raises SpecError for `name`."""
    for number in wanted:
        if isinstance(number, bool) or number < 3:
            raise SpecError(f"expected a number from 3 on in the jail, got {number!r}", name)
    return {number: _open(file, name, "a descriptor or an open file") for number, file in wanted.items()}


def _open(file: int | HasFileno, name: str, wanted: str) -> int:
    descriptor = file if isinstance(file, int) else _fileno(file)
    if isinstance(file, bool) or descriptor < 0:
        raise SpecError(f"expected {wanted}, got {file!r}", name)
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
