"""Rules in words, for people; the same words for the same meaning, so that they can be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seccomp._rows import factored
from seccomp.selectors import meanings

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


def describe_steps(rule: Rule, default: str, call: str = "") -> list[str]:
    """The same in lines, with the names of numbers that select what `call` does."""
    steps, last = rule.cases(default)
    lines = []
    for index, (when, action) in enumerate(steps):
        rows = [" and ".join(_term(call, *term) for term in row) for row in factored(when)]
        head = f"{'else ' if index else ''}{action} if"
        lines += [f"{head} {rows[0]}", *(f"  or if {row}" for row in rows[1:])]
    return [*lines, f"else {last}"]


def _term(call: str, arg: int, mask: int, op: str, values: tuple[int, ...]) -> str:
    masked = {0xFFFFFFFF: "", 2**64 - 1: ""}.get(mask, f" & {mask:#x}")
    names = meanings(call, arg, values, mask) if call != "clone" else ""
    text = names or ", ".join(f"{value:#x}" if value > 9 else str(value) for value in values)
    if len(values) > 1:
        op, text = ("in" if op == "==" else "not in"), f"{{{text}}}"
    return f"argument {arg}{masked} {op} {text}"


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
