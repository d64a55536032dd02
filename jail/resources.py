"""From `Limits` to what holds them on this host: rlimits, cgroups, timers; and the record of which it was."""

from __future__ import annotations

from jail import defaults
from jail.directives import Cgroup, CgroupSet, Enforced, Grace, Rlimit, Timeout
from jail.errors import UnsupportedError
from rlimits import INFINITY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jail.directives import Directive
    from jail.host import Host
    from jail.spec import Jail
    from rlimits import Limits

NPROC_COUNTS_THE_JAIL = (5, 14)
"""Since this kernel RLIMIT_NPROC counts a user namespace's processes, not all that a user has on the host."""


def resources(jail: Jail, host: Host) -> Iterator[Directive]:
    """The directives that hold the jail's limits. Raises UnsupportedError where one that was asked for cannot
    be."""
    limits = jail.limits
    yield from _memory(jail, host)
    yield from _pids(jail, host)
    yield from _simple(limits, "nofile", "nofile", (defaults.NOFILE, defaults.NOFILE))
    yield from _simple(limits, "file_size", "fsize", (defaults.FILE_SIZE, defaults.FILE_SIZE))
    yield from _simple(limits, "stack", "stack", defaults.STACK)
    yield from _simple(limits, "memlock", "memlock", (defaults.MEMLOCK, defaults.MEMLOCK))
    yield from _simple(limits, "core", "core", (defaults.CORE, defaults.CORE))
    yield from _simple(limits, "address_space", "as", None)
    yield from (Rlimit(name, value, value) for name, value in defaults.FIXED)
    yield from _times(limits)
    for name in ("tmp_size", "tmp_inodes"):
        if getattr(limits, name) not in (None, INFINITY):
            yield Enforced(name, "tmpfs")


def tmpfs_options(limits: Limits, size: int | None = None) -> str:
    """The caps of one writable tmpfs, for tmpfs(5), where 0 is no limit."""
    size = size if size is not None else limits.tmp_size if limits.tmp_size is not None else defaults.TMP_SIZE
    inodes = limits.tmp_inodes if limits.tmp_inodes is not None else defaults.TMP_INODES
    return f"size={max(size, 0)},nr_inodes={max(inodes, 0)},mode=1777"


def milliseconds(seconds: float) -> int:
    """A duration in the plan's unit; what is above 0 stays above 0."""
    return max(round(seconds * 1000), 1 if seconds else 0)


def _simple(limits: Limits, field: str, name: str, default: tuple[int, int] | None) -> Iterator[Directive]:
    """A limit that one rlimit of the same meaning holds."""
    value: int | None = getattr(limits, field)
    if value is None:
        if default is not None:
            yield Rlimit(name, *default)
    elif value == INFINITY:
        yield Rlimit(name, INFINITY, INFINITY)  # at most: the caller's own hard limit stays
    else:
        yield Rlimit(name, value, value, exact=True)
        yield Enforced(field, "rlimit")


def _memory(jail: Jail, host: Host) -> Iterator[Directive]:
    asked = jail.limits.memory
    if asked == INFINITY:
        return
    size = asked if asked is not None else defaults.MEMORY
    cgroup = host.cgroup_v1("memory")
    if cgroup:
        # In this order: memory and swap together may never be less than memory alone.
        yield Cgroup("v1", "memory", cgroup.mountpoint, cgroup.mountroot)
        yield CgroupSet("memory", "memory.limit_in_bytes", str(size))
        yield CgroupSet("memory", "memory.memsw.limit_in_bytes", str(size), required=False)
        yield CgroupSet("memory", "memory.kmem.tcp.limit_in_bytes", str(size), required=False)
        yield Enforced("memory", "cgroup-v1")
        return
    if asked is not None and "memory" not in jail.allow_weaker:
        raise UnsupportedError(
            "memory",
            "a memory cgroup in which this user may make another",
            "run as root, or accept a limit on each process instead with --allow-weaker memory",
        )
    yield Rlimit("data", size, size, exact=asked is not None)
    yield Enforced("memory", "rlimit")


def _pids(jail: Jail, host: Host) -> Iterator[Directive]:
    asked = jail.limits.pids
    if asked == INFINITY:
        yield Rlimit("nproc", INFINITY, INFINITY)
        return
    number = (asked if asked is not None else defaults.PIDS) + 1  # one of them is the jail's init
    cgroup = host.cgroup_v1("pids")
    counts_the_jail = host.kernel >= NPROC_COUNTS_THE_JAIL or host.pool is not None
    if cgroup:
        yield Cgroup("v1", "pids", cgroup.mountpoint, cgroup.mountroot)
        yield CgroupSet("pids", "pids.max", str(number))
    if counts_the_jail:
        yield Rlimit("nproc", number, number, exact=asked is not None and not cgroup)
    if cgroup or counts_the_jail:
        yield Enforced("pids", "cgroup-v1" if cgroup else "rlimit")
    elif asked is not None and "pids" not in jail.allow_weaker:
        raise UnsupportedError(
            "pids",
            "a pids cgroup in which this user may make another, and a kernel that counts processes by user "
            "namespace (5.14)",
            "run as root, or do without the limit with --allow-weaker pids",
        )


def _times(limits: Limits) -> Iterator[Directive]:
    if limits.cpu_time is not None and limits.cpu_time != INFINITY:
        seconds = -int(-limits.cpu_time // 1)  # rounded up
        yield Rlimit("cpu", seconds, seconds + 1, exact=True)  # SIGXCPU, and a second later SIGKILL
        yield Enforced("cpu_time", "rlimit")
    if limits.timeout is not None and limits.timeout != INFINITY:
        yield Timeout(milliseconds(limits.timeout))
        yield Enforced("timeout", "supervisor")
    yield Grace(milliseconds(limits.grace if limits.grace is not None else defaults.GRACE))
