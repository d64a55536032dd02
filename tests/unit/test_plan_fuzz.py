"""The two readers of plans against bytes that nobody meant as one: neither breaks, and they agree."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.features import PROJECT

from jail import Plan, SpecError, UnsupportedError
from jail.launch import jailer_path

CORPUS = sorted((PROJECT / "tests" / "data" / "plans").iterdir())
CROWDED = PROJECT / "tests" / "data" / "plans" / "many-of-each"
WHOLE = [path for path in CORPUS if path.name in ("minimal", "every-directive")]
# What a plan is made of, for changes that stay near to one.
PIECES = [
    b" ",
    b"\n",
    b"\\",
    b"\\000",
    b"\\040",
    b"/",
    b"..",
    b"-",
    b",",
    b"=",
    b"#",
    b"end\n",
    b"0",
    b"7",
    b"8",
    b"f",
    b"-1",
    b"4294967295",
    b"18446744073709551616",
    b"infinity",
    b"\xff",
    b"\x7f",
    b"\r",
    b"\t",
    b"\0",
    b"ro",
    b"mount",
    b"argv ",
]

Taken = Callable[[bytes], bool]


@pytest.fixture(scope="module")
def jailer_takes(tmp_path_factory: pytest.TempPathFactory) -> Taken:
    """Whether the jailer takes the bytes as a plan; anything but a verdict is a failure."""
    try:
        jailer = jailer_path()
    except UnsupportedError as error:
        pytest.skip(str(error))
    file: Path = tmp_path_factory.mktemp("plans") / "plan"

    def ask(text: bytes) -> bool:
        file.write_bytes(text)
        ended = subprocess.run([jailer, "check", file], capture_output=True, check=False)
        assert ended.returncode == 0 or (ended.returncode == 125 and ended.stderr.startswith(b"pyjail: ")), (
            ended
        )
        return ended.returncode == 0

    return ask


def python_takes(text: bytes) -> bool:
    try:
        Plan.from_bytes(text)
    except SpecError:
        return False
    return True


@pytest.mark.parametrize("path", [path for path in CORPUS if path != CROWDED], ids=lambda path: path.name)
def test_both_readers_agree_about_the_corpus(jailer_takes: Taken, path: Path) -> None:
    text = path.read_bytes()
    assert jailer_takes(text) == python_takes(text)


def test_the_corpus_holds_plans_that_are_taken(jailer_takes: Taken) -> None:
    assert all(jailer_takes(path.read_bytes()) for path in WHOLE)
    assert len(WHOLE) == 2


def test_only_the_jailer_has_arrays_to_fill(jailer_takes: Taken) -> None:
    assert not jailer_takes(CROWDED.read_bytes())
    assert python_takes(CROWDED.read_bytes())


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A right plan with some bytes cut out and some put in, most often on one line."""
    lines = draw(st.sampled_from(WHOLE)).read_bytes().splitlines(keepends=True)
    # The jailer compares what `depends` says as text, so that nonsense there is a plan that never holds.
    text = b"".join(line for line in lines if not line.startswith(b"depends"))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        cut = draw(st.sampled_from((0, 0, 1, 1, 2, 8)))
        text = text[:at] + draw(st.sampled_from(PIECES) | st.binary(max_size=2)) + text[at + cut :]
    return text


@given(text=damaged())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_both_readers_agree_about_damaged_plans(jailer_takes: Taken, text: bytes) -> None:
    assert jailer_takes(text) == python_takes(text)
