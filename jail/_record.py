"""`record`, which lives in the lowest package that uses it."""

from rlimits._record import record

__all__ = ["record"]
