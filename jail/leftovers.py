"""Folders that end with the process which made them: what a killed one has left is removed by the next that
makes one in the same place.

The sign of life is a lock (flock(2)) on the folder: the kernel takes it away with the process, and with the
last child that it has forked.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile

from jail.mounting import unmount
from jail.removal import empty

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def make_folder(parent: str, prefix: str) -> tuple[str, int]:
    """A new folder of the caller's alone, and the descriptor that holds its lock. Raises OSError."""
    _reclaim(parent, prefix)
    while True:
        path = tempfile.mkdtemp(prefix=prefix, dir=parent)
        with contextlib.suppress(FileNotFoundError):
            try:
                lock = os.open(path, FOLDER)
            except OSError:
                os.rmdir(path)
                raise
            fcntl.flock(lock, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.lstat(path), os.fstat(lock)):
                    return path, lock
            os.close(lock)
        # Taken for a leftover before it had its lock.


def _reclaim(parent: str, prefix: str) -> None:
    """Remove what is nobody's any more; what cannot be found or removed stays."""
    with contextlib.ExitStack() as opened, contextlib.suppress(OSError):
        top = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        opened.callback(os.close, top)
        for name in os.listdir(top):
            if name.startswith(prefix):
                with contextlib.suppress(OSError):
                    _remove_unless_held(top, name)


def _remove_unless_held(top: int, name: str) -> None:
    """Others may put anything into `top`: only a folder of our own user, closed to others, is looked into."""
    folder = os.open(name, FOLDER, dir_fd=top)
    try:
        found = os.fstat(folder)
        if (found.st_uid, stat.S_IMODE(found.st_mode)) != (os.geteuid(), 0o700):
            return
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for inner in os.listdir(folder):
            if os.stat(inner, dir_fd=folder, follow_symlinks=False).st_dev != found.st_dev:
                unmount(f"/proc/self/fd/{folder}/{inner}")
        empty(folder)
        os.rmdir(name, dir_fd=top)
    finally:
        os.close(folder)
