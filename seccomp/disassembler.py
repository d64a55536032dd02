"""A classic BPF seccomp program as text, for people."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from seccomp.evaluator import instructions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from seccomp.evaluator import Instruction

_ARCHES = {
    0xC000003E: "x86_64",
    0x40000003: "x86",
    0xC00000B7: "aarch64",
    0x40000028: "arm",
    0xC00000F3: "riscv64",
    0xC0000015: "ppc64le",
    0x80000015: "ppc64",
    0x80000016: "s390x",
}
_ACTIONS = {
    0x80000000: "kill-process",
    0x00000000: "kill-thread",
    0x00030000: "trap",
    0x00050000: "errno",
    0x7FC00000: "notify",
    0x7FF00000: "trace",
    0x7FFC0000: "log",
    0x7FFF0000: "allow",
}
_JUMPS = {0x10: "==", 0x20: ">", 0x30: ">=", 0x40: "&"}
_ALU = {
    0x00: "+", 0x10: "-", 0x20: "*", 0x30: "/", 0x40: "|", 0x50: "&", 0x60: "<<", 0x70: ">>", 0xA0: "^",
}  # fmt: skip
_MOVES = {
    0x00: "a = {k:#x}", 0x80: "a = 64", 0x60: "a = m[{k}]", 0x01: "x = {k:#x}", 0x81: "x = 64",
    0x61: "x = m[{k}]", 0x02: "m[{k}] = a", 0x03: "m[{k}] = x", 0x07: "x = a", 0x87: "a = x", 0x84: "a = -a",
    0x16: "return a",
}  # fmt: skip


def disassemble(bpf: bytes, arch: str | None = None) -> str:
    """One line an instruction: its index, what it does, and where it goes; call numbers with their names on
    `arch` (uname(2)'s machine; None: the one that the program asks for, else this one).

    Raises BadProgramError for what the kernel would not take.
    """
    program = instructions(bpf)
    machine = arch or _asked_machine(program)
    held = _held(program)
    lines = []
    for index, instruction in enumerate(program):
        text, comment = _text(index, instruction, held[index], machine)
        lines.append(f"{index:4}  {text:<44}{'  ; ' + comment if comment else ''}".rstrip())
    return "\n".join(lines) + "\n"


def action_text(value: int) -> str:
    """A program's result in words: `errno EPERM`, `kill-process`, `trace 7`."""
    action, data = value & 0xFFFF0000, value & 0xFFFF
    name = _ACTIONS.get(action)
    if name is None:
        return f"{value:#x}"
    if name == "errno":
        return f"errno {errno.errorcode.get(data, data)}"
    return f"{name} {data}" if data else name


def _asked_machine(program: Sequence[Instruction]) -> str | None:
    """The machine whose architecture the program compares with first."""
    return next((_ARCHES[k] for code, _, _, k in program if code == 0x15 and k in _ARCHES), None)


def _held(program: Sequence[Instruction]) -> list[int | None]:
    """At each instruction, the offset in struct seccomp_data whose word the accumulator surely holds."""
    unknown, unseen = None, -1
    held: list[int | None] = [unseen] * len(program)
    held[0] = unknown
    for index, (code, jt, jf, k) in enumerate(program):
        now = held[index]
        if code == 0x20:
            now = k
        elif code & 7 == 4 or code in (0x00, 0x80, 0x60, 0x87):
            now = unknown
        if code & 7 == 6:
            continue
        skips = [k] if code == 5 else [jt, jf] if code & 7 == 5 else [0]
        for target in {index + 1 + skip for skip in skips}:
            held[target] = now if held[target] in (unseen, now) else unknown
    return held


def _text(index: int, instruction: Instruction, held: int | None, machine: str | None) -> tuple[str, str]:
    code, jt, jf, k = instruction
    if code == 0x06:
        return f"return {action_text(k)}", ""
    if code == 0x20:
        return f"a = {_word(k)}", ""
    if code in _MOVES:
        return _MOVES[code].format(k=k), ""
    if code == 0x05:
        return f"goto {index + 1 + k}", ""
    operand = "x" if code & 0x08 else f"{k:#x}"
    if code & 7 == 5:
        yes, no = index + 1 + jt, index + 1 + jf
        text = f"if a {_JUMPS[code & 0xF0]} {operand} goto {yes} else {no}"
        return text, "" if code & 0x08 else _meaning(held, k, machine)
    return f"a = a {_ALU[code & 0xF0]} {operand}", ""


def _word(offset: int) -> str:
    """The name of a word of struct seccomp_data (little-endian)."""
    if offset < 16:
        return ("nr", "arch", "ip.low", "ip.high")[offset // 4]
    return f"arg{(offset - 16) // 8}.{'high' if offset % 8 else 'low'}"


def _meaning(held: int | None, value: int, machine: str | None) -> str:
    """What a number is that the architecture or the call number is compared with."""
    if held == 4:
        return _ARCHES.get(value, "")
    if held != 0:
        return ""
    if value == 0x40000000:
        return "x32"
    from seccomp import _calls
    from seccomp._errors import LibraryMissingError, PolicyError

    try:
        return _calls.name(value, _calls.machine_of(machine)) or "" if value < 0x40000000 else ""
    except (LibraryMissingError, PolicyError):
        return ""  # names are a help only
