"""Limits on what programs may use: how people write them, and what of the kernel can hold them."""

from __future__ import annotations

from rlimits.errors import LimitError
from rlimits.limits import Limits
from rlimits.rlimit import RESOURCES, format_rlimit, parse_rlimit
from rlimits.units import (
    INFINITY,
    format_duration,
    format_size,
    parse_count,
    parse_cpus,
    parse_cpuset,
    parse_duration,
    parse_size,
)

__all__ = [
    "INFINITY",
    "RESOURCES",
    "LimitError",
    "Limits",
    "format_duration",
    "format_rlimit",
    "format_size",
    "parse_count",
    "parse_cpus",
    "parse_cpuset",
    "parse_duration",
    "parse_rlimit",
    "parse_size",
]
