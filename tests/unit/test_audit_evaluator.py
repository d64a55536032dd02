"""The jailer's evaluator of filters agrees with the one in Python, and runs nothing that it does not know."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unit.test_seccomp_evaluator import BAD, RETURN, bpf

import seccomp
from seccomp.program import Program

HEAD = "jailer 1\nids 0 0 caller\nnetwork none\nmount tmpfs / - \\000\n"
ARCHES = (0xC000003E, 0x40000003, 0xC00000B7)
Call = tuple[int, int, tuple[int, ...]]
Evaluate = Callable[[bytes, Sequence[Call]], list[int] | None]


@pytest.fixture(scope="module")
def evaluate(faulty: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluate:
    """What the jailer says of calls under a program; None where it does not run it."""
    folder: Path = tmp_path_factory.mktemp("evaluator")

    def ask(program: bytes, calls: Sequence[Call]) -> list[int] | None:
        (folder / "plan").write_text(f"{HEAD}seccomp x {Program('x', program).to_hex()}\nend\n")
        data = b"".join(struct.pack("<iIQ6Q", nr, arch, 0, *args) for nr, arch, args in calls)
        command = [faulty, "evaluate", folder / "plan"]
        ended = subprocess.run(command, input=data, capture_output=True, check=False)
        assert ended.returncode in (0, 1), ended
        return None if ended.returncode else list(struct.unpack(f"<{len(calls)}I", ended.stdout))

    return ask


def python(program: bytes, calls: Sequence[Call]) -> list[int]:
    return [seccomp.evaluate(program, nr, args, arch) for nr, arch, args in calls]


NUMBERS = range(-2, 600)
VALUES = (0, 1, 2, 10, 16, 0x5412, 0o100, 0o6644, 0x7E020000, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1)


@pytest.mark.parametrize("name", seccomp.profiles())
@pytest.mark.parametrize("strict", [False, True])
def test_the_shipped_profiles(evaluate: Evaluate, name: str, strict: bool) -> None:
    program = seccomp.load(name, strict).bpf
    calls: list[Call] = [
        (number, arch, (value, other, value, other, 0, 0))
        for number in NUMBERS
        for arch in ARCHES[: 1 + (number % 50 == 0)]
        for value, other in zip(VALUES, reversed(VALUES), strict=True)
    ]
    assert evaluate(program, calls) == python(program, calls)


_edge = st.sampled_from(VALUES) | st.integers(0, 2**64 - 1)
calls_made = st.lists(
    st.tuples(
        st.integers(-(2**31), 2**31 - 1) | st.integers(0, 500),
        st.sampled_from(ARCHES),
        st.tuples(*[_edge] * 6),
    ),
    min_size=1,
    max_size=20,
)


@st.composite
def programs(draw: st.DrawFn) -> bytes:
    """What compilers of policies emit, in any order."""
    length = draw(st.integers(0, 24))
    code = []
    for at in range(length):
        left = length - at  # a return follows
        value = draw(st.integers(0, 2**32 - 1) | st.sampled_from((0, 1, 41, 101, 0xC000003E, 0xFFFFFFFF)))
        skip = st.integers(0, min(left - 1, 255))
        code.append(
            draw(
                st.one_of(
                    st.tuples(st.just(0x20), st.just(0), st.just(0), st.integers(0, 15).map(lambda n: 4 * n)),
                    st.tuples(st.just(0x54), st.just(0), st.just(0), st.just(value)),
                    st.tuples(st.just(0x05), st.just(0), st.just(0), skip),
                    st.tuples(st.sampled_from((0x15, 0x25, 0x35, 0x45)), skip, skip, st.just(value)),
                    st.tuples(st.just(0x06), st.just(0), st.just(0), st.just(value)),
                )
            )
        )
    return bpf(*code, RETURN)


@given(program=programs(), calls=calls_made)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_program_of_known_instructions(evaluate: Evaluate, program: bytes, calls: list[Call]) -> None:
    assert evaluate(program, calls) == python(program, calls)


NO_PROGRAM = {"empty", "half an instruction", "too long"}  # of no length that a plan could have
UNKNOWN = {
    "return A": bpf((0x16, 0, 0, 0)),
    "load constant": bpf((0x00, 0, 0, 5), RETURN),
    "load length": bpf((0x80, 0, 0, 0), RETURN),
    "store": bpf((0x02, 0, 0, 3), RETURN),
    "to X": bpf((0x07, 0, 0, 0), RETURN),
    "add": bpf((0x04, 0, 0, 1), RETURN),
    "compare with X": bpf((0x1D, 0, 0, 0), RETURN),
    "ends with a load": bpf(RETURN, (0x20, 0, 0, 0)),
    "ends with a branch": bpf(RETURN, (0x15, 0, 0, 0)),
    **{name: program for name, program in BAD.items() if name not in NO_PROGRAM},
}


@pytest.mark.parametrize("program", UNKNOWN.values(), ids=UNKNOWN)
def test_what_it_does_not_know_it_does_not_run(evaluate: Evaluate, program: bytes) -> None:
    assert evaluate(program, [(0, ARCHES[0], (0,) * 6)]) is None
