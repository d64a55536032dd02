"""What can go wrong before a program exists."""

from __future__ import annotations

import errno


class PolicyError(ValueError):
    """A policy that cannot be read or compiled.

    `file`: the policy file's path, or `None` where there is none.  `key`: where in it
    (`rule[3].when[0].arg`), or "".  `line`: the line of the key, or 0 where that is not known.
    """

    def __init__(self, message: str, *, file: str | None = None, key: str = "", line: int = 0) -> None:
        self.file = file
        self.key = key
        self.line = line
        self.message = message
        where = f"{file}:{line}" if file and line else f"line {line}" if line else file
        place = ": ".join(part for part in (where, key) if part)
        super().__init__(f"{place}: {message}" if place else message)


class LibraryMissingError(ImportError):
    """libseccomp, or the extension that reaches it, is not there; the text names the package that has it."""


class ThreadError(OSError):
    """A program could not be put into force for every thread: `thread` (its id) has filters that the caller
    has not, or is in strict mode.  Nothing was changed.
    """

    def __init__(self, thread: int) -> None:
        super().__init__(errno.ESRCH, f"thread {thread} has seccomp filters of its own")
        self.thread = thread
