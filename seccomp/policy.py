"""Policies: which system calls a program may make, as frozen values.

A policy says of every call what happens: `decide()` is its meaning, `compile()` the program for the kernel
that means the same.  A filter sees numbers only; it cannot look at what an argument points to (seccomp(2)),
and it does not hold back what an allowed call does.
"""

from __future__ import annotations

import errno
import operator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from seccomp._errors import PolicyError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

# An action is a word, or the name of an errno: the call fails with it.  The numbers are SECCOMP_RET_….
_ACTIONS = {
    "kill": 0x80000000,
    "kill-thread": 0x00000000,
    "trap": 0x00030000,
    "log": 0x7FFC0000,
    "allow": 0x7FFF0000,
}
_ERRNO = 0x00050000
_MAX_ERRNO = 4095


def action_number(action: str) -> int:
    """The kernel's number for an action; PolicyError if there is no such action."""
    if action in _ACTIONS:
        return _ACTIONS[action]
    value = getattr(errno, action, None) if action.isupper() else None
    if not isinstance(value, int) or not 0 < value <= _MAX_ERRNO:
        raise PolicyError(
            f"no such action: {action!r} (one of {', '.join(_ACTIONS)}, or an errno such as EPERM)"
        )
    return _ERRNO | value


def action_name(number: int) -> str:
    """The action's word for one of the kernel's numbers; ValueError for one that policies do not use."""
    for name, value in _ACTIONS.items():
        if value == number:
            return name
    if number & 0xFFFF0000 == _ERRNO and number & 0xFFFF in errno.errorcode:
        return errno.errorcode[number & 0xFFFF]
    raise ValueError(f"not an action of a policy: {number:#x}")


_COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """Argument `arg` (0–5), of which only the bits of `mask` are looked at, compares so with `value`.

    The mask is the width that the kernel uses of the argument: an int's upper half is never looked at, by
    neither.  Comparisons are unsigned.
    """

    arg: int
    value: int
    mask: int = 0xFFFFFFFF
    op: str = "=="

    def __post_init__(self) -> None:
        if self.op not in _COMPARISONS:
            raise PolicyError(f"no such comparison: {self.op!r} (one of {' '.join(_COMPARISONS)})")
        if not 0 <= self.arg <= 5:
            raise PolicyError(f"a system call has the arguments 0 to 5, not {self.arg}")
        if not 0 < self.mask < 2**64:
            raise PolicyError(f"the mask {self.mask:#x} is not from 1 to 2**64 - 1")
        if self.value & ~self.mask or self.value < 0:
            raise PolicyError(
                f"{self.value:#x} has bits outside of the mask {self.mask:#x}: it never matches"
            )

    def holds(self, args: Sequence[int]) -> bool:
        """Whether it holds for these arguments; absent ones are 0."""
        given = args[self.arg] if self.arg < len(args) else 0
        return _COMPARISONS[self.op](given & self.mask, self.value)


When = tuple[tuple[Condition, ...], ...]  # holds if all conditions of any alternative do


@dataclass(frozen=True, slots=True)
class Case:
    """What a rule does where its own conditions do not hold: it is one of several steps."""

    action: str
    when: When
    otherwise: str | Case | None = None

    def __post_init__(self) -> None:
        _check_decision(self.action, self.when, self.otherwise)
        if not self.when:
            raise PolicyError("a case without `when`")


@dataclass(frozen=True, slots=True)
class Rule:
    """What happens to `calls`: `action` if all conditions of any alternative in `when` hold (or `when` is
    empty), else `otherwise`.

    `calls`: names and groups (`@file-system`); `without`: members of these groups that are left out.
    `otherwise`: None is the policy's default, a `Case` goes on asking.  `probed`: programs try these calls
    and do without, so `strict()` leaves them.  `optional`: calls that need not be known here.
    """

    calls: tuple[str, ...]
    action: str
    when: When = ()
    otherwise: str | Case | None = None
    reason: str = ""
    probed: bool = False
    without: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_decision(self.action, self.when, self.otherwise)
        if self.otherwise is not None and not self.when:
            raise PolicyError("`otherwise` without `when`")

    def cases(self, default: str) -> tuple[list[tuple[When, str]], str]:
        """The steps in their order (the first whose condition holds decides), and the action if none does."""
        if not self.when:
            return [], self.action
        steps = [(self.when, self.action)]
        rest = self.otherwise
        while isinstance(rest, Case):
            steps.append((rest.when, rest.action))
            rest = rest.otherwise
        return steps, default if rest is None else rest

    def decide(self, args: Sequence[int], default: str) -> str:
        """The action for these arguments under a policy with that default."""
        steps, last = self.cases(default)
        return next((action for when, action in steps if holds(when, args)), last)


def holds(when: When, args: Sequence[int]) -> bool:
    """Whether any alternative holds for these arguments."""
    return any(all(condition.holds(args) for condition in alternative) for alternative in when)


def _check_decision(action: str, when: When, otherwise: str | Case | None) -> None:
    action_number(action)
    if isinstance(otherwise, str):
        action_number(otherwise)
    if not all(when):
        raise PolicyError("an alternative of `when` has no condition")


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules, no two for the same call; `default` for calls that none names, `foreign` for another ABI than
    the machine's own.

    Foreign are i386 and x32 calls on x86-64, 32-bit ARM on arm64: their numbers mean other calls.  Groups in
    the rules are replaced by their calls.  A policy does not change: what alters one gives a new one.
    """

    rules: tuple[Rule, ...]
    default: str = "ENOSYS"
    foreign: str = "kill"
    description: str = ""
    source: str | None = None  # the file it was read from, for messages

    def __post_init__(self) -> None:
        action_number(self.default)
        action_number(self.foreign)
        if any(rule.without or any(call.startswith("@") for call in rule.calls) for rule in self.rules):
            from seccomp.grouping import expand

            object.__setattr__(self, "rules", expand(self.rules, self.source))
        seen: set[str] = set()
        for call in (call for rule in self.rules for call in (*rule.calls, *rule.optional)):
            if call in seen:
                raise PolicyError(f"two rules for {call}", file=self.source)
            seen.add(call)

    @staticmethod
    def from_toml(text: str, *, source: str | None = None) -> Policy:
        """Read a policy's text (see `seccomp.policyfile`); PolicyError names `source` and the key."""
        from seccomp.policyfile import parse

        return parse(text, source)

    @staticmethod
    def from_oci(
        text: str | bytes,
        *,
        capabilities: Collection[str] = (),
        arch: str | None = None,
        kernel: str | None = None,
        source: str | None = None,
    ) -> Policy:
        """Read a Docker or OCI profile for a process with these capabilities (see `seccomp.ocifile`)."""
        from seccomp.ocifile import parse

        return parse(text, capabilities=capabilities, arch=arch, kernel=kernel, source=source)

    @staticmethod
    def from_file(path: str | os.PathLike[str]) -> Policy:
        """Read a policy file, or if its name ends in `.json` a Docker or OCI profile for a process without
        capabilities; OSError if that fails, PolicyError if it is wrong.
        """
        from seccomp.policyfile import read

        return read(path)

    @staticmethod
    def named(profile: str) -> Policy:
        """A shipped profile; PolicyError if there is none of that name."""
        from seccomp.policyfile import shipped

        return shipped(profile)

    def strict(self) -> Policy:
        """The same, but a call that would fail kills the process, but for the `probed` ones."""

        def harsh(action: str) -> str:
            return action if action in _ACTIONS else "kill"

        def harsh_rest(rest: str | Case | None) -> str | Case | None:
            if isinstance(rest, Case):
                return replace(rest, action=harsh(rest.action), otherwise=harsh_rest(rest.otherwise))
            return None if rest is None else harsh(rest)

        def harsh_rule(rule: Rule) -> Rule:
            return replace(rule, action=harsh(rule.action), otherwise=harsh_rest(rule.otherwise))

        rules = tuple(rule if rule.probed else harsh_rule(rule) for rule in self.rules)
        return replace(self, rules=rules, default=harsh(self.default))

    def extend(self, other: Policy | Iterable[Rule]) -> Policy:
        """This policy with the other's rules, which go before this one's; default and foreign stay."""
        rules = other.rules if isinstance(other, Policy) else tuple(other)
        added = replace(self, rules=rules).rules  # with groups expanded
        taken = {call for rule in added for call in (*rule.calls, *rule.optional)}
        kept = tuple(
            replace(rule, calls=calls, optional=optional)
            for rule in self.rules
            for calls in [tuple(call for call in rule.calls if call not in taken)]
            for optional in [tuple(call for call in rule.optional if call not in taken)]
            if calls or optional
        )
        return replace(self, rules=kept + added)

    def allow(self, *calls: str, reason: str = "") -> Policy:
        """This policy with these calls and groups allowed, whatever their arguments."""
        return self.extend([Rule(calls, "allow", reason=reason)]) if calls else self

    def deny(self, *calls: str, action: str = "EPERM", reason: str = "") -> Policy:
        """This policy with these calls and groups refused, whatever their arguments."""
        if action in ("allow", "log"):
            raise PolicyError(f"{action!r} does not deny")
        return self.extend([Rule(calls, action, reason=reason)]) if calls else self

    def intersect(self, baseline: Policy) -> Policy:
        """What both allow: of each call the stricter decision, as if both filters were loaded.

        Strict is in the kernel's order: kill, kill-thread, trap, an errno, log, allow; of two errnos this
        policy's.  PolicyError where the combined conditions are too many for a rule.
        """
        from seccomp.combine import intersect

        return intersect(self, baseline)

    def table(self, arch: str | None = None) -> Mapping[int, Rule]:
        """The rule of each call number of a machine (uname(2)'s word; None: this one).

        Calls that the machine has not are left out; a name that no machine has is a PolicyError unless it is
        optional.
        """
        from seccomp import _calls

        machine = _calls.machine_of(arch)
        table: dict[int, Rule] = {}
        for index, rule in enumerate(self.rules):
            for call in (*rule.calls, *rule.optional):
                if not _calls.is_known(call):
                    if call in rule.optional:
                        continue
                    raise PolicyError(
                        f"no such system call: {call!r}", file=self.source, key=f"rule[{index}].calls"
                    )
                number = _calls.number(call, machine)
                if number is not None:
                    table[number] = rule
        return table

    def rule_of(self, call: str) -> Rule | None:
        """The rule that names a call."""
        return next((rule for rule in self.rules if call in rule.calls or call in rule.optional), None)

    def decide(self, call: str | int, args: Sequence[int] = (), arch: str | None = None) -> str:
        """What happens to a call of the machine's own interface, by name or number: an action's word."""
        rule = self.rule_of(call) if isinstance(call, str) else self.table(arch).get(call)
        return self.default if rule is None else rule.decide(args, self.default)

    def to_toml(self) -> str:
        """The text of a policy file, which `from_toml` reads as a policy that decides the same."""
        from seccomp.writer import to_toml

        return to_toml(self)

    def compile(self, arch: str | None = None) -> bytes:
        """The program (struct sock_filter after struct sock_filter) for a machine (None: this one).

        PolicyError for a policy that cannot be expressed; LibraryMissingError without libseccomp.
        """
        from seccomp._compile import compile_policy

        return compile_policy(self, arch)
