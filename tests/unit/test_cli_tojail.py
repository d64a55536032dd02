"""From options to a `Jail`: what each one sets, and the message where it makes no sense."""

from __future__ import annotations

from pathlib import Path

import pytest

from jail.cli.options import COMMANDS
from jail.cli.parse import parse
from jail.errors import SpecError
from jail.settings import FLAG, RUN_OPTIONS, Option, UsageError
from jail.spec import Bind, Jail, Tmpfs
from jail.tojail import make_jail, make_outcome
from rlimits import INFINITY, Limits


def jail_of(*words: str) -> Jail:
    return make_jail(parse(COMMANDS["run"], words).settings)


def outcome_of(*words: str) -> int | str | None:
    return make_outcome(parse(COMMANDS["run"], words).settings)


def test_no_options_are_the_default_policy() -> None:
    assert jail_of() == Jail()


def test_each_option_lands_in_its_field() -> None:
    assert jail_of(
        "--root",
        "/srv/tree",
        "--cwd=/w",
        "--hostname=h",
        "--net=host",
        "--seccomp=off",
        "--strict",
        "--uid=5",
        "--gid=6",
        "--pass-fd=7",
        "--pass-fd=8",
        "--allow-weaker=memory",
    ) == Jail(
        root="/srv/tree",
        cwd="/w",
        hostname="h",
        network="host",
        seccomp="off",
        strict=True,
        uid=5,
        gid=6,
        pass_fds=(7, 8),
        allow_weaker=frozenset({"memory"}),
    )


def test_limits_with_units() -> None:
    jail = jail_of(
        "--memory=256M",
        "--pids=10",
        "--cpu-time=2",
        "--timeout=1.5s",
        "--idle-timeout=2m",
        "--max-output=1K",
        "--max-stdout=2K",
        "--max-stderr=3K",
        "--rlimit=as=1G",
        "--rlimit=rttime=1.5s:1m",
        "--rlimit=as=2G:infinity",
        "--grace=100ms",
        "--nofile=64",
        "--file-size=1K",
        "--tmp-size=2M",
    )
    assert jail.limits == Limits(
        memory=256 << 20,
        pids=10,
        cpu_time=2,
        timeout=1.5,
        idle_timeout=120,
        max_output=1024,
        max_stdout=2048,
        max_stderr=3072,
        grace=0.1,
        nofile=64,
        file_size=1024,
        tmp_size=2 << 20,
        rlimits=(("as", 2 << 30, INFINITY), ("rttime", 1_500_000, 60_000_000)),
    )


def test_of_a_limit_and_its_absence_the_last_one_wins() -> None:
    assert jail_of("--memory=1G", "--no-memory").limits.memory == INFINITY
    assert jail_of("--no-memory", "--memory=1G").limits.memory == 1 << 30


def test_defaults_are_taken_away() -> None:
    jail = jail_of("--no-proc", "--no-tmp", "--no-shm", "--no-etc", "--no-landlock")
    assert jail.without == frozenset({"proc", "tmp", "shm", "etc", "landlock"})


def test_mounts_keep_their_order_and_a_colon_can_be_escaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    jail = jail_of(
        "--tmpfs",
        "/w:1M",
        "--bind",
        "data:/w/data",
        "--ro-bind",
        r"/a\:b",
        "--ro-bind-try=/x:/y",
        "--bind-try=/z",
        "--tmpfs=/v",
        "--ro-bind",
        "../q:/q",
    )
    assert jail.mounts == (
        Tmpfs("/w", 1 << 20),
        Bind(f"{tmp_path}/data", "/w/data", writable=True),
        Bind("/a:b", "/a:b"),
        Bind("/x", "/y", optional=True),
        Bind("/z", "/z", writable=True, optional=True),
        Tmpfs("/v"),
        Bind(f"{tmp_path.parent}/q", "/q"),
    )


def test_a_policy_file_is_told_from_a_profiles_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert jail_of("--seccomp=strict").seccomp == "strict"
    assert (jail_of("--audit").audit, jail_of().audit) == ("refused", "")
    assert jail_of("--seccomp=own.toml").seccomp == f"{tmp_path}/own.toml"
    assert jail_of("--seccomp=/etc/policy").seccomp == "/etc/policy"


def test_bytes_that_are_no_utf8_pass_unchanged() -> None:
    name = b"/caf\xe9".decode("utf-8", "surrogateescape")
    assert jail_of("--ro-bind", name, "--env", f"A={name}") == Jail(
        mounts=(Bind(name, name),), env=(("A", name),)
    )


def test_the_outcome_goes_to_the_last_place_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert outcome_of() is None
    assert outcome_of("--outcome", "x.json", "--outcome-fd", "5") == 5
    assert outcome_of("--outcome-fd", "5", "--outcome", "x.json") == f"{tmp_path}/x.json"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["--memory", "10X"],
            "--memory: '10X' is not a size; write bytes or a number with K, M, G or T, e.g. 256M",
        ),
        (
            ["--memory", "-1"],
            "--memory: '-1' is not a size; write bytes or a number with K, M, G or T, e.g. 256M",
        ),
        (
            ["--memory", ""],
            "--memory: '' is not a size; write bytes or a number with K, M, G or T, e.g. 256M",
        ),
        (
            ["--memory", "99999999T"],
            "--memory: '99999999T' is more than 9223372036854775807, the most that the kernel counts to",
        ),
        (["--pids", "1.5"], "--pids: '1.5' is not a whole number; write digits only, e.g. 64"),
        (
            ["--timeout", "10x"],
            "--timeout: '10x' is not a duration; write seconds or a number with ms, s, m, h or d, e.g. 1.5s",
        ),
        (
            ["--tmpfs", "/w:10X"],
            "--tmpfs: '10X' is not a size; write bytes or a number with K, M, G or T, e.g. 256M",
        ),
        (["--net", "hsot"], "--net: expected none or host, not 'hsot'; did you mean host?"),
        (
            ["--allow-weaker", "all"],
            "--allow-weaker: expected memory or pids or cpu-time or io-weight, not 'all'",
        ),
        (["--uid", "4294967295"], "--uid: expected a whole number from 0 to 4294967294, not '4294967295'"),
        (["--uid", "root"], "--uid: expected a whole number from 0 to 4294967294, not 'root'"),
        (["--pass-fd", "2"], "--pass-fd: expected a whole number from 3 to 65535, not '2'"),
        (["--env", "=x"], "--env: '=x' has no name; expected NAME[=VALUE]"),
        (["--env", ""], "--env: '' has no name; expected NAME[=VALUE]"),
        (
            ["--bind", "/a:/b:/c"],
            r"--bind: '/a:/b:/c' has 2 colons where SRC[:DST] has one; "
            r"write \: for a colon in a path",
        ),
        (["--bind", ":/b"], "--bind: the path is empty"),
        (["--bind", "/a:b"], "--bind: bind target: 'b' is not an absolute path; it must begin with a slash"),
        (
            ["--bind", "/a:/b/../c"],
            "--bind: bind target: '/b/../c' may not hold . or ..; write the path that is meant",
        ),
        (
            ["--bind", "/a:/"],
            "--bind: '/' is the root itself, see --root; name a folder in it",
        ),
        (["--tmpfs", "w"], "--tmpfs: tmpfs target: 'w' is not an absolute path; it must begin with a slash"),
        (["--root", ""], "--root: the path is empty"),
    ],
)
def test_a_wrong_value_is_named_by_its_option(words: list[str], expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        jail_of(*words)
    assert str(caught.value) == expected


def test_what_only_makes_no_sense_together_is_the_librarys_to_say() -> None:
    with pytest.raises(SpecError, match="'/x' is the target of two mounts"):
        jail_of("--bind", "/a:/x", "--tmpfs", "/x")
    with pytest.raises(SpecError, match=r"--nofile.*--rlimit nofile"):
        jail_of("--nofile", "5", "--rlimit", "nofile=6")


SAMPLES = {
    "root": "/srv",
    "tmpfs": "/w",
    "cwd": "/w",
    "net": "host",
    "seccomp": "off",
    "allow-weaker": "pids",
    "hostname": "other",
    "uid": "7",
    "gid": "7",
    "pass-fd": "9",
    "rlimit": "nofile=5",
    "io-max": "8:0:rbps=5",
    "outcome": "/o",
    "outcome-fd": "9",
}
NOT_THE_JAILS = ("config", "no-cache", "stats", "name", "notify", "listen-fds")  # read by run.py, the cache


@pytest.mark.parametrize(
    "option",
    [option for option in RUN_OPTIONS if option.name not in NOT_THE_JAILS],
    ids=lambda option: option.name,
)
def test_no_option_is_without_effect(option: Option) -> None:
    value = SAMPLES.get(option.name, "/a" if "bind" in option.name else "5")
    words = [f"--{option.name}"] + ([] if option.kind == FLAG else [value])
    assert (jail_of(*words), outcome_of(*words)) != (Jail(), None)


def test_defaults_in_the_help_are_those_of_the_library() -> None:
    jail = Jail()
    stated = {option.name: option.default for option in RUN_OPTIONS}
    assert (stated["root"], stated["hostname"], stated["net"], stated["seccomp"]) == (
        jail.root,
        jail.hostname,
        jail.network,
        jail.seccomp,
    )
    assert (stated["uid"], stated["gid"]) == (str(jail.uid), str(jail.gid))
