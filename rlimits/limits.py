"""`Limits`: what one jail may use."""

from __future__ import annotations

from rlimits._record import record
from rlimits.errors import LimitError
from rlimits.rlimit import Rlimit, check_rlimit, format_rlimit, parse_rlimit, tighter_rlimit
from rlimits.units import (
    INFINITY,
    MOST,
    MOST_CPUS,
    MOST_SECONDS,
    MOST_WEIGHT,
    cpus_of,
    format_duration,
    format_size,
    parse_count,
    parse_cpus,
    parse_cpuset,
    parse_duration,
    parse_size,
    parse_weight,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from rlimits.io_max import IoMax

    Parser = Callable[[str, str], int | float]

# field: (parser of its text form, least value, whether INFINITY is allowed). A tmpfs takes 0 for "no limit",
# so where 0 would mean the opposite of what it says the least is 1.
RULES: dict[str, tuple[Parser, float, bool]] = {
    "memory": (parse_size, 1, True),
    "pids": (parse_count, 1, True),
    "cpus": (parse_cpus, 0.01, True),
    "cpu_time": (parse_duration, 0, True),
    "timeout": (parse_duration, 0, True),
    "idle_timeout": (parse_duration, 0, True),
    "grace": (parse_duration, 0, False),
    "max_output": (parse_size, 0, True),
    "max_stdout": (parse_size, 0, True),
    "max_stderr": (parse_size, 0, True),
    "nofile": (parse_count, 0, True),
    "open_files": (parse_count, 1, True),
    "file_size": (parse_size, 0, True),
    "tmp_size": (parse_size, 1, True),
    "tmp_inodes": (parse_count, 1, True),
    "address_space": (parse_size, 1, True),
    "stack": (parse_size, 1, True),
    "memlock": (parse_size, 0, True),
    "core": (parse_size, 0, True),
    "io_weight": (parse_weight, 1, False),
}

MOST_OF: dict[Parser, int] = {parse_duration: MOST_SECONDS, parse_cpus: MOST_CPUS, parse_weight: MOST_WEIGHT}

SAME = {
    "nofile": "nofile",
    "fsize": "file_size",
    "cpu": "cpu_time",
    "as": "address_space",
    "stack": "stack",
    "memlock": "memlock",
    "core": "core",
}
"""Resources of setrlimit(2) that a limit with a name of its own sets."""


@record(frozen=True)
class Limits:
    """What one jail may use. Each limit is None (the default policy's value, held as well as the host can), a
    number (asked for: it is held, or the run is refused) or `INFINITY` (none). Raises LimitError.

    `a & b` holds both: of two values the smaller; where one is None, the other. `str(limits)` shows what was
    asked for, as the command's options write it.

    A limit says here what it does not hold; see setrlimit(2), cgroups(7) and tmpfs(5).
    """

    memory: int | None = None
    """Bytes of all processes together, kernel memory and tmpfs contents included, where a cgroup can be made;
    when they are used up all of the jail ends. Without one (only by default or where allowed weaker) private
    writable memory of each process on its own: forks multiply it, and shared memory, tmpfs and kernel memory
    are not held."""
    pids: int | None = None
    """Processes and threads of the whole jail at a time."""
    cpus: float | None = None
    """CPU time of all processes together by the second of wall time: 0.5 is half a CPU, 2 are two. None: no
    limit. Held over each tenth of a second, in which the jail may run on all CPUs until its share is used up,
    and then waits. Which CPUs, and their caches and memory bandwidth, are not held. Needs a cgroup."""
    cpuset: str | None = None
    """The CPUs that the processes run on, as `0-1,3`. None: the caller's. Others may use them as well; their
    number is no share of time. Needs a cgroup."""
    cpu_time: float | None = None
    """CPU seconds, user and system, of all processes that the jail ever had together, where a cgroup can
    count them; then SIGKILL. The supervisor looks whenever it may have been reached, but not closer than each
    hundredth of it, so that a busy machine may let it be exceeded a little. Without a cgroup (only where
    allowed weaker) RLIMIT_CPU of each process, in whole seconds, rounded up: SIGXCPU, a second later SIGKILL;
    a chain of forks is not held. Time that the kernel spends on the jail's behalf outside of its processes is
    not counted."""
    timeout: float | None = None
    """Seconds of wall time from the start; then SIGTERM, and SIGKILL after `grace`. None: no limit."""
    idle_timeout: float | None = None
    """Seconds without a byte on stdout or stderr; then as `timeout`. None: no limit. Output that the caller
    does not take is not idle. What is written elsewhere (files, passed descriptors) does not count. The
    payload writes to pipes, not to the caller's own descriptors."""
    max_output: int | None = None
    """Bytes on stdout and stderr together; as many reach the caller, then SIGKILL. None: no limit. Files and
    passed descriptors are not held. The payload writes to pipes, as for `idle_timeout`; a stdin that could be
    written to, a terminal or a socket, can only be read."""
    max_stdout: int | None = None
    """As `max_output`, of what is written to descriptor 1 alone. With this or `max_stderr` each stream has a
    pipe of its own: where the caller has both in one place, what the program wrote alternately may come in
    another order. Which descriptor a program writes to is its own choice: only `max_output` holds the sum."""
    max_stderr: int | None = None
    """As `max_stdout`, of what is written to descriptor 2."""
    grace: float | None = None
    """Seconds between SIGTERM and SIGKILL."""
    nofile: int | None = None
    """Open descriptors of each process. Over the whole jail `open_files` holds them."""
    open_files: int | None = None
    """Open descriptors of all processes together, those in messages of unix(7) that nobody has received yet
    included. None: no limit but processes times `nofile`. The kernel counts no such thing: the number is
    shared out beforehand and evenly. With p processes (`pids`, or one more, so that its cgroup is what is
    hit) 253 are put aside for each, which is what a message of its holds, and of the rest each may have a
    (p + 1)th part, the last one being for messages that wait. That, or 1024 if it is less, becomes `nofile`;
    one that is asked for besides must not be more. So a process alone never gets near the number, and it is
    refused where there is no limit on processes, or where less than 16 would be left to each. Not held:
    files that are open without a descriptor, by a memory map, by a call that waits for them, as a fixed
    file of io_uring, which the default policy refuses; nor a table of descriptors in the moment in which a
    thread takes a copy of its own. Those are memory."""
    file_size: int | None = None
    """Bytes of each file that is written, pipes and terminals excepted. Not held over all files together."""
    tmp_size: int | None = None
    """Bytes in each tmpfs: /tmp, /dev/shm and every one asked for without a size. Not their sum."""
    tmp_inodes: int | None = None
    """Files and folders in each tmpfs. Not their sum."""
    address_space: int | None = None
    """Bytes of address space of each process. Many runtimes reserve far more than they use."""
    stack: int | None = None
    """Bytes of the main thread's stack of each process; also the default size of further threads' stacks."""
    memlock: int | None = None
    """Bytes that each process may lock into memory."""
    core: int | None = None
    """Bytes of a core dump. A limit of 1 makes none and, unlike 0, also keeps one from a core_pattern that is
    a pipe; see core(5)."""
    rlimits: tuple[Rlimit, ...] = ()
    """Further limits of setrlimit(2), as (name, soft, hard): `("nofile", 64, 128)`. In bytes, things, seconds
    (`cpu`) or microseconds (`rttime`). Each holds for one process, or, as setrlimit(2) says, for a user."""

    io_max: tuple[IoMax, ...] = ()
    """Most that is read from and written to a block device, as (device, rate, number a second):
    `("8:0", "rbps", 1 << 20)`; the device is a whole disk's MAJOR:MINOR, the rate `rbps`, `wbps` (bytes),
    `riops` or `wiops` (operations). What exceeds it waits. Of what is written into the page cache version 2
    holds what file systems that know of cgroups write back (ext4, xfs, btrfs, not all), version 1 nothing:
    there only direct and synchronous writing waits. What the page cache has already is read at once. Other
    devices are not held. Needs a cgroup with `io` (version 1: `blkio`); systemd gives ordinary users none by
    default."""

    io_weight: int | None = None
    """The jail's share of disks that are busy, from 1 to 10000, among the cgroups beside its own: those of
    other runs, each of which has 100 by default. None: that. Holds no rate, and nothing back while nobody
    else wants the disk. The rest of the host, in cgroups elsewhere in the tree, and disks that neither BFQ
    nor, in version 2, iocost schedules, do not know of it; nor, in version 1, what is written into the page
    cache. Needs a cgroup as `io_max` does, and a disk so scheduled when the run is prepared; a later change
    of the scheduler is not noticed, and each run of the jail is prepared anew. BFQ takes no more than
    1000."""

    def __post_init__(self) -> None:
        for field, (parser, least, endless) in RULES.items():
            value = getattr(self, field)
            if value is not None:
                _check(field, value, least, endless, parser)
        if self.cpuset is not None and parse_cpuset(self.cpuset, "cpuset") != self.cpuset:
            raise LimitError(f"{self.cpuset!r} must be written {parse_cpuset(self.cpuset)!r}", "cpuset")
        _check_rlimits(self)
        if self.io_max != ():
            from rlimits.io_max import check_io_max

            check_io_max(self.io_max)

    def __and__(self, other: Limits) -> Limits:
        """The limits that hold both. Raises LimitError where one names a limit of its own and the other the
        rlimit that it sets."""
        if not isinstance(other, Limits):
            return NotImplemented
        values: dict[str, Any] = {
            field: _tighter(getattr(self, field), getattr(other, field)) for field in RULES
        }
        rlimits = {limit[0]: limit for limit in self.rlimits}
        for limit in other.rlimits:
            mine = rlimits.get(limit[0])
            rlimits[limit[0]] = tighter_rlimit(mine, limit) if mine else limit
        cpuset = _common(self.cpuset, other.cpuset)
        io_max: tuple[IoMax, ...] = ()
        if self.io_max or other.io_max:
            from rlimits.io_max import tighter_io_max

            io_max = tighter_io_max(self.io_max, other.io_max)
        return Limits(**values, cpuset=cpuset, rlimits=tuple(rlimits.values()), io_max=io_max)

    def __str__(self) -> str:
        values = {field: getattr(self, field) for field in RULES}
        asked = [
            f"{field.replace('_', '-')}={_text(field, value)}"
            for field, value in values.items()
            if value is not None
        ]
        asked += [f"cpuset={self.cpuset}"] if self.cpuset is not None else []
        if self.io_max:
            from rlimits.io_max import format_io_max

            asked += [f"io-max={format_io_max(limit)}" for limit in self.io_max]
        return " ".join(asked + [f"rlimit {format_rlimit(limit)}" for limit in self.rlimits])

    @classmethod
    def parse(
        cls,
        *,
        rlimits: Iterable[str | Rlimit] = (),
        io_max: Iterable[str | IoMax] = (),
        **texts: str | int | float | None,
    ) -> Limits:
        """Limits from texts such as `memory="256M", timeout="1.5s", rlimits=["nofile=64:128"],
        io_max=["8:0:rbps=10M"]`; numbers are taken as they are.

        Raises LimitError; TypeError for a name that is no limit.
        """
        values: dict[str, Any] = {
            "rlimits": tuple(parse_rlimit(each) if isinstance(each, str) else each for each in rlimits)
        }
        if io_max:
            from rlimits.io_max import parse_io_max

            parts = (parse_io_max(each) if isinstance(each, str) else (each,) for each in io_max)
            values["io_max"] = tuple(limit for part in parts for limit in part)
        for field, text in texts.items():
            if field == "cpuset" and isinstance(text, str):
                values[field] = parse_cpuset(text, field)
                continue
            is_text = isinstance(text, str) and field in RULES
            values[field] = RULES[field][0](str(text), field) if is_text else text
        return cls(**values)


def _check(field: str, value: object, least: float, endless: bool, parser: Parser) -> None:
    seconds = parser is parse_duration
    broken = seconds or parser is parse_cpus
    if isinstance(value, bool) or not isinstance(value, (int, float) if broken else int):
        wanted = "a number of seconds" if seconds else "a number" if broken else "a whole number"
        raise LimitError(
            f"{value!r} is not {wanted}; Limits.parse reads texts such as '256M' and '1.5s'", field
        )
    if value == INFINITY:
        if endless:
            return
        raise LimitError("infinity makes no sense here; write a number", field)
    most = MOST_OF.get(parser, MOST)
    if not least <= value <= most:  # which a NaN is not either
        raise LimitError(f"{value!r} is out of range; the least is {least}, the most {most}", field)
    if seconds and field != "grace" and value == 0:
        raise LimitError(
            "0 would end the run before it starts; leave the limit out, or write infinity", field
        )


def _check_rlimits(limits: Limits) -> None:
    if not isinstance(limits.rlimits, tuple):
        raise LimitError(f"expected a tuple of (name, soft, hard), got {limits.rlimits!r}", "rlimits")
    seen = set()
    for limit in limits.rlimits:
        check_rlimit(limit)
        name = limit[0]
        if name in seen:
            raise LimitError(f"{name} stands twice; leave one out", "rlimits")
        seen.add(name)
        field = SAME.get(name)
        if field and getattr(limits, field) is not None:
            raise LimitError(
                f"{field} (--{field.replace('_', '-')}) and the rlimit {name} (--rlimit {name}=…) "
                "are the same limit; leave one out",
                "rlimits",
            )


def _tighter(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return one if other is None else other
    return max(one, other) if INFINITY in (one, other) else min(one, other)


def _common(one: str | None, other: str | None) -> str | None:
    if one is None or other is None:
        return one if other is None else other
    cpus = cpus_of(one) & cpus_of(other)
    if not cpus:
        raise LimitError(f"no CPU is both in {one} and in {other}", "cpuset")
    return parse_cpuset(",".join(map(str, cpus)))


def _text(field: str, value: float) -> str:
    parser = RULES[field][0]
    if parser is parse_duration:
        return format_duration(value)
    return format_size(int(value)) if parser is parse_size or value == INFINITY else f"{value:g}"
