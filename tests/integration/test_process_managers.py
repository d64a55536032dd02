"""Compiled jails as services of supervisord and systemd, which watch the jail's own small supervisor."""

from __future__ import annotations

import configparser
import itertools
import os
import signal
import subprocess
from pathlib import Path

import pytest
from support.features import PROJECT
from support.launcher import Launcher
from support.processes import alive_after, descendants, hold

SUPERVISORD = "/usr/bin/supervisord"
SYSTEMD = Path("/run/systemd/system")
SH = ("/bin/sh", "-c")
NUMBERS = itertools.count()


class Supervisor:
    """A supervisord of the test's own, in the foreground, whose log is read as it comes."""

    def __init__(self, pyjail, place: Path, programs: dict[str, dict[str, str]]) -> None:
        self.place = place
        config = configparser.RawConfigParser()
        config["supervisord"] = {"nodaemon": "true", "logfile": "/dev/null", "logfile_maxbytes": "0",
                                 "pidfile": str(place / "pid"), "childlogdir": str(place)}  # fmt: skip
        config["unix_http_server"] = {"file": str(place / "socket")}
        config["supervisorctl"] = {"serverurl": f"unix://{place}/socket"}
        config["rpcinterface:supervisor"] = {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        }
        for name, settings in programs.items():
            config[f"program:{name}"] = settings
        self.file = place / "supervisord.conf"
        with open(self.file, "w") as file:
            config.write(file)
        self.pyjail = pyjail
        self.process = pyjail.popen("-c", self.file, program=SUPERVISORD, stdout=subprocess.PIPE)

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *problem: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=60)

    def until(self, *words: str) -> str:
        """Read the log until a line has all of `words`; that line."""
        assert self.process.stdout is not None
        for raw in self.process.stdout:
            line = raw.decode()
            if all(word in line for word in words):
                return line
        raise AssertionError(f"supervisord ended before it said {words}")

    def control(self, *words: str) -> str:
        r = self.pyjail.run("-c", self.file, *words, program="/usr/bin/supervisorctl")
        return r.stdout.decode()


@pytest.fixture
def compiled(pyjail, place):
    def compile_(name: str, *words: str) -> Path:
        r = pyjail.run("compile", "-o", place / name, *words)
        assert r.returncode == 0, r.stderr
        return place / name

    return compile_


def test_supervisord_runs_the_example(pyjail, place, compiled):
    """examples/supervisord/hello.conf with its paths and its user replaced."""
    example = configparser.RawConfigParser()
    example.read(PROJECT / "examples" / "supervisord" / "hello.conf")
    made = compiled("hello.jail", "--", "/bin/echo", "hello")
    settings = {
        **example["program:hello"],
        "command": str(made),
        "stdout_logfile": str(place / "out"),
        "stderr_logfile": str(place / "err"),
    }
    del settings["user"]
    with Supervisor(pyjail, place, {"hello": settings}) as supervisor:
        supervisor.until("exited: hello", "exit status 0; expected")
        assert (place / "out").read_bytes() == b"hello\n"
        assert (place / "err").read_bytes() == b""


def test_supervisord_sees_the_payloads_status(pyjail, place, compiled):
    made = compiled("fails.jail", "--", *SH, "exit 7")
    settings = {"command": str(made), "startsecs": "0", "autorestart": "false", "exitcodes": "0"}
    with Supervisor(pyjail, place, {"fails": settings}) as supervisor:
        supervisor.until("exited: fails", "exit status 7; not expected")


@pytest.mark.parametrize("stop", ["TERM", "INT", "KILL"])
def test_a_stop_ends_the_whole_jail(pyjail, place, compiled, stop):
    """With a deaf child in a session of its own: whatever the stop signal is, nothing outlives it."""
    script = "setsid sh -c 'trap \"\" TERM INT HUP; sleep 1000' & echo up; exec sleep 1000"
    made = compiled("stays.jail", "--", *SH, script)
    os.mkfifo(place / "up")
    pyjail.user.owns(place / "up")
    settings = {
        "command": str(made),
        "startsecs": "0",
        "autorestart": "false",
        "stopsignal": stop,
        "stopwaitsecs": "30",
        "stdout_logfile": str(place / "up"),
        "stdout_logfile_maxbytes": "0",
    }
    reader = os.open(place / "up", os.O_RDWR)
    try:
        with Supervisor(pyjail, place, {"stays": settings}) as supervisor:
            assert os.read(reader, 3) == b"up\n"
            held = hold(descendants(supervisor.process.pid))
            assert len(held) >= 4
            supervisor.control("stop", "stays")
            supervisor.until("stopped: stays")
            assert alive_after(held, 30) == []
    finally:
        os.close(reader)


def test_a_signal_through_supervisorctl(pyjail, place, compiled):
    made = compiled("hears.jail", "--", *SH, "trap 'echo usr1; exit 4' USR1; echo up >&2; sleep 1000 & wait")
    os.mkfifo(place / "up")
    pyjail.user.owns(place / "up")
    settings = {
        "command": str(made),
        "startsecs": "0",
        "autorestart": "false",
        "stdout_logfile": str(place / "out"),
        "stderr_logfile": str(place / "up"),
        "stderr_logfile_maxbytes": "0",
    }
    reader = os.open(place / "up", os.O_RDWR)
    try:
        with Supervisor(pyjail, place, {"hears": settings}) as supervisor:
            assert os.read(reader, 3) == b"up\n"
            supervisor.control("signal", "USR1", "hears")
            supervisor.until("exited: hears", "exit status 4")
            assert (place / "out").read_bytes() == b"usr1\n"
    finally:
        os.close(reader)


class Systemd:
    """The systemd that serves a user: root's is the machine's own, an ordinary user's that of the session."""

    def __init__(self, pyjail, place: Path) -> None:
        runtime = Path("/run/user", str(pyjail.user.uid))
        if not SYSTEMD.is_dir():
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
