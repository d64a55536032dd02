"""From a policy to a program, by libseccomp and its binary tree over call numbers.

libseccomp refuses a rule whose action is the filter's default, and actions that the running kernel lacks.  So
it compiles with stand-ins, one for each action, and the real ones are put into the return instructions
afterwards.  The result is checked against the policy's meaning before anybody gets it.
"""

from __future__ import annotations

import os
import struct
from itertools import product
from typing import TYPE_CHECKING

from seccomp import _calls, libseccomp
from seccomp._errors import PolicyError
from seccomp.evaluator import evaluate
from seccomp.policy import action_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from seccomp.policy import Policy, Rule

_RETURN = 0x06
_TREE = 2  # SCMP_FLTATR_CTL_OPTIMIZE: a binary tree sorted by call number
_FOREIGN_ARCH = 0
_HIGH = 0xFFFFFFFF << 32
_MAX_POINTS = 4096


def compile_policy(policy: Policy, arch: str | None = None) -> bytes:
    """The program for a machine; see `Policy.compile`."""
    machine = _calls.machine_of(arch)
    table = policy.table(machine)
    stand_ins = _StandIns()
    program = stand_ins.replace(_export(_build(policy, machine, stand_ins)))
    _verify(program, policy, table, _calls.arch_token(machine))
    return program


class _StandIns:
    """A TRACE action of its own for each place of the policy: default, foreign, and each action of the
    rules.
    """

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._actions: dict[int, int] = {}

    def code(self, role: str, action: str) -> int:
        code = self._codes.setdefault(role, libseccomp.TRACE(len(self._codes) + 1))
        self._actions[code] = action_number(action)
        return code

    def replace(self, program: bytes) -> bytes:
        instructions = [
            (code, jt, jf, self._actions[k] if code == _RETURN else k)
            for code, jt, jf, k in struct.iter_unpack("<HBBI", program)
        ]
        return b"".join(struct.pack("<HBBI", *instruction) for instruction in instructions)


def _build(policy: Policy, machine: str, stand_ins: _StandIns) -> libseccomp.SyscallFilter:
    filter_ = libseccomp.SyscallFilter(stand_ins.code("default", policy.default))
    filter_.set_attr(libseccomp.Attr.ACT_BADARCH, stand_ins.code("foreign", policy.foreign))
    filter_.set_attr(libseccomp.Attr.CTL_OPTIMIZE, _TREE)
    own = libseccomp.Arch(_calls.MACHINES[machine][0])
    if not filter_.exist_arch(own):
        filter_.add_arch(own)
        filter_.remove_arch(libseccomp.Arch())
    for rule in policy.rules:
        for call in rule.calls:
            if _calls.number(call, machine) is not None:
                try:
                    _add(filter_, _calls.library_name(call), rule, policy.default, stand_ins)
                except RuntimeError as error:
                    message = f"libseccomp has no rule for {call} on {machine}: {error}"
                    raise PolicyError(message, file=policy.source) from None
    return filter_


def _add(
    filter_: libseccomp.SyscallFilter, call: str | int, rule: Rule, default: str, stand_ins: _StandIns
) -> None:
    action = stand_ins.code(rule.action, rule.action)
    if not rule.when and rule.action != default:
        filter_.add_rule_exactly(action, call)
    for alternative in rule.when:
        args = [libseccomp.Arg(c.arg, libseccomp.MASKED_EQ, c.mask, c.value) for c in alternative]
        filter_.add_rule_exactly(action, call, *args)
    if rule.otherwise not in (None, default):
        # Always true and tested last: libseccomp puts the highest argument first and, of one argument, the
        # widest mask. Were that to change, _verify() would say so.
        catch_all = libseccomp.Arg(0, libseccomp.GE, 0)
        filter_.add_rule_exactly(stand_ins.code(str(rule.otherwise), str(rule.otherwise)), call, catch_all)


def _export(filter_: libseccomp.SyscallFilter) -> bytes:
    with open(os.memfd_create("bpf"), "w+b") as file:
        filter_.export_bpf(file)
        file.seek(0)
        return file.read()


def _verify(program: bytes, policy: Policy, table: Mapping[int, Rule], arch: int) -> None:
    """Compare with `Policy.decide` at every number up to the highest and at each comparison's edges."""
    for number in range(max(table, default=0) + 2):
        rule = table.get(number)
        for args in _points(rule) if rule else [(0,) * 6]:
            wanted = action_number(rule.decide(args, policy.default) if rule else policy.default)
            found = evaluate(program, number, args, arch)
            if found != wanted:
                raise PolicyError(
                    f"libseccomp's program does {found:#x} instead of {wanted:#x} for call {number} with "
                    f"({', '.join(f'{arg:#x}' for arg in args)}); state the rule's conditions differently",
                    file=policy.source,
                )
    if evaluate(program, 0, (), _FOREIGN_ARCH) != action_number(policy.foreign):
        raise PolicyError("libseccomp's program does not refuse foreign calls", file=policy.source)


def _points(rule: Rule) -> Iterator[tuple[int, ...]]:
    """Arguments that meet and miss each comparison of the rule, with the bits outside of its mask set and
    clear.
    """
    values: list[set[int]] = [{0} for _ in range(6)]
    for condition in {condition for alternative in rule.when for condition in alternative}:
        lowest = condition.mask & -condition.mask
        outside = ~condition.mask & (2**64 - 1)
        values[condition.arg] |= {
            condition.value,
            condition.value | outside,
            condition.value ^ lowest,
            condition.value | condition.mask,
            condition.value | (outside & _HIGH),
        }
    for count, point in enumerate(product(*(sorted(options) for options in values))):
        if count >= _MAX_POINTS:
            return
        yield point
