"""Errors of policy files name the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from seccomp import Policy, PolicyError

TOML = '''default = "EPERM"  # 1

[[rule]]  # 3
calls = ["read"]
action = "allow"

[[ rule ]]  # 7
action = "allow"
calls = [
  "socketpair",
  "{call}",  # 11
]
when = [
  [{{ arg = 0, is = {value} }}],  # 14
]
[rule.otherwise]
action = "{action}"  # 17
when = [[{{ arg = {arg}, is = 1 }}]]  # 18
{more}
'''
JSON = '''{{
  "defaultAction": "SCMP_ACT_ERRNO",
  "syscalls": [
    {{"names": ["read"], "action": "SCMP_ACT_ALLOW"}},
    {{
      "action": "{action}",
      "names": [
        "write",
        "{call}"
      ],
      "comment": "a \\"quoted\\" [word]"
      {more}
    }}
  ]
}}
'''
GOOD = {"call": "socket", "value": "1", "action": "EPERM", "arg": "1", "more": ""}


def error_of(path: Path) -> PolicyError:
    with pytest.raises(PolicyError) as caught:
        Policy.from_file(path)
    return caught.value


@pytest.mark.parametrize(("change", "line", "key"), [
    ({"call": "klose"}, 11, "rule[1].calls"),
    ({"value": '"x"'}, 14, "rule[1].when[0][0].is"),
    ({"action": "EFOO"}, 17, "rule[1].otherwise.action"),
    ({"arg": "6"}, 18, "rule[1].otherwise.when[0][0]"),
    ({"more": "[[rule]]\ncalls = ['brk']"}, 19, "rule[2].action"),
    ({"more": "[[rule]]\ncalls = ['brk']\naction = 'allow'\nwhy = 1"}, 22, "rule[2].why"),
])  # fmt: skip
def test_toml(change: dict[str, str], line: int, key: str, tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(TOML.format(**{**GOOD, **change}))
    error = error_of(path)
    assert (error.key, error.file) == (key, str(path))
    assert error.line == line
    assert str(error).startswith(f"{path}:{line}: {key}: ")


def test_toml_is_right_without_a_change(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(TOML.format(**GOOD))
    assert Policy.from_file(path).decide("socket", (5, 1)) == "EPERM"


def test_top_level_keys(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text("description = 'd'\n\ndefault = 'EFOO'\n")
    assert error_of(path).line == 3
    path.write_text("[[rule]]\ncalls = ['read']\naction = 'allow'\n")
    assert str(error_of(path)).startswith(f"{path}:1: default: is missing")


@pytest.mark.parametrize(("change", "line", "key"), [
    ({"call": "klose"}, 9, "syscalls[1].names"),
    ({"action": "SCMP_ACT_FOO"}, 6, "syscalls[1].action"),
    ({"more": ', "whatever": 1'}, 12, "syscalls[1].whatever"),
])  # fmt: skip
def test_json(change: dict[str, str], line: int, key: str, tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text(JSON.format(**{**GOOD, "action": "SCMP_ACT_ALLOW", **change}))
    error = error_of(path)
    assert (error.line, error.key) == (line, key)


def test_what_cannot_be_placed_has_no_line(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text("default = 'EPERM'\nrule = [{ calls = ['klose'], action = 'allow' }]\n")
    error = error_of(path)
    assert (error.line, str(error)[: len(str(path)) + 2]) == (0, f"{path}: ")


def test_bytes_that_are_no_text_have_a_line(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_bytes(b"default = 'EPERM'\n# \xff\n")
    assert str(error_of(path)) == f"{path}:2: not UTF-8 at byte 20"
