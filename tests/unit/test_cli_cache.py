"""The writing side of the plan cache: which folders are trusted, what is stored, what is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jail.cli import cache
from jail.cli.cache import UntrustedError
from jail.directives import Depends, Ids, Key, Mount, Network
from jail.host import Host
from jail.plan import Plan
from jail.sources import Sources
from rlimits.cgroup import Controller

PLAN = Plan((Ids(1000, 1000), Network(True), Mount("tmpfs", "/")))
ALWAYS = -1 << 62  # nanoseconds: every file is old enough
HEX = "0123456789abcdef"


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return f"{tmp_path}/made/pyjail"


def stored(folder: str, sources: Sources | None = None) -> bool:
    return cache.store(folder, HEX, "1\\0402", PLAN, sources or Sources())


def test_a_stored_plan_is_the_plan_with_its_key_and_facts(folder: str) -> None:
    assert stored(folder)
    plan = Plan.from_bytes(Path(folder, "plans", HEX).read_bytes())
    assert plan.of(Key) == (Key("1 2"),)
    assert tuple(each for each in plan.directives if not isinstance(each, (Key, Depends))) == PLAN.directives
    modules = {known.path for known in plan.of(Depends)}
    assert {
        cache.__file__,
        os.path.abspath(os.path.join(os.path.dirname(cache.__file__), "../plan.py")),
    } <= modules


def test_folders_and_files_are_the_users_alone_whatever_the_umask(folder: str) -> None:
    before = os.umask(0)
    try:
        assert stored(folder)
    finally:
        os.umask(before)
    for path, mode in ((folder, 0o700), (f"{folder}/plans", 0o700), (f"{folder}/plans/{HEX}", 0o600)):
        assert os.lstat(path).st_mode & 0o7777 == mode
    assert os.listdir(f"{folder}/plans") == [HEX]


@pytest.mark.parametrize("name", ["", "/plans"])
@pytest.mark.parametrize("mode", [0o701, 0o710, 0o770, 0o777, 0o704])
def test_a_folder_open_to_others_is_not_used(folder: str, name: str, mode: int) -> None:
    assert stored(folder)
    os.chmod(folder + name, mode)
    os.unlink(f"{folder}/plans/{HEX}")
    assert not stored(folder)
    assert os.listdir(f"{folder}/plans") == []
    assert (
        cache.state(folder)
        == f"{folder}{name} is open to other users (mode {mode:04o}); chmod 700 {folder}{name}"
    )


@pytest.mark.parametrize("name", ["", "/plans"])
def test_a_symbolic_link_is_not_followed(folder: str, name: str) -> None:
    assert stored(folder)
    os.rename(folder + name, folder + "-moved")
    os.symlink(folder + "-moved", folder + name)
    assert not stored(folder)
    assert cache.state(folder) == f"{folder}{name} is a symbolic link or no folder; remove it"


def test_a_file_in_the_folders_place_is_not_used(folder: str) -> None:
    os.makedirs(os.path.dirname(folder))
    Path(folder).write_text("")
    assert not stored(folder)
    assert cache.state(folder) == f"{folder} is a symbolic link or no folder; remove it"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a folder away")
@pytest.mark.parametrize("name", ["", "/plans"])
def test_another_users_folder_is_not_used(folder: str, name: str) -> None:
    assert stored(folder)
    os.chown(folder + name, 12345, -1)
    assert not stored(folder)
    assert cache.state(folder) == (
        f"{folder}{name} belongs to user 12345, not to 0; set XDG_CACHE_HOME to a folder of your own"
    )


def test_without_a_home_there_is_no_cache() -> None:
    assert not stored("")
    assert cache.state("") == "neither XDG_CACHE_HOME nor HOME is an absolute path"


def test_a_home_that_does_not_exist_is_not_made(tmp_path: Path) -> None:
    assert not stored(f"{tmp_path}/home/.cache/pyjail")
    assert os.listdir(tmp_path) == []


def test_where_the_folder_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/c")
    assert cache.folder() == "/var/c/pyjail"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache.folder() == "/home/me/.cache/pyjail"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "")
    assert cache.folder() == ""


def test_a_file_that_has_just_changed_is_not_cached_for(folder: str, tmp_path: Path) -> None:
    # Its next change could come within one tick of the file system's clock, and would not show.
    config = tmp_path / "c.toml"
    config.write_text("")
    sources = Sources()
    sources.add(str(config))
    assert not sources.settled
    assert not stored(folder, sources)


def test_an_old_file_is_noted_as_it_was_before_it_was_read(folder: str, tmp_path: Path) -> None:
    config, link = tmp_path / "c.toml", tmp_path / "link"
    config.write_text("")
    link.symlink_to("c.toml")
    sources = Sources(settle=ALWAYS)
    sources.add(str(link))
    assert sources.settled
    facts = os.lstat(config)
    assert sources.facts[0].kind == "symlink"
    assert sources.facts[1] == Depends(
        "file", str(config), facts.st_dev, facts.st_ino, 0, facts.st_mtime_ns, facts.st_ctime_ns
    )
    assert stored(folder, sources)


def test_what_is_no_file_cannot_be_checked_later(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("fifo", "loop", "absent", "."):
        sources = Sources(settle=ALWAYS)
        sources.add(str(tmp_path / name))
        assert not sources.settled, name


def test_a_cgroup_that_is_not_ours_counts_with_its_last_chown(tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    ours.mkdir()
    sources = Sources()
    sources.add_cgroups(
        Host(
            (6, 1),
            "x86_64",
            1000,
            1000,
            controllers=(
                Controller(1, "memory", "/sys", "/", str(theirs), False),
                Controller(1, "pids", "/sys", "/", str(ours), True),
            ),
        )
    )
    known = {fact.path: fact for fact in sources.facts}
    assert known[str(theirs)].ctime == os.lstat(theirs).st_ctime_ns
    assert known[str(ours)].ctime is None
    assert "/sys/fs/cgroup" in known
    assert sources.settled
    sources.add_cgroup(str(tmp_path / "gone"), ours=True)
    assert not sources.settled


def test_more_facts_than_the_front_reads_are_not_stored(folder: str) -> None:
    sources = Sources()
    sources.facts = [Depends("absent", f"/{number}") for number in range(cache.MAX_DEPENDS)]
    assert not stored(folder, sources)


def test_the_oldest_plans_make_room(folder: str) -> None:
    assert stored(folder)
    plans = os.open(f"{folder}/plans", os.O_RDONLY)
    try:
        for number in range(5):
            Path(folder, "plans", str(number)).write_text("")
            os.utime(f"{folder}/plans/{number}", (number, number))
        cache.drop_oldest(plans, 3)
    finally:
        os.close(plans)
    assert sorted(os.listdir(f"{folder}/plans")) == [HEX, "3", "4"]


def test_clearing(folder: str) -> None:
    assert cache.clear(folder) == 0
    assert stored(folder)
    assert cache.clear(folder) == 1
    assert os.listdir(f"{folder}/plans") == []
    os.chmod(folder, 0o755)
    with pytest.raises(UntrustedError):
        cache.clear(folder)
