"""Fixtures of all tests: the users, a launcher for the user a test runs as, a folder of that user's own.

`PYJAIL_REQUIRE=userns,cgroup,cgroup2,seccomp,landlock,root,probes` makes skips for want of these failures.
"""

from __future__ import annotations

import fcntl
import shutil
import signal
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from support import users
from support.features import no_memory_cgroup
from support.features import require as _require
from support.installation import Installation, installed, make_program
from support.launcher import Completed, Launcher
from support.users import User


def pytest_configure() -> None:
    """A TERM ends the session as the keyboard does, so that what the fixtures made is removed. What a shell
    has a command in the background ignore, the tests' own commands are not to ignore."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, None, None]:
    """scripts/test has two workers: a test marked `alone` has the machine to itself, as far as they go."""
    with open(__file__) as turn:
        fcntl.flock(turn, fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH)
        yield


@pytest.fixture(scope="session")
def require() -> Callable[[str], None]:
    """Skip the test where the host lacks a feature; fail it where PYJAIL_REQUIRE names it."""
    return _require


@pytest.fixture(scope="session")
def installation() -> Iterator[Installation]:
    """The programs under test, where every user may read them."""
    with installed() as made:
        yield made


@pytest.fixture(scope="session")
def faulty() -> Iterator[Path]:
    """The jailer that fails, or finds the kernel older than it is, where the environment says so."""
    with tempfile.TemporaryDirectory(prefix="pyjail-faulty-") as folder:
        Path(folder).chmod(0o755)
        program = Path(folder, "jailer")
        make_program(program, variant="fault")
        yield program


@pytest.fixture(scope="session")
def root_user() -> Iterator[User]:
    _require("root")
    with users.root() as user:
        yield user


@pytest.fixture(scope="session")
def ordinary_user() -> Iterator[User]:
    _require("userns")
    with users.ordinary() as user:
        yield user


@pytest.fixture(params=["root", "ordinary"])
def as_user(request: pytest.FixtureRequest) -> User:
    """The user that the jails of this test are started by: each test runs once as root, once as an ordinary
    one."""
    user = request.getfixturevalue(f"{request.param}_user")
    assert isinstance(user, User)
    return user


@pytest.fixture
def pyjail(installation: Installation, as_user: User) -> Launcher:
    """Starts `pyjail` as the test's user."""
    return Launcher(installation, as_user)


@pytest.fixture
def cgroup_pyjail(pyjail: Launcher) -> Launcher:
    """Starts `pyjail` as a user whose jails can have a memory cgroup, if they ask for a limit."""
    _require("cgroup")
    why = no_memory_cgroup(pyjail.user.uid)
    if why:
        pytest.skip(why)
    return pyjail


@pytest.fixture
def jailed(pyjail: Launcher) -> Callable[..., Completed]:
    """Runs Python code in a default jail as the test's user: `jailed(code, *arguments, options=[…])`."""
    return pyjail.python


@pytest.fixture
def place(as_user: User) -> Iterator[Path]:
    """A folder that the test's user owns, at a path that every user may walk."""
    top = Path(tempfile.mkdtemp(prefix="pyjail-place-"))
    top.chmod(0o755)
    folder = top / "place"
    folder.mkdir()
    as_user.owns(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(top, ignore_errors=True)
