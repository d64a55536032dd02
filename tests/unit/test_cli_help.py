"""Help, completion and man pages: made of the one table, complete and well-formed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import jail
from jail.cli import main
from jail.cli.completion import completion
from jail.cli.help import command_help, described, overview
from jail.cli.manpage import man_page
from jail.cli.options import COMMANDS
from jail.services.service import GRACE, TIMEOUT
from jail.settings import GROUPS, RUN_OPTIONS

MAN = Path(__file__).parents[2] / "docs/man"


def shell(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda command: command.name)
def test_help_names_every_option_in_lines_that_fit(command, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    assert main([*command.name.split(), "--help"]) == 0
    text = capsys.readouterr().out
    assert text == command_help(command)
    for option in command.options:
        assert f"  {option.usage}" in text
    assert "Exit status:" in text
    # Commands to copy are not broken into lines.
    assert [line for line in text.splitlines() if len(line) > 80 and not line.startswith("    pyjail")] == []


@pytest.mark.parametrize("command", ["service run", "serve"])
def test_help_names_the_defaults_of_services(command: str) -> None:
    told = {option.name: described(option, command) for option in COMMANDS[command].options}
    assert told["timeout"].endswith(f"Default: {TIMEOUT:g}s.")
    assert told["grace"].endswith(f"Default: {GRACE:g}s.")


def test_every_option_has_a_group_that_is_shown() -> None:
    assert {option.group for option in RUN_OPTIONS} <= set(GROUPS)


def test_no_words_get_the_overview_as_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", overview())


@pytest.mark.parametrize("words", [["help"], ["--help"], ["-h"]])
def test_help_that_is_asked_for_is_output(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    assert capsys.readouterr().out == overview()


@pytest.mark.parametrize("words", [["seccomp", "--help"], ["seccomp", "-h"], ["help", "seccomp"]])
def test_help_of_a_family_lists_its_commands(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    text = capsys.readouterr().out
    assert [name for name in COMMANDS if name.startswith("seccomp ") and f"  {name} " not in text] == []
    assert main(["seccomp"]) == 2
    assert capsys.readouterr().err == text


def test_help_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "run"]) == 0
    assert capsys.readouterr().out == command_help(COMMANDS["run"])
    assert main(["help", "nothing"]) == 2
    capsys.readouterr()
    assert main(["help", "seccomp", "show"]) == 0
    assert capsys.readouterr().out == command_help(COMMANDS["seccomp show"])


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"pyjail {jail.__version__}\n"


def completions(line: str, folder: Path) -> set[str]:
    """What bash would offer at the end of the line."""
    words = line.split(" ")
    script = f"""{completion("bash")}
compopt() {{ :; }}
COMP_WORDS=({" ".join(f"'{word}'" for word in words)}) COMP_CWORD={len(words) - 1}
_pyjail
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, cwd=folder)
    assert done.stderr == ""
    return {word for word in done.stdout.splitlines() if word}


@pytest.mark.parametrize(("line", "offered"), [
    ("pyjail pl", {"plan"}),
    ("pyjail run --mem", {"--memory"}),
    ("pyjail run --net ", {"none", "host"}),
    ("pyjail run --net host --no-p", {"--no-proc", "--no-pids"}),
    ("pyjail run --allow-weaker m", {"memory"}),
    ("pyjail run --config ", {"some.toml"}),
    ("pyjail run --root ", {"host", "some.toml"}),
    ("pyjail run --hostname ", set()),
    ("pyjail run ls --mem", set()),
    ("pyjail run -- --mem", set()),
    ("pyjail cache ", {"clear", "path"}),
    ("pyjail completion f", {"fish"}),
    ("pyjail check --j", {"--json"}),
    ("pyjail nothing ", set()),
    ("pyjail sec", {"seccomp"}),
    ("pyjail seccomp d", {"diff"}),
    ("pyjail seccomp nothing ", set()),
    ("pyjail seccomp show n", {"network", "node"}),
    ("pyjail seccomp show so", {"some.toml"}),
    ("pyjail seccomp show default --j", {"--json"}),
    ("pyjail seccomp diff default st", {"strict"}),
    ("pyjail seccomp compile default --format t", {"text", "toml"}),
    ("pyjail seccomp check ", {"some.toml"}),
    ("pyjail learn -o x.toml --mem", {"--memory"}),
    ("pyjail learn --merge ", {"some.toml"}),
])  # fmt: skip
def test_bash_completes(line: str, offered: set[str], tmp_path: Path) -> None:
    (tmp_path / "some.toml").touch()
    assert completions(line, tmp_path) == offered


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_the_shells_accept_their_script(name: str, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(completion(name))
    subprocess.run([shell(name), "-n", str(script)], check=True)


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_completion_knows_every_option(name: str) -> None:
    text = completion(name)
    prefix = "-l " if name == "fish" else "--"
    for command in COMMANDS.values():
        assert all(word in text for word in command.name.split())
        assert [option.name for option in command.options if prefix + option.name not in text] == []


def test_the_reference_has_every_option_and_status_as_the_help_has_them() -> None:
    text = (MAN.parent / "cli.md").read_text().replace("\\|", "|")
    rows = [f"| `{option.usage}` | {described(option)} |" for option in RUN_OPTIONS]
    assert [row for row in rows if row not in text] == []
    assert [f"`pyjail {name} " for name in COMMANDS if f"`pyjail {name} " not in text] == []


def test_the_stored_man_page_is_the_tables() -> None:
    assert (MAN / "pyjail.1").read_text() == man_page(), "run: pyjail help --man >docs/man/pyjail.1"


def test_the_man_page_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "--man"]) == 0
    text = capsys.readouterr().out.replace("\\-", "-")
    assert [option.usage for option in RUN_OPTIONS if f"\\fB{option.usage}\\fR" not in text] == []


@pytest.mark.parametrize("page", ["pyjail.1", "jailer.1"])
def test_man_pages_render_without_a_warning(page: str) -> None:
    words = [shell("man"), "--warnings=w", "-E", "UTF-8", "-l", str(MAN / page)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]})
    assert done.stderr == ""
    assert "EXIT STATUS" in done.stdout
