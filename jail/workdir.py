"""`Workdir`: a folder of the host that one jail after another may write, with ways in and out that hostile
content cannot bend.

Nothing in it is ever looked up by a path: each name on the way is opened in the folder before it, without
following links, so that no link, however it is swapped while we look, leads out of the folder (what
openat2(2) calls RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS). Only regular files and folders are copied, with
limits on their number, their size and their depth; set-id bits, owners and times are not.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from types import TracebackType

from jail.defaults import TMP_INODES
from jail.errors import CopyError
from jail.leftovers import make_folder
from jail.mounting import mount_tmpfs, unmount
from jail.removal import empty
from jail.spec import Jail, parse_limits
from rlimits import INFINITY

MAX_FILES = 1000
MAX_BYTES = 64 << 20
MAX_DEPTH = 32

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Workdir:
    """A new folder below `parent` (the system's place for temporary files), removed with all that is in it
    at the end of the `with` block, or by `close`. Its path is `os.fspath(workdir)`.

    Only the caller's user can reach it from outside a jail. What jails put there takes room on the host's
    file system: `Limits.file_size` holds for each file, nothing but a quota or a file system of its own for
    all. What a killed caller leaves behind is removed by its user's next Workdir below the same `parent`.

    With `size`, in bytes or as `"64M"`, it is a file system of its own: a tmpfs of that size, rounded up to
    whole pages, and of 65536 files and folders. All who write share them, jails and copies; whoever wants
    more gets ENOSPC. It takes memory: it counts for the memory limit of the jail that wrote it while that
    runs, for nobody's afterwards. Needs root, with the right to mount where it is, and Linux 6.3; raises
    UnsupportedError elsewhere, SpecError for what is no size.
    """

    def __init__(
        self, parent: str | os.PathLike[str] | None = None, *, size: int | str | None = None
    ) -> None:
        most = None if size is None else parse_limits(tmp_size=size).tmp_size
        # Two folders: a jail may change the mode of the inner one, which it owns, and never sees the outer.
        self._outer, self._lock = make_folder(
            os.fspath(parent) if parent is not None else tempfile.gettempdir(), "pyjail-work-"
        )
        self._path = os.path.join(self._outer, "files")
        self._mounted = most not in (None, INFINITY)
        with contextlib.ExitStack() as made:  # taken back unless all went well
            made.callback(os.close, self._lock)
            made.callback(os.rmdir, self._outer)
            os.mkdir(self._path, 0o700)
            made.callback(os.rmdir, self._path)
            if most is not None and self._mounted:
                mount_tmpfs(self._path, most, TMP_INODES, "size of a Workdir")
                made.callback(unmount, self._path)
            self._folder = os.open(self._path, FOLDER)
            made.pop_all()

    def __fspath__(self) -> str:
        return self._path

    def mounted(self, jail: Jail | None = None, target: str = "/work") -> Jail:
        """The jail (the default one) with this folder writable at `target`, where its command starts."""
        box = (jail if jail is not None else Jail()).with_bind(self, target, writable=True)
        return Jail(**{**{name: getattr(box, name) for name in Jail.__match_args__}, "cwd": target})

    def copy_in(
        self,
        source: str | os.PathLike[str],
        name: str | None = None,
        *,
        max_files: int = MAX_FILES,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """Copy a file or folder of the host to `name`, a relative path inside (its own name if left out).
        Folders on the way are made; nothing is overwritten. Links are followed on the way to `source` and
        refused below it.

        Raises CopyError, and nothing is left of the copy.
        """
        path = os.path.realpath(source)
        budget = _Budget(max_files, max_bytes)
        with (
            _host_folder(os.path.dirname(path)) as host,
            _way(self._folder, name or os.path.basename(path), make=True) as (folder, last),
        ):
            _copy(host, os.path.basename(path), folder, last, budget)

    def copy_out(
        self,
        name: str,
        target: str | os.PathLike[str],
        *,
        max_files: int = MAX_FILES,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """Copy a file or folder inside to `target` on the host, which must not exist yet. Anything that is
        no regular file or folder, a link above all, is refused.

        Raises CopyError, and nothing is left of the copy.
        """
        path = os.path.abspath(target)
        budget = _Budget(max_files, max_bytes)
        with _way(self._folder, name) as (folder, last), _host_folder(os.path.dirname(path)) as host:
            _copy(folder, last, host, os.path.basename(path), budget)

    def write(self, name: str, data: bytes | str, *, executable: bool = False) -> None:
        """Make a file; text as UTF-8. Folders on the way are made; nothing is overwritten. Raises
        CopyError, and there is no such file."""
        mode = 0o755 if executable else 0o644
        with _way(self._folder, name, make=True) as (folder, last):
            descriptor = os.open(last, WRITE, mode, dir_fd=folder)
            try:
                with open(descriptor, "wb") as file:
                    file.write(data.encode() if isinstance(data, str) else data)
            except BaseException:
                _remove(folder, last)
                raise

    def read(self, name: str, max_bytes: int = MAX_BYTES) -> bytes:
        """The content of a regular file. Raises CopyError, also where it is larger than `max_bytes`."""
        with _way(self._folder, name) as (folder, last), open(_open_file(folder, last, name), "rb") as file:
            data = file.read(max_bytes + 1) if os.fstat(file.fileno()).st_size <= max_bytes else None
            if data is None or len(data) > max_bytes:
                raise CopyError(name, f"it is larger than {max_bytes} bytes")
            return data

    def close(self) -> None:
        """Remove it. Raises OSError where a jail still writes into it; one of a `size` ends with the jail."""
        if self._folder >= 0:
            if self._mounted:
                unmount(self._path)
            else:
                empty(self._folder)
            os.rmdir(self._path)
            os.rmdir(self._outer)
            os.close(self._lock)
            os.close(self._folder)
            self._folder = -1

    def __enter__(self) -> Workdir:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Workdir {self._path!r}{'' if self._folder >= 0 else ': closed'}>"


class _Budget:
    """What may still be copied, and whether anything was made of it."""

    def __init__(self, files: int, size: int) -> None:
        self.begun = False
        self.files = self.most_files = files
        self.bytes = self.most_bytes = size

    def take(self, path: str, size: int) -> None:
        """One more file or folder, of a size."""
        self.files -= 1
        self.bytes -= size
        if self.files < 0:
            raise CopyError(path, f"more than {self.most_files} files and folders")
        if self.bytes < 0:
            raise CopyError(path, f"more than {self.most_bytes} bytes together")


@contextlib.contextmanager
def _named(path: str) -> Iterator[None]:
    """Errors of the file system, as CopyError about the path."""
    try:
        yield
    except OSError as error:
        raise CopyError(path, error.strerror or str(error)) from None


@contextlib.contextmanager
def _host_folder(path: str) -> Iterator[int]:
    """A folder of the caller's own, looked up as ever."""
    with _named(path):
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield folder
        finally:
            os.close(folder)


@contextlib.contextmanager
def _way(top: int, path: str, make: bool = False) -> Iterator[tuple[int, str]]:
    """The last folder on a path below `top`, opened name by name, and the last name."""
    names = path.split("/")
    if len(names) > MAX_DEPTH or any(name in ("", ".", "..") or "\0" in name for name in names):
        raise CopyError(path, f"expected a relative path of at most {MAX_DEPTH} plain names")
    with contextlib.ExitStack() as opened, _named(path):
        folder = top
        for name in names[:-1]:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o755, dir_fd=folder)
            folder = os.open(name, FOLDER, dir_fd=folder)
            opened.callback(os.close, folder)
        yield folder, names[-1]


def _open_file(folder: int, name: str, path: str) -> int:
    """A regular file, opened; without waiting for anybody, and without opening what is none."""
    if stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        descriptor = os.open(name, READ, dir_fd=folder)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):  # it may have been swapped
            return descriptor
        os.close(descriptor)
    raise CopyError(path, "no regular file; links, devices, pipes and sockets are not copied")


def _copy(source: int, name: str, target: int, new: str, budget: _Budget) -> None:
    """Copy one name to a new one, whole or not at all."""
    with _named(name):
        try:
            _copy_any(source, name, target, new, name, budget, MAX_DEPTH)
        except BaseException as error:
            if budget.begun:  # or it is somebody else's
                _remove(target, new)
            elif isinstance(error, FileExistsError):
                raise CopyError(new, "is there already; nothing is overwritten") from None
            raise


def _copy_any(source: int, name: str, target: int, new: str, path: str, budget: _Budget, depth: int) -> None:
    if not stat.S_ISDIR(os.stat(name, dir_fd=source, follow_symlinks=False).st_mode):
        with open(_open_file(source, name, path), "rb", buffering=0) as file:
            _copy_file(file.fileno(), target, new, path, budget)
        return
    if depth == 0:
        raise CopyError(path, f"more than {MAX_DEPTH} folders deep")
    budget.take(path, 0)
    with contextlib.ExitStack() as opened:
        inner = os.open(name, FOLDER, dir_fd=source)
        opened.callback(os.close, inner)
        os.mkdir(new, 0o755, dir_fd=target)
        budget.begun = True
        made = os.open(new, FOLDER, dir_fd=target)
        opened.callback(os.close, made)
        with os.scandir(inner) as entries:
            for entry in entries:
                below = f"{path}/{entry.name}"
                _copy_any(inner, entry.name, made, entry.name, below, budget, depth - 1)


def _copy_file(source: int, target: int, new: str, path: str, budget: _Budget) -> None:
    found = os.fstat(source)
    budget.take(path, found.st_size)
    left = found.st_size
    mode = 0o755 if found.st_mode & 0o100 else 0o644
    with open(os.open(new, WRITE, mode, dir_fd=target), "wb", buffering=0) as file:
        budget.begun = True
        while left > 0 and (sent := os.sendfile(file.fileno(), source, None, left)):
            left -= sent


def _remove(folder: int, name: str) -> None:
    """What was made of a copy that failed."""
    with contextlib.suppress(FileNotFoundError):
        try:
            os.unlink(name, dir_fd=folder)
        except IsADirectoryError:
            inner = os.open(name, FOLDER, dir_fd=folder)
            try:
                empty(inner)
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=folder)
