"""Policies: which system calls a program may make, as frozen values.

A policy says of every call what happens: `decide()` is its meaning, `compile()` the program for the kernel
that means the same.  A filter sees numbers only; it cannot look at what an argument points to (seccomp(2)),
and it does not hold back what an allowed call does.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from seccomp._errors import PolicyError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

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


@dataclass(frozen=True, slots=True)
class Condition:
    """Argument `arg` (0–5), of which only the bits of `mask` are looked at, equals `value`.

    The mask is the width that the kernel uses of the argument: an int's upper half is never looked at, by
    neither.
    """

    arg: int
    value: int
    mask: int = 0xFFFFFFFF

    def __post_init__(self) -> None:
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
        return (args[self.arg] if self.arg < len(args) else 0) & self.mask == self.value


@dataclass(frozen=True, slots=True)
class Rule:
    """What happens to `calls`: `action` if all conditions of any alternative in `when` hold (or `when` is
    empty), else `otherwise`.

    `otherwise`: None is the policy's default.  `probed`: programs try these calls and do without, so
    `strict()` leaves them.
    """

    calls: tuple[str, ...]
    action: str
    when: tuple[tuple[Condition, ...], ...] = ()
    otherwise: str | None = None
    reason: str = ""
    probed: bool = False

    def __post_init__(self) -> None:
        for action in (self.action, self.otherwise):
            if action is not None:
                action_number(action)
        if self.otherwise is not None and not self.when:
            raise PolicyError("`otherwise` without `when`")
        if not all(self.when):
            raise PolicyError("an alternative of `when` has no condition")

    def decide(self, args: Sequence[int], default: str) -> str:
        """The action for these arguments under a policy with that default."""
        if not self.when or any(all(c.holds(args) for c in alternative) for alternative in self.when):
            return self.action
        return default if self.otherwise is None else self.otherwise


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules, no two for the same call; `default` for calls that none names, `foreign` for another ABI than
    the machine's own.

    Foreign are i386 and x32 calls on x86-64, 32-bit ARM on arm64: their numbers mean other calls.
    """

    rules: tuple[Rule, ...]
    default: str = "ENOSYS"
    foreign: str = "kill"
    description: str = ""
    source: str | None = None  # the file it was read from, for messages

    def __post_init__(self) -> None:
        action_number(self.default)
        action_number(self.foreign)
        seen: set[str] = set()
        for call in (call for rule in self.rules for call in rule.calls):
            if call in seen:
                raise PolicyError(f"two rules for {call}", file=self.source)
            seen.add(call)

    @staticmethod
    def from_toml(text: str, *, source: str | None = None) -> Policy:
        """Read a policy's text (see `seccomp.policyfile`); PolicyError names `source` and the key."""
        from seccomp.policyfile import parse

        return parse(text, source)

    @staticmethod
    def from_file(path: str | os.PathLike[str]) -> Policy:
        """Read a policy file; OSError if that fails, PolicyError if it is wrong."""
        from seccomp.policyfile import read

        return read(path)

    def strict(self) -> Policy:
        """The same, but a call that would fail kills the process, but for the `probed` ones."""

        def harsh(action: str) -> str:
            return action if action in _ACTIONS else "kill"

        def harsh_rule(rule: Rule) -> Rule:
            otherwise = None if rule.otherwise is None else harsh(rule.otherwise)
            return replace(rule, action=harsh(rule.action), otherwise=otherwise)

        rules = tuple(rule if rule.probed else harsh_rule(rule) for rule in self.rules)
        return replace(self, rules=rules, default=harsh(self.default))

    def table(self, arch: str | None = None) -> Mapping[int, Rule]:
        """The rule of each call number of a machine (uname(2)'s word; None: this one).

        Calls that the machine has not are left out; a name that no machine has is a PolicyError.
        """
        from seccomp import _calls

        machine = _calls.machine_of(arch)
        table: dict[int, Rule] = {}
        for index, rule in enumerate(self.rules):
            for call in rule.calls:
                if not _calls.is_known(call):
                    raise PolicyError(
                        f"no such system call: {call!r}", file=self.source, key=f"rule[{index}].calls"
                    )
                number = _calls.number(call, machine)
                if number is not None:
                    table[number] = rule
        return table

    def decide(self, call: str | int, args: Sequence[int] = (), arch: str | None = None) -> str:
        """What happens to a call of the machine's own interface, by name or number: an action's word."""
        if isinstance(call, str):
            rule = next((rule for rule in self.rules if call in rule.calls), None)
        else:
            rule = self.table(arch).get(call)
        return self.default if rule is None else rule.decide(args, self.default)

    def compile(self, arch: str | None = None) -> bytes:
        """The program (struct sock_filter after struct sock_filter) for a machine (None: this one).

        PolicyError for a policy that cannot be expressed; LibraryMissingError without libseccomp.
        """
        from seccomp._compile import compile_policy

        return compile_policy(self, arch)
