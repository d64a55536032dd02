"""Putting a program into force for the calling process: seccomp(2), SECCOMP_SET_MODE_FILTER."""

from __future__ import annotations

import struct

from seccomp._errors import ThreadError
from seccomp.arch import Arch, resolve_syscall
from seccomp.program import Program
from seccomp.syscalls import address, system_call

_SET_MODE_FILTER = 1
_GET_ACTION_AVAIL = 2
_FLAG_TSYNC = 1
_ACTION_ALLOW = struct.pack("=I", 0x7FFF0000)


def install(program: Program | bytes, *, all_threads: bool = True) -> None:
    """Filter all further system calls of this process by the program, for good; programs add up, and the
    strictest answer counts.  What the process starts inherits them.

    `all_threads`: every thread, at once or none (SECCOMP_FILTER_FLAG_TSYNC), and where the caller has
    no_new_privs all get it.  Else the calling thread alone, which holds nothing back: threads share memory.

    Raises ThreadError, with the thread's id, where a thread has filters that the caller has not; OSError
    otherwise: EACCES without no_new_privs (prctl(2)) or CAP_SYS_ADMIN, EINVAL for what is no program.
    A program for another machine is not noticed: it kills, or does not hold.
    """
    bpf = program.bpf if isinstance(program, Program) else program
    if len(bpf) % 8 or not 0 < len(bpf) // 8 <= 0xFFFF:
        raise ValueError(f"{len(bpf)} bytes are not a program: it is made of instructions of 8")
    result = _seccomp(
        _SET_MODE_FILTER, _FLAG_TSYNC if all_threads else 0, struct.pack("@HP", len(bpf) // 8, address(bpf))
    )
    if result:
        raise ThreadError(result)


def available() -> bool:
    """Whether this kernel takes programs; False also where a filter in force forbids to ask."""
    try:
        return _seccomp(_GET_ACTION_AVAIL, 0, _ACTION_ALLOW) == 0
    except OSError:
        return False


def _seccomp(operation: int, flags: int, argument: bytes) -> int:
    return system_call(resolve_syscall(Arch(), "seccomp"), operation, flags, argument)
