"""From a policy to a program that the kernel loads fast.

The kernel checks and translates a program at each load, so its length is what a start pays for.  Neighbouring
call numbers with the same fate are one range, the ranges a balanced tree of comparisons; arguments are looked
at in its leaves.  Numbers come from libseccomp's tables; the tests compare with the programs that libseccomp
itself makes of the same policies.

A program is emitted from its end to its beginning: jumps only go forward, so every target is known by then.
"""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from seccomp import _calls
from seccomp._errors import PolicyError
from seccomp.policy import action_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from seccomp.policy import Policy, Rule

_LOAD, _AND, _JUMP, _JEQ, _JGE, _RETURN = 0x20, 0x54, 0x05, 0x15, 0x35, 0x06  # BPF_LD|BPF_W|BPF_ABS, …
_NR, _ARCH, _ARGS = 0, 4, 16  # offsets in struct seccomp_data
_X32 = 0x40000000  # x32 calls come with x86-64's architecture and this bit in the number
_NO_CALL = 0xFFFFFFFF  # a tracer skipped the call
_MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS
_MAX_SKIP = 255  # the 8 bits of a conditional jump


class _Word(NamedTuple):
    """A 32-bit half of a condition: the word at `offset`, masked, equals `value`."""

    offset: int
    mask: int
    value: int


_Alternative = tuple[_Word, ...]


class _Fate(NamedTuple):
    """What happens to a call: `action` if an alternative holds, else `otherwise`."""

    alternatives: tuple[_Alternative, ...]
    action: int
    otherwise: int


def compile_policy(policy: Policy, arch: str | None = None) -> bytes:
    """The program for a machine; see `Policy.compile`."""
    machine = _calls.machine_of(arch)
    ranges = _ranges(policy.table(machine), policy.default)
    code = _Emitter(policy.source)
    body = _tree(code, ranges, {})
    foreign, default = code.result(action_number(policy.foreign)), code.result(action_number(policy.default))
    if machine == "x86_64":
        body = code.branch(_JGE, _X32, code.branch(_JEQ, _NO_CALL, default, foreign), body)
    code.load(_NR, body)
    # Falls into the load just emitted, unless the call came through another ABI.
    code.load(_ARCH, code.branch(_JEQ, _calls.arch_token(machine), code.last, foreign))
    return code.program()


def _ranges(table: Mapping[int, Rule], default: str) -> list[tuple[int, _Fate]]:
    """The first number of each range of calls with one fate, from 0 on; the last range has no end."""
    nothing = _Fate(((),), action_number(default), action_number(default))
    end = max(table, default=-1) + 1
    fates = [_fate(table[number], default) if number in table else nothing for number in range(end)] + [
        nothing
    ]
    return [(0, fates[0])] + [
        (index + 1, new) for index, (old, new) in enumerate(pairwise(fates)) if new != old
    ]


def _fate(rule: Rule, default: str) -> _Fate:
    action = action_number(rule.action)
    otherwise = action_number(default if rule.otherwise is None else rule.otherwise)
    alternatives = tuple(
        tuple(word for c in alternative for word in _words(c.arg, c.mask, c.value))
        for alternative in rule.when
    )
    if not alternatives or action == otherwise:
        return _Fate(((),), action, action)
    return _Fate(alternatives, action, otherwise)


def _words(arg: int, mask: int, value: int) -> list[_Word]:
    """The halves of a condition that its mask looks at (little-endian: the lower one first)."""
    offset, low = _ARGS + 8 * arg, 0xFFFFFFFF
    lower, upper = _Word(offset, mask & low, value & low), _Word(offset + 4, mask >> 32, value >> 32)
    return [word for word in (lower, upper) if word.mask]


def _tree(code: _Emitter, ranges: Sequence[tuple[int, _Fate]], leaves: dict[_Fate, int]) -> int:
    """The comparisons that find the range of the number in the accumulator; the label of the first."""
    if len(ranges) == 1:
        fate = ranges[0][1]
        if fate not in leaves:
            leaves[fate] = _leaf(code, fate)
        return leaves[fate]
    if len(ranges) == 3 and ranges[0][1] == ranges[2][1] and ranges[2][0] - ranges[1][0] == 1:
        single, around = _tree(code, ranges[1:2], leaves), _tree(code, ranges[:1], leaves)
        return code.branch(_JEQ, ranges[1][0], single, around)
    middle = len(ranges) // 2
    above, below = _tree(code, ranges[middle:], leaves), _tree(code, ranges[:middle], leaves)
    return code.branch(_JGE, ranges[middle][0], above, below)


def _leaf(code: _Emitter, fate: _Fate) -> int:
    yes, no = code.result(fate.action), code.result(fate.otherwise)
    return _decision(code, fate.alternatives, None, yes, no, {})


_Seen = dict[tuple[tuple[_Alternative, ...], tuple[int, int] | None], int]


def _decision(
    code: _Emitter,
    alternatives: tuple[_Alternative, ...],
    held: tuple[int, int] | None,
    yes: int,
    no: int,
    seen: _Seen,
) -> int:
    """Go to `yes` if any alternative holds, else to `no`; `held`: the word and mask in the accumulator."""
    if () in alternatives:
        return yes
    if not alternatives:
        return no
    if (alternatives, held) in seen:
        return seen[alternatives, held]
    word = alternatives[0][0]
    here = word[:2]
    # Where it has the value, alternatives that want another are out, and the others need no such test.
    met = [
        tuple(other for other in alternative if other != word)
        for alternative in alternatives
        if not any(other[:2] == here and other != word for other in alternative)
    ]
    met.sort(key=len)
    missed = [a for a in alternatives if word not in a]
    then = _decision(code, tuple(dict.fromkeys(met)), here, yes, no, seen)
    otherwise = _decision(code, tuple(missed), here, yes, no, seen)
    label = code.branch(_JEQ, word.value, then, otherwise)
    if held != here and then != otherwise:
        if word.mask != 0xFFFFFFFF:
            label = code.emit(_AND, word.mask, label)
        label = code.load(word.offset, label)
    seen[alternatives, held] = label
    return label


class _Emitter:
    """A program from its end on.  A label is an instruction's distance from the end."""

    def __init__(self, source: str | None) -> None:
        self._source = source
        self._backwards: list[tuple[int, int, int, int]] = []
        self._results: dict[int, int] = {}

    @property
    def last(self) -> int:
        """The label of the instruction that was emitted last, so stands first."""
        return len(self._backwards) - 1

    def result(self, action: int) -> int:
        """The label of the instruction that ends with this action; there is one of each."""
        if action not in self._results:
            self._results[action] = self._append(_RETURN, 0, 0, action)
        return self._results[action]

    def branch(self, kind: int, value: int, yes: int, no: int) -> int:
        """A comparison of the accumulator; where both ways are one, none."""
        if yes == no:
            return yes
        if (
            self._skip(no) >= _MAX_SKIP
        ):  # one less than possible: the next line may put an instruction between
            no = self._append(_JUMP, 0, 0, self._skip(no))
        if self._skip(yes) > _MAX_SKIP:
            yes = self._append(_JUMP, 0, 0, self._skip(yes))
        return self._append(kind, self._skip(yes), self._skip(no), value)

    def load(self, offset: int, then: int) -> int:
        """Load a word of struct seccomp_data and go on at `then`."""
        return self.emit(_LOAD, offset, then)

    def emit(self, kind: int, value: int, then: int) -> int:
        """An instruction that goes on at `then`, which is made the next one."""
        if then != self.last:
            self._append(_JUMP, 0, 0, self._skip(then))
        return self._append(kind, 0, 0, value)

    def program(self) -> bytes:
        """The instructions in the kernel's form."""
        return b"".join(struct.pack("<HBBI", *instruction) for instruction in reversed(self._backwards))

    def _skip(self, label: int) -> int:
        return self.last - label

    def _append(self, kind: int, yes: int, no: int, value: int) -> int:
        if len(self._backwards) >= _MAX_INSTRUCTIONS:
            raise PolicyError(
                f"needs more than the {_MAX_INSTRUCTIONS} instructions of a program", file=self._source
            )
        self._backwards.append((kind, yes, no, value))
        return self.last
