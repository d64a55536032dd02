"""Emptying a folder whose content is hostile: any depth, any number, any modes.

A walk that goes down would need a descriptor or a stack frame for each level, and a jail makes more levels
than there are of either. So nothing goes down: the folders in a folder are moved to the top before it is
removed, and every folder is reached in one step from there.
"""

from __future__ import annotations

import errno
import itertools
import os
import secrets
from collections.abc import Iterator

PATH = os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
BATCH = 1000


def empty(top: int) -> None:
    """Remove everything in the folder. Raises OSError."""
    os.fchmod(top, 0o700)
    marks = (f".pyjail-{secrets.token_hex(8)}-{number}" for number in itertools.count())
    while names := _some(top):
        for name, is_folder in names:
            if is_folder:
                _flatten(top, name, marks)
            else:
                os.unlink(name, dir_fd=top)


def _some(folder: int) -> list[tuple[str, bool]]:
    """Some names in a folder, and whether each is a folder itself."""
    with os.scandir(folder) as entries:
        return [(each.name, each.is_dir(follow_symlinks=False)) for each in itertools.islice(entries, BATCH)]


def _flatten(top: int, name: str, marks: Iterator[str]) -> None:
    """Remove a folder at the top, whose own folders come to the top."""
    folder = _opened(top, name)
    try:
        while names := _some(folder):
            for inner, is_folder in names:
                if is_folder:
                    os.close(_opened(folder, inner))  # what is moved must be writable: its `..` changes
                    _move(folder, inner, top, marks)
                else:
                    os.unlink(inner, dir_fd=folder)
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=top)


def _opened(parent: int, name: str) -> int:
    """A folder, whatever its mode was."""
    place = os.open(name, PATH, dir_fd=parent)
    try:
        os.chmod(f"/proc/self/fd/{place}", 0o700)
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place)
    finally:
        os.close(place)


def _move(source: int, name: str, top: int, marks: Iterator[str]) -> None:
    for mark in marks:
        try:
            os.rename(name, mark, src_dir_fd=source, dst_dir_fd=top)
            return
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise
