"""Every code block of the README, executed; a `text` block right after one is its output."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.features import PROJECT

_BLOCK = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$(?P<joined>\n(?=```text$))?",
                    re.MULTILINE | re.DOTALL)
_TESTS = "scripts/test\n"  # the block that would start this test again


@dataclass(frozen=True)
class Block:
    """One fenced block; `output` is what it must print, or None where the README does not say."""

    line: int
    language: str
    text: str
    output: str | None


def blocks() -> list[Block]:
    readme = (PROJECT / "README.md").read_text()
    found = list(_BLOCK.finditer(readme))
    made = []
    for index, match in enumerate(found):
        output = found[index + 1]["text"] if match["joined"] else None
        made.append(Block(readme.count("\n", 0, match.start()) + 1, match["language"], match["text"], output))
    return made


def executed() -> list[Block]:
    return [block for block in blocks() if block.language != "text" and block.text != _TESTS]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder where the README's relative paths lead to this checkout's, and where a block may write."""
    (tmp_path / "bin").symlink_to(PROJECT / "bin")
    shutil.copytree(PROJECT / "examples", tmp_path / "examples")
    return tmp_path


def test_every_block_is_of_a_kind_that_is_executed() -> None:
    assert {block.language for block in blocks()} <= {"sh", "python", "text"}
    assert [block.language for block in blocks() if block.language != "text"][:2] == ["sh", "sh"]
    assert len(executed()) >= 5


@pytest.mark.parametrize("block", executed(), ids=lambda block: f"line-{block.line}")
def test_block(block: Block, checkout: Path, require: Callable[[str], None]) -> None:
    require("userns")
    starts = {"sh": ["/bin/sh", "-eu", "-c"], "python": [str(PROJECT / ".venv/bin/python3"), "-c"]}
    command = starts[block.language]
    done = subprocess.run([*command, block.text], cwd=checkout, stdin=subprocess.DEVNULL, capture_output=True,
                          env={**os.environ, "HOME": str(checkout)}, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if block.output is not None:
        assert done.stdout == block.output


def test_the_command_for_the_tests_is_the_one_that_ci_runs() -> None:
    """It is not executed here, where it would start this test again: it is what is running, if CI is."""
    assert [block.text for block in blocks() if block.language == "sh"][1] == _TESTS
    last = (PROJECT / ".ci/run").read_text().splitlines()[-1]
    assert last.endswith('exec scripts/test "$@"')
