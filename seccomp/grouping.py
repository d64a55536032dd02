"""Groups of system calls by name (`@file-system`), and rules in which they stand for their members."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from seccomp._errors import PolicyError
from seccomp._groups import GROUPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from seccomp.policy import Rule


def groups() -> dict[str, str]:
    """The names of all groups and what each is for."""
    return {name: about for name, (about, _) in GROUPS.items()}


def members(group: str) -> tuple[str, ...]:
    """The calls of a group, sorted, those of the groups in it included; PolicyError for an unknown group."""
    if group not in GROUPS:
        raise PolicyError(f"no such group of system calls: {group!r} (there are {', '.join(GROUPS)})")
    found: set[str] = set()
    for name in GROUPS[group][1].split():
        found |= set(members(name)) if name.startswith("@") else {name}
    return tuple(sorted(found))


_WIDE = ("@privileged", "@system-service")  # made of others, or across them


def home(call: str) -> str:
    """The group that a call is shown in: the one that says most of it; "" where there is none."""
    return next((name for name in GROUPS if name not in _WIDE and call in members(name)), "")


def expand(rules: Sequence[Rule], source: str | None) -> tuple[Rule, ...]:
    """The rules with calls in the place of groups.

    A rule that names a call goes before one whose group has it.  Two rules whose groups have the same call
    must do the same with it.
    """
    named = {call for rule in rules for call in (*rule.calls, *rule.optional) if not call.startswith("@")}
    owners: dict[str, Rule] = {}
    result = []
    for index, rule in enumerate(rules):
        try:
            expanded = _expand_rule(rule, named, owners)
        except PolicyError as error:
            raise PolicyError(error.message, file=source, key=f"rule[{index}].{error.key}") from None
        if expanded.calls or expanded.optional:
            result.append(expanded)
    return tuple(result)


def _expand_rule(rule: Rule, named: set[str], owners: dict[str, Rule]) -> Rule:
    left_out = _left_out(rule)
    calls = [call for call in rule.calls if not call.startswith("@")]
    for group in rule.calls:
        if not group.startswith("@"):
            continue
        for call in _members(group, "calls"):
            if call in left_out or call in named:
                continue
            owner = owners.setdefault(call, rule)
            if owner is rule:
                calls.append(call)
            elif not _does_the_same(owner, rule):
                raise PolicyError(
                    f"{call} is in {group} and in a group of another rule, which does something else with "
                    "it: name the call in one rule, or leave it out (`without`) of one",
                    key="calls",
                )
    return replace(rule, calls=tuple(dict.fromkeys(calls)), without=())


def _left_out(rule: Rule) -> set[str]:
    """What `without` takes away; naming what is not there is a mistake."""
    have = {call for group in rule.calls if group.startswith("@") for call in _members(group, "calls")}
    found: set[str] = set()
    for name in rule.without:
        taken = set(_members(name, "without")) if name.startswith("@") else {name}
        if not taken & have:
            raise PolicyError(f"{name} is in none of the rule's groups", key="without")
        found |= taken
    return found


def _members(group: str, key: str) -> tuple[str, ...]:
    try:
        return members(group)
    except PolicyError as error:
        raise PolicyError(error.message, key=key) from None


def _does_the_same(one: Rule, other: Rule) -> bool:
    return (one.action, one.when, one.otherwise) == (other.action, other.when, other.otherwise)
