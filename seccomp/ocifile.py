"""Seccomp profiles of Docker, Podman and the OCI runtime specification: JSON, read strictly.

Read is what these say of a process with given capabilities on a given machine and kernel: Docker's `includes`
and `excludes` (caps, arches, minKernel), `defaultAction`, `defaultErrnoRet`, `errnoRet`, Podman's `errno` and
`defaultErrno`, OCI's `linux.seccomp` alone or within a whole `config.json`.

It is an error, that names file and key, what a policy cannot say: SCMP_ACT_TRACE and SCMP_ACT_NOTIFY, flags
of the load, a call with two decisions whose order the form leaves open, unknown names and keys.

Two things differ from what a container runtime makes of the file, both to the stricter side.  Calls of other
ABIs than the machine's own (Docker's `subArchitectures`) get the policy's `foreign`: they kill.  Arguments of
which the kernel uses 32 bits are compared on these (`seccomp._widths`), where runtimes compare 64, so that a
socket of a refused family is refused whatever the unused bits are.
"""

from __future__ import annotations

import errno
import json
import os
import re
from typing import TYPE_CHECKING, Any

from seccomp import _calls
from seccomp._errors import PolicyError
from seccomp._tables import Table
from seccomp._widths import WIDTH_32
from seccomp.policy import Condition, Policy, Rule, action_number

if TYPE_CHECKING:
    from collections.abc import Collection

    from seccomp.policy import When

_ACTIONS = {
    "SCMP_ACT_ALLOW": "allow",
    "SCMP_ACT_LOG": "log",
    "SCMP_ACT_TRAP": "trap",
    "SCMP_ACT_KILL": "kill-thread",
    "SCMP_ACT_KILL_THREAD": "kill-thread",
    "SCMP_ACT_KILL_PROCESS": "kill",
}
_OPS = {
    "SCMP_CMP_NE": "!=",
    "SCMP_CMP_LT": "<",
    "SCMP_CMP_LE": "<=",
    "SCMP_CMP_EQ": "==",
    "SCMP_CMP_GE": ">=",
    "SCMP_CMP_GT": ">",
}
# uname(2)'s machine → (Docker's word, libseccomp's)
_ARCHES = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"),
    "aarch64": ("arm64", "SCMP_ARCH_AARCH64"),
    "riscv64": ("riscv64", "SCMP_ARCH_RISCV64"),
    "ppc64le": ("ppc64le", "SCMP_ARCH_PPC64LE"),
}
_FULL = 2**64 - 1


def parse(
    text: str | bytes,
    *,
    capabilities: Collection[str] = (),
    arch: str | None = None,
    kernel: str | None = None,
    source: str | None = None,
) -> Policy:
    """The policy for a process with these capabilities (`CAP_SYS_ADMIN`), by default none.

    `arch`: uname(2)'s machine, `kernel`: its release; by default this one's.  PolicyError as the module says.
    """
    machine = _calls.machine_of(arch)
    release = kernel or os.uname().release
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PolicyError(f"not JSON: {error}", file=source) from None
    top = _profile(Table(data, source, ""))
    _check_architectures(top, machine)
    for key in ("flags", "listenerPath", "listenerMetadata"):
        if top.data.get(key):
            raise top.error("a policy cannot say this", key)
        top.known.add(key)
    default = _action(top, "defaultAction", "defaultErrnoRet", "defaultErrno")
    world = _World(frozenset(capabilities), machine, _version(release))
    rules = _Rules(default)
    for entry in top.tables("syscalls"):
        _read_entry(entry, world, rules)
    return top.build(Policy, rules=rules.made(), default=default, source=source)


def _profile(table: Table) -> Table:
    """The part that matters: of a whole OCI configuration, `linux.seccomp`."""
    if "linux" not in table.data:
        return table
    linux = table.table("linux")
    if "seccomp" not in linux.data:
        raise linux.error("is missing: this configuration has no profile", "seccomp")
    return linux.table("seccomp")


def _check_architectures(top: Table, machine: str) -> None:
    """This machine must be one of those that the file is for."""
    word = _ARCHES[machine][1]
    machines = top.strings("architectures", [])
    if machines and word not in machines:
        raise top.error(f"has no {word}: the profile is not for this machine", "architectures")
    maps = top.tables("archMap")
    for each in maps:
        each.take("architecture", str)
        each.take("subArchitectures", list, [])
        each.finish()
    if maps and not any(each.data["architecture"] == word for each in maps):
        raise top.error(f"has no {word}: the profile is not for this machine", "archMap")


def _action(table: Table, key: str, number_key: str, name_key: str) -> str:
    """An action with the errno that stands beside it."""
    word = table.take(key, str)
    number, name = table.take(number_key, int, -1), table.take(name_key, str, "")
    if word in _ACTIONS:
        return _ACTIONS[word]
    if word != "SCMP_ACT_ERRNO":
        known = ", ".join([*_ACTIONS, "SCMP_ACT_ERRNO"])
        raise table.error(f"{word!r} is not an action of a policy ({known})", key)
    if number == -1 and not name:
        return "EPERM"
    action = errno.errorcode.get(number, str(number)) if number != -1 else name
    try:
        action_number(action)
    except PolicyError:
        raise table.error(f"{action} is no errno of this system", number_key) from None
    return action


class _World:
    """What `includes` and `excludes` are asked of."""

    def __init__(self, capabilities: frozenset[str], machine: str, kernel: tuple[int, int]) -> None:
        self.capabilities, self.kernel = capabilities, kernel
        self.machine, self.arch = machine, _ARCHES[machine][0]

    def takes(self, entry: Table) -> bool:
        """Whether an entry counts here."""
        included, excluded = entry.table("includes"), entry.table("excludes")
        has = [self._facts(part) for part in (included, excluded)]
        (all_caps, _, arch, kernel), (_, any_cap, no_arch, no_kernel) = has
        return (
            all_caps and arch is not False and kernel is not False
            and not any_cap and not no_arch and not no_kernel
        )  # fmt: skip

    def _facts(self, part: Table) -> tuple[bool, bool, bool | None, bool | None]:
        """All caps there, any cap there, the machine and the kernel among them (None: not asked)."""
        caps, arches = part.strings("caps", []), part.strings("arches", [])
        least = part.take("minKernel", str, "")
        if least and not re.fullmatch(r"\d+\.\d+", least):
            raise part.error(f"must be like 4.8, not {least!r}", "minKernel")
        part.finish()
        held = [cap in self.capabilities for cap in caps]
        return (
            all(held),
            any(held),
            self.arch in arches if arches else None,
            self.kernel >= _version(least) if least else None,
        )


def _version(release: str) -> tuple[int, int]:
    """The first two numbers of a kernel's release."""
    found = re.match(r"(\d+)\.(\d+)", release)
    if not found:
        raise PolicyError(f"not a kernel's release: {release!r}")
    return int(found[1]), int(found[2])


def _read_entry(entry: Table, world: _World, rules: _Rules) -> None:
    """One element of `syscalls`."""
    names: tuple[str, ...] = entry.strings("names", [])
    name = entry.take("name", str, "")
    if bool(names) == bool(name):
        raise entry.error("must be there, or else `name`, and not both", "names")
    names = names or (name,)
    action = _action(entry, "action", "errnoRet", "errno")
    comment = entry.take("comment", str, "")
    conditions = [_comparison(each) for each in entry.tables("args")]
    counts = world.takes(entry)
    entry.finish()
    if not counts:
        return
    for call in names:
        if not _calls.is_known(call):
            raise entry.error(f"no such system call: {call!r}", "names")
        try:
            rules.add(call, action, conditions, comment)
        except PolicyError as error:
            raise entry.error(f"{call}: {error.message}", error.key) from None


_Comparison = tuple[int, str, int, int]  # argument, operator, value, mask


def _comparison(table: Table) -> _Comparison:
    index, op = table.take("index", int), table.take("op", str)
    value, second = table.take("value", int), table.take("valueTwo", int, 0)
    table.finish()
    if not 0 <= index <= 5:
        raise table.error(f"a system call has the arguments 0 to 5, not {index}", "index")
    for key, number in (("value", value), ("valueTwo", second)):
        if not 0 <= number <= _FULL:
            raise table.error(f"{number} is not a number of 64 bits", key)
    if op == "SCMP_CMP_MASKED_EQ":  # `value` is the mask here
        return index, "==", second, value
    if op not in _OPS:
        raise table.error(f"{op!r} is not a comparison", "op")
    return index, _OPS[op], value, _FULL


def _condition(call: str, given: _Comparison) -> Condition:
    """The comparison on the width that the kernel uses."""
    index, op, value, mask = given
    narrow = index in WIDTH_32.get(call, ())
    if narrow:
        mask &= 0xFFFFFFFF
        if value >> 31 == 2**33 - 1:
            value &= 0xFFFFFFFF  # a negative int, written as 64 bits
    if value & ~mask:
        width = "32-bit argument" if narrow else "mask"
        raise PolicyError(f"argument {index}: {value:#x} does not fit its {width} {mask:#x}", key="args")
    return Condition(index, value, mask, op)


class _Rules:
    """Entries gathered by call: a policy has one rule for each."""

    def __init__(self, default: str) -> None:
        self._default = default
        self._calls: dict[str, tuple[str, When, str]] = {}

    def add(self, call: str, action: str, conditions: list[_Comparison], comment: str) -> None:
        if action == self._default:
            return  # as runtimes do: it is what happens anyway
        when: When = (tuple(_condition(call, each) for each in conditions),) if conditions else ()
        # Two comparisons of one argument: libseccomp takes them one by one, so that either may hold.
        arguments = [each[0] for each in conditions]
        if len(set(arguments)) < len(arguments):
            when = tuple((condition,) for condition in when[0])
        old = self._calls.get(call)
        if old is None:
            self._calls[call] = (action, when, comment)
            return
        if old[0] != action:
            raise PolicyError(f"{old[0]} in an earlier entry, {action} here: write one of them", key="action")
        # Without conditions it is allowed (or refused) whatever other entries ask of its arguments.
        when = tuple(dict.fromkeys(old[1] + when)) if old[1] and when else ()
        self._calls[call] = (action, when, old[2] or comment)

    def made(self) -> tuple[Rule, ...]:
        """Calls of one fate are one rule."""
        groups: dict[tuple[Any, ...], list[str]] = {}
        for call, fate in self._calls.items():
            groups.setdefault(fate, []).append(call)
        return tuple(
            Rule(tuple(calls), action, when, reason=comment)
            for (action, when, comment), calls in groups.items()
        )
