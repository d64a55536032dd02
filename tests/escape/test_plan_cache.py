"""The plan cache as a way in: who can place or change a cached plan decides what runs. So a plan is used only
from a folder that is the user's own and nobody else's, and only while all that it was made from is
unchanged."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from jailed.spied import settle
from support.launcher import Launcher

RUN = ("run", "--hostname", "cached", "--", "/bin/hostname")
FORGED_NAME = b"forged"


@pytest.fixture
def cache(pyjail: Launcher, place: Path) -> Path:
    """A fresh cache folder; the environment of every run here names it."""
    return place / "cache"


@pytest.fixture
def run(pyjail: Launcher, cache: Path) -> Callable[..., bytes]:
    def run(*words: str, **options: object) -> bytes:
        result = pyjail.run(*(words or RUN), env={"XDG_CACHE_HOME": str(cache)}, **options)  # type: ignore[arg-type]
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    return run


@pytest.fixture
def plan(pyjail: Launcher, run: Callable[..., bytes], cache: Path) -> Path:
    """The one stored plan. What outcome descriptor the launcher asks for is part of the key, and the same
    each time."""
    settle(pyjail.installation.packages / "seccomp" / "profiles" / "default.toml")  # just installed
    assert run() == b"cached"
    plans = list((cache / "pyjail" / "plans").iterdir())
    assert len(plans) == 1
    return plans[0]


def forge(pyjail: Launcher, plan: Path) -> None:
    """Change the plan in place, its owner and mode kept."""
    facts = plan.stat()
    text = plan.read_bytes()
    assert b"\nhostname cached\n" in text
    plan.write_bytes(text.replace(b"\nhostname cached\n", b"\nhostname forged\n"))
    os.chown(plan, facts.st_uid, facts.st_gid)


def test_the_stored_plan_is_what_runs(pyjail: Launcher, run: Callable[..., bytes], plan: Path) -> None:
    """The check of all below: a plan that the user himself changed is obeyed, so a refused one was really
    refused."""
    forge(pyjail, plan)
    assert run() == FORGED_NAME


def test_folders_and_file_are_private(plan: Path, pyjail: Launcher) -> None:
    for path in (plan, plan.parent, plan.parent.parent):
        assert path.stat().st_mode & 0o077 == 0
        assert path.stat().st_uid == pyjail.user.uid


SPOIL: dict[str, Callable[[Path], None]] = {
    "outer-writable": lambda plan: plan.parent.parent.chmod(0o777),
    "outer-group-readable": lambda plan: plan.parent.parent.chmod(0o750),
    "plans-writable": lambda plan: plan.parent.chmod(0o770),
    "file-writable": lambda plan: plan.chmod(0o620),
    "file-other-writable": lambda plan: plan.chmod(0o602),
    "hard-linked": lambda plan: os.link(plan, plan.parent.parent / "other"),
    "symlinked-file": lambda plan: (plan.rename(plan.parent.parent / "real"), plan.symlink_to("../real"))[1],
    "symlinked-plans": lambda plan: (
        plan.parent.rename(plan.parent.parent / "real"),
        plan.parent.symlink_to("real"),
    )[1],
    "symlinked-outer": lambda plan: (
        plan.parent.parent.rename(plan.parent.parent.parent / "real"),
        plan.parent.parent.symlink_to("real"),
    )[1],
}


@pytest.mark.parametrize("spoil", SPOIL.values(), ids=SPOIL)
def test_a_plan_that_others_could_have_placed_is_not_used(
    pyjail: Launcher, run: Callable[..., bytes], plan: Path, spoil: Callable[[Path], None]
) -> None:
    forge(pyjail, plan)
    spoil(plan)
    assert run() == b"cached"


@pytest.mark.parametrize("levels", [0, 1, 2], ids=["file", "plans", "outer"])
def test_a_plan_of_another_owner_is_not_used(
    pyjail: Launcher, run: Callable[..., bytes], plan: Path, levels: int, require: Callable[[str], None]
) -> None:
    require("root")
    forge(pyjail, plan)
    path = [plan, plan.parent, plan.parent.parent][levels]
    os.chown(path, 65534, 65534)
    path.chmod(path.stat().st_mode | 0o055)  # or the ordinary user could not even look
    if levels == 0:
        plan.chmod(0o644)
    else:
        path.chmod(0o755)
    assert run() == b"cached"


DAMAGED = {
    "empty": b"",
    "no key": b"jailer 1\n",
    "nulls": b"\0" * 4096,
    "another key": b"jailer 1\nkey x\n",
    "another version": b"jailer 2\n",
    "one long line": b"jailer 1\n" + b"x" * 100000,
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_plan_is_a_miss(run: Callable[..., bytes], plan: Path, damage: str) -> None:
    plan.write_bytes(DAMAGED[damage])
    assert run() == b"cached"


def test_a_plan_cut_at_any_line_is_a_miss_or_the_whole(
    pyjail: Launcher, run: Callable[..., bytes], plan: Path
) -> None:
    """Were a cut plan obeyed, the jail would lack what stood in the lost lines."""
    lines = plan.read_bytes().splitlines(keepends=True)
    for keep in (1, 2, len(lines) // 4, len(lines) // 2, len(lines) - 1):
        plan.write_bytes(b"".join(lines[:keep]))
        assert run() == b"cached"
        seccomp = pyjail.run(
            "run",
            "--hostname",
            "cached",
            "--",
            "/bin/grep",
            "Seccomp:",
            "/proc/self/status",
            env={"XDG_CACHE_HOME": str(plan.parent.parent.parent)},
        ).stdout
        assert seccomp.split() == [b"Seccomp:", b"2"], f"kept {keep} of {len(lines)} lines"


def test_a_fifo_in_its_place_does_not_hang(run: Callable[..., bytes], plan: Path, pyjail: Launcher) -> None:
    plan.unlink()
    os.mkfifo(plan)
    pyjail.user.owns(plan)
    assert run() == b"cached"


def test_a_plan_of_another_key_under_this_name_is_a_miss(
    pyjail: Launcher, run: Callable[..., bytes], plan: Path
) -> None:
    """A hash collision, or a file moved by hand: the key in the file decides."""
    assert run("run", "--hostname", "other", "--", "/bin/hostname") == b"other"
    other = next(path for path in plan.parent.iterdir() if path != plan)
    shutil.copyfile(other, plan)
    assert run() == b"cached"


def test_another_folder_is_another_plan(pyjail: Launcher, run: Callable[..., bytes], place: Path) -> None:
    """A relative source means what it means here and now."""
    for name in ("one", "two"):
        (place / name / "data").mkdir(parents=True)
        (place / name / "data" / "which").write_text(name)
    words = ("run", "--ro-bind", "data:/data", "--", "/bin/cat", "/data/which")
    for _ in range(2):
        for name in ("one", "two"):
            assert run(*words, cwd=place / name) == name.encode()


def test_a_source_that_was_replaced_is_the_new_one(run: Callable[..., bytes], place: Path) -> None:
    words = ("run", "--ro-bind", f"{place}/data:/data", "--", "/bin/cat", "/data")
    for content in ("one", "two", "three"):
        (place / "new").write_text(content)
        (place / "new").rename(place / "data")
        assert run(*words) == content.encode()
    (place / "data").unlink()
    (place / "data").mkdir()
    (place / "data" / "which").write_text("folder")
    assert run(*words[:-2], "/bin/cat", "/data/which") == b"folder"


def test_an_edited_configuration_is_read_again(run: Callable[..., bytes], place: Path) -> None:
    config = place / "jail.toml"
    old = 1_000_000_000
    for name in ("one", "two", "six"):  # all of one size, all of one time stamp
        config.write_text(f'hostname = "{name}"\n')
        os.utime(config, (old, old))
        for _ in range(2):
            assert run("run", "--config", str(config), "--", "/bin/hostname") == name.encode()
    other = place / "other.toml"
    other.write_text('hostname = "four"\n')
    other.rename(config)
    assert run("run", "--config", str(config), "--", "/bin/hostname") == b"four"


def test_a_configuration_behind_a_link_that_moved_is_read_again(
    run: Callable[..., bytes], place: Path
) -> None:
    for name in ("one", "two"):
        (place / name).write_text(f'hostname = "{name}"\n')
    link = place / "jail.toml"
    for name in ("one", "two", "one"):
        link.unlink(missing_ok=True)
        link.symlink_to(name)
        for _ in range(2):
            assert run("run", "--config", str(link), "--", "/bin/hostname") == name.encode()


@pytest.mark.parametrize(
    "words",
    [
        ("--hostname", "--", "--", "/bin/hostname"),
        ("--hostname", "x", "/bin/echo", "--", "y"),
        ("--hostname=--", "--", "/bin/hostname"),
    ],
)
def test_dashes_in_odd_places_do_not_confuse_the_cache(
    pyjail: Launcher, cache: Path, words: tuple[str, ...]
) -> None:
    """The front takes what follows the first `--` for the command, the parser may not: then nothing may be
    stored."""
    results = [pyjail.run("run", *words, env={"XDG_CACHE_HOME": str(cache)}) for _ in range(3)]
    assert len({(result.returncode, result.stdout) for result in results}) == 1, results


def test_no_cache_neither_reads_nor_stores(pyjail: Launcher, run: Callable[..., bytes], plan: Path) -> None:
    forge(pyjail, plan)
    assert run("run", "--no-cache", "--hostname", "cached", "--", "/bin/hostname") == b"cached"
    assert len(list(plan.parent.iterdir())) == 1
