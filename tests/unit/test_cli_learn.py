"""`pyjail learn`, up to the jail: what is asked for, written and said."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from unit.test_seccomp_learn import ONE, TWO

from jail import Jail, Outcome
from jail.cli import main
from jail.cli.learn import learn_policy
from jail.cli.options import COMMANDS
from jail.cli.parse import parse
from jail.settings import UsageError
from seccomp import Policy, load


class Watch:
    """Stands for the jail: keeps what it was given, and tells of these calls."""

    def __init__(self, calls: Sequence[dict[str, Any]], **outcome: Any) -> None:
        self.calls = calls
        self.outcome = {"status": "exited", "exit_code": 0, **outcome}
        self.jail = Jail()
        self.words: Sequence[str] = ()

    def __call__(self, jail: Jail, words: Sequence[str]) -> tuple[Outcome, bytes]:
        self.jail, self.words = jail, words
        record = json.dumps({"calls_lost": 0, **self.outcome, "calls": self.calls}).encode()
        return Outcome.from_json(record), record


def learned(watch: Watch, *words: str) -> int:
    return learn_policy(parse(COMMANDS["learn"], words), watch)


def test_the_policy_is_written_and_can_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watch = Watch(ONE)
    path = str(tmp_path / "p.toml")
    assert learned(watch, "-o", path, "--memory", "64M", "--seccomp=python", "--", "node", "a b.js") == 0
    assert (watch.words, watch.jail.seccomp) == (["node", "a b.js"], "python")
    assert watch.jail.limits.memory == 64 << 20
    policy = Policy.from_file(path)
    assert [policy.decide(name) for name in ("kill", "getdents64", "mbind")] == ["allow", "ENOSYS", "EPERM"]
    assert load(path).bpf == policy.compile()
    text = Path(path).read_text()
    assert "# Learned within the policy python, from:\n#   $ node 'a b.js'\n" in text
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"pyjail: {path} allows ")
    assert captured.err.endswith(f"run with it: pyjail run --seccomp {path}\n")


def test_a_second_run_adds_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "p.toml")
    learned(Watch(ONE), "-o", path, "--", "one")
    capsys.readouterr()
    learned(Watch(TWO), "-o", path, "--", "two")
    assert ", 1 of them new; " in capsys.readouterr().err  # getdents64
    policy = Policy.from_file(path)
    assert [policy.decide(name) for name in ("kill", "getdents64")] == ["allow"] * 2
    assert "#   $ one\n#   $ two\n" in Path(path).read_text()


def test_other_files_are_merged_and_stay(tmp_path: Path) -> None:
    one, two, hand = (str(tmp_path / name) for name in ("one.toml", "two.toml", "hand.toml"))
    learned(Watch(ONE), "-o", one, "--", "one")
    Path(hand).write_text('default = "EPERM"\n[[rule]]\ncalls = ["sync"]\naction = "allow"\n')
    before = Path(one).read_bytes()
    learned(Watch(TWO), "--merge", one, "--merge", hand, "-o", two, "--", "two")
    policy = Policy.from_file(two)
    assert [policy.decide(name) for name in ("kill", "getdents64", "sync")] == ["allow"] * 3
    assert Path(one).read_bytes() == before


def test_a_policy_of_another_making_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text('default = "EPERM"\n')
    watch = Watch(ONE)
    with pytest.raises(UsageError, match="was not written by pyjail learn"):
        learned(watch, "-o", str(path), "--", "true")
    assert path.read_text() == 'default = "EPERM"\n'
    assert watch.words == ()  # nothing has run


@pytest.mark.parametrize(("outcome", "status"), [
    ({"exit_code": 3}, 3), ({"status": "signaled", "exit_code": None, "signal": 9}, 137),
    ({"status": "timed-out", "exit_code": None, "signal": 15}, 124),
])  # fmt: skip
def test_a_command_that_fails_is_learned_too(outcome: dict[str, Any], status: int, tmp_path: Path) -> None:
    assert learned(Watch(ONE, **outcome), "-o", str(tmp_path / "p.toml"), "--", "x") == status
    assert Policy.from_file(tmp_path / "p.toml").decide("kill") == "allow"


@pytest.mark.parametrize(("outcome", "status"), [
    ({"status": "setup-failed", "exit_code": None, "error": {"step": "clone"}}, 125),
    ({"exit_code": 127, "error": {"step": "exec"}}, 127),
])  # fmt: skip
def test_where_nothing_ran_nothing_is_written(outcome: dict[str, Any], status: int, tmp_path: Path) -> None:
    assert learned(Watch([], **outcome), "-o", str(tmp_path / "p.toml"), "--", "x") == status
    assert os.listdir(tmp_path) == []


def test_lost_calls_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    learned(Watch(ONE, calls_lost=5), "-o", str(tmp_path / "p.toml"), "--", "x")
    assert "\npyjail: 5 calls could not be recorded" in capsys.readouterr().err


def test_the_base_may_be_strict_and_a_file(tmp_path: Path) -> None:
    base = tmp_path / "base.toml"
    base.write_text('base = "default"\n[[rule]]\ncalls = ["kill"]\naction = "EACCES"\n')
    config = tmp_path / "c.toml"
    config.write_text('strict = true\nseccomp = "base.toml"\n')
    learned(Watch(ONE), "--config", str(config), "-o", str(tmp_path / "p.toml"), "--", "x")
    policy = Policy.from_file(tmp_path / "p.toml")
    assert (policy.default, policy.decide("kill")) == ("kill", "kill")


def test_the_outcome_is_passed_on(tmp_path: Path) -> None:
    place = tmp_path / "outcome.json"
    learned(Watch(ONE), "-o", str(tmp_path / "p.toml"), "--outcome", str(place), "--", "x")
    assert json.loads(place.read_text())["calls"] == ONE


def test_commands_are_told_in_one_plain_line(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    word = "line\nbreak\x1b[0m" + b"\xff".decode("utf-8", "surrogateescape")
    learned(Watch(ONE), "-o", str(path), "--", "sh", "-c", word, "x" * 500)
    line = next(line for line in path.read_text().splitlines() if line.startswith("#   $ "))
    assert line.startswith("#   $ sh -c 'line\\x0abreak\\x1b[0m\\xdcff'")
    assert len(line) < 250
    assert Policy.from_file(path).decide("read") == "allow"
    learned(Watch(TWO), "-o", str(path), "--", "other")
    assert line in path.read_text().splitlines()


@pytest.mark.parametrize(("words", "text"), [
    (["--", "true"], "name the policy file to write, which must end in .toml; usage: pyjail learn"),
    (["-o", "x", "--", "true"], "name the policy file to write, which must end in .toml"),
    (["-o", "x.toml"], "no command given; usage: pyjail learn -o FILE.toml [options]"),
    (["-o", "x.toml", "--seccomp=off", "--", "true"], "--seccomp off: what is learned lies within a policy"),
    (["-o", "x.toml", "--seccomp=none", "--", "true"], "no profile 'none'"),
    (["-o", "x.toml", "--merge", "/none.toml", "--", "true"], "cannot read /none.toml: No such file"),
    (["-o", "x.toml", "--memory=1X", "--", "true"], "--memory: '1X' is not a size"),
    (["-o", "/none/x.toml", "--", "true"], "cannot write /none/x.toml: there is no such folder"),
])  # fmt: skip
def test_errors_come_before_anything_runs(
    words: list[str], text: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["learn", *words]) == 125
    assert capsys.readouterr().err.startswith(f"pyjail: {text}")
    assert os.listdir(tmp_path) == []
