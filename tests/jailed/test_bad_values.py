"""Values of options and configuration files that make no sense: refused, with a message that names them."""

from __future__ import annotations

import pytest
from jailed.refusal import refused


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("--memory", "10X"),
        ("--memory", ""),
        ("--memory", "-1"),
        ("--memory", "1e3"),
        ("--memory", "99999999999999999999G"),
        ("--memory", "M"),
        ("--memory", "0"),
        ("--pids", "1.5"),
        ("--pids", "-3"),
        ("--pids", "0"),
        ("--pids", "99999999999999999999"),
        ("--timeout", "5 parsecs"),
        ("--timeout", "-1"),
        ("--timeout", "nan"),
        ("--timeout", "inf"),
        ("--timeout", "0"),
        ("--nofile", "x"),
        ("--nofile", "99999999999999999999"),
        ("--cpu-time", "-1s"),
        ("--file-size", "1Q"),
        ("--tmp-size", "1Z"),
        ("--uid", "x"),
        ("--uid", "-1"),
        ("--uid", "4294967295"),
        ("--uid", "0x10"),
        ("--gid", "99999999999"),
        ("--pass-fd", "2"),
        ("--pass-fd", "x"),
        ("--outcome-fd", "-1"),
        ("--outcome-fd", "99999999999"),
        ("--net", "wifi"),
        ("--hostname", "a b"),
        ("--hostname", ""),
        ("--cwd", "relative"),
        ("--cwd", ""),
        ("--env", "=x"),
        ("--env", ""),
        ("--allow-weaker", "everything"),
        ("--seccomp", "no-such-profile"),
        ("--seccomp", "/no/such/policy.toml"),
        ("--root", "/no/such/root"),
        ("--root", "/etc/passwd"),
        ("--tmpfs", "relative"),
        ("--tmpfs", "/x:10X"),
        ("--config", "/no/such.toml"),
        ("--bind", ""),
        ("--ro-bind", ":/x"),
    ],
)
def test_values_that_make_no_sense(pyjail, option, text):
    refused(pyjail.run("run", f"{option}={text}", "--", "/bin/echo", "ran"), option.lstrip("-"))


def test_a_value_is_missing(pyjail):
    refused(pyjail.run("run", "--memory"), "--memory")
    refused(pyjail.run("run", "--memory", "--", "/bin/echo", "ran"), "--memory")


def test_the_unit_typo_names_what_would_be_right(pyjail):
    text = refused(pyjail.run("run", "--memory", "10X", "--", "/bin/true"), "10X")
    assert "M" in text.replace("10X", "")


# Configuration files


@pytest.mark.parametrize(
    ("toml", "names"),
    [
        (b'memory = "64M"\npids = = 3\n', ("2",)),
        (b'memory = "10X"\n', ("memory", "10X")),
        (b'memroy = "64M"\n', ("memroy",)),
        (b'pids = "many"\n', ("pids",)),
        (b"pids = true\n", ("pids",)),
        (b"bind = 3\n", ("bind",)),
        (b"memory = [1]\n", ("memory",)),
        (b"\xff\xfe", ()),
        (b"[memory]\nx = 1\n", ("memory",)),
        (b"timeout = -1\n", ("timeout",)),
    ],
)
def test_invalid_configuration(pyjail, place, toml, names):
    file = place / "jail.toml"
    file.write_bytes(toml)
    refused(pyjail.run("run", "--config", file, "--", "/bin/echo", "ran"), str(file), *names)


def test_unreadable_configuration(ordinary_pyjail, place_of_root):
    file = place_of_root / "jail.toml"
    file.write_text("")
    file.chmod(0o600)
    refused(ordinary_pyjail.run("run", "--config", file, "--", "/bin/echo", "ran"), str(file), "ermission")


def test_configuration_is_a_folder(pyjail, place):
    refused(pyjail.run("run", "--config", place, "--", "/bin/echo", "ran"), str(place))
