"""Rules in words, for people; the same words for the same meaning, so that they can be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seccomp.policy import Condition, Rule, When


def describe_rule(rule: Rule | None, default: str) -> str:
    """What a rule does: `allow if arg0 == 0x1, else EPERM`."""
    if rule is None:
        return default
    steps, last = rule.cases(default)
    while steps and steps[-1][1] == last:
        steps.pop()
    return ", else ".join([*(f"{action} if {describe_when(when)}" for when, action in steps), last])


def describe_when(when: When) -> str:
    """`arg0 == 0x1 and arg1 & 0xf == 0x2, or arg0 == 0x10`, in an order of its own."""
    alternatives = {
        " and ".join(_condition(c) for c in sorted(set(alternative), key=_order)) for alternative in when
    }
    return " or ".join(sorted(alternatives))


def _order(c: Condition) -> tuple[int, int, str, int]:
    return c.arg, c.mask, c.op, c.value


def _condition(c: Condition) -> str:
    # Nothing is said of the usual width, the lower 32 bits.
    mask = {0xFFFFFFFF: "", 2**64 - 1: ":64"}.get(c.mask, f" & {c.mask:#x}")
    return f"arg{c.arg}{mask} {c.op} {c.value:#x}"
