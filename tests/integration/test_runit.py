"""Compiled jails as services of runit: runsv watches the jail's own small supervisor."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from support.features import PROJECT
from support.processes import alive_after, descendants, hold

EXAMPLE = PROJECT / "examples" / "runit" / "hello"
SH = ("/bin/sh", "-c")
STAYS = "setsid sh -c 'trap \"\" TERM INT HUP; sleep 1000 & echo up; wait' & exec sleep 1000"


class Service:
    """The example's folder with another program in it, and a runsv of the test's own."""

    def __init__(self, pyjail, place: Path, jail: Path) -> None:
        if not shutil.which("runsv"):
            pytest.skip("runit is not installed")
        self.pyjail = pyjail
        self.folder = place / "hello"
        shutil.copytree(EXAMPLE, self.folder)
        run = self.folder / "run"
        run.write_text(run.read_text().replace("/usr/local/lib/hello.jail", str(jail)))
        finish = self.folder / "finish"
        for path in (self.folder, run, finish):
            pyjail.user.owns(path)
        self.runsv = pyjail.popen(self.folder, program="/usr/bin/runsv", stdout=subprocess.PIPE)

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *problem: object) -> None:
        self.runsv.send_signal(signal.SIGTERM)  # "exit": it ends its service first
        self.runsv.communicate(timeout=60)

    def line(self) -> bytes:
        assert self.runsv.stdout is not None
        return self.runsv.stdout.readline()

    def sv(self, *words: str) -> str:
        r = self.pyjail.run(*words, self.folder, program="/usr/bin/sv")
        return r.stdout.decode()

    def watched(self) -> int:
        return int((self.folder / "supervise" / "pid").read_text())


def test_runit_watches_the_jailer_and_stops_the_whole_jail(pyjail, place, compiled):
    """With a deaf child in a session of its own."""
    with Service(pyjail, place, compiled("stays.jail", "--", *SH, STAYS)) as service:
        assert service.line() == b"up\n"
        supervisor = service.watched()
        assert os.readlink(f"/proc/{supervisor}/exe") == str(pyjail.installation.jailer)
        held = hold([supervisor, *descendants(supervisor)])
        assert len(held) >= 5
        assert service.sv("stop").startswith("ok: down")
        assert alive_after(held, 30) == []
        assert service.line() == b"hello ended with status 143\n"


def test_runit_sees_the_payloads_status_and_starts_it_again(pyjail, place, compiled):
    with Service(pyjail, place, compiled("fails.jail", "--", *SH, "echo here >&2; exit 7")) as service:
        for _ in range(2):
            assert service.line() == b"here\n"
            assert service.line() == b"hello ended with status 7\n"


def test_a_signal_through_sv(pyjail, place, compiled):
    script = "trap 'echo usr1; exit 4' USR1; echo up; sleep 1000 & wait"
    with Service(pyjail, place, compiled("hears.jail", "--", *SH, script)) as service:
        assert service.line() == b"up\n"
        service.sv("once")
        service.sv("1")
        assert [service.line() for _ in range(2)] == [b"usr1\n", b"hello ended with status 4\n"]


def test_a_killed_runsv_takes_its_jail_along_when_asked(pyjail, place, compiled):
    """runsv's death alone ends no service of it, as with any other; TERM to the jail's supervisor does."""
    with Service(pyjail, place, compiled("stays.jail", "--", *SH, STAYS)) as service:
        assert service.line() == b"up\n"
        supervisor = service.watched()
        held = hold([supervisor, *descendants(supervisor)])
        service.runsv.kill()
        service.runsv.wait()
        os.kill(supervisor, signal.SIGTERM)
        assert alive_after(held, 30) == []
