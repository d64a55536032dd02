"""The serving jailer as a process: starting it, and what it has taken over from us when it was started."""

from __future__ import annotations

import fcntl
import os
import re
import resource
import signal
import socket
from collections.abc import Sequence
from typing import NamedTuple

from jail.errors import LaunchError
from jail.launch import JAILER, jailer_path

_LIMITS = sorted({getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")})
_OF_STATUS = re.compile(
    rb"^(?:Uid|Gid|Groups|SigIgn|Cap\w+|NoNewPrivs|Seccomp\w*|Cpus_allowed|Mems_allowed):.*$", re.MULTILINE
)
_OF_NAMESPACES = ("mnt", "net", "user")


class Server:
    """A serving jailer. What it is asked for goes through its socket, which is its life too."""

    def __init__(self) -> None:
        self._socket = _started()
        self._identity = _identity(self._socket.fileno())

    def ask(self, message: bytes, descriptors: Sequence[int]) -> None:
        """Raises ConnectionError where it has ended."""
        if not self._is_ours():
            raise ConnectionResetError
        socket.send_fds(self._socket, [message], descriptors)

    def close(self) -> None:
        """It ends. Jails that run go on."""
        if self._is_ours():
            self._socket.close()
        else:
            self._socket.detach()

    def _is_ours(self) -> bool:
        """Not so where somebody has closed all descriptors, as daemons do, and others have the number."""
        return _identity(self._socket.fileno()) == self._identity


def _identity(descriptor: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _started() -> socket.socket:
    path = jailer_path()
    ends = [end.detach() for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)]
    try:
        ends.append(os.pidfd_open(os.getpid()))
        # None may be 0, 1 or 2, if the caller has closed these: they must stay what they are to jails.
        ours, *theirs = (_above_streams(ends, at) for at in range(3))
        _execute(path, theirs)
        ends.remove(ours)
        return socket.socket(fileno=ours)
    finally:
        for end in ends:
            os.close(end)


def _above_streams(ends: list[int], at: int) -> int:
    copy = fcntl.fcntl(ends[at], fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(ends[at])
    ends[at] = copy
    return copy


def _execute(path: str, numbers: Sequence[int]) -> None:
    """Start a serving jailer that has these descriptors. Raises LaunchError, OSError."""
    pid = os.posix_spawn(
        path,
        ["jailer", "serve", *map(str, numbers)],
        os.environb,
        file_actions=[(os.POSIX_SPAWN_DUP2, number, number) for number in numbers],
        # Signals must not meet what does not listen yet; and whatever the caller ignores, it means its TERM.
        setsigmask=signal.valid_signals(),
        setsigdef=[signal.SIGTERM],
    )
    try:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:  # SIGCHLD is ignored, or somebody else was faster
        return
    if status != 0:
        raise LaunchError(f"the jailer ended with status {status} at once", "jailer", object=JAILER)


class Surroundings(NamedTuple):
    cgroups: bytes
    """As /proc/self/cgroup has them."""
    others: object


def surroundings() -> Surroundings:
    """What jails take over from whoever starts them and may change while a process runs: ids, groups,
    capabilities, filters, ignored signals, processors (proc_pid_status(5)), limits (getrlimit(2)), priority,
    cgroups, namespaces and root."""
    root = os.stat("/")
    others = (
        os.getpid(),
        *_OF_STATUS.findall(_content("/proc/thread-self/status")),
        _content("/proc/self/oom_score_adj"),
        *map(resource.getrlimit, _LIMITS),
        os.getpriority(os.PRIO_PROCESS, 0),
        *map(_namespace, _OF_NAMESPACES),
        (root.st_dev, root.st_ino),
    )
    return Surroundings(own_cgroups(), others)


def own_cgroups() -> bytes:
    """Where this process is; somebody may move it."""
    return _content("/proc/self/cgroup")


def _content(path: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # no /proc, or not that much of it
        return b""
    try:
        return os.read(descriptor, 1 << 16)
    finally:
        os.close(descriptor)


def _namespace(kind: str) -> str:
    try:
        return os.readlink(f"/proc/self/ns/{kind}")
    except OSError:
        return ""
