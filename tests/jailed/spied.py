"""`pyjail` with an interpreter that tells when it was started: so "no Python ran" can be read off a file."""

from __future__ import annotations

import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.launcher import Completed, Launcher

SETTLED = 2.0  # seconds: what changed less long ago may change again unseen: a plan made from it is not kept


@dataclass
class Spied:
    """A copy of the installation's `bin` with a spy for an interpreter, and a cache folder of its own.

    The spy is a shell script that adds a byte to `starts` and becomes the real interpreter.
    """

    launcher: Launcher
    program: Path
    starts: Path
    cache: Path

    def run(self, *words: str | bytes | Path, **options: Any) -> Completed:
        options.setdefault("env", {})
        options["env"] = {"XDG_CACHE_HOME": str(self.cache.parent), **options["env"]}
        with self.launcher.popen(
            *words, program=self.program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
        ) as process:
            out, err = process.communicate(timeout=60)
        return Completed(words, process.returncode, out, err, None)

    def pythons(self) -> int:
        """How many times Python was started so far."""
        return len(self.starts.read_bytes())

    def native(self, *words: str | bytes | Path, **options: Any) -> Completed:
        """A run that must not start Python."""
        before = self.pythons()
        r = self.run(*words, **options)
        assert r.returncode == 0, r.stderr
        assert self.pythons() == before, "Python was started"
        return r

    def built(self, *words: str | bytes | Path, **options: Any) -> Completed:
        """A run whose plan must be built anew."""
        before = self.pythons()
        r = self.run(*words, **options)
        assert self.pythons() == before + 1, "a cached plan was used"
        return r

    def plans(self) -> list[Path]:
        folder = self.cache / "plans"
        return sorted(folder.iterdir()) if folder.is_dir() else []

    def plan(self) -> Path:
        (only,) = self.plans()
        return only


def spy_on(launcher: Launcher, place: Path) -> Spied:
    """Set it up in `place`, a folder of the launcher's user."""
    settle(launcher.installation.packages / "seccomp" / "profiles" / "default.toml")  # just installed
    folder, cache = place / "spied", place / "cache"
    for path in (folder, cache):
        path.mkdir()
        launcher.user.owns(path)
    program = Path(shutil.copy(launcher.installation.pyjail, folder / "pyjail"))
    starts = place / "starts"
    starts.touch()
    starts.chmod(0o666)
    spy = folder / "python3"
    spy.write_text(f'#!/bin/sh\nprintf x >>{starts}\nexec {launcher.installation.python} "$@"\n')
    spy.chmod(0o755)
    (folder / "pyjail-python").write_text(f"#!{spy}\n")
    return Spied(launcher, program, starts, cache / "pyjail")


def settle(*paths: Path) -> None:
    """Wait until the last change of `paths` is long enough ago for a plan made from them to be kept."""
    end = max(path.lstat().st_ctime for path in paths) + SETTLED
    while (left := end - time.time()) > -0.05:
        time.sleep(left + 0.05)
