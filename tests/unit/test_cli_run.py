"""`pyjail run` up to the point where it becomes the jailer, `plan`, and how errors are told."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import jail
from jail.cli import main
from jail.cli.options import COMMANDS
from jail.cli.parse import parse
from jail.cli.run import run
from jail.directives import Argv, Cwd, Depends, Env, Hostname, Key, OutcomeTo, Rlimit
from jail.plan import Plan
from jail.settings import UsageError

HEX = "fedcba9876543210"
ROOT = str(Path(jail.__file__).parents[1])

# Each costs from half a millisecond to thirteen; the whole of a cold start may take eight.
FORBIDDEN = {
    "argparse", "cffi", "contextlib", "ctypes", "dataclasses", "enum", "functools",
    "importlib.metadata", "inspect",
    "json", "logging", "pathlib", "re", "shlex", "subprocess", "tempfile", "tomllib", "typing",
}  # fmt: skip


class Become:
    """Stands for what becomes the jailer: keeps what it was given."""

    def __init__(self) -> None:
        self.plan = Plan(())
        self.words: Sequence[str] = ()

    def __call__(self, plan: Plan, words: Sequence[str]) -> None:
        self.plan, self.words = plan, words


def started(*words: str, key: tuple[str, str] | None = None) -> Become:
    become = Become()
    assert run(parse(COMMANDS["run"], words), key, become) == 0
    return become


@pytest.fixture
def plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder's plans, for the time of a test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/pyjail/plans"


def test_the_command_is_no_part_of_the_plan() -> None:
    become = started("--hostname=h", "--", "ls", "-l")
    assert become.words == ["ls", "-l"]
    assert become.plan.of(Argv) == ()


def test_a_plan_is_kept_under_the_key_of_the_front(plans: Path) -> None:
    become = started("--hostname=x", "--", "true", key=(HEX, "some\\040key"))
    kept = Plan.from_bytes((plans / HEX).read_bytes())
    assert kept.of(Key) == (Key("some key"),)
    assert set(become.plan.directives) <= set(kept.directives)
    assert kept.of(Argv) == ()


@pytest.mark.parametrize(
    "words", [["true"], ["ls", "--", "x"], ["--strict", "true"], ["--no-cache", "--", "true"]]
)
def test_without_dashes_or_with_no_cache_nothing_is_kept(plans: Path, words: list[str]) -> None:
    started(*words, key=(HEX, "k"))
    assert not plans.exists()


def test_without_a_key_nothing_is_kept(plans: Path) -> None:
    started("--", "true")
    assert not plans.exists()


def test_for_a_config_file_that_has_just_changed_nothing_is_kept(plans: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text("hostname = 'configured'")
    become = started("--config", str(config), "--", "true", key=(HEX, "k"))
    assert become.plan.of(Hostname) == (Hostname("configured"),)
    assert not plans.exists()


def test_a_run_does_not_fail_for_its_cache(plans: Path) -> None:
    plans.parent.parent.mkdir()
    plans.parent.write_text("in the way")
    started("--", "true", key=(HEX, "k"))


@pytest.mark.parametrize("words", [[], ["--"], ["--strict"], ["--strict", "--"]])
def test_there_must_be_a_command(words: list[str]) -> None:
    with pytest.raises(UsageError, match=r"^no command given; usage: pyjail run \[options\] \[--\] COMMAND"):
        started(*words)


def test_plan_prints_what_would_run(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    word = b"caf\xe9".decode("utf-8", "surrogateescape")
    options = ["--env", f"A={word}", "--cwd=/w", "--file-size=2", "--outcome-fd=7"]
    assert main(["plan", *options, "--", "echo", word]) == 0
    plan = Plan.from_bytes(capfdbinary.readouterr().out)
    assert plan.of(Argv) == (Argv("echo"), Argv(word))
    assert Env("A", word) in plan.of(Env)
    assert plan.of(Cwd) == (Cwd("/w"),)
    assert plan.of(OutcomeTo) == (OutcomeTo(7),)
    assert [limit.soft for limit in plan.of(Rlimit) if limit.name == "fsize"] == [2]
    assert (plan.of(Depends), plan.of(Key)) == ((), ())


def test_plan_needs_no_command(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["plan"]) == 0
    assert Plan.from_bytes(capfdbinary.readouterr().out).of(Argv) == ()


@pytest.mark.parametrize(("words", "status", "text"), [
    (["run"], 125, "no command given; usage: pyjail run [options] [--] COMMAND [ARG...]"),
    (["run", "--memroy=1", "--", "true"], 125, "unknown option --memroy; did you mean --memory?"),
    (["run", "--bind=/a:/x", "--tmpfs=/x", "true"], 125,
     "mounts: '/x' is the target of two mounts; leave one out"),
    (["run", "--seccomp=/none.toml", "--", "true"], 125,
     "seccomp: [Errno 2] No such policy file: '/none.toml'"),
    (["run", "--config=/none.toml", "--", "true"], 125,
     "--config: cannot read /none.toml: No such file or directory"),
    (["plan", "--memory=1X"], 2,
     "--memory: '1X' is not a size; write bytes or a number with K, M, G or T, e.g. 256M"),
    (["rnu", "true"], 2, "unknown command 'rnu'; did you mean run?"),
    (["ls"], 2, "unknown command 'ls'; to run it in a jail: pyjail run ls"),
    (["--memory=1G", "ls"], 2, "unknown option --memory=1G; options follow the subcommand, as in: "
     "pyjail run --memory=1G"),
    (["cache"], 2, "usage: pyjail cache clear|path"),
    (["cache", "burn"], 2, "usage: pyjail cache clear|path, not 'burn'"),
    (["completion", "csh"], 2, "no completion for 'csh'; there is one for bash, zsh, fish"),
    (["check", "x"], 2, "usage: pyjail check"),
    (["compile", "--", "true"], 2,
     "no file to write given; usage: pyjail compile -o FILE [options] [--] COMMAND [ARG...]"),
])  # fmt: skip
def test_errors_are_one_line_and_a_status(
    capsys: pytest.CaptureFixture[str], words: list[str], status: int, text: str
) -> None:
    assert main(words) == status
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"pyjail: {text}\n")


def test_an_unknown_profile_is_told_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--seccomp=dafault", "--", "true"]) == 125
    error = capsys.readouterr().err
    assert error.startswith("pyjail: seccomp: no profile 'dafault': there are ")


def in_python(code: str, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.path.insert(0, {ROOT!r})\n{code}"
    return subprocess.run([sys.executable, "-I", "-S", "-c", code, *words], capture_output=True, text=True,
                          check=False, env={**os.environ, **more})  # fmt: skip


def test_a_cold_start_imports_nothing_heavy(tmp_path: Path) -> None:
    code = f"""
from jail.cli import command
from jail.cli.options import COMMANDS
from jail.cli.parse import parse
from jail.cli.run import run
run(parse(COMMANDS["run"], sys.argv[1:]), ({HEX!r}, "k"), lambda plan, words: plan.to_bytes())
print(*sys.modules)
"""
    done = in_python(
        code, "--memory=64M", "--allow-weaker=memory", "--ro-bind=/usr:/x", "--env=A", "--", "true",
        XDG_CACHE_HOME=str(tmp_path),
    )  # fmt: skip
    assert done.stderr == ""
    modules = set(done.stdout.split())
    assert "jail.launch" in modules
    assert modules & FORBIDDEN == set()
    assert (tmp_path / "pyjail/plans" / HEX).exists()


def test_the_front_passes_key_and_words() -> None:
    done = in_python("from jail.cli import front; front()", "-", "-", "plan", "--hostname=through-the-front")
    assert "hostname through-the-front\n" in done.stdout
    assert (done.returncode, done.stderr) == (0, "")
    done = in_python("from jail.cli import front; front()", HEX, "k", "run", "--uid=x", "--", "true")
    assert (done.returncode, done.stderr[:15]) == (125, "pyjail: --uid: ")


MAIN = f"import sys; sys.path.insert(0, {ROOT!r}); from jail.cli import main; sys.exit(main())"


def with_stdout(target: str, *words: str) -> tuple[int, bytes]:
    """Status and stderr of a command whose stdout is what the shell makes of the redirection `target`."""
    shell = ["/bin/sh", "-c", f'exec "$@" >{target}', "sh", sys.executable, "-I", "-S", "-c", MAIN, *words]
    home = {**os.environ, "HOME": "/"}  # `cache path` names a folder below it
    done = subprocess.run(shell, stderr=subprocess.PIPE, env=home, check=False)
    return done.returncode, done.stderr


def test_output_that_cannot_be_written_is_no_traceback() -> None:
    for words in (["plan"], ["help", "run"], ["cache", "path"]):
        assert with_stdout("&-", *words) == (1, b"pyjail: standard output is closed\n")
        assert with_stdout("/dev/full", *words) == (1, b"pyjail: [Errno 28] No space left on device\n")


def test_messages_never_land_on_stdout(tmp_path: Path) -> None:
    out = tmp_path / "out"
    shell = ["/bin/sh", "-c", f'exec "$@" >{out} 2>&-', "sh", sys.executable, "-I", "-S", "-c", MAIN, "run"]
    assert subprocess.run(shell, check=False).returncode == 125
    assert out.read_bytes() == b""


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    shell = [
        "/bin/sh",
        "-c",
        'mkdir gone && cd gone && rmdir ../gone && exec "$@"',
        "sh",
        sys.executable,
        "-I",
        "-S",
    ]
    words = [*shell, "-c", MAIN, "run", "--bind", "x", "true"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (
        125,
        b"pyjail: --bind: 'x' is relative, and the current folder is gone\n",
    )


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as out:
        done = subprocess.run([sys.executable, "-I", "-S", "-c", MAIN, "help", "run"], stdout=out,
                              stderr=subprocess.PIPE, check=False)  # fmt: skip
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_plan_depends_on_every_file_of_its_policy() -> None:
    from jail.sources import policies_of
    from jail.spec import Jail

    def names(jail: Jail) -> set[str]:
        return {os.path.basename(path) for path in policies_of(jail)}

    assert names(Jail(seccomp="off")) == set()
    assert names(Jail()) == {"default.toml"}
    assert names(Jail(seccomp="strict")) >= {"strict.toml", "default.toml"}
    assert names(Jail(seccomp="/p/own.toml")) >= {"own.toml", "strict.toml", "default.toml"}
