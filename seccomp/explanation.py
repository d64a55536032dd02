"""Why a call is refused, and the rule that would allow it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from seccomp import _calls
from seccomp._errors import PolicyError
from seccomp.grouping import groups, members
from seccomp.policy import Case, Condition, Policy, Rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from seccomp.policy import When


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a policy does with a call: `actions` has one, or all that are possible where it hangs on arguments
    that were not given.

    `rule`: the one that names the call; None: the policy's default decides.  `number`: None where the machine
    has no such call.  `remedy`: the rule to add if the call is to be allowed, None where it is.
    """

    call: str
    number: int | None
    actions: tuple[str, ...]
    rule: Rule | None
    remedy: Rule | None


def explain(
    policy: Policy, call: str, args: Sequence[int | None] = (), arch: str | None = None
) -> Explanation:
    """What happens to a call with these arguments on a machine (None: this one); None, and those left out,
    are unknown.

    PolicyError for a name that no machine has, with those that are alike.
    """
    machine = _calls.machine_of(arch)
    if call.startswith("@"):
        raise PolicyError(f"{call} is a group; name one of its calls: {', '.join(members(call))}")
    if not _calls.is_known(call):
        raise PolicyError(_unknown(call, machine))
    rule = policy.rule_of(call)
    actions = tuple(dict.fromkeys(possible_actions(rule, args, policy.default)))
    allowed = all(action in ("allow", "log") for action in actions)
    remedy = None if allowed else allowing(rule, call, args)
    return Explanation(call, _calls.number(call, machine), actions, rule, remedy)


def _unknown(call: str, machine: str) -> str:
    alike = difflib.get_close_matches(call, names(machine), n=3)
    hint = f"; did you mean {' or '.join(alike)}?" if alike else ""
    return f"no such system call: {call!r}{hint}"


def names(machine: str) -> list[str]:
    """Every call that has a name, on this machine or in a group."""
    found = {name for number in range(1024) if (name := _calls.name(number, machine))}
    return sorted(found.union(*(members(group) for group in groups())))


def possible_actions(rule: Rule | None, args: Sequence[int | None], default: str) -> list[str]:
    """The actions that the arguments leave possible."""
    if rule is None:
        return [default]
    steps, last = rule.cases(default)
    found = []
    for when, action in steps:
        truth = _truth(when, args)
        if truth is not False:
            found.append(action)
        if truth:
            return found
    return [*found, last]


def _truth(when: When, args: Sequence[int | None]) -> bool | None:
    """Whether the conditions hold; None if that hangs on an unknown argument."""
    alternatives = [_holds(alternative, args) for alternative in when]
    return True if True in alternatives else None if None in alternatives else False


def _holds(alternative: tuple[Condition, ...], args: Sequence[int | None]) -> bool | None:
    unknown = False
    for condition in alternative:
        if condition.arg >= len(args) or args[condition.arg] is None:
            unknown = True
        elif not condition.holds([value or 0 for value in args]):
            return False
    return None if unknown else True


def looked_at(rule: Rule) -> dict[int, int]:
    """The arguments that a rule asks for, and which bits of each."""
    asked: dict[int, int] = {}
    for when, _ in rule.cases("kill")[0]:
        for condition in (condition for alternative in when for condition in alternative):
            asked[condition.arg] = asked.get(condition.arg, 0) | condition.mask
    return dict(sorted(asked.items()))


def allowing(rule: Rule | None, call: str, args: Sequence[int | None]) -> Rule:
    """A rule that also allows a call with these arguments, and decides as `rule` about others.

    Where the rule asks for no argument, or for one that is unknown, it allows the call with any.
    """
    asked = looked_at(rule) if rule is not None else {}
    known = {arg: args[arg] for arg in asked if arg < len(args)}
    if rule is None or not asked or len(known) < len(asked) or None in known.values():
        return Rule((call,), "allow")
    wanted = tuple(Condition(arg, (known[arg] or 0) & mask, mask) for arg, mask in asked.items())
    if rule.action == "allow":
        return replace(rule, calls=(call,), optional=(), when=(*rule.when, wanted))
    return Rule((call,), "allow", (wanted,), Case(rule.action, rule.when, rule.otherwise), rule.reason)
