"""What the tests with real neighbours need beside the fixtures of all tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jailed.patience import patience
from support.installation import Installation
from support.launcher import Launcher
from support.run_service import MAIN, Ran, Run, fetch
from support.users import User


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    with patience():
        yield


@pytest.fixture
def compiled(pyjail: Launcher, place: Path) -> Callable[..., Path]:
    """Makes a compiled jail of the test's user: `compiled("name.jail", "--", command…)`."""

    def compile_(name: str, *words: str) -> Path:
        r = pyjail.run("compile", "-o", place / name, *words)
        assert r.returncode == 0, r.stderr
        return place / name

    return compile_


@pytest.fixture(scope="session")
def package() -> Iterator[Path]:
    """The folder of the node module run-service. It requires a package that it does not depend on, which gets
    a stand-in: nothing here uses it."""
    with tempfile.TemporaryDirectory(prefix="pyjail-run-service-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        ready = os.environ.get("PYJAIL_RUN_SERVICE")
        if ready:
            shutil.copytree(Path(ready, "node_modules"), folder / "node_modules")
        else:
            fetch(folder)
        stand_in = folder / "node_modules/hyperquest"
        stand_in.mkdir()
        (stand_in / "index.js").write_text("module.exports = () => {};\n")
        yield folder / "node_modules/run-service"


@pytest.fixture
def theirs(package: Path) -> Run:
    """Runs the module's own command."""

    def run(*words: str, **options: Any) -> Ran:
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE} | options
        command = ["node", str(package / "bin/run-service"), *words]
        return Ran.of(subprocess.run(command, stderr=subprocess.PIPE, timeout=60, check=False, **options))

    return run


@pytest.fixture
def ours(installation: Installation, ordinary_user: User) -> Run:
    """Runs the command in its place."""
    pyjail = Launcher(installation, ordinary_user)

    def run(*words: str, **options: Any) -> Ran:
        return Ran.of(pyjail.run("-c", MAIN, *words, program=pyjail.installation.python, **options))

    return run
