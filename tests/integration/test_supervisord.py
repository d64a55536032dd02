"""Compiled jails as services of supervisord, which watches the jail's own small supervisor."""

from __future__ import annotations

import configparser
import os
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.features import PROJECT
from support.processes import alive_after, descendants, hold

SUPERVISORD = "/usr/bin/supervisord"
SH = ("/bin/sh", "-c")


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


@contextmanager
def up(pyjail, place, made, said_on, **settings):
    """Supervisord with the program "one", once that has said on the stream `said_on` that it is up."""
    os.mkfifo(place / "up")
    pyjail.user.owns(place / "up")
    settings |= {
        "command": str(made),
        "startsecs": "0",
        "autorestart": "false",
        f"{said_on}_logfile": str(place / "up"),
        f"{said_on}_logfile_maxbytes": "0",
    }
    reader = os.open(place / "up", os.O_RDWR)
    try:
        with Supervisor(pyjail, place, {"one": settings}) as supervisor:
            assert os.read(reader, 3) == b"up\n"
            yield supervisor
    finally:
        os.close(reader)


@pytest.mark.parametrize("stop", ["TERM", "INT", "KILL"])
def test_a_stop_ends_the_whole_jail(pyjail, place, compiled, stop):
    """With a deaf child in a session of its own: whatever the stop signal is, nothing outlives it."""
    script = "setsid sh -c 'trap \"\" TERM INT HUP; sleep 1000' & echo up; exec sleep 1000"
    made = compiled("stays.jail", "--", *SH, script)
    with up(pyjail, place, made, "stdout", stopsignal=stop, stopwaitsecs="30") as supervisor:
        watched = int(supervisor.control("pid", "one"))
        assert os.readlink(f"/proc/{watched}/exe") == str(pyjail.installation.jailer)
        held = hold(descendants(supervisor.process.pid))
        assert len(held) >= 4
        supervisor.control("stop", "one")
        supervisor.until("stopped: one")
        assert alive_after(held, 30) == []


def test_a_signal_through_supervisorctl(pyjail, place, compiled):
    made = compiled("hears.jail", "--", *SH, "trap 'echo usr1; exit 4' USR1; echo up >&2; sleep 1000 & wait")
    with up(pyjail, place, made, "stderr", stdout_logfile=str(place / "out")) as supervisor:
        supervisor.control("signal", "USR1", "one")
        supervisor.until("exited: one", "exit status 4")
        assert (place / "out").read_bytes() == b"usr1\n"
