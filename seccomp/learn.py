"""From the calls that a program made to a policy that allows them and little else.

What is learned lies within a base policy: a call that the base refuses stays refused.  Arguments are compared
where the base compares them and where they select what a call does (`seccomp.selectors`), if few values were
seen; else the base's own conditions are kept.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from seccomp import _calls
from seccomp.explanation import looked_at, possible_actions
from seccomp.policy import Case, Condition, Policy, Rule
from seccomp.selectors import CLONE_THREAD, SELECTORS, number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MAX_VALUES = 16  # more of a selecting argument are not worth a list
_ALLOWED = ("allow", "log")

# What starting takes, and what kernel, C library and allocator do or not from run to run: timing decides.
ALWAYS = (
    "brk", "clock_getres", "clock_gettime", "clock_nanosleep", "close", "execve", "exit", "exit_group",
    "futex", "getcpu", "getpid", "getrandom", "gettid", "gettimeofday", "madvise", "mmap", "mprotect",
    "mremap", "munmap", "nanosleep", "read", "restart_syscall", "rseq", "rt_sigaction", "rt_sigprocmask",
    "rt_sigreturn", "sched_getaffinity", "sched_yield", "set_robust_list", "sigaltstack", "tgkill", "time",
    "write",
)  # fmt: skip
# Of a program that starts processes: whether a child has ended by itself when it is to be ended is a race.
WITH_CHILDREN = ("kill", "wait4", "waitid")
# Of calls that were seen: what the same program asks besides when its streams are, or are not, a terminal.
ALWAYS_VALUES = {"ioctl": ("TCGETS", "TIOCGWINSZ"), "fcntl": ("F_GETFL",)}
REFUSED = "the base policy refuses it too; the command tried it"


@dataclass(frozen=True, slots=True)
class Seen:
    """A call that was made `count` times; `args`, or single ones, are None where they were not recorded.

    `action`: what became of it, as in a policy: `allow`, or an errno or another refusal.
    """

    name: str
    args: tuple[int | None, ...] | None
    action: str
    count: int


@dataclass(frozen=True, slots=True)
class Learned:
    """A policy, and what its file tells besides: how often each call was made, what was refused (and how),
    the commands that it was learned from.
    """

    policy: Policy
    counts: Mapping[str, int]
    refused: Mapping[str, Mapping[str, int]]
    runs: tuple[str, ...] = ()


def seen_in(calls: Iterable[Mapping[str, Any]]) -> list[Seen]:
    """The `calls` of an outcome.  ValueError for what is none."""
    found = []
    for each in calls:
        try:
            name = each["name"] or f"call {each['number']}"
            given = each["args"]
            args = None if given is None else tuple(arg if arg is None else int(arg) for arg in given)
            action = each["action"]
            if action == "errno":
                action = errno.errorcode.get(each["errno"], "EPERM")
            found.append(Seen(str(name), args, str(action), int(each["count"])))
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"not a recorded call: {each!r}") from None
    return found


def learn(base: Policy, seen: Sequence[Seen], run: str = "", earlier: Sequence[Learned] = ()) -> Learned:
    """The policy for what was seen, together with what was learned earlier.

    What the earlier ones allow stays allowed, also where somebody added it by hand.
    """
    refused: dict[str, dict[str, int]] = {}
    allowed: dict[str, list[Seen]] = {}
    for each in seen:
        action = decision(base, each)
        if action in _ALLOWED:
            allowed.setdefault(each.name, []).append(each)
        else:
            kinds = refused.setdefault(each.name, {})
            kinds[action] = kinds.get(action, 0) + each.count
    rules = {call: rule_for(base, call, uses) for call, uses in allowed.items()}
    counts = {call: sum(use.count for use in uses) for call, uses in allowed.items()}
    for old in earlier:
        _merge(base, old, rules, counts, refused)
    usual = (*ALWAYS, *(WITH_CHILDREN if any(map(_starts_process, seen)) else ()))
    for call in usual:
        if call not in {**rules, **refused} and decision(base, Seen(call, None, "allow", 0)) in _ALLOWED:
            rules[call] = _as_base(base, call)
    default = "ENOSYS" if base.default in _ALLOWED else base.default
    for call, kinds in refused.items():
        own = base.rule_of(call)
        probed = own is not None and own.probed
        if call not in rules and (probed or default not in kinds):
            rules[call] = Rule((call,), next(iter(kinds)), reason=REFUSED, probed=probed)
    policy = Policy(tuple(rules[call] for call in sorted(rules)), default, base.foreign)
    runs = tuple(dict.fromkeys([run for old in earlier for run in old.runs] + ([run] if run else [])))
    return Learned(policy, counts, refused, runs)


def _starts_process(each: Seen) -> bool:
    flags = each.args[0] if each.args else None
    return each.name in ("fork", "vfork") or (
        each.name == "clone" and (flags is None or not flags & CLONE_THREAD)
    )


def decision(base: Policy, each: Seen) -> str:
    """What became of a call under the base: its record's word, but never more than the base allows."""
    if each.action not in _ALLOWED:
        return each.action
    rule = base.rule_of(each.name)
    if rule is None:
        return base.default if _calls.is_known(each.name) else "ENOSYS"
    possible = possible_actions(rule, each.args or (), base.default)
    return possible[0] if len(possible) == 1 else each.action


def rule_for(base: Policy, call: str, uses: Sequence[Seen]) -> Rule:
    """The rule of one call that was made so."""
    whole = _as_base(base, call)
    pins = {selector.arg: selector.mask for selector in SELECTORS.get(call, ())}
    if not pins:
        return whole
    for arg, mask in looked_at(whole).items():
        pins[arg] = pins.get(arg, 0) | mask
    values = set()
    for use in uses:
        given = [use.args[arg] if use.args is not None else None for arg in pins]
        known = [value for value in given if value is not None]
        if len(known) < len(pins):
            return whole
        values.add(tuple(value & mask for value, mask in zip(known, pins.values(), strict=True)))
    if len(values) > MAX_VALUES:
        return whole
    if len(pins) == 1:
        values |= {(number(name),) for name in ALWAYS_VALUES.get(call, ())}
    whens = [tuple(Condition(arg, v, mask) for (arg, mask), v in zip(pins.items(), each, strict=True))
             for each in sorted(values)]  # fmt: skip
    reason = whole.reason if whole.when else "only what was seen of it"
    return Rule((call,), "allow", tuple(whens), refusal(base, whole), reason)


def refusal(base: Policy, rule: Rule) -> str:
    """What the arguments get that a rule does not allow."""
    steps, last = rule.cases(base.default)
    refusing = [action for action in (*(action for _, action in steps), last) if action not in _ALLOWED]
    return refusing[0] if refusing else base.default if base.default.islower() else "EPERM"


def _as_base(base: Policy, call: str) -> Rule:
    """What the base says of one call."""
    rule = base.rule_of(call)
    if rule is None:
        return Rule((call,), base.default)
    otherwise = base.default if rule.when and rule.otherwise is None else rule.otherwise
    return replace(rule, calls=(call,), optional=(), otherwise=otherwise)


def _merge(base: Policy, old: Learned, rules: dict[str, Rule], counts: dict[str, int],
           refused: dict[str, dict[str, int]]) -> None:  # fmt: skip
    """Add what was learned earlier."""
    for rule in old.policy.rules:
        for call in (*rule.calls, *rule.optional):
            known = replace(rule, calls=(call,), optional=())
            if not rule.when and rule.action not in _ALLOWED:
                refused.setdefault(call, {}).setdefault(rule.action, 0)
                continue
            rules[call] = _both(base, call, known, rules[call]) if call in rules else known
    for call, count in old.counts.items():
        counts[call] = counts.get(call, 0) + count
    for call, kinds in old.refused.items():
        for action, count in kinds.items():
            mine = refused.setdefault(call, {})
            mine[action] = mine.get(action, 0) + count


def _both(base: Policy, call: str, one: Rule, other: Rule) -> Rule:
    """A rule that allows what either does, and nothing that the base refuses."""
    for rule in (one, other):
        if not rule.when and rule.action in _ALLOWED:
            return rule
    simple = one.action == other.action == "allow" and one.otherwise == other.otherwise
    when = tuple(dict.fromkeys(one.when + other.when))
    if not simple or isinstance(one.otherwise, Case) or len(when) > MAX_VALUES:
        return _as_base(base, call)
    return replace(one, when=tuple(sorted(when, key=lambda row: [(c.arg, c.value) for c in row])))
