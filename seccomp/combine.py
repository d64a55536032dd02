"""Two policies together: what both allow, and where they differ."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from seccomp import _calls
from seccomp._errors import PolicyError
from seccomp.describe import describe_rule
from seccomp.policy import Case, Policy, Rule, action_number

if TYPE_CHECKING:
    from seccomp.policy import Condition, When

    Decision = tuple[list[tuple[When, str]], str]  # see Rule.cases

_MAX_ALTERNATIVES = 256


def stricter(one: str, other: str) -> str:
    """Of two actions the one that the kernel would take; `one` if both are errnos."""
    return other if _rank(other) < _rank(one) else one


def _rank(action: str) -> int:
    number = action_number(action) & 0xFFFF0000
    return number - 2**32 if number >= 2**31 else number  # as the kernel: signed


def intersect(policy: Policy, baseline: Policy) -> Policy:
    """See `Policy.intersect`."""
    order = (call for p in (policy, baseline) for rule in p.rules for call in (*rule.calls, *rule.optional))
    made: dict[Rule, tuple[list[str], list[str]]] = {}
    for call in dict.fromkeys(order):
        one, other = policy.rule_of(call), baseline.rule_of(call)
        try:
            rule = _both(one, policy.default, other, baseline.default)
        except PolicyError as error:
            raise PolicyError(f"{call}: {error.message}", file=policy.source) from None
        optional = all(rule is None or call in rule.optional for rule in (one, other))
        made.setdefault(rule, ([], []))[optional].append(call)
    rules = tuple(
        replace(rule, calls=tuple(calls), optional=tuple(optional))
        for rule, (calls, optional) in made.items()
    )
    default, foreign = (
        stricter(policy.default, baseline.default),
        stricter(policy.foreign, baseline.foreign),
    )
    return replace(policy, rules=rules, default=default, foreign=foreign)


def _both(one: Rule | None, one_default: str, other: Rule | None, other_default: str) -> Rule:
    """A rule without calls that decides as the stricter of both."""
    first: Decision = one.cases(one_default) if one else ([], one_default)
    second: Decision = other.cases(other_default) if other else ([], other_default)
    steps, last = _merge(first, second)
    reasons = dict.fromkeys(rule.reason for rule in (one, other) if rule is not None and rule.reason)
    refusing = [rule for rule, (_, final) in ((one, first), (other, second)) if final not in ("allow", "log")]
    probed = bool(refusing) and all(rule is not None and rule.probed for rule in refusing)
    otherwise: str | Case = last
    for when, action in reversed(steps[1:]):
        otherwise = Case(action, when, otherwise)
    reason = "; ".join(reasons)
    if not steps:
        return Rule((), last, reason=reason, probed=probed)
    return Rule((), steps[0][1], steps[0][0], otherwise, reason, probed)


def _merge(first: Decision, second: Decision) -> Decision:
    """Every step of one with every step of the other, in an order in which the first that holds is right."""
    always: When = ((),)
    (steps, last), (others, other_last) = first, second
    pairs = [
        (_and(when, other), stricter(action, other_action))
        for when, action in [*steps, (always, last)]
        for other, other_action in [*others, (always, other_last)]
    ]
    found, final = pairs[:-1], pairs[-1][1]
    found = [(when, action) for when, action in found if when]
    merged: list[tuple[When, str]] = []
    for when, action in found:
        if merged and merged[-1][1] == action:
            when = tuple(dict.fromkeys(merged.pop()[0] + when))
        merged.append((when, action))
    while merged and merged[-1][1] == final:
        merged.pop()
    if any(len(when) > _MAX_ALTERNATIVES for when, _ in merged):
        raise PolicyError(f"the conditions of both make more than {_MAX_ALTERNATIVES} alternatives")
    return merged, final


def _and(one: When, other: When) -> When:
    """The alternatives in which both hold, without those that cannot."""
    found = (tuple(dict.fromkeys(a + b)) for a, b in product(one, other))
    return tuple(dict.fromkeys(each for each in found if not _contradicts(each)))


def _contradicts(alternative: tuple[Condition, ...]) -> bool:
    wanted: dict[tuple[int, int], int] = {}
    return any(c.op == "==" and wanted.setdefault((c.arg, c.mask), c.value) != c.value for c in alternative)


@dataclass(frozen=True, slots=True)
class Difference:
    """A call (or `default`, `foreign`) of which two policies say something else, in words."""

    call: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.call}: {self.before} → {self.after}"


def diff(policy_a: Policy, policy_b: Policy, arch: str | None = None) -> list[Difference]:
    """Where the second policy decides otherwise than the first, on a machine (None: this one).

    Conditions are compared as they are written, whatever their order: two ways to say the same are a
    difference.
    """
    machine = _calls.machine_of(arch)
    pairs = [("default", policy_a.default, policy_b.default), ("foreign", policy_a.foreign, policy_b.foreign)]
    table_a, table_b = policy_a.table(machine), policy_b.table(machine)
    for number in sorted({*table_a, *table_b}):
        before = describe_rule(table_a.get(number), policy_a.default)
        after = describe_rule(table_b.get(number), policy_b.default)
        pairs.append((_calls.name(number, machine) or str(number), before, after))
    return [Difference(*pair) for pair in pairs if pair[1] != pair[2]]
