"""`Limits`: what one jail may use."""

from __future__ import annotations

from rlimits._record import record
from rlimits.errors import LimitError
from rlimits.units import (
    INFINITY,
    MOST,
    MOST_CPUS,
    MOST_SECONDS,
    parse_count,
    parse_cpus,
    parse_cpuset,
    parse_duration,
    parse_size,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# field: (parser of its text form, least value, whether INFINITY is allowed). A tmpfs takes 0 for "no limit",
# so
# where 0 would mean the opposite of what it says the least is 1.
RULES: dict[str, tuple[Callable[[str, str], int | float], float, bool]] = {
    "memory": (parse_size, 1, True),
    "pids": (parse_count, 1, True),
    "cpus": (parse_cpus, 0.01, True),
    "cpu_time": (parse_duration, 0, True),
    "timeout": (parse_duration, 0, True),
    "grace": (parse_duration, 0, False),
    "nofile": (parse_count, 0, True),
    "file_size": (parse_size, 0, True),
    "tmp_size": (parse_size, 1, True),
    "tmp_inodes": (parse_count, 1, True),
    "address_space": (parse_size, 1, True),
    "stack": (parse_size, 1, True),
    "memlock": (parse_size, 0, True),
    "core": (parse_size, 0, True),
}


@record(frozen=True)
class Limits:
    """What one jail may use. Each limit is None (the default policy's value, held as well as the host can), a
    number (asked for: it is held, or the run is refused) or `INFINITY` (none). Raises LimitError.

    A limit says here what it does not hold; see setrlimit(2), cgroups(7) and tmpfs(5).
    """

    memory: int | None = None
    """Bytes of all processes together, kernel memory and tmpfs contents included, where a cgroup can be made.
    Without one (only by default or where allowed weaker) private writable memory of each process on its own:
    forks multiply it, and shared memory, tmpfs and kernel memory are not held."""
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
    """CPU seconds of each process, in whole seconds, rounded up. A chain of forks is not held."""
    timeout: float | None = None
    """Seconds of wall time from the start; then SIGTERM, and SIGKILL after `grace`. None: no limit."""
    grace: float | None = None
    """Seconds between SIGTERM and SIGKILL."""
    nofile: int | None = None
    """Open descriptors of each process. Not held over the whole jail."""
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

    def __post_init__(self) -> None:
        for field, (parser, least, endless) in RULES.items():
            value = getattr(self, field)
            if value is not None:
                _check(field, value, least, endless, parser)
        if self.cpuset is not None and parse_cpuset(self.cpuset, "cpuset") != self.cpuset:
            raise LimitError(f"{self.cpuset!r} must be written {parse_cpuset(self.cpuset)!r}", "cpuset")

    @classmethod
    def parse(cls, **texts: str | int | float | None) -> Limits:
        """Limits from texts such as `memory="256M", timeout="1.5s"`; numbers are taken as they are.

        Raises LimitError; TypeError for a name that is no limit.
        """
        values: dict[str, Any] = {}
        for field, text in texts.items():
            if field == "cpuset" and isinstance(text, str):
                values[field] = parse_cpuset(text, field)
                continue
            is_text = isinstance(text, str) and field in RULES
            values[field] = RULES[field][0](str(text), field) if is_text else text
        return cls(**values)


def _check(field: str, value: object, least: float, endless: bool, parser: object) -> None:
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
        raise LimitError("infinity makes no sense here; write a number of seconds", field)
    most = MOST_SECONDS if seconds else MOST_CPUS if broken else MOST
    if not least <= value <= most:  # which a NaN is not either
        raise LimitError(f"{value!r} is out of range; the least is {least}, the most {most}", field)
    if seconds and field != "grace" and value == 0:
        raise LimitError(
            "0 would end the run before it starts; leave the limit out, or write infinity", field
        )
