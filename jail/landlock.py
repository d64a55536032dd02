"""Landlock for the calling process: which files it may still open by path. See landlock(7).

What is open already stays usable. Landlock does not hold stat(2), chdir(2), changes of mode, owner, times and
extended attributes; ioctls of devices before ABI 5 (Linux 6.10), connecting to Unix sockets before ABI 9.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Mapping

from jail.errors import SpecError, UnsupportedError
from seccomp.syscalls import system_call

_Path = str | os.PathLike[str]

READ_ONLY, WRITABLE = "ro", "rw"

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # on every machine
_VERSION = 1
_PATH_BENEATH = 1
_TSYNC = 1 << 3

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE, _IOCTL_DEV, _RESOLVE_UNIX = (
    1 << bit for bit in (0, 1, 2, 3, 14, 15, 16)
)
_READING = _EXECUTE | _READ_FILE | _READ_DIR
_OF_FILES = _EXECUTE | _READ_FILE | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV | _RESOLVE_UNIX
_ALL = {3: (1 << 15) - 1, 5: (1 << 16) - 1, 9: (1 << 17) - 1}  # from which ABI on
TRUNCATE_ABI = 3
"""Since this one it holds truncate(2)."""
TSYNC_ABI = 8
"""Since this one the kernel can restrict all threads of a process at once."""


def abi() -> int:
    """The version of the kernel's Landlock, 0 where it has none or it is switched off."""
    try:
        return system_call(_CREATE_RULESET, 0, 0, _VERSION)
    except OSError:
        return 0


class Ruleset:
    """Paths looked up and made into rules, not yet in force. `paths`: a path → "ro" (read, list, execute) or
    "rw" (everything), with all that lies beneath; nothing else stays allowed.

    Raises SpecError for what makes no sense or cannot be opened, UnsupportedError where the kernel cannot
    hold it.
    """

    def __init__(self, paths: Mapping[_Path, str]) -> None:
        if not isinstance(paths, Mapping):
            raise SpecError(f"expected a mapping of paths to 'ro' or 'rw', got {paths!r}", "landlock")
        self._fd = -1
        opened: list[tuple[int, _Path, str]] = []
        try:
            for path, access in paths.items():
                opened.append((_open(path, access), path, access))
            self._handled = rights(abi())
            self._fd = system_call(_CREATE_RULESET, struct.pack("=Q", self._handled), 8, 0)
            for fd, path, access in opened:
                self._add(fd, path, access)
        except BaseException:
            self.close()
            raise
        finally:
            for fd, _, _ in opened:
                os.close(fd)

    def _add(self, fd: int, path: _Path, access: str) -> None:
        allowed = self._handled if access == WRITABLE else _READING
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            allowed &= _OF_FILES
        try:
            system_call(_ADD_RULE, self._fd, _PATH_BENEATH, struct.pack("=Qi", allowed, fd), 0)
        except OSError as error:  # e.g. a file of nsfs: not reached by any path
            raise SpecError(f"no rule can be made for it: {error.strerror}", _field(path)) from None

    def restrict(self, all_threads: bool) -> None:
        """Put it into force for the calling thread, or for all. OSError: EPERM without no_new_privs or
        CAP_SYS_ADMIN, E2BIG for too many layers."""
        system_call(_RESTRICT_SELF, self._fd, _TSYNC if all_threads else 0)

    def close(self) -> None:
        """The rules in force, if any, stay."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def rights(version: int) -> int:
    """All that a Landlock of this ABI can hold of files. UnsupportedError where it is not enough for "ro"."""
    if version < TRUNCATE_ABI:
        # Without the right to truncate, what is "ro" could be emptied.
        raise UnsupportedError(
            "landlock",
            f"Landlock ABI {TRUNCATE_ABI} (it has {version or 'none'})",
            "boot Linux 6.2 or newer with landlock among its `lsm=`, or use jail.run, whose mounts need none",
        )
    return max(rights for since, rights in _ALL.items() if since <= version)


def _open(path: _Path, access: str) -> int:
    if access not in (READ_ONLY, WRITABLE):
        raise SpecError(f"expected {READ_ONLY!r} or {WRITABLE!r}, got {access!r}", _field(path))
    try:
        return os.open(os.fspath(path), os.O_PATH | os.O_CLOEXEC)
    except (OSError, ValueError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SpecError(f"{reason}; name a path that is there, or leave it out", _field(path)) from None


def _field(path: _Path) -> str:
    return f"landlock[{path!r}]"
