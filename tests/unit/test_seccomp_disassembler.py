"""Programs as text."""

from __future__ import annotations

import re
import struct

import pytest
from hypothesis import given, settings
from unit.test_seccomp_policy import policies

from seccomp import BadProgramError, Policy, disassemble, evaluate
from seccomp.disassembler import action_text


def test_a_small_program() -> None:
    policy = Policy.from_toml(
        'default = "EPERM"\n[[rule]]\ncalls = ["read"]\naction = "allow"\n'
        "when = [[{ arg = 1, mask = 3, is = 1 }]]"
    )
    text = disassemble(policy.compile("x86_64"))
    assert text.splitlines() == [
        "   0  a = arch",
        "   1  if a == 0xc000003e goto 2 else 5              ; x86_64",
        "   2  a = nr",
        "   3  if a >= 0x40000000 goto 4 else 6              ; x32",
        "   4  if a == 0xffffffff goto 11 else 5",
        "   5  return kill-process",
        "   6  if a >= 0x1 goto 11 else 7                    ; write",
        "   7  a = arg1.low",
        "   8  a = a & 0x3",
        "   9  if a == 0x1 goto 10 else 11",
        "  10  return allow",
        "  11  return errno EPERM",
    ]


def test_every_instruction_has_a_text() -> None:
    codes = [
        0x00,
        0x80,
        0x60,
        0x01,
        0x81,
        0x61,
        0x02,
        0x03,
        0x07,
        0x87,
        0x84,
        0x04,
        0x14,
        0x24,
        0x34,
        0x44,
        0x54,
        0x64,
        0x74,
        0xA4,
        0x0C,
        0x3C,
        0x05,
        0x15,
        0x25,
        0x35,
        0x45,
        0x1D,
        0x20,
    ]
    program = [(code, 0, 0, 0 if code == 0x05 else 4) for code in codes] + [(0x16, 0, 0, 0)]
    lines = disassemble(b"".join(struct.pack("<HBBI", *each) for each in program)).splitlines()
    assert len(lines) == len(program) and lines[-1].endswith("return a") and "a = m[4]" in lines[2]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0x7FFF0000, "allow"),
        (0x50001, "errno EPERM"),
        (0x50FFF, "errno 4095"),
        (0x7FF00007, "trace 7"),
        (5, "kill-thread 5"),
        (0x80000000, "kill-process"),
        (0x12340000, "0x12340000"),
    ],
)
def test_results_in_words(value: int, text: str) -> None:
    assert action_text(value) == text


def test_a_bad_program_is_refused() -> None:
    with pytest.raises(BadProgramError):
        disassemble(b"1234567")


def interpret(text: str, data: dict[str, int]) -> str:
    """Run the text of a program that our compiler made."""
    lines = [line[6:].split("  ;")[0].strip() for line in text.splitlines()]
    at = a = 0
    while True:
        words = lines[at].split()
        at += 1
        match words:
            case ["return", *rest]:
                return " ".join(rest)
            case ["goto", target]:
                at = int(target)
            case ["a", "=", "a", "&", value]:
                a &= int(value, 16)
            case ["a", "=", word]:
                a = data[word]
            case ["if", "a", op, value, "goto", yes, "else", no]:
                holds = {"==": a == int(value, 16), ">": a > int(value, 16), ">=": a >= int(value, 16)}[op]
                at = int(yes if holds else no)


@settings(max_examples=40, deadline=None)
@given(policies())
def test_the_text_means_what_the_program_does(policy: Policy) -> None:
    program = policy.compile("x86_64")
    text = disassemble(program)
    assert len(text.splitlines()) == len(program) // 8
    assert not re.search(r"goto \d+ else \d+ else", text)
    for number in (0, 1, 16, 41, 56, 999):
        for value in (0, 1, 2**32, 2**64 - 1):
            data = {"nr": number, "arch": 0xC000003E}
            for arg in range(6):
                data |= {f"arg{arg}.low": value & 0xFFFFFFFF, f"arg{arg}.high": value >> 32}
            assert interpret(text, data) == action_text(evaluate(program, number, (value,) * 6))
