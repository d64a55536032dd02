"""Python's reader of plans and the jailer's own agree on what a plan is."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from unit.test_plan import HEAD, RIGHT_LINES, TWICE, WRONG_LINES, plans

from jail import Plan, SpecError, UnsupportedError
from jail.launch import jailer_path

Check = Callable[[bytes], tuple[bool, str]]


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Check:
    """Whether the jailer takes a text as a plan, and what it says."""
    try:
        jailer = jailer_path()
    except UnsupportedError as error:
        pytest.skip(str(error))
    file: Path = tmp_path_factory.mktemp("plans") / "plan"

    def ask(text: bytes) -> tuple[bool, str]:
        file.write_bytes(text)
        ended = subprocess.run([jailer, "check", str(file)], capture_output=True, check=False)
        assert ended.returncode in (0, 125)
        return ended.returncode == 0, ended.stderr.decode(errors="replace")

    return ask


@given(plan=plans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_jailer_takes_what_python_writes(check: Check, plan: Plan) -> None:
    taken, words = check(plan.to_bytes())
    assert taken, words


@pytest.mark.parametrize("line", RIGHT_LINES)
def test_both_take_right_lines(check: Check, line: str) -> None:
    taken, words = check(f"{HEAD}{line}\nend\n".encode())
    assert taken, words


def test_both_refuse_wrong_lines_at_the_same_place(check: Check) -> None:
    for line in (*WRONG_LINES, *(f"{line}\n{line}" for line in TWICE)):
        text = f"{HEAD}{line}\nend\n".encode()
        with pytest.raises(SpecError) as caught:
            Plan.from_bytes(text)
        taken, words = check(text)
        assert not taken, line
        assert f":{caught.value.line}: " in words, (line, words)
