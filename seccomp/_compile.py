"""From a policy to a program that the kernel loads fast.

The kernel checks and translates a program at each load, so its length is what a start pays for.  Neighbouring
call numbers with the same fate are one range, the ranges a balanced tree of comparisons; arguments are looked
at in its leaves.  Numbers come from libseccomp's tables; the tests compare with the programs that libseccomp
itself makes of the same policies.

A program is emitted from its end to its beginning: jumps only go forward, so every target is known by then.
"""

from __future__ import annotations

import operator
import struct
from itertools import pairwise, product
from typing import TYPE_CHECKING, NamedTuple

from seccomp import _calls
from seccomp._errors import PolicyError
from seccomp.policy import action_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from seccomp.policy import Condition, Policy, Rule, When

_LOAD, _AND, _JUMP, _RETURN = 0x20, 0x54, 0x05, 0x06  # BPF_LD|BPF_W|BPF_ABS, …
_JEQ, _JGT, _JGE = 0x15, 0x25, 0x35
_COMPARE = {_JEQ: operator.eq, _JGT: operator.gt, _JGE: operator.ge}
_NR, _ARCH, _ARGS = 0, 4, 16  # offsets in struct seccomp_data
_X32 = 0x40000000  # x32 calls come with x86-64's architecture and this bit in the number
_NO_CALL = 0xFFFFFFFF  # a tracer skipped the call
_MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS
_MAX_SKIP = 255  # the 8 bits of a conditional jump


class _Word(NamedTuple):
    """A 32-bit part of a condition: whether the word at `offset`, masked, compares with `value` so as `kind`
    (JEQ, JGT, JGE) says; `wanted`: whether it should.
    """

    offset: int
    mask: int
    value: int
    kind: int
    wanted: bool


_Alternative = tuple[_Word, ...]


class _Fate(NamedTuple):
    """What happens to a call: `action` if an alternative holds, else `otherwise`."""

    alternatives: tuple[_Alternative, ...]
    action: int
    otherwise: int | _Fate


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
    steps, last = rule.cases(default)
    fate: int | _Fate = action_number(last)
    for when, action in reversed(steps):
        number = action_number(action)
        if number != fate:
            fate = _Fate(_alternatives(when), number, fate)
    return fate if isinstance(fate, _Fate) else _Fate(((),), fate, fate)


def _alternatives(when: When) -> tuple[_Alternative, ...]:
    """The alternatives with each condition split into the words that the kernel compares."""
    return tuple(
        tuple(word for part in parts for word in part)
        for alternative in when
        for parts in product(*(_words(condition) for condition in alternative))
    )


def _words(condition: Condition) -> list[_Alternative]:
    """Alternatives that together are the condition, by halves (little-endian: the lower one first)."""
    offset, low = _ARGS + 8 * condition.arg, 0xFFFFFFFF
    lower = _Word(offset, condition.mask & low, condition.value & low, _JEQ, True)
    upper = _Word(offset + 4, condition.mask >> 32, condition.value >> 32, _JEQ, True)
    found: list[_Alternative]
    if condition.op == "==":
        found = [(lower, upper)]
    elif condition.op == "!=":
        found = [(lower._replace(wanted=False),), (upper._replace(wanted=False),)]
    else:
        wanted = condition.op in (">", ">=")
        kind = _JGT if condition.op in (">", "<=") else _JGE
        beyond = upper._replace(kind=_JGT if wanted else _JGE, wanted=wanted)
        found = [(beyond,), (upper, lower._replace(kind=kind, wanted=wanted))]
    # A half that the mask leaves out is 0, and is compared with 0.
    return [
        tuple(word for word in part if word.mask)
        for part in found
        if all(word.mask or (word.kind != _JGT) == word.wanted for word in part)
    ]


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
    yes = code.result(fate.action)
    no = code.result(fate.otherwise) if isinstance(fate.otherwise, int) else _leaf(code, fate.otherwise)
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
    met = sorted(_assume(alternatives, word, True), key=len)
    missed = _assume(alternatives, word, False)
    then = _decision(code, tuple(dict.fromkeys(met)), here, yes, no, seen)
    otherwise = _decision(code, tuple(dict.fromkeys(missed)), here, yes, no, seen)
    label = code.branch(word.kind, word.value, then, otherwise)
    if held != here and then != otherwise:
        if word.mask != 0xFFFFFFFF:
            label = code.emit(_AND, word.mask, label)
        label = code.load(word.offset, label)
    seen[alternatives, held] = label
    return label


def _assume(alternatives: Sequence[_Alternative], test: _Word, result: bool) -> list[_Alternative]:
    """The alternatives that are left when the test came out so, without the words that are known then."""
    left = []
    for alternative in alternatives:
        known = [_implied(word, test, result) for word in alternative]
        if False not in known:
            left.append(
                tuple(word for word, truth in zip(alternative, known, strict=True) if truth is None)
            )
    return left


def _implied(word: _Word, test: _Word, result: bool) -> bool | None:
    """Whether the word is as wanted, if the test's result says so."""
    if word[:4] == test[:4]:
        return word.wanted == result
    if result and test.kind == _JEQ and word[:2] == test[:2]:
        return bool(_COMPARE[word.kind](test.value, word.value)) == word.wanted
    return None


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
