"""The command line's own parser: what is an option, what a value, where the command begins."""

from __future__ import annotations

import pytest

from jail.cli.options import COMMANDS
from jail.cli.parse import Parsed, parse
from jail.settings import UsageError

RUN = COMMANDS["run"]


def given(parsed: Parsed) -> list[tuple[str, str]]:
    return [(setting.option.name, setting.text) for setting in parsed.settings]


def message(*words: str, command: str = "run") -> str:
    with pytest.raises(UsageError) as caught:
        parse(COMMANDS[command], words)
    return str(caught.value)


def test_a_value_is_the_next_word_or_follows_an_equals_sign() -> None:
    parsed = parse(RUN, ["--memory", "1G", "--pids=5", "--env=A=b=c", "--strict", "--hostname="])
    assert given(parsed) == [
        ("memory", "1G"),
        ("pids", "5"),
        ("env", "A=b=c"),
        ("strict", ""),
        ("hostname", ""),
    ]
    assert parsed.words == []


@pytest.mark.parametrize(
    ("words", "rest", "dashes"),
    [
        (["--", "ls", "--memory"], ["ls", "--memory"], True),
        (["ls", "--memory", "1G"], ["ls", "--memory", "1G"], False),
        (["ls", "--", "x"], ["ls", "--", "x"], False),
        (["--strict", "--", "--", "x"], ["--", "x"], True),
        (["-"], ["-"], False),
        ([""], [""], False),
        (["--"], [], True),
        ([], [], False),
    ],
)
def test_options_end_at_the_first_other_word_or_at_dashes(
    words: list[str], rest: list[str], dashes: bool
) -> None:
    parsed = parse(RUN, words)
    assert (parsed.words, parsed.dashes) == (rest, dashes)


def test_the_last_one_wins_where_asked_for_the_last() -> None:
    parsed = parse(RUN, ["--cwd", "/a", "--cwd", "/b"])
    last = parsed.last("cwd")
    assert last is not None
    assert last.text == "/b"
    assert parsed.last("root") is None


def test_a_word_of_two_dashes_is_never_a_value() -> None:
    # The native front takes the first `--` for the end of the options, whichever of them have values.
    assert message("--env", "--", "true") == "--env needs a value: --env NAME[=VALUE]"
    assert given(parse(RUN, ["--env=--", "--", "true"])) == [("env", "--")]


def test_a_missing_value_is_not_taken_from_the_next_option() -> None:
    assert message("--hostname", "--strict") == (
        "--hostname needs a value: --hostname NAME\n"
        "If '--strict' is meant as the value, write --hostname=--strict"
    )
    assert message("--memory") == "--memory needs a value: --memory SIZE"


def test_a_value_may_begin_with_one_dash() -> None:
    assert given(parse(RUN, ["--hostname", "-x"])) == [("hostname", "-x")]


def test_a_flag_takes_no_value() -> None:
    assert message("--strict=yes") == "--strict takes no value, and 'yes' was given"


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("--memroy", "unknown option --memroy; did you mean --memory?"),
        ("--memroy=5M", "unknown option --memroy; did you mean --memory?"),
        ("--zzzzzz", "unknown option --zzzzzz; `pyjail run --help` lists them"),
        ("-x", "unknown option -x; `pyjail run --help` lists them"),
        ("--=", "unknown option --; `pyjail run --help` lists them"),
        ("-o", "unknown option -o; `pyjail run --help` lists them"),
    ],
)
def test_an_unknown_option_gets_the_closest_known_one(word: str, text: str) -> None:
    assert message(word, "true") == text


def test_options_may_follow_words_that_are_no_command() -> None:
    parsed = parse(COMMANDS["seccomp compile"], ["p.json", "--format", "toml", "-o", "p.toml", "--", "-x"])
    assert given(parsed) == [("format", "toml"), ("output", "p.toml")]
    assert parsed.words == ["p.json", "-x"]
    assert parse(COMMANDS["seccomp show"], ["-"]).words == ["-"]
    assert [command.name for command in COMMANDS.values() if command.runs] == [
        "run", "shell", "plan", "compile", "learn", "exec"]  # fmt: skip


def test_short_forms() -> None:
    assert given(parse(COMMANDS["compile"], ["-o", "x.jail", "--", "true"])) == [("output", "x.jail")]
    assert parse(RUN, ["-h"]).last("help") is not None


def test_bytes_that_are_no_utf8_pass_unchanged() -> None:
    word = b"caf\xe9".decode("utf-8", "surrogateescape")
    parsed = parse(RUN, ["--env", f"A={word}", "--", word])
    assert given(parsed) == [("env", f"A={word}")]
    assert parsed.words == [word]


def test_a_hundred_thousand_words_are_not_looked_at() -> None:
    assert len(parse(RUN, ["--", *["--memory"] * 100_000]).words) == 100_000
