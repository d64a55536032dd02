"""docs/seccomp.md says what there is, and its examples work."""

from __future__ import annotations

import re
from pathlib import Path

import seccomp
from seccomp import Policy
from seccomp._groups import GROUPS

TEXT = (Path(seccomp.__file__).parent.parent / "docs" / "seccomp.md").read_text()


def block(kind: str) -> str:
    found = re.search(rf"```{kind}\n(.*?)```", TEXT, re.DOTALL)
    assert found
    return found[1]


def test_every_profile_and_group_is_listed() -> None:
    for profile in seccomp.profiles():
        assert f"| `{profile}` |" in TEXT
    for name, (about, members) in GROUPS.items():
        assert f"| `{name}` | {about} | {' '.join(members.split())} |\n" in TEXT


def test_the_policy_file_is_one() -> None:
    policy = Policy.from_toml(block("toml"))
    assert [policy.decide("socket", args) for args in ((1, 1), (2, 1))] == ["allow", "EPERM"]
    assert (policy.decide("connect"), policy.decide("read")) == ("EPERM", "allow")


def test_the_python_runs() -> None:
    exec(compile(block("python"), "docs/seccomp.md", "exec"), {})
