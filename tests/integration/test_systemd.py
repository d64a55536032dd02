"""Compiled jails as units of systemd, the machine's own and that of a user's session."""

from __future__ import annotations

import configparser
import itertools
import os
import socket
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
        self.name = f"pyjail-test-{os.getpid()}-{next(NUMBERS)}"
        self.unit = f"{self.name}.service"
        self.folder = RUNNING if pyjail.user.is_root else runtime / "systemd" / "user"
        self.installed: list[Path] = []

    def words(self, *words: str | Path) -> tuple[str | Path, ...]:
        return (*self.scope, "--quiet", "--wait", "--pipe", "--unit", self.unit, *words)

    def run(self, *words: str | Path, **options):
        return self.pyjail.run(*self.words(*words), program="/usr/bin/systemd-run", **self.options, **options)

    def popen(self, *words: str | Path, **options):
        return self.pyjail.popen(
            *self.words(*words), program="/usr/bin/systemd-run", **self.options, **options
        )

    def control(self, *words: str) -> str:
        return self.systemctl(*words, self.unit).stdout.decode().strip()

    def systemctl(self, *words: str):
        return self.pyjail.run(*self.scope, *words, program="/usr/bin/systemctl", **self.options)

    def show(self, name: str) -> str:
        return self.control("show", "--value", f"--property={name}")

    def install(self, jail: Path, *options: str) -> Path:
        """Have `pyjail unit` make the unit of a jail, whose file must be called as this unit is."""
        r = self.pyjail.run("unit", *options, *([] if self.pyjail.user.is_root else ["--session"]), jail)
        assert r.returncode == 0, r.stderr
        name = r.stdout.decode().split()[1].removesuffix(",")
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_bytes(r.stdout)
        self.installed.append(self.folder / name)
        self.systemctl("daemon-reload")
        return self.folder / name

    def close(self) -> None:
        self.systemctl("stop", *(file.name for file in self.installed if "@" not in file.name), self.unit)
        self.control("reset-failed")
        for file in self.installed:
            file.unlink()
        if self.installed:
            self.systemctl("daemon-reload")


@pytest.fixture
def systemd(pyjail, place):
    made = Systemd(pyjail, place)
    yield made
    made.close()


def test_systemd_run(systemd, compiled):
    r = systemd.run(compiled("cat.jail", "--", "/bin/cat"), input=b"through systemd\n")
    assert (r.returncode, r.stdout) == (0, b"through systemd\n"), r.stderr


def test_systemd_sees_the_payloads_status(systemd, compiled):
    systemd.run(compiled("fails.jail", "--", *SH, "exit 7"))
    # Of the unit itself: systemd-run may come too late for it.
    assert systemd.control("show", "--value", "--property=ExecMainStatus") == "7"


DEAF = "trap '' TERM; "
STOPS = {
    "control-group": ("", ("KillMode=control-group",)),
    "mixed": ("", ("KillMode=mixed",)),
    "process": ("", ("KillMode=process",)),
    "no time for the grace": (DEAF, ("KillMode=mixed", "TimeoutStopSec=1")),
}


@pytest.mark.parametrize("stop", STOPS)
def test_systemd_stops_the_whole_jail(systemd, compiled, stop):
    """With a deaf child in a session of its own."""
    before, settings = STOPS[stop]
    script = before + "setsid sh -c 'trap \"\" TERM INT HUP; sleep 1000 & echo up; wait' & exec sleep 1000"
    made = compiled("stays.jail", "--grace", "60s" if before else "1s", "--", *SH, script)
    properties = [f"--property={setting}" for setting in settings]
    with systemd.popen(*properties, made, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"up\n"
        supervisor = int(systemd.control("show", "--value", "--property=MainPID"))
        held = hold([supervisor, *descendants(supervisor)])
        assert len(held) >= 5
        systemd.control("stop")
        assert alive_after(held, 30) == []
        process.communicate(timeout=60)


def test_the_unit_that_is_made_for_a_jail(systemd, compiled):
    """It is active when the payload runs; a stop that the payload heeds is no failure."""
    script = "echo the payload runs >&2; sleep 1000"
    made = compiled(f"{systemd.name}.jail", "--notify", "--", *SH, script)
    file = systemd.install(made)
    assert file.name == systemd.unit
    assert systemd.systemctl("start", systemd.unit).returncode == 0
    assert (systemd.show("ActiveState"), systemd.show("StatusText")) == ("active", "running")
    supervisor = int(systemd.show("MainPID"))
    assert os.readlink(f"/proc/{supervisor}/exe") == str(systemd.pyjail.installation.jailer)
    held = hold([supervisor, *descendants(supervisor)])
    systemd.control("stop")
    assert alive_after(held, 30) == []
    assert systemd.show("ActiveState") == "inactive"  # not "failed", with its status of 143


def test_a_unit_that_waits_for_a_jail_learns_that_it_cannot_start(systemd, compiled):
    made = compiled(f"{systemd.name}.jail", "--notify", "--", "/no/such/program")
    systemd.install(made, "--restart", "no")
    assert systemd.systemctl("start", systemd.unit).returncode != 0
    assert (systemd.show("ExecMainStatus"), systemd.show("Result")) == ("127", "exit-code")
    assert systemd.show("StatusText").startswith("cannot execute '/no/such/program'")


@pytest.mark.parametrize("as_user", ["root"], indirect=True)
def test_a_jail_that_fails_is_started_again_and_the_journal_has_its_words(systemd, compiled, pyjail):
    made = compiled(f"{systemd.name}.jail", "--", *SH, "echo here I am >&2; exit 7")
    systemd.install(made)
    follow = ("--follow", "--output=cat", "--unit", systemd.unit, "--lines=all")
    with pyjail.popen(*follow, program="/usr/bin/journalctl", stdout=subprocess.PIPE) as journal:
        systemd.systemctl("start", "--no-block", systemd.unit)
        lines = list(itertools.takewhile(lambda line: b"Scheduled restart job" not in line, journal.stdout))
        assert b"here I am\n" in lines
        assert any(b"code=exited, status=7" in line for line in lines)
        journal.kill()


LISTENS = """
import os, socket
assert os.environ["LISTEN_PID"] == str(os.getpid())
caller = socket.socket(fileno=3).accept()[0]
caller.sendall(caller.recv(100).upper())
"""


@pytest.mark.parametrize("accept", [False, True], ids=["listening", "a run for each"])
def test_a_socket_of_systemds(systemd, compiled, place, accept):
    """The first byte starts the jail, which has no network of its own."""
    word = ["--accept"] if accept else []
    made = (
        compiled(f"{systemd.name}.jail", "--", "tr", "a-z", "A-Z")
        if accept
        else compiled(f"{systemd.name}.jail", "--listen-fds", "--notify", "--", "python3", "-c", LISTENS)
    )
    systemd.install(made, *word)
    address = str(place / "socket")
    listening = systemd.install(made, *word, "--socket", address)
    started = systemd.systemctl("start", listening.name)
    assert started.returncode == 0, started.stderr
    for _ in range(2):
        with socket.socket(socket.AF_UNIX) as caller:
            caller.settimeout(120)
            caller.connect(address)
            caller.sendall(b"hello")
            caller.shutdown(socket.SHUT_WR)
            assert caller.recv(100) == b"HELLO"


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
