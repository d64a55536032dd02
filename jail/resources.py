"""From `Limits` to what holds them on this host: rlimits, cgroups, timers; and the record of which it was."""

from __future__ import annotations

from jail import defaults
from jail.directives import (
    Cgroup,
    CgroupSet,
    CpuTime,
    Enforced,
    Freezer,
    Grace,
    IdleTimeout,
    MaxOutput,
    Rlimit,
    Scope,
    Timeout,
)
from jail.errors import UnsupportedError
from rlimits import INFINITY
from rlimits.rlimit import tighter_rlimit
from rlimits.units import cpus_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jail.directives import Directive
    from jail.host import Host
    from jail.spec import Jail
    from rlimits import Limits
    from rlimits.cgroup import Controller

CONTROLLERS = ("memory", "pids", "cpu", "cpuset", "cpuacct", "io", "blkio")
"""The cgroup controllers that limits are held by."""

CPU_PERIOD = 100_000
"""Microseconds over which a share of the CPUs is counted: the kernel's own default."""

NPROC_COUNTS_THE_JAIL = (5, 14)
"""Since this kernel RLIMIT_NPROC counts a user namespace's processes, not all that a user has on the host."""


def resources(jail: Jail, host: Host, listen_fds: bool = False) -> Iterator[Directive]:
    """The directives that hold the jail's limits; with `listen_fds` a service manager hands it sockets.
    Raises SpecError where they make no sense together, UnsupportedError where one that was asked for cannot
    be held."""
    asked = {limit[0]: limit for limit in jail.limits.rlimits}
    for directive in _named(jail, host, listen_fds):
        if isinstance(directive, Rlimit) and directive.name in asked:
            if directive.exact:  # what a limit of another name needs here
                mine = (directive.name, directive.soft, directive.hard)
                asked[directive.name] = tighter_rlimit(asked[directive.name], mine)
        else:
            yield directive
    for name, soft, hard in asked.values():
        yield Rlimit(name, soft, hard, exact=True)
        yield Enforced(f"rlimit {name}", "rlimit")


def _named(jail: Jail, host: Host, listen_fds: bool) -> Iterator[Directive]:
    """What holds the limits that have a name of their own."""
    limits = jail.limits
    whole = (_memory, _pids, _cpus, _cpuset, _cpu_time, _io_max, _io_weight)
    held = _joined([directive for part in whole for directive in part(jail, host)])
    yield from _freezable(held, host)
    yield from _files(jail, held, listen_fds)
    yield from _simple(limits, "file_size", "fsize", (defaults.FILE_SIZE, defaults.FILE_SIZE))
    yield from _simple(limits, "stack", "stack", defaults.STACK)
    yield from _simple(limits, "memlock", "memlock", (defaults.MEMLOCK, defaults.MEMLOCK))
    yield from _simple(limits, "core", "core", (defaults.CORE, defaults.CORE))
    yield from _simple(limits, "address_space", "as", None)
    yield from (Rlimit(name, value, value) for name, value in defaults.FIXED)
    yield from _by_supervisor(limits)
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


def _files(jail: Jail, held: list[Directive], listen_fds: bool) -> Iterator[Directive]:
    """Of each process, or of all together, where that is asked for."""
    if jail.limits.open_files in (None, INFINITY):
        yield from _simple(jail.limits, "nofile", "nofile", (defaults.NOFILE, defaults.NOFILE))
        return
    from jail.openfiles import shared_out

    processes = [each.hard - 1 for each in held if isinstance(each, Rlimit) and each.name == "nproc"]
    yield from shared_out(jail, processes[0] if processes else None, listen_fds)  # without init, which counts


def _memory(jail: Jail, host: Host) -> Iterator[Directive]:
    asked = jail.limits.memory
    if asked == INFINITY:
        return
    size = asked if asked is not None else defaults.MEMORY
    cgroup = host.cgroup("memory", _at_all_costs(jail))
    if cgroup and cgroup.version == 1:
        # In this order: memory and swap together may never be less than memory alone.
        yield from _settings(
            cgroup,
            ("memory.limit_in_bytes", size, True),
            ("memory.memsw.limit_in_bytes", size, False),
            ("memory.kmem.tcp.limit_in_bytes", size, False),
        )
    elif cgroup:
        yield from _settings(
            cgroup, ("memory.max", size, True), ("memory.swap.max", 0, False), ("memory.oom.group", 1, False)
        )
    elif asked is not None and "memory" not in jail.allow_weaker:
        weaker = "accept a limit on each process instead with --allow-weaker memory"
        raise _unsupported(host, "memory", "a memory cgroup", weaker)
    else:
        yield Rlimit("data", size, size, exact=asked is not None)
    yield Enforced("memory", _mechanism(cgroup))


def _pids(jail: Jail, host: Host) -> Iterator[Directive]:
    asked = jail.limits.pids
    if asked == INFINITY:
        yield Rlimit("nproc", INFINITY, INFINITY)
        return
    number = asked if asked is not None else defaults.PIDS
    cgroup = host.cgroup("pids", _at_all_costs(jail))
    counts_the_jail = host.kernel >= NPROC_COUNTS_THE_JAIL or host.pool is not None
    if cgroup:
        # In version 2 the jail's init is in it as well; before an audited payload runs there is one process
        # more (jailer/audit_filter.c).
        yield from _settings(cgroup, ("pids.max", number + cgroup.version - 1 + bool(jail.audit), True))
    if counts_the_jail:
        # Init counts here. Where a cgroup holds the limit it is to be hit first, since it tells of it; with
        # an audit the cgroup has room for one more.
        most = number + (2 if cgroup and not jail.audit else 1)
        yield Rlimit("nproc", most, most, exact=asked is not None and not cgroup)
    if cgroup or counts_the_jail:
        yield Enforced("pids", _mechanism(cgroup))
    elif asked is not None and "pids" not in jail.allow_weaker:
        raise _unsupported(
            host,
            "pids",
            "a kernel that counts processes by user namespace (5.14), or a pids cgroup",
            "do without the limit with --allow-weaker pids",
        )


def _cpus(jail: Jail, host: Host) -> Iterator[Directive]:
    asked = jail.limits.cpus
    if asked is None or asked == INFINITY:
        return
    cgroup = host.cgroup("cpu", True)
    if cgroup is None:
        raise _unsupported(host, "cpus", "a cpu cgroup", "leave --cpus out")
    quota = max(round(asked * CPU_PERIOD), 1000)  # the kernel's least, a millisecond
    if cgroup.version == 1:
        yield from _settings(
            cgroup, ("cpu.cfs_period_us", CPU_PERIOD, True), ("cpu.cfs_quota_us", quota, True)
        )
    else:
        yield from _settings(cgroup, ("cpu.max", f"{quota} {CPU_PERIOD}", True))
    yield Enforced("cpus", _mechanism(cgroup))


def _cpuset(jail: Jail, host: Host) -> Iterator[Directive]:
    asked = jail.limits.cpuset
    if asked is None:
        return
    cgroup = host.cgroup("cpuset", True)
    if cgroup is None:
        raise _unsupported(host, "cpuset", "a cpuset cgroup", "leave --cpuset out, or see taskset(1)")
    if not cpus_of(asked) <= cpus_of(cgroup.cpus):
        raise UnsupportedError(
            "cpuset",
            f"the CPUs {asked}; there are {cgroup.cpus or 'none'}",
            "name CPUs that are there, see lscpu(1)",
        )
    if cgroup.version == 1:  # memory nodes first: without any, nobody can enter
        yield from _settings(cgroup, ("cpuset.mems", cgroup.mems, True), ("cpuset.cpus", asked, True))
    else:
        yield from _settings(cgroup, ("cpuset.cpus", asked, True))
    yield Enforced("cpuset", _mechanism(cgroup))


IO_FILES = {"rbps": "read_bps", "wbps": "write_bps", "riops": "read_iops", "wiops": "write_iops"}
"""In version 1 each rate has a file of its own, blkio.throttle.…_device."""


def _io_max(jail: Jail, host: Host) -> Iterator[Directive]:
    asked = jail.limits.io_max
    if not asked:
        return
    cgroup = _io_cgroup(host)
    if cgroup is None:
        raise _unsupported(host, "io-max", "an io cgroup", "leave --io-max out")
    if cgroup.version == 1:
        lines = [
            (f"blkio.throttle.{IO_FILES[what]}_device", f"{device} {number}")
            for device, what, number in asked
        ]
    else:
        lines = [("io.max", f"{device} {what}={number}") for device, what, number in asked]
    yield from _settings(cgroup, *((file, line, True) for file, line in lines))
    yield Enforced("io_max", _mechanism(cgroup))


def _io_weight(jail: Jail, host: Host) -> Iterator[Directive]:
    asked = jail.limits.io_weight
    if asked is None:
        return
    from rlimits.io_weight import FILES, MOST

    cgroup = _io_cgroup(host)
    acting = [by for by in host.weighers if cgroup and (cgroup.version, by) in FILES]
    held = [by for by in acting if asked <= MOST[by]]
    if (not acting or held != acting) and "io-weight" not in jail.allow_weaker:
        raise _no_weight(host, cgroup, acting)
    if cgroup and held:
        yield from _settings(cgroup, *((FILES[cgroup.version, by], asked, True) for by in held))
        yield Enforced("io_weight", _mechanism(cgroup))


def _no_weight(host: Host, cgroup: Controller | None, acting: list[str]) -> UnsupportedError:
    """Why the weight would have no effect."""
    weaker = "do without with --allow-weaker io-weight"
    if cgroup is None:
        return _unsupported(host, "io-weight", "an io cgroup", weaker)
    if acting:
        needs = "a scheduler that takes as much: BFQ's greatest weight is 1000"
        return UnsupportedError("io-weight", needs, f"ask for less, or {weaker}")
    iocost = " or iocost" if cgroup.version == 2 else ""
    return UnsupportedError(
        "io-weight",
        f"a disk whose scheduler is BFQ{iocost}; without that a weight does nothing",
        f"echo bfq > /sys/block/DISK/queue/scheduler (after modprobe bfq), or {weaker}",
    )


def _io_cgroup(host: Host) -> Controller | None:
    return host.cgroup("io", True) or host.cgroup("blkio", True)


def _at_all_costs(jail: Jail) -> bool:
    """Whether a cgroup is made even if that takes a call to systemd: a limit was asked for that nothing else
    holds. The others then use it too."""
    limits = jail.limits
    of_disks = limits.io_max or limits.io_weight or None
    asked = (limits.memory, limits.cpus, limits.cpuset, limits.cpu_time, of_disks)
    return any(value not in (None, INFINITY) for value in asked)


def _settings(cgroup: Controller, *settings: tuple[str, int | str, bool]) -> Iterator[Directive]:
    yield Cgroup(cgroup.version, cgroup.name, cgroup.mountpoint, cgroup.mountroot)
    if not cgroup.writable:
        yield from (Scope(word) for word in cgroup.scope)
    for file, value, required in settings:
        yield CgroupSet(cgroup.name, file, str(value), required)


def _freezable(directives: list[Directive], host: Host) -> Iterator[Directive]:
    """What the jail can be paused by: in version 2 its own cgroup; in version 1 one more, whose members are
    found in the others, unless one of them is in the freezer's hierarchy anyway."""
    groups = [each for each in directives if isinstance(each, Cgroup)]
    found = host.cgroup("freezer", True)
    if found is None or found.version == 2 or not groups or any(each.version == 2 for each in groups):
        yield from directives
        return
    together = any(each.mountpoint == found.mountpoint for each in groups)
    for each in directives:
        if isinstance(each, Cgroup) and each.mountpoint == found.mountpoint:
            each = Cgroup(1, f"{each.controllers},freezer", each.mountpoint, each.mountroot)
        yield each
    if not together:
        yield Freezer(found.mountpoint, found.mountroot)


def _joined(directives: Iterable[Directive]) -> list[Directive]:
    """One cgroup for all the controllers of a hierarchy, and one way to it."""
    groups: dict[tuple[int, str], Cgroup] = {}
    scope = []
    rest = []
    known: Cgroup | None = None
    for each in directives:
        if isinstance(each, Cgroup):
            place = (each.version, each.mountpoint)
            known = groups.get(place)
            if known is None:
                groups[place] = each
            elif each.controllers not in known.controllers.split(","):
                names = f"{known.controllers},{each.controllers}"
                groups[place] = Cgroup(each.version, names, each.mountpoint, each.mountroot)
        elif isinstance(each, Scope):
            if known is None:
                scope.append(each)
        else:
            rest.append(each)
    return [*groups.values(), *scope, *rest]


def _mechanism(cgroup: Controller | None) -> str:
    return f"cgroup-v{cgroup.version}" if cgroup else "rlimit"


def _unsupported(host: Host, feature: str, what: str, otherwise: str) -> UnsupportedError:
    """Why there is none, as far as the host tells, and what to do."""
    if not host.controllers:
        needs = f"{what}; no cgroups are mounted here"
        remedy = "mount cgroup2 on /sys/fs/cgroup"
    elif host.euid == 0:
        needs = f"{what} in which another can be made; cgroups are read-only here, or without that controller"
        remedy = "in a container mount /sys/fs/cgroup writable, with a cgroup namespace"
    elif any(known.scope for known in host.controllers):
        needs = f"{what} in this user's session, which is not given that controller"
        remedy = "run as root, or give it to sessions (Delegate= of user@.service)"
    else:
        needs = f"{what} in which this user may make another"
        remedy = "run as root, or in a systemd user session (loginctl enable-linger)"
    return UnsupportedError(feature, needs, f"{remedy}, or {otherwise}")


def _cpu_time(jail: Jail, host: Host) -> Iterator[Directive]:
    limit = jail.limits.cpu_time
    if limit is None or limit == INFINITY:
        return
    cgroup = _timekeeper(host)
    # For each process, in clock ticks, which on a busy machine run ahead of the time that the cgroup counts:
    # as a second layer it must not come first.
    seconds = -int(-limit * (2 if cgroup else 1) // 1)  # rounded up
    yield Rlimit("cpu", seconds, seconds + 1, exact=True)  # SIGXCPU, and a second later SIGKILL
    if cgroup:
        yield from _settings(cgroup)
        yield CpuTime(milliseconds(limit))
    elif "cpu-time" not in jail.allow_weaker:
        weaker = "accept a limit on each process instead with --allow-weaker cpu-time"
        raise _unsupported(host, "cpu-time", "a cgroup that counts CPU time", weaker)
    yield Enforced("cpu_time", _mechanism(cgroup))


def _timekeeper(host: Host) -> Controller | None:
    """What counts CPU time: in version 1 a controller of its own, in version 2 every cgroup."""
    for name in ("cpuacct", "pids", "memory", "cpu"):
        known = host.cgroup(name, True)
        if known and (name == "cpuacct" or known.version == 2):
            return known
    return None


def _by_supervisor(limits: Limits) -> Iterator[Directive]:
    """The limits that the supervisor's clock and its relay of the output hold."""
    for field, kind in (("timeout", Timeout), ("idle_timeout", IdleTimeout)):
        seconds: float | None = getattr(limits, field)
        if seconds is not None and seconds != INFINITY:
            yield kind(milliseconds(seconds))
            yield Enforced(field, "supervisor")
    for field, of in (("max_output", "both"), ("max_stdout", "stdout"), ("max_stderr", "stderr")):
        size: int | None = getattr(limits, field)
        if size is not None and size != INFINITY:
            yield MaxOutput(of, size)
            yield Enforced(field, "supervisor")
    yield Grace(milliseconds(limits.grace if limits.grace is not None else defaults.GRACE))
