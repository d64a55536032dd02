"""Many at once and many in a row: none disturbs another, nothing is left of any."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import subprocess
from pathlib import Path

import pytest
from support.launcher import Launcher, Running
from support.processes import alive_after, cgroup_folders, descendants, hold, lives, status, supervisor

SH = ("/bin/sh", "-c")
MANY = 32


def traces() -> dict[str, set[str]]:
    """What a run could leave on the host."""
    return {
        "cgroups": {folder for folder in cgroup_folders() if not lives(folder)},
        "mounts": set(Path("/proc/self/mountinfo").read_text().splitlines()),
        # pyjail-… are the tests' own, and a build of the project has names that only contain its.
        "/tmp": {name for name in os.listdir("/tmp") if name.startswith("pyjail") and name[6:7] != "-"},
        "/run": set(os.listdir("/run")) - {"pyjail-ids.lock"},
        "/dev/shm": set(os.listdir("/dev/shm")),
        "processes": orphans(),
    }


def orphans() -> set[str]:
    """The inits of jails whose supervisor has gone."""
    found = set()
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError, KeyError):  # ended meanwhile
            known = status(entry)
            if known["Name"] != "pyjail-init" or known["State"].startswith("Z"):
                continue
            if status(known["PPid"])["Name"] not in ("pyjail", "jailer"):
                found.add(f"pyjail-init {entry}")
    return found


def left(launcher: Launcher, before: dict[str, set[str]]) -> dict[str, set[str]]:
    """What was not there before and stays, where its name tells that it is ours.

    Looked at twice with a run between, as jails that other people kill on this machine come and go.
    """
    first = traces()
    launcher.run("run", "--", "/bin/true")
    second = traces()
    new = {place: first[place] & second[place] - before[place] for place in first}
    ours = {place: {name for name in names if "jail" in name} for place, names in new.items()}
    return {place: names for place, names in ours.items() if names}


@pytest.fixture
def start_many():
    """Starts jails that say a line when they are up and end when their stdin does; none outlives the test."""
    with contextlib.ExitStack() as all_of_them:

        def start(launcher: Launcher, count: int = MANY) -> list[Running]:
            command = ("run", "--", *SH, "cat /proc/self/uid_map; id -u; read x; echo $x")
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            return [all_of_them.enter_context(launcher.popen(*command, **pipes)) for _ in range(count)]

        yield start


def finish(processes: list[Running]) -> None:
    for number, process in enumerate(processes):
        out, err = process.communicate(b"%d\n" % number, 120)
        assert (process.returncode, out) == (0, b"%d\n" % number), err


@pytest.mark.alone
def test_thirty_two_at_once(pyjail, start_many):
    before = traces()
    processes = start_many(pyjail)
    maps = []
    for process in processes:
        maps.append(process.stdout.readline().split())
        assert process.stdout.readline() == b"1000\n"
    finish(processes)
    assert left(pyjail, before) == {}
    assert len(maps) == MANY


def test_each_run_of_root_has_an_id_of_its_own(root_pyjail, start_many):
    """Seen from outside: each live jail's payload runs as a host user that no other has, and never as 0."""
    processes = start_many(root_pyjail)
    ids = []
    for process in processes:
        process.stdout.readline()
        assert process.stdout.readline() == b"1000\n"
        payload = descendants(process.pid)[1]  # init, payload, what that has started
        ids.append(os.stat(f"/proc/{payload}").st_uid)
        fields = Path(f"/proc/{payload}/status").read_text()
        assert {int(n) for n in fields.split("Uid:")[1].split("\n")[0].split()} == {ids[-1]}
    finish(processes)
    assert len(set(ids)) == MANY
    assert 0 not in ids
    assert all(uid >= 65536 for uid in ids)


def test_ids_are_given_back(root_pyjail, place_of_root):
    """A plan with a pool of two ids and its own lock file: many runs in a row, but never three at once."""
    made = place_of_root / "two.jail"
    r = root_pyjail.run("compile", "-o", made, "--", *SH, "echo up; read x")
    assert r.returncode == 0, r.stderr
    made.write_text(
        re.sub(
            "^(ids .* pool [0-9]+) .*$", rf"\1 2 {place_of_root}/lock", made.read_text(), flags=re.MULTILINE
        )
    )
    for _ in range(10):
        assert root_pyjail.run(program=made).stdout == b"up\n"
    with (
        root_pyjail.popen(program=made, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as one,
        root_pyjail.popen(program=made, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as two,
    ):
        assert one.stdout.readline() == two.stdout.readline() == b"up\n"
        third = root_pyjail.run(program=made)
        assert (third.returncode, third.stdout) == (125, b"")
        assert b"lock" in third.stderr
        one.communicate(b"")
        assert root_pyjail.run(program=made).stdout == b"up\n"
        two.communicate(b"")
    assert (place_of_root / "lock").stat().st_mode == stat.S_IFREG | 0o600


@pytest.mark.alone
def test_nothing_is_left_after_a_hundred_runs(pyjail):
    before = traces()
    for number in range(100):
        assert (
            pyjail.run("run", "--", *SH, f"sleep 1000 & echo x >/tmp/f; exit {number % 3}").returncode
            == number % 3
        )
    assert left(pyjail, before) == {}


@pytest.mark.slow
def test_nothing_is_left_after_a_thousand_runs(pyjail, start_many):
    """In a row, then 32 at once; every tenth supervisor is killed, whose cgroup is for others to remove."""
    before = traces()
    started = set()
    for number in range(1000):
        with pyjail.popen(
            "run", "--", *SH, "sleep 1000 & echo x >/tmp/f; read x", stdin=subprocess.PIPE
        ) as process:
            started.add(str(process.pid))
            if number % 10 == 0:
                process.kill()
            process.communicate(b"")
        assert process.returncode == (-9 if number % 10 == 0 else 1)
    for _ in range(4):
        processes = start_many(pyjail)
        for process in processes:
            process.stdout.readline()
            process.stdout.readline()
        started |= {str(process.pid) for process in processes}
        for process in processes[::10]:
            process.kill()
        finish([process for process in processes if process not in processes[::10]])
    found = left(pyjail, before)
    others = found.pop("cgroups", set())  # where other people's runs are killed too
    assert not {folder for folder in others if supervisor(folder) in started}
    assert found == {}


def test_no_process_is_left(pyjail):
    """Detached children, in sessions of their own, end with the run."""
    script = """for i in 1 2 3 4 5; do setsid sleep 1000 & done
        (setsid sh -c 'trap "" TERM HUP; sleep 1000' &)
        echo up; read x"""
    with pyjail.popen("run", "--", *SH, script, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"up\n"
        held = hold(descendants(process.pid))
        process.stdin.close()
        process.wait(60)
    assert len(held) >= 6
    assert alive_after(held, 60) == []


def test_one_that_fails_does_not_disturb_the_others(pyjail, start_many):
    processes = start_many(pyjail, count=4)
    for process in processes:
        process.stdout.readline()
        process.stdout.readline()
    assert pyjail.run("run", "--", *SH, "kill -9 -1; kill -9 $$").returncode == 137
    assert pyjail.run("run", "--ro-bind", "/no/such", "--", "/bin/true").returncode == 125
    finish(processes)


def test_jails_do_not_see_each_other(pyjail):
    """Neither processes, nor files in /tmp and /dev/shm, nor System V objects, nor abstract sockets."""
    with pyjail.popen(
        "run",
        "--",
        *SH,
        "echo secret >/tmp/mark; echo secret >/dev/shm/mark; ipcmk -M 64 >/dev/null; echo up; read x",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline() == b"up\n"
        other = pyjail.run(
            "run", "--", *SH, "ls -A /tmp /dev/shm; ipcs -m | grep -c 0x; ls /proc | grep -c '^[0-9]'"
        )
        process.stdin.close()
    assert b"mark" not in other.stdout
    assert other.stdout.split()[-2] == b"0"
