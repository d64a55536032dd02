"""The configuration file: the options' names, strictly."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jail.cli.options import COMMANDS
from jail.cli.parse import parse
from jail.configfile import read_config
from jail.settings import UsageError
from jail.spec import Bind, Jail
from jail.tojail import make_jail


def config(folder: Path, text: str | bytes) -> str:
    path = folder / "jail.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def jail_of(path: str, *words: str) -> Jail:
    return make_jail(read_config(path) + parse(COMMANDS["run"], words).settings)


def message(path: str) -> str:
    with pytest.raises(UsageError) as caught:
        jail_of(path)
    return str(caught.value).replace(path, "FILE")


def test_keys_are_the_options_and_numbers_may_be_numbers(tmp_path: Path) -> None:
    jail = jail_of(
        config(
            tmp_path,
            """
        memory = "64M"
        pids = 10
        timeout = 1.5
        strict = true
        audit = true
        no-proc = true
        no-tmp = false
        env = ["A=1", "HOME"]
        pass-fd = [5]
    """,
        )
    )
    assert (jail.limits.memory, jail.limits.pids, jail.limits.timeout) == (64 << 20, 10, 1.5)
    assert jail.strict
    assert jail.audit == "refused"
    assert jail.without == frozenset({"proc"})
    assert jail.env == (("A", "1"), ("HOME", None))
    assert jail.pass_fds == (5,)


def test_the_command_line_wins_and_lists_add_up(tmp_path: Path) -> None:
    path = config(
        tmp_path, 'memory = "64M"\nno-pids = true\nenv = ["A=1"]\nro-bind = ["/usr:/x"]\ntimeout = 3'
    )
    jail = jail_of(path, "--memory=1G", "--pids=7", "--env", "A=2", "--ro-bind", "/usr:/y", "--no-timeout")
    assert (jail.limits.memory, jail.limits.pids, jail.limits.timeout) == (1 << 30, 7, -1)
    assert jail.env == (("A", "1"), ("A", "2"))
    assert jail.mounts == (Bind("/usr", "/x"), Bind("/usr", "/y"))


def test_relative_paths_start_from_the_files_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = config(tmp_path, 'ro-bind = ["data:/data"]\nroot = "tree"\nseccomp = "./own.toml"')
    monkeypatch.chdir("/")
    jail = jail_of(path)
    assert jail.mounts == (Bind(f"{tmp_path}/data", "/data"),)
    assert jail.root == f"{tmp_path}/tree"
    assert jail.seccomp == f"{tmp_path}/own.toml"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('memroy = "1G"', "FILE: unknown key 'memroy'; did you mean 'memory'?"),
        ("cpu_time = 1", "FILE: unknown key 'cpu_time'; did you mean 'cpu-time'?"),
        ("zzzzzz = 1", "FILE: unknown key 'zzzzzz'; the keys are the options of `pyjail run --help`"),
        ('config = "x"', "FILE: key 'config' is for the command line only"),
        ("outcome-fd = 3", "FILE: key 'outcome-fd' is for the command line only"),
        ("[memory]\nx = 1", "FILE: memory: expected a size, such as 256M, not a table"),
        ("memory = 1.5", "FILE: memory: expected a size, such as 256M, not the number 1.5"),
        ("pids = true", "FILE: pids: expected a whole number, such as 64, not the boolean true"),
        ("hostname = 5", "FILE: hostname: expected a string, not the number 5"),
        ('strict = "yes"', "FILE: strict: expected true or false, not the string 'yes'"),
        ('env = "A=1"', "FILE: env: expected a list, such as [\"NAME=VALUE\"], not the string 'A=1'"),
        ("[env]\nA = '1'", 'FILE: env: expected a list, such as ["NAME=VALUE"], not a table'),
        ('env = ["A=1", 2]', "FILE: env[1]: expected a string, not the number 2"),
        ('env = ["=1"]', "FILE: env[0]: '=1' has no name; expected NAME[=VALUE]"),
        (
            'memory = "10X"',
            "FILE: memory: '10X' is not a size; write bytes or a number with K, M, G or T, e.g. 256M",
        ),
        ('net = "hsot"', "FILE: net: expected none or host, not 'hsot'; did you mean host?"),
        ('cwd = "a\\u0000b"', "FILE: cwd: the value holds a NUL character, which nothing can be given"),
        ("uid = -1", "FILE: uid: expected a whole number from 0 to 4294967294, not '-1'"),
        ("cwd = 1979-05-27", "FILE: cwd: expected a string, not a date or time"),
    ],
)
def test_what_is_wrong_is_named_by_file_and_key(tmp_path: Path, text: str, expected: str) -> None:
    assert message(config(tmp_path, text)) == expected


def test_a_syntax_error_names_file_and_line(tmp_path: Path) -> None:
    text = message(config(tmp_path, 'memory = "1G"\npids = = 3\n'))
    assert text.startswith("FILE: not valid TOML: ")
    assert "line 2" in text


def test_a_doubled_key_is_an_error(tmp_path: Path) -> None:
    assert "line 2" in message(config(tmp_path, "pids = 1\npids = 2\n"))


def test_other_encodings_are_named_by_line(tmp_path: Path) -> None:
    assert message(config(tmp_path, b'cwd = "/"\nhostname = "\xe9"\n')) == (
        "FILE: line 2 is not UTF-8, which TOML must be"
    )


def test_nesting_and_digits_without_end_are_refused(tmp_path: Path) -> None:
    assert message(config(tmp_path, "env = " + "[" * 100_000)).startswith("FILE: not valid TOML: ")
    assert message(config(tmp_path, "pids = " + "9" * 10_000)).startswith("FILE: not valid TOML: ")


def test_a_file_that_cannot_be_read_gets_the_systems_reason(tmp_path: Path) -> None:
    assert message(f"{tmp_path}/none.toml") == "--config: cannot read FILE: No such file or directory"
    assert message(str(tmp_path)) == "--config: cannot read FILE: Is a directory"


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    path = config(tmp_path, "")
    os.truncate(path, 2 << 20)
    assert message(path) == "--config: FILE is larger than 1 MiB and so hardly a configuration file"
