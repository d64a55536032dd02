"""bin/pyjail and scripts/setup: a checkout sets itself up on first use, wherever it lies, whoever calls."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.features import PROJECT
from support.users import User

_NOT_COPIED = shutil.ignore_patterns(".git", ".venv", ".vm", "build", "dist", "*.egg-info", "__pycache__",
                                     ".*_cache", "*.so", "*.bpf", "*.o", "_libseccomp.c")

pytestmark = pytest.mark.slow  # makes a .venv, which fetches what pyproject.toml names


@pytest.fixture(scope="module")
def checkout() -> Iterator[Path]:
    """A fresh checkout, not yet set up, at a path with a space that every user may walk."""
    top = Path(tempfile.mkdtemp(prefix="pyjail-fresh-"))
    top.chmod(0o755)
    try:
        shutil.copytree(PROJECT, top / "check out", ignore=_NOT_COPIED, symlinks=True)
        yield top / "check out"
    finally:
        shutil.rmtree(top, ignore_errors=True)


@pytest.fixture(scope="module")
def first_use(checkout: Path) -> list[tuple[int, bytes, bytes]]:
    """Two calls at once, by a symbolic link, from elsewhere, with input: status, stdout, stderr of both."""
    link = checkout.parent / "link"
    link.symlink_to("check out/bin/pyjail")
    calls = [subprocess.Popen([link, "--version"], cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) for _ in range(2)]
    return [(call.wait(), out, err) for call in calls for out, err in [call.communicate(b"not yours\n")]]


def test_two_first_uses_at_once_both_succeed(first_use: list[tuple[int, bytes, bytes]]) -> None:
    assert [(status, out) for status, out, _ in first_use] == [(0, first_use[0][1])] * 2, first_use
    assert first_use[0][1].startswith(b"pyjail ")


def test_only_one_of_them_builds(first_use: list[tuple[int, bytes, bytes]]) -> None:
    assert b"".join(err for _, _, err in first_use).count(b"building pyjail into .venv") == 1


@pytest.mark.usefixtures("first_use")
def test_second_use_says_nothing_and_does_nothing(checkout: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (checkout / ".venv").rglob("stamp-*")}
    done = subprocess.run([checkout / "bin/pyjail", "--version"], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert {path: path.stat().st_mtime_ns for path in (checkout / ".venv").rglob("stamp-*")} == before != {}


@pytest.mark.usefixtures("first_use")
def test_setup_leaves_stdin_alone(checkout: Path) -> None:
    """The stamp gone, the next call sets up again, and the input is still there for the program."""
    for stamp in (checkout / ".venv").glob("stamp-*"):
        stamp.unlink()
    both = f'"{checkout}/bin/pyjail" --version >/dev/null; cat'
    done = subprocess.run(["/bin/sh", "-c", both], input=b"for the program\n", capture_output=True,
                          check=False)
    assert done.stdout == b"for the program\n"
    assert b"scripts/setup: ready" in done.stderr


@pytest.mark.usefixtures("first_use")
def test_changed_source_is_compiled_again(checkout: Path) -> None:
    with open(checkout / "rlimits/units.py", "a") as file:
        file.write("\n")
    before = (checkout / ".venv/bin/pyjail").read_bytes()
    done = subprocess.run([checkout / "scripts/setup"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "the sources have changed: compiling" in done.stderr
    assert (checkout / ".venv/bin/pyjail").read_bytes() != before


@pytest.mark.usefixtures("first_use")
def test_user_who_may_not_write_can_use_it_but_not_set_it_up(checkout: Path, root_user: User,
                                                              ordinary_user: User) -> None:
    """Somebody else's checkout: ready, it runs; changed, the message tells who has to set it up."""
    assert root_user.is_root
    command = [checkout / "bin/pyjail", "--version"]
    who = {**ordinary_user.identity(), "env": ordinary_user.environment()}
    ready = subprocess.run([checkout / "scripts/setup"], capture_output=True, check=False)
    assert ready.returncode == 0, ready.stderr
    assert subprocess.run(command, capture_output=True, check=False, **who).returncode == 0

    (checkout / ".venv/stamp-native").write_text("older\n")
    done = subprocess.run(command, capture_output=True, text=True, check=False, **who)
    assert done.returncode == 125
    assert done.stderr.startswith("scripts/setup: ")
    assert "run scripts/setup as root" in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_root_missing_packages_are_one_line_with_the_command(checkout: Path, ordinary_user: User,
                                                                     root_user: User) -> None:
    """A system that lacks everything, as a stand-in for dpkg-query tells it."""
    assert root_user.is_root
    own = Path(ordinary_user.home, "own")
    shutil.copytree(checkout, own, ignore=_NOT_COPIED, symlinks=True)
    for path in [own, *own.rglob("*")]:
        ordinary_user.owns(path)
    tools = Path(ordinary_user.home, "tools")
    tools.mkdir()
    (tools / "dpkg-query").write_text("#!/bin/sh\nexit 1\n")
    (tools / "dpkg-query").chmod(0o755)
    environment = {**ordinary_user.environment(), "PATH": f"{tools}:{os.environ['PATH']}"}
    done = subprocess.run([own / "scripts/setup"], capture_output=True, text=True, check=False,
                          **{**ordinary_user.identity(), "env": environment})
    assert done.returncode == 1
    line = "scripts/setup: packages are missing; as root: apt-get install --no-install-recommends gcc "
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1
    assert not (own / ".venv").exists()
