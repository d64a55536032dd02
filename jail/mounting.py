"""A tmpfs(5) on a folder of the host, in the caller's own mount namespace: what root may do with mount(2)."""

from __future__ import annotations

import ctypes
import os

from jail.errors import UnsupportedError
from jail.host import kernel_version

IDMAPPED_SINCE = (6, 3)
"""Since this kernel the owners in a tmpfs can be mapped (mount_setattr(2)), without which no jail of root's
could write there."""

NOSUID, NODEV = 2, 4
DETACH, NOFOLLOW = 2, 8


def mount_tmpfs(path: str, size: int, inodes: int, feature: str) -> None:
    """Cover the folder with an empty tmpfs that is the caller's alone. Raises UnsupportedError for the
    feature."""
    if kernel_version(os.uname().release) < IDMAPPED_SINCE:
        raise UnsupportedError(
            feature,
            "a tmpfs whose owners can be mapped (Linux 6.3)",
            "leave it out, and make the folder on a file system of its own",
        )
    data = f"size={size},nr_inodes={inodes},mode=700".encode()
    error = _libc("mount", b"pyjail", os.fsencode(path), b"tmpfs", ctypes.c_ulong(NOSUID | NODEV), data)
    if error:
        raise UnsupportedError(
            feature,
            f"the right to mount a tmpfs ({os.strerror(error)})",
            "run as root, or leave it out and make the folder on a file system of its own",
        )


def unmount(path: str) -> None:
    """Uncover the folder. What a jail still has of the file system goes with the jail. Raises OSError."""
    error = _libc("umount2", os.fsencode(path), DETACH | NOFOLLOW)
    if error:
        raise OSError(error, os.strerror(error), path)


def _libc(function: str, *arguments: object) -> int:
    """The call's errno, or 0."""
    return ctypes.get_errno() if getattr(ctypes.CDLL(None, use_errno=True), function)(*arguments) else 0
