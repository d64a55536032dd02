"""Compiled jails as services of s6: s6-supervise watches the jail's own small supervisor."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from support.features import PROJECT
from support.processes import alive_after, descendants, hold

EXAMPLE = PROJECT / "examples" / "s6" / "hello"
SH = ("/bin/sh", "-c")


class Service:
    """The example's folder with another program in it, and an s6-supervise of the test's own."""

    def __init__(self, pyjail, place: Path, jail: Path) -> None:
        if not shutil.which("s6-supervise"):
            pytest.skip("s6 is not installed")
        self.pyjail = pyjail
        self.folder = place / "hello"
        shutil.copytree(EXAMPLE, self.folder)
        run = self.folder / "run"
        run.write_text(run.read_text().replace("/usr/local/lib/hello.jail", str(jail)))
        for path in (self.folder, run, self.folder / "finish"):
            pyjail.user.owns(path)
        program = shutil.which("s6-supervise")
        self.supervise = pyjail.popen(self.folder, program=program, stdout=subprocess.PIPE)

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *problem: object) -> None:
        self.supervise.send_signal(signal.SIGTERM)  # it ends its service first
        self.supervise.communicate(timeout=60)

    def line(self) -> bytes:
        assert self.supervise.stdout is not None
        return self.supervise.stdout.readline()

    def svc(self, *words: str) -> None:
        assert self.pyjail.run(*words, self.folder, program=shutil.which("s6-svc")).returncode == 0

    def watched(self) -> int:
        r = self.pyjail.run("-o", "pid", self.folder, program=shutil.which("s6-svstat"))
        return int(r.stdout)


def test_s6_watches_the_jailer_and_stops_the_whole_jail(pyjail, place, compiled):
    """With a deaf child in a session of its own."""
    stays = "setsid sh -c 'trap \"\" TERM INT HUP; sleep 1000 & echo up; wait' & exec sleep 1000"
    with Service(pyjail, place, compiled("stays.jail", "--", *SH, stays)) as service:
        assert service.line() == b"up\n"
        supervisor = service.watched()
        assert os.readlink(f"/proc/{supervisor}/exe") == str(pyjail.installation.jailer)
        held = hold([supervisor, *descendants(supervisor)])
        assert len(held) >= 5
        service.svc("-d", "-wD")
        assert alive_after(held, 30) == []
        assert service.line() == b"hello ended with status 143\n"


def test_s6_passes_signals_on_sees_the_status_and_starts_it_again(pyjail, place, compiled):
    script = "trap 'echo usr1 >&2; exit 4' USR1; echo up; sleep 1000 & wait"
    with Service(pyjail, place, compiled("hears.jail", "--", *SH, script)) as service:
        for _ in range(2):
            assert service.line() == b"up\n"
            service.svc("-1")
            assert [service.line() for _ in range(2)] == [b"usr1\n", b"hello ended with status 4\n"]
