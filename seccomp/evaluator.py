"""Runs a classic BPF seccomp program on a system call, without a kernel.

The kernel's rules are followed (seccomp(2), the kernel's seccomp_check_filter()): 32-bit words of struct
seccomp_data only, forward jumps only.  A program that it would refuse is refused here, but for reads of
memory never written.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Instruction = tuple[int, int, int, int]

KILL_PROCESS = 0x80000000
KILL_THREAD = 0x00000000
TRAP = 0x00030000
ERRNO = 0x00050000
LOG = 0x7FFC0000
ALLOW = 0x7FFF0000

_DATA = struct.Struct("<iIQ6Q")  # struct seccomp_data: nr, arch, instruction pointer, arguments
_M32 = 0xFFFFFFFF
_MAX_INSTRUCTIONS = 4096

_LD_ABS, _RET_K, _RET_A, _JA, _NEG = 0x20, 0x06, 0x16, 0x05, 0x84
_MOVES = {0x00, 0x80, 0x01, 0x81, 0x07, 0x87}  # LD IMM, LD LEN, LDX IMM, LDX LEN, TAX, TXA
_MEMORY = {0x60, 0x61, 0x02, 0x03}  # LD MEM, LDX MEM, ST, STX
_ALU: dict[int, Callable[[int, int], int | None]] = {
    0x00: lambda a, b: a + b,
    0x10: lambda a, b: a - b,
    0x20: lambda a, b: a * b,
    0x30: lambda a, b: a // b if b else None,
    0x40: lambda a, b: a | b,
    0x50: lambda a, b: a & b,
    0x60: lambda a, b: a << (b & 31),
    0x70: lambda a, b: a >> (b & 31),
    0xA0: lambda a, b: a ^ b,
}
_JUMPS: dict[int, Callable[[int, int], bool]] = {
    0x10: lambda a, b: a == b,
    0x20: lambda a, b: a > b,
    0x30: lambda a, b: a >= b,
    0x40: lambda a, b: (a & b) != 0,
}


class BadProgramError(ValueError):
    """Bytes that the kernel would not take as a seccomp program; the text names the instruction's index."""


def evaluate(bpf: bytes, nr: int, args: Sequence[int] = (), arch: int = 0xC000003E) -> int:
    """The action (SECCOMP_RET_…, data included, unsigned) of `bpf` for call number `nr`.

    `args`: up to six, taken modulo 2**64.  `arch`: the kernel's AUDIT_ARCH_…, by default x86-64.
    """
    words = [value & 0xFFFFFFFFFFFFFFFF for value in args] + [0] * (6 - len(args))
    data = _DATA.pack((nr + 2**31) % 2**32 - 2**31, arch & _M32, 0, *words)
    return _run(instructions(bpf), struct.unpack("<16I", data))


@lru_cache(maxsize=8)
def instructions(bpf: bytes) -> tuple[Instruction, ...]:
    """The instructions (code, jt, jf, k), checked as the kernel checks them."""
    if len(bpf) % 8 or not 0 < len(bpf) // 8 <= _MAX_INSTRUCTIONS:
        raise BadProgramError(f"{len(bpf)} bytes are not 1 to {_MAX_INSTRUCTIONS} instructions of 8")
    program = tuple(struct.iter_unpack("<HBBI", bpf))
    for index, instruction in enumerate(program):
        if not _is_valid(instruction, len(program) - index - 1):
            raise BadProgramError(f"instruction {index}: {instruction} is not allowed here")
    if program[-1][0] not in (_RET_K, _RET_A):
        raise BadProgramError("the last instruction does not return")
    return program


def _is_valid(instruction: Instruction, left: int) -> bool:
    code, jt, jf, k = instruction
    if code in _MOVES or code in (_RET_K, _RET_A, _NEG):
        return True
    if code == _LD_ABS:
        return k % 4 == 0 and k < 64
    if code in _MEMORY:
        return k < 16
    if code == _JA:
        return k < left
    kind, operation = code & 0x07, code & 0xF0
    if kind == 0x05:
        return code & ~0xF8 == 0x05 and operation in _JUMPS and max(jt, jf) < left
    constant = not code & 0x08
    refused = constant and ((operation == 0x30 and k == 0) or (operation in (0x60, 0x70) and k >= 32))
    return kind == 0x04 and code < 0x100 and operation in _ALU and not refused


def _run(program: Sequence[Instruction], data: Sequence[int]) -> int:
    a = x = pc = 0
    memory = [0] * 16
    while True:
        code, jt, jf, k = program[pc]
        pc += 1
        if code == _LD_ABS:
            a = data[k // 4]
        elif code == _RET_K:
            return k
        elif code == _RET_A:
            return a
        elif code == _JA:
            pc += k
        elif code & 0x07 == 0x05:
            pc += jt if _JUMPS[code & 0xF0](a, x if code & 0x08 else k) else jf
        elif code == _NEG:
            a = -a & _M32
        elif code & 0x07 == 0x04:
            value = _ALU[code & 0xF0](a, x if code & 0x08 else k)
            if value is None:  # a division by zero ends the program with 0, which kills the thread
                return KILL_THREAD
            a = value & _M32
        else:
            a, x = _move(code, k, a, x, memory)


def _move(code: int, k: int, a: int, x: int, memory: list[int]) -> tuple[int, int]:
    """The loads and stores that no compiler of ours emits, but that a program may hold."""
    match code:
        case 0x02:  # ST
            memory[k] = a
        case 0x03:  # STX
            memory[k] = x
        case 0x07:  # TAX
            x = a
        case 0x87:  # TXA
            a = x
        case 0x00:  # LD IMM
            a = k
        case 0x80:  # LD LEN
            a = 64
        case 0x60:  # LD MEM
            a = memory[k]
        case 0x01:  # LDX IMM
            x = k
        case 0x81:  # LDX LEN
            x = 64
        case 0x61:  # LDX MEM
            x = memory[k]
    return a, x
