"""Python values as C's integers, and libseccomp's results as exceptions, with the binding's own words."""

from __future__ import annotations

import errno
from typing import Any


def check(result: int, invalid: str | None = None) -> None:
    if result == -errno.EINVAL and invalid is not None:
        raise ValueError(invalid)
    if result != 0:
        raise RuntimeError(f"Library error (errno = {result})")


def integer(value: Any, low: int, high: int, kind: str) -> int:
    if isinstance(value, (str, bytes)) or not hasattr(value, "__int__"):
        raise TypeError("an integer is required")
    number = int(value)
    if number < 0 <= low:
        raise OverflowError(f"can't convert negative value to {kind}")
    if not (-(2**63) <= number < 2**63 or (low == 0 and number < 2**64)):
        raise OverflowError(f"Python int too large to convert to C {'long' if low else 'unsigned long'}")
    if not low <= number < high:
        raise OverflowError(f"value too large to convert to {kind}")
    return number
