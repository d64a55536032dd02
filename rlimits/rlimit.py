"""The limits of setrlimit(2) by name, each in the unit that its resource has."""

from __future__ import annotations

from rlimits.errors import LimitError
from rlimits.units import (
    INFINITY,
    MOST,
    format_duration,
    format_size,
    parse_count,
    parse_duration,
    parse_size,
)

SECONDS, MICROSECONDS, BYTES, COUNT = "seconds", "microseconds", "bytes", "count"

RESOURCES = {
    "cpu": SECONDS,
    "fsize": BYTES,
    "data": BYTES,
    "stack": BYTES,
    "core": BYTES,
    "rss": BYTES,
    "nproc": COUNT,
    "nofile": COUNT,
    "memlock": BYTES,
    "as": BYTES,
    "locks": COUNT,
    "sigpending": COUNT,
    "msgqueue": BYTES,
    "nice": COUNT,
    "rtprio": COUNT,
    "rttime": MICROSECONDS,
}
"""Every resource of setrlimit(2), in the order of the kernel's numbers, and what its limit counts."""

Rlimit = tuple[str, int, int]
"""Name, soft and hard limit."""


def parse_rlimit(text: str, field: str = "rlimits") -> Rlimit:
    """One limit from `NAME=SOFT` or `NAME=SOFT:HARD`: `nofile=64:128`, `as=1G`, `cpu=90s`, `rttime=200ms`.

    Where HARD is left out it is SOFT. Sizes and durations are written as everywhere; CPU seconds are rounded
    up. Raises LimitError.
    """
    name, equals, values = text.partition("=")
    if not equals:
        raise LimitError(f"{text!r} is not NAME=SOFT or NAME=SOFT:HARD, such as nofile=64:128", field)
    unit = _unit(name, field)
    soft, colon, hard = values.partition(":")
    limit = (name, _parse(soft, unit, field), _parse(hard if colon else soft, unit, field))
    check_rlimit(limit, field)
    return limit


def format_rlimit(limit: Rlimit) -> str:
    """A text that `parse_rlimit` reads as the same limit."""
    name, soft, hard = limit
    low, high = _format(soft, RESOURCES[name]), _format(hard, RESOURCES[name])
    return f"{name}={low}" if soft == hard else f"{name}={low}:{high}"


def check_rlimit(limit: object, field: str = "rlimits") -> None:
    """Raise LimitError for what is no (name, soft, hard) that setrlimit(2) would take."""
    if not isinstance(limit, tuple) or len(limit) != 3:
        raise LimitError(f"expected (name, soft, hard), got {limit!r}", field)
    name, soft, hard = limit
    _unit(name, field)
    for value in (soft, hard):
        if not isinstance(value, int) or isinstance(value, bool) or not INFINITY <= value <= MOST:
            raise LimitError(f"{name}: expected a whole number or INFINITY, got {value!r}", field)
    if hard != INFINITY and not 0 <= soft <= hard:
        raise LimitError(f"{name}: the soft limit is above the hard one", field)


def tighter_rlimit(one: Rlimit, other: Rlimit) -> Rlimit:
    """What holds two limits on the same resource."""
    name, *first = one
    _, *second = other
    soft, hard = (_least(a, b) for a, b in zip(first, second, strict=True))
    return name, soft, hard


def _least(a: int, b: int) -> int:
    return max(a, b) if INFINITY in (a, b) else min(a, b)


def _unit(name: object, field: str) -> str:
    if not isinstance(name, str) or name not in RESOURCES:
        raise LimitError(f"unknown resource {name!r}; the names are {', '.join(RESOURCES)}", field)
    return RESOURCES[name]


def _parse(text: str, unit: str, field: str) -> int:
    if unit == BYTES:
        return parse_size(text, field)
    if unit == COUNT:
        return parse_count(text, field)
    seconds = parse_duration(text, field)
    if seconds == INFINITY:
        return INFINITY
    return -int(-seconds // 1) if unit == SECONDS else round(seconds * 1_000_000)


def _format(value: int, unit: str) -> str:
    if value == INFINITY or unit == COUNT:
        return "infinity" if value == INFINITY else str(value)
    if unit == BYTES:
        return format_size(value)
    return format_duration(value) if unit == SECONDS else f"{value / 1000:.15g}ms"
