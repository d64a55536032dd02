"""What the measurements are held against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """At most so many times what the other takes."""

    what: str
    over: str
    most: float


def judge(what: str, found: float, bound: float, most: bool = True) -> bool:
    """Print whether `found` is at most, or else at least, the bound."""
    met = found <= bound if most else found >= bound
    kind = "at most" if most else "at least"
    print(f"{'met    ' if met else 'NOT MET'}  {what:64} {found:.2f} ({kind} {bound:.2f})")
    return met


def judged(goals: Sequence[Goal], medians: Mapping[str, float]) -> Iterator[bool]:
    """Every goal for which both sides were measured."""
    for goal in goals:
        if goal.what in medians and goal.over in medians:
            ratio = medians[goal.what] / medians[goal.over]
            yield judge(f"{goal.what} / {goal.over}", ratio, goal.most)
