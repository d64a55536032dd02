"""Every code block of the README and of the pages that teach, executed; a `text` block right after one is its
output. And the site of all pages, built."""

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

_BLOCK = re.compile(
    r"^```(?P<language>\w*)\n(?P<text>.*?)^```$(?P<joined>\n(?=```text$))?", re.MULTILINE | re.DOTALL
)
_TESTS = "scripts/test\n"  # the block that would start this test again


README = PROJECT / "README.md"
DOCS = PROJECT / "docs"
PAGES = [
    README,
    DOCS / "index.md",
    DOCS / "tutorial.md",
    DOCS / "library.md",
    DOCS / "services.md",
    *sorted((DOCS / "howto").glob("*.md")),
]


@dataclass(frozen=True)
class Block:
    """One fenced block; `output` is what it must print, or None where the page does not say."""

    page: Path
    line: int
    language: str
    text: str
    output: str | None


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    found = list(_BLOCK.finditer(text))
    made = []
    for index, match in enumerate(found):
        output = found[index + 1]["text"] if match["joined"] else None
        line = text.count("\n", 0, match.start()) + 1
        made.append(Block(page, line, match["language"], match["text"], output))
    return made


def executed() -> list[Block]:
    every = [block for page in PAGES for block in blocks(page)]
    return [block for block in every if block.language != "text" and block.text != _TESTS]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder where the README's relative paths lead to this checkout's, and where a block may write."""
    (tmp_path / "bin").symlink_to(PROJECT / "bin")
    shutil.copytree(PROJECT / "examples", tmp_path / "examples")
    return tmp_path


def test_every_block_is_of_a_kind_that_is_executed() -> None:
    assert {block.language for page in PAGES for block in blocks(page)} <= {"sh", "python", "text"}
    assert [block.language for block in blocks(README) if block.language != "text"][:2] == ["sh", "sh"]
    assert len(executed()) >= 5


@pytest.mark.parametrize("block", executed(), ids=lambda block: f"{block.page.stem}-{block.line}")
def test_block(block: Block, checkout: Path, require: Callable[[str], None]) -> None:
    require("userns")
    starts = {"sh": ["/bin/sh", "-eu"], "python": [str(PROJECT / ".venv/bin/python3")]}
    script = checkout / "block"
    script.write_text(block.text)
    done = subprocess.run(
        [*starts[block.language], str(script)],
        cwd=checkout,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**os.environ, "HOME": str(checkout)},
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    if block.output is not None:
        assert done.stdout == block.output


def test_the_types_of_the_examples_are_right(tmp_path: Path) -> None:
    for number, block in enumerate(block for block in executed() if block.language == "python"):
        (tmp_path / f"example_{number}.py").write_text(block.text)
    command = [str(PROJECT / ".venv/bin/mypy"), "--strict", "--config-file", str(PROJECT / "pyproject.toml")]
    done = subprocess.run(
        [*command, *sorted(tmp_path.glob("*.py"))], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_site_is_whole(tmp_path: Path) -> None:
    """Every link and every name of the reference leads somewhere; a reader fetches nothing."""
    command = [str(PROJECT / "scripts/docs"), str(tmp_path / "site")]
    nowhere = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(command, env={**os.environ, **nowhere}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    pages = {page.name: page.read_text() for page in (tmp_path / "site").rglob("*.html")}
    assert {page.with_suffix(".html").name for page in DOCS.rglob("*.md")} <= set(pages)
    assert "with_limits" in pages["reference.html"]
    for name, text in pages.items():
        assert not re.findall(r'(?:src|href)="(?:https?:)?//[^"]*\.(?:js|css|woff2?)"', text), name


def test_the_command_for_the_tests_is_the_one_that_ci_runs() -> None:
    """It is not executed here, where it would start this test again: it is what is running, if CI is."""
    assert [block.text for block in blocks(README) if block.language == "sh"][1] == _TESTS
    assert 'scripts/test "$@"' in (PROJECT / ".ci/run").read_text().splitlines()
