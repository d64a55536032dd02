"""`pyjail compile`: the file that is a jailed program."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jail.cli import main
from jail.cli.compile import interpreter_line
from jail.directives import Argv, Depends, OutcomeTo, PassFd
from jail.launch import jailer_path
from jail.plan import Plan
from jail.settings import UsageError


def test_it_is_executable_names_the_jailer_and_holds_the_command(tmp_path: Path) -> None:
    path = tmp_path / "echo.jail"
    before = os.umask(0o077)
    try:
        words = ["compile", "-o", str(path), "--outcome-fd=5", "--pass-fd=6", "--", "echo", "a b", ""]
        assert main(words) == 0
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o7777 == 0o755
    content = path.read_bytes()
    assert content.startswith(f"#!{jailer_path()} run\njailer 1\n".encode())
    plan = Plan.from_bytes(content)
    assert plan.of(Argv) == (Argv("echo"), Argv("a b"), Argv(""))
    assert (plan.of(OutcomeTo), plan.of(PassFd)) == ((OutcomeTo(5),), (PassFd(6),))
    assert plan.of(Depends) == ()
    assert os.listdir(tmp_path) == ["echo.jail"]


def test_an_old_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.jail"
    path.write_text("old")
    with path.open() as old:
        assert main(["compile", "-o", str(path), "true"]) == 0
        assert old.read() == "old"
    assert Plan.from_bytes(path.read_bytes()).of(Argv) == (Argv("true"),)


def test_a_link_is_replaced_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("kept")
    (tmp_path / "link").symlink_to("target")
    assert main(["compile", "-o", str(tmp_path / "link"), "true"]) == 0
    assert (tmp_path / "target").read_text() == "kept"


@pytest.mark.parametrize(
    ("name", "reason"), [("none/x", "No such file or directory"), (".", "Is a directory")]
)
def test_a_place_that_cannot_be_written_is_named(
    tmp_path: Path,
    name: str,
    reason: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    name = name.replace(".", "folder")
    assert main(["compile", "-o", name, "--", "true"]) == 2
    assert capsys.readouterr().err == f"pyjail: cannot write {name}: {reason}\n"
    assert os.listdir(tmp_path) == ["folder"]


def test_a_command_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "-o", "x", "--"]) == 2
    assert capsys.readouterr().err == (
        "pyjail: no command given; usage: pyjail compile -o FILE [options] [--] COMMAND [ARG...]\n"
    )


def test_the_longest_path_that_a_first_line_holds() -> None:
    path = b"/" + b"j" * 246
    assert interpreter_line(path) == b"#!" + path + b" run\n"
    with pytest.raises(UsageError, match="the jailer's path is 249 bytes long and a #! line holds 248"):
        interpreter_line(path + b"jj")


@pytest.mark.parametrize("path", [b"/my folder/jailer", b"/a\tb", b"/a\nb", b"/a ", b" /a"])
def test_white_space_in_the_jailers_path_is_refused(path: bytes) -> None:
    with pytest.raises(UsageError, match="holds white space, which a #! line cannot"):
        interpreter_line(path)
