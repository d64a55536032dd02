"""Plans are kept, and never used when anything that they were made from has changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from jail import Jail, plans
from jail.directives import Depends
from jail.host import Host
from jail.plan import Plan
from jail.sources import Sources

RULE = 'base = "default"\n[[rule]]\naction = "%s"\ncalls = ["getpgid"]\n'


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Jail]:
    """The jails that plans were made for from here on. Files count as old from the beginning."""
    found: list[Jail] = []
    make = plans._make

    def counted(jail: Jail) -> object:
        found.append(jail)
        return make(jail)

    monkeypatch.setattr(plans, "_kept", {})
    monkeypatch.setattr(plans, "_make", counted)
    monkeypatch.setattr(Sources, "is_old", lambda _sources, _known: True)
    return found


def test_a_plan_is_made_once_for_equal_jails(made: list[Jail]) -> None:
    first = plans.plan_text(Jail(hostname="a"))
    assert plans.plan_text(Jail(hostname="a")) is first
    assert plans.plan_text(Jail(hostname="b")) != first
    assert [jail.hostname for jail in made] == ["a", "b"]


def test_it_names_what_it_was_made_from_unless_that_was_just_looked_at(made: list[Jail]) -> None:
    text = plans.plan_text(Jail())
    (kept,) = plans._kept.values()
    assert Plan.from_bytes(text).of(Depends) == kept.facts
    plain = Plan.from_bytes(plans.unguarded(text))
    assert plain.directives == tuple(
        each for each in Plan.from_bytes(text).directives if not isinstance(each, Depends)
    )
    assert text.endswith(b"\nend\n")


def test_a_relative_path_is_another_one_elsewhere(
    made: list[Jail], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Jail(seccomp="./policy.toml")
    for name, error in (("a", "EPERM"), ("b", "ENOSPC")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "policy.toml").write_text(RULE % error)
        monkeypatch.chdir(tmp_path / name)
        plan = Plan.from_bytes(plans.likely_plan(box).text)
        assert f"{tmp_path}/{name}/./policy.toml" in {known.path for known in plan.of(Depends)}
    assert len(made) == 2


def test_another_policy_in_the_file_makes_another_plan(made: list[Jail], tmp_path: Path) -> None:
    file, link = tmp_path / "policy.toml", tmp_path / "link.toml"
    file.write_text(RULE % "EPERM")
    link.symlink_to(file)
    box = Jail(seccomp=str(link))
    first = plans.plan_text(box)
    assert plans.plan_text(box) is first
    file.write_text(RULE % "ENOSPC")
    second = plans.plan_text(box)
    assert second != first
    (tmp_path / "other.toml").write_text(RULE % "EROFS")
    link.unlink()
    link.symlink_to(tmp_path / "other.toml")
    assert plans.plan_text(box) not in (first, second)


def test_a_file_that_may_still_change_unseen_is_not_relied_on(
    made: list[Jail], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(plans, "_kept", {})
    file = tmp_path / "policy.toml"
    file.write_text(RULE % "EPERM")
    plans.plan_text(Jail(seccomp=str(file)))
    assert plans._kept == {}


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_text("longer than before"),
        lambda path: path.unlink(),
        lambda path: os.utime(path, (1, 1)),
        lambda path: (path.unlink(), path.symlink_to("/etc")),
        lambda path: (path.unlink(), path.mkdir()),
        lambda path: path.chmod(0o600),
    ],
)
def test_every_change_of_a_fact_is_seen(tmp_path: Path, change: Callable[[Path], object]) -> None:
    from jail.host import fact

    path = tmp_path / "file"
    path.write_text("text")
    known = fact(str(path))
    assert plans._is_still(known)
    change(path)
    assert not plans._is_still(known)


def test_what_comes_into_being_is_seen(tmp_path: Path) -> None:
    absent = Depends("absent", str(tmp_path / "file"))
    assert plans._is_still(absent)
    (tmp_path / "file").touch()
    assert not plans._is_still(absent)


def test_all_that_the_host_was_asked_is_held_by(made: list[Jail]) -> None:
    plans.plan_text(Jail())
    (kept,) = plans._kept.values()
    assert set(Host.probe().facts) <= set(kept.facts)
    assert {"/sys/fs/cgroup"} <= {known.path for known in kept.facts}
    assert kept.cgroups == Path("/proc/self/cgroup").read_bytes()


def test_the_number_of_kept_plans_is_bounded(made: list[Jail], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "MOST", 3)
    boxes = [Jail(hostname=f"h{number}") for number in range(5)]
    for box in boxes:
        plans.plan_text(box)
    assert len(plans._kept) == 3
    for box in boxes[2:]:
        plans.plan_text(box)
    assert len(made) == 5
