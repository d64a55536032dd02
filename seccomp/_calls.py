"""System call names and numbers of a machine: libseccomp's tables, and where those lack a name, ours."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache

from seccomp import arch as _arch
from seccomp._errors import PolicyError
from seccomp._numbers import OWN, SHARED

# uname(2)'s machine → (libseccomp's name, the kernel's AUDIT_ARCH_…).  Little-endian, 64 bits: what the
# compiler writes.
MACHINES = {
    "x86_64": ("x86_64", 0xC000003E),
    "aarch64": ("aarch64", 0xC00000B7),
    "riscv64": ("riscv64", 0xC00000F3),
    "ppc64le": ("ppc64le", 0xC0000015),
}

ENOUGH = 1024  # numbers, of which all machines together use half
_UNKNOWN = -1  # __NR_SCMP_ERROR; other negative numbers stand for calls that other machines have


def machine_of(arch: str | None) -> str:
    """`arch`, or this machine where it is None; PolicyError for one that programs cannot be compiled for."""
    machine = arch or os.uname().machine
    if machine not in MACHINES:
        raise PolicyError(f"no programs for the machine {machine!r}: known are {', '.join(MACHINES)}")
    return machine


def arch_token(machine: str) -> int:
    """The kernel's number for the machine's own system call interface."""
    return MACHINES[machine][1]


def is_known(name: str) -> bool:
    """Whether some machine has a call of that name."""
    return (
        name in SHARED
        or any(name in own for own in OWN.values())
        or _arch.resolve_syscall(_arch.Arch("x86_64"), name) != _UNKNOWN
    )


def number(name: str, machine: str) -> int | None:
    """The call's number, or None where the machine has no such call.

    Its own, not that of a call for many purposes (ppc64le's socketcall, ipc) which libseccomp's rewriting
    would give: a rule on socket's arguments would mean something else there.
    """
    found = _arch.own_number(MACHINES[machine][0], name)
    if found == _UNKNOWN:
        return SHARED.get(name, OWN[machine].get(name))
    # On ppc64le libseccomp names such a call's own number, and yet does not find it by its name.
    return found if found >= 0 else _by_name(machine).get(name)


@cache
def _by_name(machine: str) -> dict[str, int]:
    """The calls that libseccomp has a name for, other than ours."""
    token = _arch.Arch(MACHINES[machine][0])
    found: dict[str, int] = {}
    for number in range(ENOUGH):
        with suppress(ValueError):
            found[_arch.resolve_syscall(token, number).decode()] = number
    return found


def name(number: int, machine: str) -> str | None:
    """The name of a call number, or None where nobody knows one."""
    try:
        return _arch.resolve_syscall(_arch.Arch(MACHINES[machine][0]), number).decode()
    except ValueError:
        every = {**SHARED, **OWN[machine]}
        return next((name for name, known in every.items() if known == number), None)
