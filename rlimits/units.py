"""Sizes, durations and counts as people write them. Sizes and counts never pass through a float."""

from __future__ import annotations

from rlimits.errors import LimitError

INFINITY = -1
"""No limit, as RLIM_INFINITY of setrlimit(2). Written `infinity`."""

MOST = 2**63 - 1
"""The greatest size or count that the kernel's interfaces hold."""

MOST_SECONDS = 3660 * 86400
"""The longest duration, ten years."""

MOST_CPUS = 8192
"""More than any machine has; the kernel's own bound (NR_CPUS)."""

MOST_WEIGHT = 10_000
"""The greatest weight of a cgroup; see "Weights" in the kernel's cgroup-v2."""

SIZES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
SECONDS = {"ms": (1, 1000), "": (1, 1), "s": (1, 1), "m": (60, 1), "h": (3600, 1), "d": (86400, 1)}


def parse_size(text: str, field: str = "") -> int:
    """Bytes from `"4096"`, `"256M"`, `"1.5G"`, `"64KiB"` or `"infinity"`; K, M, G and T are powers of 1024.

    Raises LimitError, naming `field`.
    """
    if text == "infinity":
        return INFINITY
    digits, unit = _split(text)
    unit = unit.upper().removesuffix("IB") if unit.upper() != "IB" else unit
    number = _decimal(digits)
    if number is None or unit not in SIZES:
        raise LimitError(
            f"{text!r} is not a size; write bytes or a number with K, M, G or T, e.g. 256M", field
        )
    return _bounded(text, number[0] * SIZES[unit] // number[1], field)


def parse_count(text: str, field: str = "") -> int:
    """A whole number, or `"infinity"`. Raises LimitError, naming `field`."""
    if text == "infinity":
        return INFINITY
    if not (text.isascii() and text.isdigit()):
        raise LimitError(f"{text!r} is not a whole number; write digits only, e.g. 64", field)
    return _bounded(text, int(text[:40]), field)


def parse_duration(text: str, field: str = "") -> float:
    """Seconds from `"10"`, `"1.5s"`, `"500ms"`, `"2m"`, `"1h"`, `"1d"` or `"infinity"`.

    Raises LimitError, naming `field`.
    """
    if text == "infinity":
        return INFINITY
    digits, unit = _split(text)
    number = _decimal(digits)
    if number is None or unit not in SECONDS:
        raise LimitError(
            f"{text!r} is not a duration; write seconds or a number with ms, s, m, h or d, e.g. 1.5s", field
        )
    times, parts = SECONDS[unit]
    if number[0] * times > MOST_SECONDS * number[1] * parts:
        raise LimitError(f"{text!r} is longer than {MOST_SECONDS} seconds, the most that can be held", field)
    return number[0] * times / (number[1] * parts)


def parse_cpus(text: str, field: str = "") -> float:
    """A number of CPUs such as `"0.5"` or `"2"`, or `"infinity"`. Raises LimitError, naming `field`."""
    if text == "infinity":
        return INFINITY
    number = _decimal(text)
    if number is None:
        raise LimitError(f"{text!r} is not a number of CPUs; write e.g. 0.5 or 2", field)
    if number[0] > MOST_CPUS * number[1]:
        raise LimitError(f"{text!r} is more than {MOST_CPUS} CPUs", field)
    return number[0] / number[1]


def parse_weight(text: str, field: str = "") -> int:
    """A share among others, from 1 to 10000. Raises LimitError, naming `field`."""
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= MOST_WEIGHT):
        raise LimitError(f"{text!r} is not a weight; write a whole number from 1 to {MOST_WEIGHT}", field)
    return int(text)


def parse_cpuset(text: object, field: str = "") -> str:
    """A list of CPUs and ranges of them such as `"0-1,3"`, as cpuset(7) has it, in order and without repeats.
    Raises LimitError, naming `field`."""
    if not isinstance(text, str) or not _is_list(text):
        raise LimitError(f"{text!r} is not a list of CPUs; write numbers and ranges, e.g. 0-1,3", field)
    ranges: list[list[int]] = []
    for cpu in sorted(cpus_of(text)):
        if ranges and ranges[-1][1] == cpu - 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def _is_list(text: str) -> bool:
    for part in text.split(","):
        first, dash, last = part.partition("-")
        for number in (first, last) if dash else (first,):
            if not (number.isascii() and number.isdigit() and len(number) <= 4 and int(number) < MOST_CPUS):
                return False
        if dash and int(first) > int(last):
            return False
    return True


def cpus_of(text: str) -> frozenset[int]:
    """The CPUs in a list as the kernel writes them."""
    found: list[int] = []
    for part in text.split(",") if text else ():
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return frozenset(found)


def format_size(size: int) -> str:
    """The shortest text that `parse_size` reads as the same size: 268435456 is `"256M"`."""
    if size == INFINITY:
        return "infinity"
    unit = next((unit for unit in "TGMK" if size and size % SIZES[unit] == 0), "")
    return f"{size // SIZES[unit]}{unit}"


def format_duration(seconds: float) -> str:
    """A text that `parse_duration` reads as the same duration: 1.5 is `"1.5s"`."""
    return "infinity" if seconds == INFINITY else f"{seconds:.15g}s"


def _split(text: str) -> tuple[str, str]:
    """The number and the unit, which may follow a space."""
    unit = text.lstrip("0123456789.")
    return text[: len(text) - len(unit)], unit.removeprefix(" ")


def _decimal(digits: str) -> tuple[int, int] | None:
    """`12.5` as (125, 10); None for anything but digits with at most one point between them."""
    whole, point, part = digits.partition(".")
    if not whole.isdigit() or not (part.isdigit() if point else True) or len(digits) > 40:
        return None
    return int(whole + part), 10 ** len(part)


def _bounded(text: str, value: int, field: str) -> int:
    if value > MOST or len(text) > 40:
        raise LimitError(f"{text!r} is more than {MOST}, the most that the kernel counts to", field)
    return value
