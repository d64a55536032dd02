"""What only the tests of real jails need."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from jailed.patience import patience
from jailed.spied import Spied, spy_on
from support.installation import Installation
from support.launcher import Launcher
from support.scripts import Scripts
from support.services import Services
from support.users import User

from jail.landlock import TRUNCATE_ABI, abi

PACKAGES = ("anyio", "trio", "sniffio", "idna", "outcome", "attr", "attrs", "sortedcontainers")


@pytest.fixture
def root_pyjail(installation: Installation, root_user: User) -> Launcher:
    """For what only root may do on the host."""
    return Launcher(installation, root_user)


@pytest.fixture
def ordinary_pyjail(installation: Installation, ordinary_user: User) -> Launcher:
    """For what only a user without privileges meets."""
    return Launcher(installation, ordinary_user)


@pytest.fixture
def place_of_root(root_user: User) -> Iterator[Path]:
    """A folder that root owns and everybody may enter."""
    with tempfile.TemporaryDirectory(prefix="pyjail-root-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture
def spied(pyjail: Launcher, place: Path) -> Spied:
    """`pyjail` whose every start of Python is seen."""
    return spy_on(pyjail, place)


@pytest.fixture
def scripts(pyjail: Launcher) -> Scripts:
    """Python programs that use the library as the test's user."""
    return Scripts(pyjail)


@pytest.fixture
def with_landlock(require: Callable[[str], None]) -> None:
    """Of an ABI that `jail.confine` takes."""
    require("landlock")
    if abi() < TRUNCATE_ABI:
        pytest.skip(f"Landlock's ABI {abi()} cannot hold truncation, and is refused: see tests/unit")


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    with patience():
        yield


@pytest.fixture
def services(pyjail: Launcher, place: Path) -> Services:
    """Services that the test's user writes and runs."""
    return Services(pyjail, place)


@pytest.fixture
def ordinary_services(ordinary_pyjail: Launcher) -> Iterator[Services]:
    """For what is the same whoever runs them: what services and runners do inside."""
    with tempfile.TemporaryDirectory(prefix="pyjail-services-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield Services(ordinary_pyjail, folder)


@pytest.fixture(scope="session")
def packages() -> Iterator[Path]:
    """What the installation under test lacks, where every user may read it."""
    with tempfile.TemporaryDirectory(prefix="pyjail-packages-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for package in PACKAGES:
            spec = find_spec(package)
            assert spec is not None, f"{package} is missing: scripts/setup --test"
            for place in spec.submodule_search_locations or ():
                shutil.copytree(place, folder / package, ignore=shutil.ignore_patterns("tests", "_tests"))
        spec = find_spec("typing_extensions")
        if spec is not None and spec.origin is not None:
            shutil.copy(spec.origin, folder)
        yield folder
