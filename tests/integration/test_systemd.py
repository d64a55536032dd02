"""Compiled jails as units of systemd, the machine's own and that of a user's session."""

from __future__ import annotations

import configparser
import itertools
import os
import subprocess
from pathlib import Path

import pytest
from support.features import PROJECT
from support.launcher import Launcher
from support.processes import alive_after, descendants, hold

RUNNING = Path("/run/systemd/system")
SH = ("/bin/sh", "-c")
NUMBERS = itertools.count()


class Systemd:
    """The systemd that serves a user: root's is the machine's own, an ordinary user's that of the session."""

    def __init__(self, pyjail, place: Path) -> None:
        runtime = Path("/run/user", str(pyjail.user.uid))
        if not RUNNING.is_dir():
            pytest.skip("no systemd runs here")
        if not pyjail.user.is_root and not (runtime / "systemd" / "private").exists():
            pytest.skip("the user has no session with a systemd")
        self.pyjail = pyjail
        self.options = {"env": {} if pyjail.user.is_root else {"XDG_RUNTIME_DIR": str(runtime)}}
        self.scope = () if pyjail.user.is_root else ("--user",)
        # A unit may have a /tmp of its own, and there is where the tests keep all they need.
        shown = (pyjail.installation.folder, place)
        self.shows = tuple(f"--property=BindReadOnlyPaths={folder}" for folder in shown)
        self.unit = f"pyjail-test-{os.getpid()}-{next(NUMBERS)}.service"

    def words(self, *words: str | Path) -> tuple[str | Path, ...]:
        return (*self.scope, "--quiet", "--wait", "--pipe", "--unit", self.unit, *words)

    def run(self, *words: str | Path, **options):
        return self.pyjail.run(*self.words(*words), program="/usr/bin/systemd-run", **self.options, **options)

    def popen(self, *words: str | Path, **options):
        return self.pyjail.popen(
            *self.words(*words), program="/usr/bin/systemd-run", **self.options, **options
        )

    def control(self, *words: str) -> str:
        r = self.pyjail.run(*self.scope, *words, self.unit, program="/usr/bin/systemctl", **self.options)
        return r.stdout.decode().strip()


@pytest.fixture
def systemd(pyjail, place):
    made = Systemd(pyjail, place)
    yield made
    made.control("stop")
    made.control("reset-failed")


def test_systemd_run(systemd, compiled):
    r = systemd.run(compiled("cat.jail", "--", "/bin/cat"), input=b"through systemd\n")
    assert (r.returncode, r.stdout) == (0, b"through systemd\n"), r.stderr


def test_systemd_sees_the_payloads_status(systemd, compiled):
    systemd.run(compiled("fails.jail", "--", *SH, "exit 7"))
    # Of the unit itself: systemd-run may come too late for it.
    assert systemd.control("show", "--value", "--property=ExecMainStatus") == "7"


def test_systemd_stops_the_whole_jail(systemd, compiled):
    """With a deaf child in a session of its own."""
    script = "setsid sh -c 'trap \"\" TERM INT HUP; sleep 1000' & echo up; exec sleep 1000"
    made = compiled("stays.jail", "--", *SH, script)
    with systemd.popen(made, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"up\n"
        supervisor = int(systemd.control("show", "--value", "--property=MainPID"))
        held = hold([supervisor, *descendants(supervisor)])
        assert len(held) >= 5
        systemd.control("stop")
        assert alive_after(held, 30) == []
        process.communicate(timeout=60)


@pytest.mark.parametrize("as_user", ["root"], indirect=True)
def test_the_systemd_example_runs(systemd, compiled):
    """Its own settings, but for the places of the program and of its output."""
    example = configparser.RawConfigParser()
    example.optionxform = str
    example.read(PROJECT / "examples" / "systemd" / "hello.service")
    settings = dict(example["Service"])
    made = compiled("hello.jail", "--", *SH, "id -u; exit 3")
    for changed in ("ExecStart", "StandardInput", "StandardOutput", "StandardError", "Restart"):
        del settings[changed]
    r = systemd.run(*systemd.shows, *(f"--property={key}={value}" for key, value in settings.items()), made)
    assert r.stdout == b"1000\n", r.stderr
    assert systemd.control("show", "--value", "--property=ExecMainStatus") == "3"


@pytest.mark.parametrize("as_user", ["root"], indirect=True)
def test_a_unit_with_a_user(systemd, installation, ordinary_user, place):
    """It runs what that user has compiled. What systemd puts around a user that it makes up is told."""
    own = place / "own"
    own.mkdir()
    ordinary_user.owns(own)
    words = ("compile", "-o", own / "id.jail", "--", *SH, "id -u; exit 3")
    r = Launcher(installation, ordinary_user).run(*words)
    assert r.returncode == 0, r.stderr
    r = systemd.run(f"--property=User={ordinary_user.name}", own / "id.jail")
    assert r.stdout == b"1000\n", r.stderr
    assert systemd.control("show", "--value", "--property=ExecMainStatus") == "3"
    systemd.control("reset-failed")
    r = systemd.run(*systemd.shows, "--property=DynamicUser=yes", own / "id.jail")
    assert systemd.control("show", "--value", "--property=ExecMainStatus") == "125"
    assert r.stdout == b""
    assert b"in a systemd unit neither DynamicUser= nor RestrictSUIDSGID=" in r.stderr


@pytest.mark.parametrize("as_user", ["root"], indirect=True)
def test_the_systemd_example_is_a_valid_unit(pyjail, place, compiled):
    """systemd-analyze(1) reads the unit; only its program is replaced, as that must exist."""
    if not Path("/usr/bin/systemd-analyze").exists():
        pytest.skip("no systemd-analyze here")
    made = compiled("hello.jail", "--", "/bin/echo", "hello")
    text = (PROJECT / "examples" / "systemd" / "hello.service").read_text()
    unit = place / "hello.service"
    unit.write_text(text.replace("/usr/local/lib/hello.jail", str(made)))
    r = pyjail.run("verify", "--man=no", unit, program="/usr/bin/systemd-analyze")
    mine = [line for line in r.stderr.decode().splitlines() if "hello" in line]
    assert (r.returncode, mine) == (0, []), r.stderr
