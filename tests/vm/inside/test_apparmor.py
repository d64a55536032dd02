"""Ubuntu's AppArmor lets an ordinary user make a user namespace in which nothing is allowed: the remedies
that are told do work. They concern the whole machine, so it is one of the test's own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import users
from support.installation import Installation
from support.launcher import Launcher

SYSCTL = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
PROFILES = """
abi <abi/4.0>,
profile pyjail-test-front {pyjail} flags=(unconfined) {{
  userns,
}}
profile pyjail-test-jailer {jailer} flags=(unconfined) {{
  userns,
}}
"""


@pytest.fixture(autouse=True)
def restricted() -> Iterator[None]:
    # As at every start of Ubuntu: what is not allowed one gets a namespace in which it may do nothing.
    subprocess.run(["apparmor_parser", "--replace", "/etc/apparmor.d/unprivileged_userns"], check=True)
    before = SYSCTL.read_text()
    SYSCTL.write_text("1")
    yield
    SYSCTL.write_text(before)


@pytest.fixture
def ordinary(installation: Installation) -> Iterator[Launcher]:
    with users.ordinary() as user:
        yield Launcher(installation, user)


def test_it_is_refused_and_the_remedy_told(ordinary: Launcher) -> None:
    r = ordinary.run("run", "--", "/bin/echo", "ran")
    assert (r.returncode, r.stdout) == (125, b"")
    assert b"AppArmor restricts user namespaces here" in r.stderr
    assert b"kernel.apparmor_restrict_unprivileged_userns=0" in r.stderr


def test_check_tells_it_too(ordinary: Launcher) -> None:
    r = ordinary.run("check")
    assert r.returncode == 1
    assert b"AppArmor restricts them" in r.stdout


def test_the_sysctl_helps(ordinary: Launcher) -> None:
    SYSCTL.write_text("0")
    r = ordinary.run("run", "--", "/bin/echo", "ran")
    assert (r.returncode, r.stdout) == (0, b"ran\n"), r.stderr


def test_a_profile_helps(ordinary: Launcher, tmp_path: Path) -> None:
    made = ordinary.installation
    profiles = tmp_path / "pyjail"
    profiles.write_text(PROFILES.format(pyjail=made.pyjail, jailer=made.jailer))
    subprocess.run(["apparmor_parser", "--add", "--skip-cache", profiles], check=True)
    try:
        for cache in ("--no-cache", "--hostname=kept", "--hostname=kept"):
            r = ordinary.run("run", cache, "--", "/bin/echo", "ran")
            assert (r.returncode, r.stdout) == (0, b"ran\n"), r.stderr
    finally:
        subprocess.run(["apparmor_parser", "--remove", profiles], check=True)


def test_root_needs_none(installation: Installation) -> None:
    with users.root() as user:
        r = Launcher(installation, user).run("run", "--", "/bin/echo", "ran")
    assert (r.returncode, r.stdout) == (0, b"ran\n"), r.stderr
