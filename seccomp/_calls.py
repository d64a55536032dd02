"""System call names and numbers of a machine: libseccomp's tables, and the calls that are newer than
libseccomp 2.5.
"""

from __future__ import annotations

import os

from seccomp import libseccomp
from seccomp._errors import PolicyError

# uname(2)'s machine → (libseccomp's name, the kernel's AUDIT_ARCH_…).  Little-endian, 64 bits: what the
# compiler writes.
MACHINES = {
    "x86_64": ("x86_64", 0xC000003E),
    "aarch64": ("aarch64", 0xC00000B7),
    "riscv64": ("riscv64", 0xC00000F3),
    "ppc64le": ("ppc64le", 0xC0000015),
}

# Calls get one number on all of these machines since Linux 5.1.
_NEWER = {
    "cachestat": 451,
    "fchmodat2": 452,
    "map_shadow_stack": 453,
    "futex_wake": 454,
    "futex_wait": 455,
    "futex_requeue": 456,
    "statmount": 457,
    "listmount": 458,
    "lsm_get_self_attr": 459,
    "lsm_set_self_attr": 460,
    "lsm_list_modules": 461,
    "mseal": 462,
    "setxattrat": 463,
    "getxattrat": 464,
    "listxattrat": 465,
    "removexattrat": 466,
    "open_tree_attr": 467,
}
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
    return name in _NEWER or libseccomp.resolve_syscall(libseccomp.Arch("x86_64"), name) != _UNKNOWN


def number(name: str, machine: str) -> int | None:
    """The call's number, or None where the machine has no such call."""
    found = libseccomp.resolve_syscall(libseccomp.Arch(MACHINES[machine][0]), name)
    if found == _UNKNOWN:
        return _NEWER.get(name)
    return found if found >= 0 else None
