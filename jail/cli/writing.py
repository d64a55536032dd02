"""What commands write: files, whole or not at all, and notes on stderr."""

from __future__ import annotations

import os
import stat
import sys

from jail.settings import UsageError


def write_whole(path: str, content: bytes, mode: int | None = None) -> None:
    """Replace the file: nobody ever reads half of it. `mode` is set exactly; None is what the umask leaves.

    A device, FIFO or descriptor (/dev/stdout) is written to instead. Raises UsageError.
    """
    try:
        if _is_special(path):
            with open(path, "wb") as file:
                file.write(content)
        else:
            _replace(path, content, mode)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None


def note(text: str) -> None:
    """Tell people something on stderr, if there is one; it never lands among what a command prints."""
    if sys.stderr is not None:
        print(f"pyjail: {text}", file=sys.stderr, flush=True)


def _is_special(path: str) -> bool:
    """Whether there is something that another file must not take the place of."""
    if os.path.abspath(path).startswith(("/dev/", "/proc/")):
        return True
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except FileNotFoundError:
        return False


def _replace(path: str, content: bytes, mode: int | None) -> None:
    temporary = f"{path}.{os.getpid()}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o666 if mode is None else mode)
    try:
        with open(descriptor, "wb") as file:
            if mode is not None:
                os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.rename(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise
