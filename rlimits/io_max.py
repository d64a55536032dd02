"""Limits on what is read from and written to block devices; see "IO" in the kernel's cgroup-v2."""

from __future__ import annotations

from rlimits.errors import LimitError
from rlimits.units import MOST, format_size, parse_count, parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

IoMax = tuple[str, str, int]
"""A block device as MAJOR:MINOR, which of RATES, and how many a second."""

RATES = ("rbps", "wbps", "riops", "wiops")
"""Bytes read and written, and operations of either kind."""

LEAST = 2
"""The kernel takes no less."""

MOST_DEVICES = 4


def parse_io_max(text: str, field: str = "io_max") -> tuple[IoMax, ...]:
    """Limits on one device from `MAJOR:MINOR:rbps=10M,wiops=100`: bytes as sizes, operations as whole
    numbers, each by the second. Raises LimitError."""
    device, _, rates = text.rpartition(":")
    found = []
    for each in rates.split(","):
        what, equals, number = each.partition("=")
        if not equals or what not in RATES:
            raise LimitError(
                f"{text!r} is not MAJOR:MINOR:RATE=N[,…], such as 8:0:rbps=10M,wiops=100; "
                f"RATE: {', '.join(RATES)}",
                field,
            )
        parse = parse_size if what.endswith("bps") else parse_count
        found.append((device, what, parse(number, field)))
    check_io_max(tuple(found), field)
    return tuple(found)


def check_io_max(limits: object, field: str = "io_max") -> None:
    """Raise LimitError for what are no limits that the kernel would take."""
    if not isinstance(limits, tuple):
        raise LimitError(f"expected a tuple of (device, rate, number), got {limits!r}", field)
    seen = set()
    for limit in limits:
        if not isinstance(limit, tuple) or len(limit) != 3:
            raise LimitError(f"expected (device, rate, number), got {limit!r}", field)
        device, what, number = limit
        if not isinstance(device, str) or not _is_device(device):
            raise LimitError(f"{device!r} is not MAJOR:MINOR of a whole disk, as lsblk -d shows it", field)
        if what not in RATES:
            raise LimitError(f"unknown rate {what!r}; there are {', '.join(RATES)}", field)
        if not isinstance(number, int) or isinstance(number, bool) or not LEAST <= number <= MOST:
            raise LimitError(f"{what}: {number!r} is out of range; the least is {LEAST} a second", field)
        if (device, what) in seen:
            raise LimitError(f"{what} of {device} stands twice; leave one out", field)
        seen.add((device, what))
    if len({device for device, _ in seen}) > MOST_DEVICES:
        raise LimitError(f"at most {MOST_DEVICES} devices can be limited", field)


def tighter_io_max(one: Iterable[IoMax], other: Iterable[IoMax]) -> tuple[IoMax, ...]:
    """What holds the limits of both."""
    least: dict[tuple[str, str], int] = {}
    for device, what, number in (*one, *other):
        least[device, what] = min(number, least.get((device, what), number))
    return tuple((*key, number) for key, number in least.items())


def format_io_max(limit: IoMax) -> str:
    """A text that `parse_io_max` reads as the same limit."""
    device, what, number = limit
    return f"{device}:{what}={format_size(number) if what.endswith('bps') else number}"


def _is_device(text: str) -> bool:
    parts = text.split(":")
    return len(parts) == 2 and all(part.isascii() and part.isdigit() and len(part) <= 8 for part in parts)
