"""`Jail`, `Bind` and `Tmpfs` refuse what makes no sense, by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from jail import INFINITY, Bind, Jail, Limits, SpecError, Tmpfs


def refused(field: str, words: str, **values: object) -> None:
    with pytest.raises(SpecError, match=words) as caught:
        Jail(**values)  # type: ignore[arg-type]
    assert caught.value.field == field
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("/", "is the root itself"),
        ("//", "is the root itself"),
        ("relative", "not an absolute path"),
        ("", "not an absolute path"),
        ("/a/../b", r"may not hold \. or \.\."),
        ("/a/./b", r"may not hold \. or \.\."),
        ("/..", r"may not hold \. or \.\."),
        ("/a\0b", "NUL"),
        (b"/a", "expected text"),
        ("/\ud800", "encoding"),
    ],
)
def test_targets(target: str, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        Bind("/src", target)
    with pytest.raises(SpecError, match=words):
        Tmpfs(target)


def test_sources_are_absolute() -> None:
    with pytest.raises(SpecError, match="not an absolute path") as caught:
        Bind("src", "/dst")
    assert caught.value.field == "bind source"


def test_a_tmpfs_has_a_size_or_the_default_one() -> None:
    assert Tmpfs("/a").size is None
    with pytest.raises(SpecError, match="out of range"):
        Tmpfs("/a", 0)


@pytest.mark.parametrize("second", ["/a/b", "/a/b/", "//a//b"])
def test_a_target_is_used_once(second: str) -> None:
    refused("mounts", "target of two mounts", mounts=(Tmpfs("/a/b"), Bind("/src", second)))


def test_proc_is_not_covered() -> None:
    refused("mounts", "cover the jail's own /proc", mounts=(Bind("/src", "/proc/self"),))


def test_stderr_is_nothing_apart_at_a_terminal() -> None:
    refused("limits.max_stderr", "no stream of its own", limits=Limits(max_stderr=1), pty=True)
    Jail(limits=Limits(max_stderr=INFINITY, max_stdout=1), pty=True)


@pytest.mark.parametrize("target", ["/dev", "/dev/", "/dev/pts", "//dev//pts/0", "/dev/ptmx", "/dev/tty"])
def test_a_terminal_is_not_covered(target: str) -> None:
    refused("mounts", "cover the jail's own terminal", mounts=(Tmpfs(target),), pty=True)
    Jail(mounts=(Tmpfs(target),))
    Jail(mounts=(Tmpfs("/dev/ttyS0"), Tmpfs("/data/dev/pts")), pty=True)
    Jail(mounts=(Bind("/src", "/proc"),), without=frozenset({"proc"}))


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ((("", "v"),), "not a variable's name"),
        ((("A=B", "v"),), "not a variable's name"),
        ((("A\0", "v"),), "NUL"),
        ((("A", "v\0"),), "NUL"),
        ((("A",),), "expected .name, value."),
        ({"A": "v"}, "expected a tuple"),
    ],
)
def test_variables(env: object, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        Jail(env=env)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "a" * 65, "a b", "-a", ".a", "ü", "a/b", "a\0"])
def test_wrong_hostnames(name: str) -> None:
    refused("hostname", ".", hostname=name)


@pytest.mark.parametrize("name", ["a", "a" * 64, "web-1.example.org", "my_host"])
def test_hostnames(name: str) -> None:
    assert Jail(hostname=name).hostname == name


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("network", "bridge", "expected none or host"),
        ("uid", -1, "whole number from 0 to 4294967294"),
        ("gid", 2**32 - 1, "whole number from 0 to 4294967294"),
        ("uid", True, "whole number"),
        ("allow_weaker", frozenset({"memroy"}), "expected memory, pids, cpu-time or io-weight, got 'memroy'"),
        ("allow_weaker", {"memory"}, "expected a frozenset"),
        ("without", frozenset({"net"}), "expected proc, tmp, shm, etc or landlock"),
        ("pass_fds", (2,), "whole number from 3"),
        ("pass_fds", (3, 3), "stands twice"),
        ("pass_fds", [3], "expected a tuple"),
        ("cwd", "here", "not an absolute path"),
        ("root", "/", "would show all of the host's files"),
        ("root", "rootfs", "not an absolute path"),
        ("seccomp", "", "the name is empty"),
        ("audit", "some", "expected refused or all"),
        ("limits", {"memory": 1}, "expected Limits"),
        ("mounts", ("/a",), "expected Bind or Tmpfs"),
        ("mounts", [Tmpfs("/a")], "expected a tuple"),
    ],
)
def test_other_fields(field: str, value: object, words: str) -> None:
    refused(field, words, **{field: value})


def test_there_is_no_audit_without_a_policy() -> None:
    refused("audit", "there is nothing to tell", audit="refused", seccomp="off")
    assert Jail(audit="all").audit == "all"


def test_bytes_that_are_no_text_pass_through() -> None:
    name = b"/\xff\xfe".decode("utf-8", "surrogateescape")
    assert Jail(mounts=(Bind(name, name),), env=(("A", name),)).mounts[0].target == name


def test_variations_are_made_by_replace() -> None:
    box = Jail(uid=5)
    assert dataclasses.replace(box, limits=Limits(pids=3)).limits.pids == 3
    assert box.limits.pids is None
    with pytest.raises(SpecError):
        dataclasses.replace(box, hostname="")


def test_variations_by_method() -> None:
    box = (
        Jail.default()
        .with_bind("/a")
        .with_bind("/b", "/c", writable=True, optional=True)
        .with_tmpfs("/d", "1M")
        .with_tmpfs("/e")
        .with_env(A="1", B=None)
        .with_env(A="2")
        .with_limits(memory="64M", pids=3)
        .with_limits(timeout="1.5s", rlimits=["locks=5"])
        .with_limits(cpuset="0-1")
    )
    assert box == Jail(
        mounts=(Bind("/a", "/a"), Bind("/b", "/c", True, True), Tmpfs("/d", 1 << 20), Tmpfs("/e")),
        env=(("B", None), ("A", "2")),
        limits=Limits(
            memory=64 << 20, pids=3, timeout=1.5, cpuset="0-1", rlimits=(("locks", 5, 5),)
        ),
    )
    assert box.with_limits(memory=None, cpuset=None, rlimits=()).limits == Limits(pids=3, timeout=1.5)
    assert Jail.default() == Jail()


def test_relative_sources_are_taken_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Jail().with_bind(Path("x"), "/x").mounts == (Bind(f"{tmp_path}/x", "/x"),)


@pytest.mark.parametrize(
    ("act", "field"),
    [
        (lambda: Jail().with_bind("/a").with_bind("/b", "/a"), "mounts"),
        (lambda: Jail().with_bind("/a", "b"), "bind target"),
        (lambda: Jail().with_tmpfs("/a", "big"), "limits.tmp_size"),
        (lambda: Jail().with_limits(memory="much"), "limits.memory"),
        (lambda: Jail().with_env(**{"A=B": "c"}), "env"),
    ],
)
def test_variations_that_make_no_sense(act: Callable[[], Jail], field: str) -> None:
    with pytest.raises(SpecError) as caught:
        act()
    assert caught.value.field == field


def test_a_jail_from_a_configuration_file(tmp_path: Path) -> None:
    file = tmp_path / "jail.toml"
    file.write_text('memory = "64M"\nro-bind = ["data:/data"]\nenv = ["A=b"]\nno-shm = true\n')
    assert Jail.from_toml(file) == Jail(
        mounts=(Bind(f"{tmp_path}/data", "/data"),),
        env=(("A", "b"),),
        limits=Limits(memory=64 << 20),
        without=frozenset({"shm"}),
    )
    for text, words in (
        ("memroy = 1\n", "unknown key 'memroy'; did you mean 'memory'"),
        ('outcome = "x"\n', "outcome: is for the command"),
        ('memory = "much"\n', "memory: 'much' is not a size"),
        ("memory =\n", "not valid TOML"),
    ):
        file.write_text(text)
        with pytest.raises(SpecError, match=words):
            Jail.from_toml(str(file))
    with pytest.raises(SpecError, match="cannot read"):
        Jail.from_toml(tmp_path / "absent")
