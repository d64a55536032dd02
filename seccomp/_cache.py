"""Compiled programs kept between runs, in a folder that nobody else can write."""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress

from seccomp.program import pack, unpack

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class Cache:
    """The entry of one policy text; without a folder, or with one that cannot be trusted, it stays empty."""

    def __init__(self, folder: str | None, text: bytes, machine: str, strict: bool, library: str) -> None:
        self._folder, self._text = folder, text
        self._machine, self._strict, self._library = machine, strict, library
        key = hashlib.sha256(pack(b"", text, machine, strict, library)).hexdigest()
        self._name = f"{key[:32]}.bpf"

    def get(self) -> bytes | None:
        """The program, if it is there and whole."""
        with suppress(OSError):
            folder = self._open(make=False)
            try:
                fd = os.open(
                    self._name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder
                )
            finally:
                os.close(folder)
            with open(fd, "rb") as file:
                if _is_private(os.fstat(fd), stat.S_IFREG):
                    return unpack(file.read(), self._text, self._machine, self._strict, self._library)
        return None

    def put(self, bpf: bytes) -> None:
        """Keep the program, whole or not at all; a cache that cannot be written is no error."""
        with suppress(OSError):
            folder = self._open(make=True)
            temporary = f".{self._name}.{os.getpid()}.{os.urandom(4).hex()}"
            try:
                self._write(
                    folder, temporary, pack(bpf, self._text, self._machine, self._strict, self._library)
                )
                os.rename(temporary, self._name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError:
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=folder)
            finally:
                os.close(folder)

    def _write(self, folder: int, name: str, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(name, flags, 0o600, dir_fd=folder), "wb") as file:
            file.write(data)

    def _open(self, *, make: bool) -> int:
        """A descriptor of the folder, whose owner and mode were checked by that descriptor."""
        if self._folder is None:
            raise FileNotFoundError
        if make:
            with suppress(FileExistsError):
                os.mkdir(self._folder, 0o700)
        fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        if not _is_private(os.fstat(fd), stat.S_IFDIR):
            os.close(fd)
            raise PermissionError
        return fd


def _is_private(found: os.stat_result, kind: int) -> bool:
    return (
        stat.S_IFMT(found.st_mode) == kind
        and found.st_uid == os.geteuid()
        and not found.st_mode & _OTHERS_WRITE
    )
