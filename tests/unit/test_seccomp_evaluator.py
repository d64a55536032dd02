"""The evaluator: what the kernel would refuse is refused, what it runs is run."""

from __future__ import annotations

import struct

import pytest

from seccomp import BadProgramError, evaluate


def bpf(*instructions: tuple[int, int, int, int]) -> bytes:
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in instructions)


RETURN = (0x06, 0, 0, 0x7FFF0000)
BAD = {
    "empty": b"",
    "half an instruction": bpf(RETURN)[:5],
    "too long": bpf(RETURN) * 4097,
    "no return": bpf((0x20, 0, 0, 0)),
    "unaligned load": bpf((0x20, 0, 0, 2), RETURN),
    "load beyond the data": bpf((0x20, 0, 0, 64), RETURN),
    "load of a byte": bpf((0x30, 0, 0, 0), RETURN),
    "jump beyond the end": bpf((0x05, 0, 0, 1), RETURN),
    "branch beyond the end": bpf((0x15, 0, 1, 0), RETURN),
    "division by nothing": bpf((0x34, 0, 0, 0), RETURN),
    "shift by 32": bpf((0x64, 0, 0, 32), RETURN),
    "memory beyond the end": bpf((0x60, 0, 0, 16), RETURN),
    "unknown": bpf((0xFFFF, 0, 0, 0), RETURN),
}


@pytest.mark.parametrize("program", BAD.values(), ids=BAD)
def test_what_the_kernel_refuses_is_refused(program: bytes) -> None:
    with pytest.raises(BadProgramError):
        evaluate(program, 0)


@pytest.mark.parametrize(
    ("offset", "word"),
    [(0, 7), (4, 0xC000003E), (8, 0), (16, 0x55667788), (20, 0x11223344), (56, 0), (60, 0xFFFFFFFF)],
)
def test_the_words_of_the_data(offset: int, word: int) -> None:
    program = bpf((0x20, 0, 0, offset), (0x16, 0, 0, 0))
    assert evaluate(program, 7, (0x1122334455667788, 0, 0, 0, 0, 0xFFFFFFFF00000000)) == word


@pytest.mark.parametrize(
    ("code", "k", "result"),
    [
        (0x04, 0xFFFFFFFF, 9), (0x14, 11, 0xFFFFFFFF), (0x24, 3, 30), (0x34, 3, 3), (0x44, 5, 15),
        (0x54, 6, 2), (0x64, 4, 160), (0x74, 1, 5), (0xA4, 3, 9), (0x84, 0, 0xFFFFFFF6),
    ],
)  # fmt: skip
def test_arithmetic_is_on_32_bits(code: int, k: int, result: int) -> None:
    assert evaluate(bpf((0x20, 0, 0, 0), (code, 0, 0, k), (0x16, 0, 0, 0)), 10) == result


def test_registers_and_memory() -> None:
    program = bpf(
        (0x20, 0, 0, 0), (0x02, 0, 0, 3), (0x07, 0, 0, 0), (0x00, 0, 0, 5), (0x0C, 0, 0, 0), (0x07, 0, 0, 0),
        (0x60, 0, 0, 3), (0x0C, 0, 0, 0), (0x16, 0, 0, 0),
    )  # fmt: skip
    assert evaluate(program, 10) == 10 + 5 + 10


@pytest.mark.parametrize(("code", "number", "taken"), [
    (0x15, 5, True), (0x15, 6, False), (0x25, 6, True), (0x25, 5, False), (0x35, 5, True), (0x35, 4, False),
    (0x45, 4, True), (0x45, 8, False),
])  # fmt: skip
def test_branches(code: int, number: int, taken: bool) -> None:
    program = bpf((0x20, 0, 0, 0), (code, 1, 0, 5), (0x06, 0, 0, 0), (0x06, 0, 0, 1))
    assert evaluate(program, number) == taken
