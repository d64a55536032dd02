"""A policy as the text of a policy file: what `seccomp.policyfile` reads back as the same policy."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING

from seccomp._rows import factored
from seccomp._widths import WIDTH_32
from seccomp.policy import Case
from seccomp.selectors import meanings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from seccomp.policy import Policy, Rule, When

_WIDTH = 110
_KEYS = {"==": "is", "!=": "not", "<": "below", ">": "above", "<=": "at-most", ">=": "at-least"}
_INT, _LONG = 2**32 - 1, 2**64 - 1


def to_toml(policy: Policy) -> str:
    """The policy file; what the policy was based on is part of it, groups are written out as their calls."""
    lines = [f"description = {_string(policy.description)}"] if policy.description else []
    lines += [f"default = {_string(policy.default)}", f"foreign = {_string(policy.foreign)}"]
    for rule in policy.rules:
        lines += ["", *rule_lines(rule)]
    return "\n".join(lines) + "\n"


def rule_lines(rule: Rule, calls: Iterable[str] | None = None) -> list[str]:
    """One `[[rule]]`; `calls`: the lines between the brackets of its calls, if not simply the names."""
    lines = ["[[rule]]", f"action = {_string(rule.action)}"]
    if isinstance(rule.otherwise, str):
        lines.append(f"otherwise = {_string(rule.otherwise)}")
    if rule.reason:
        lines.append(f"reason = {_string(rule.reason)}")
    if rule.probed:
        lines.append("probed = true")
    if calls is not None:
        lines += ["calls = [", *calls, "]"]
    elif rule.calls:
        lines += _strings("calls", rule.calls)
    if rule.optional:
        lines += _strings("optional", rule.optional)
    lines += when_lines(rule.when, rule.calls)
    place, case = "rule", rule.otherwise
    while isinstance(case, Case):
        place += ".otherwise"
        lines += [f"[{place}]", f"action = {_string(case.action)}", *when_lines(case.when, rule.calls)]
        if isinstance(case.otherwise, str):
            lines.append(f"otherwise = {_string(case.otherwise)}")
        case = case.otherwise
    return lines


def when_lines(when: When, calls: Sequence[str] = ()) -> list[str]:
    """`when = […]`, values of one argument gathered into lists; with what they mean to the first of the calls
    as comments.
    """
    if not when:
        return []
    lines, call = ["when = ["], calls[0] if calls else ""
    for row in factored(when):
        about = [meanings(call, arg, values, mask) for arg, mask, op, values in row if op == "=="]
        line = f"  [{', '.join(_term(calls, *term) for term in row)}],"
        comment = "; ".join(filter(None, about))
        if comment and len(line) + len(comment) + 4 > _WIDTH:
            lines += [f"  # {text}" for text in textwrap.wrap(comment, _WIDTH - 4)] + [line]
        else:
            lines.append(f"{line}  # {comment}" if comment else line)
    return [*lines, "]"]


def _term(calls: Sequence[str], arg: int, mask: int, op: str, values: tuple[int, ...]) -> str:
    numbers = [str(value) if value < 10 else f"{value:#x}" for value in values]
    text = numbers[0] if len(numbers) == 1 else f"[{', '.join(numbers)}]"
    plain = mask == _INT and all(arg in WIDTH_32.get(call, ()) for call in calls)
    width = "width = 64, " if mask > _INT else "width = 32, " if mask == _INT and not plain else ""
    masked = f"mask = {mask:#x}, " if mask not in (_INT, _LONG) else ""
    return f"{{ arg = {arg}, {width}{masked}{_KEYS[op]} = {text} }}"


def _strings(key: str, values: Iterable[str]) -> list[str]:
    """A list of strings, on one line if it fits."""
    text = ", ".join(map(_string, values))
    if len(f"{key} = [{text}]") <= _WIDTH:
        return [f"{key} = [{text}]"]
    lines = textwrap.wrap(text + ",", _WIDTH, initial_indent="  ", subsequent_indent="  ")
    return [f"{key} = [", *lines, "]"]


def _string(text: str) -> str:
    """A basic string of TOML, whose escapes are JSON's but for one more; half a surrogate has none."""
    whole = text.encode("utf-8", "replace").decode()
    return json.dumps(whole, ensure_ascii=False).replace("\x7f", "\\u007f")
