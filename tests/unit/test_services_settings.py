"""Services as files: their language, the command that runs them, the TOML file beside them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jail.errors import SpecError, UnsupportedError
from jail.services.languages import command_of, language_of
from jail.services.service import CODE_INSIDE, Service
from jail.services.settings import Settings, read_settings
from jail.spec import Bind, Jail


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    return tmp_path


def written(folder: Path, name: str, text: str = "", mode: int = 0o644) -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("name", "mode", "first", "language"),
    [
        ("a.js", 0o644, b"", "javascript"),
        ("a.mjs", 0o644, b"", "javascript"),
        ("a.cjs", 0o644, b"", "javascript"),
        ("A.PY", 0o644, b"", "python"),
        ("a.sh", 0o644, b"", "shell"),
        ("a.tcl", 0o644, b"", "tcl"),
        ("a.js", 0o755, b"exports", "javascript"),
        ("a.js", 0o644, b"#!/usr/bin/node", "javascript"),
        ("a.js", 0o755, b"#!/usr/bin/node", "executable"),
        ("a", 0o755, b"\x7fELF", "executable"),
        ("a.py", 0o711, b"#!/usr/bin/python3", "executable"),
    ],
)
def test_the_language_of_a_file(name: str, mode: int, first: bytes, language: str) -> None:
    assert language_of(name, mode, first) == language


@pytest.mark.parametrize(
    ("name", "mode", "first", "words"),
    [
        ("a", 0o644, b"#!/bin/sh", "chmod +x"),
        ("a.txt", 0o644, b"", "extension"),
        ("a", 0o755, b"text", "extension"),
    ],
)
def test_files_in_no_known_language(name: str, mode: int, first: bytes, words: str) -> None:
    with pytest.raises(SpecError, match="service: ") as caught:
        language_of(name, mode, first)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("language", "first", "needs"),
    [
        ("ruby", b"", "the program ruby-of-nowhere"),
        ("executable", b"#!/usr/bin/env -S K=V nothing-there -x\n", "the program nothing-there"),
        ("executable", b"#! /opt/nothing/there \n", "the program /opt/nothing/there"),
    ],
)
def test_a_missing_interpreter_is_named(
    language: str, first: bytes, needs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jail.services import languages

    ruby = languages.Language("ruby", (".rb",), ("ruby-of-nowhere",), "ruby")
    monkeypatch.setitem(languages.BY_NAME, "ruby", ruby)
    with pytest.raises(UnsupportedError) as caught:
        command_of(language, "/srv/a", "/srv/a", Jail(), first)
    assert caught.value.needs == needs
    assert caught.value.remedy


def test_interpreters_are_looked_up_in_the_jails_path_and_root(folder: Path) -> None:
    (folder / "opt").mkdir()
    (folder / "opt/sh").symlink_to("/nowhere/here")
    box = Jail(root=str(folder)).with_env(PATH="/sbin:/opt")
    assert command_of("shell", "/srv/a", "/srv/a", box, b"") == ("/opt/sh", "/srv/a")
    with pytest.raises(UnsupportedError):
        command_of("perl", "/srv/a", "/srv/a", box, b"")


def test_a_service_is_shown_read_only_and_has_a_time_limit(folder: Path) -> None:
    service = Service.load(written(folder, "hello.py"))
    path = folder / "hello.py"
    assert (service.name, service.language, service.path, service.has_runner) == (
        "hello",
        "python",
        path,
        True,
    )
    assert Bind(str(path), "/srv/hello.py") in service.jail.mounts
    assert all(isinstance(mount, Bind) and not mount.writable for mount in service.jail.mounts)
    assert service.command[-2:] == ("/srv/hello.py", "/srv/hello.py")
    assert (service.jail.limits.timeout, service.jail.limits.grace, service.deadline_ms) == (10, 1, 10_000)
    assert service.settings == Settings()


def test_the_file_beside_a_service(folder: Path) -> None:
    toml = """
memory = "64M"
timeout = "2s"
env = ["A=b"]
ro-bind = ["lib:/srv/lib"]
concurrency = 3
client-concurrency = 2
rate = "600/m"
client-rate = "3600/h"
max-body = "1K"
methods = ["GET", "POST"]
pool = 1
language = "shell"
"""
    written(folder, "a.toml", toml)
    service = Service.load(written(folder, "a.js"))
    assert service.settings == Settings(3, 2, 10.0, 1.0, 1024, ("GET", "POST"), 1)
    assert service.language == "shell" and not service.has_runner
    assert (service.jail.limits.memory, service.deadline_ms) == (64 << 20, 2000)
    assert service.jail.env == (("A", "b"),)
    assert Bind(f"{folder}/lib", "/srv/lib") in service.jail.mounts


def test_another_settings_file_and_another_language(folder: Path) -> None:
    written(folder, "a.toml", "nonsense = 1")
    other = written(folder, "other.toml", 'no-timeout = true\ngrace = "3s"')
    service = Service.load(written(folder, "a.js"), config=other, language="shell")
    assert (service.language, service.deadline_ms, service.jail.limits.grace) == ("shell", None, 3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("concurency = 1", "unknown key 'concurency'; did you mean 'concurrency'?"),
        ("concurrency = 0", "concurrency: expected a whole number from 1"),
        ("pool = true", "pool: expected a whole number"),
        ('rate = "10"', "rate: expected a text such as"),
        ('rate = "0/s"', "rate: expected a text such as"),
        ("rate = 10", "rate: expected a text such as"),
        ('max-body = "much"', "max-body: "),
        ("methods = []", "methods: expected a list"),
        ('methods = ["get"]', "methods: expected a list"),
        ('language = "cobol"', "language: 'cobol' is none of javascript, python"),
        ("language = 1", "language: expected a string"),
        ('memory = "lots"', "memory: "),
        ("pass-fd = [7]", "key 'pass-fd' is for pyjail run"),
        ('outcome = "x"', "key 'outcome' is for pyjail run"),
        ("rate =", "not valid TOML"),
    ],
)
def test_errors_of_the_file_name_file_and_key(text: str, words: str, folder: Path) -> None:
    toml = written(folder, "a.toml", text)
    with pytest.raises(SpecError) as caught:
        Service.load(written(folder, "a.js"))
    assert str(caught.value).startswith(f"{toml}: ") and words in str(caught.value)


def test_what_is_no_service(folder: Path) -> None:
    with pytest.raises(SpecError, match=r"cannot read .*: No such file"):
        Service.load(folder / "none.js")
    with pytest.raises(SpecError, match=r"a folder is a service by one file index\.js"):
        Service.load(folder)
    if os.geteuid() == 0:
        with pytest.raises(SpecError, match=r"chmod o\+r"):
            Service.load(written(folder, "secret.js", mode=0o600))


def test_code_as_text() -> None:
    service = Service.of_code(b"print 1", "perl", name="t")
    assert (service.path, service.code, service.command[-1]) == (None, b"print 1", CODE_INSIDE)
    assert not service.jail.mounts
    assert Service.of_code(b"x").command[-2:] == (CODE_INSIDE, "/srv/service.js")
    with pytest.raises(SpecError, match="none of"):
        Service.of_code(b"", "basic")


def test_nothing_that_a_settings_file_says_is_lost(folder: Path) -> None:
    settings, language, options = read_settings(str(written(folder, "x.toml", "strict = true\npids = 3")))
    assert (settings, language) == (Settings(), "")
    assert [(each.option.name, each.text) for each in options] == [("strict", ""), ("pids", "3")]
