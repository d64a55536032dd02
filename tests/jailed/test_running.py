"""`pyjail ps`, `stats`, `kill` and `exec`: jails are found by those of the same user, and by nobody else."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jailed.patience import patience
from support.launcher import Launcher, Running

SLEEPER = ("/bin/sh", "-c", "echo ready; exec sleep 1000")


@pytest.fixture
def runtime(pyjail: Launcher) -> Iterator[dict[str, str]]:
    """A runtime folder of the test's own."""
    with tempfile.TemporaryDirectory(prefix="pyjail-runtime-") as name, patience():
        Path(name).chmod(0o700)
        pyjail.user.owns(Path(name))
        yield {"XDG_RUNTIME_DIR": name}


def started(pyjail: Launcher, runtime: dict[str, str], *options: str) -> Running:
    running = pyjail.popen("run", *options, "--", *SLEEPER, env=runtime, stdout=subprocess.PIPE)
    assert running.stdout is not None
    assert running.stdout.readline() == b"ready\n"
    return running


def listed(pyjail: Launcher, runtime: dict[str, str]) -> list[dict[str, Any]]:
    """Those of the test: other jails of the user may have entries elsewhere."""
    done = pyjail.run("ps", "--json", env=runtime)
    assert done.returncode == 0, done.stderr
    folder = Path(runtime["XDG_RUNTIME_DIR"], "pyjail")
    names = os.listdir(folder) if folder.exists() and pyjail.user.uid == folder.stat().st_uid else []
    return [one for one in map(json.loads, done.stdout.splitlines()) if one["name"] in names]


def test_a_named_jail_is_found_from_start_to_end(pyjail: Launcher, runtime: dict[str, str]) -> None:
    with started(pyjail, runtime, "--name", "one") as running:
        [one] = listed(pyjail, runtime)
        assert (one["name"], one["pid"], one["argv"]) == ("one", running.pid, list(SLEEPER))
        usage = pyjail.run("stats", "--json", "one", env=runtime)
        assert json.loads(usage.stdout)["wall_seconds"] > 0
        table = pyjail.run("ps", env=runtime).stdout.decode().splitlines()
        assert table[0].split() == ["NAME", "PID", "STATE", "TIME", "COMMAND"]
        assert ["one", str(running.pid), "running"] in [line.split()[:3] for line in table]
        assert b"one" in pyjail.run("ps", "--names", env=runtime).stdout.splitlines()
        assert pyjail.run("kill", "one", env=runtime).returncode == 0
        assert running.wait() == 137
    assert listed(pyjail, runtime) == []
    assert os.listdir(Path(runtime["XDG_RUNTIME_DIR"], "pyjail")) == []


def test_a_jail_without_a_name_is_found_by_its_pid_later(pyjail: Launcher, runtime: dict[str, str]) -> None:
    with started(pyjail, runtime) as running:
        while not (found := listed(pyjail, runtime)):
            pass
        assert [one["name"] for one in found] == [str(running.pid)]
        assert pyjail.run("kill", "--signal", "TERM", str(running.pid), env=runtime).returncode == 0
        assert running.wait() == 143


def test_a_compiled_jail_and_one_of_the_library_are_found(
    pyjail: Launcher, runtime: dict[str, str], place: Path
) -> None:
    made = pyjail.run("compile", "-o", str(place / "a.jail"), "--name", "compiled", "--", *SLEEPER)
    assert made.returncode == 0, made.stderr
    code = "import jail, sys; p = jail.start(sys.argv[1:]); p.wait()"
    with (
        pyjail.popen(program=place / "a.jail", env=runtime, stdout=subprocess.PIPE) as compiled,
        pyjail.popen("-c", code, *SLEEPER, program=pyjail.installation.python, env=runtime,
                     stdout=subprocess.PIPE) as library,
    ):
        while len(found := listed(pyjail, runtime)) < 2:
            pass
        assert {one["name"] for one in found} > {"compiled"}
        assert all(one["argv"] == list(SLEEPER) for one in found)
        assert pyjail.run("kill", *(one["name"] for one in found), env=runtime).returncode == 0
        assert compiled.wait() == 137
        assert library.wait() == 0


def test_exec_has_the_callers_streams_and_status(pyjail: Launcher, runtime: dict[str, str]) -> None:
    with started(pyjail, runtime, "--name", "box", "--env", "A=1") as running:
        code = "cat; echo $A $B; echo err >&2; exit 6"
        words = ("exec", "--env", "B=2", "box", "--", "/bin/sh", "-c", code)
        done = pyjail.run(*words, input=b"in\n", env=runtime)
        assert (done.returncode, done.stdout, done.stderr) == (6, b"in\n1 2\n", b"err\n")
        for command, status in (("nothing", 127), ("/usr", 126)):
            done = pyjail.run("exec", "box", command, env=runtime)
            assert done.returncode == status
            assert done.stderr.startswith(b"pyjail: cannot execute")
        with pyjail.popen("exec", "box", *SLEEPER, env=runtime, stdout=subprocess.PIPE) as more:
            assert more.stdout is not None
            more.stdout.readline()
            more.send_signal(signal.SIGTERM)
            assert more.wait() == 143
        with pyjail.popen("exec", "box", *SLEEPER, env=runtime, stdout=subprocess.PIPE) as more:
            assert more.stdout is not None
            more.stdout.readline()
            more.kill()  # and the command with it, whose output ends
            assert more.stdout.read() == b""
        with pyjail.popen("exec", "box", *SLEEPER, env=runtime, stdout=subprocess.PIPE) as more:
            assert more.stdout is not None
            more.stdout.readline()
            pyjail.run("kill", "box", env=runtime)
            assert more.wait() == 137
        running.wait()


def test_a_name_is_one_jails_at_a_time(pyjail: Launcher, runtime: dict[str, str], place: Path) -> None:
    mark = ("--bind", f"{place}:/data", "--name", "one")
    with started(pyjail, runtime, "--name", "one") as running:
        done = pyjail.run("run", *mark, "--", "/usr/bin/touch", "/data/marker", env=runtime)
        assert done.returncode == 125
        assert b"another jail of this user has it" in done.stderr
        assert not (place / "marker").exists()
        running.kill()  # nobody is left to remove the entry
        running.wait()
    assert os.listdir(Path(runtime["XDG_RUNTIME_DIR"], "pyjail")) == ["one"]
    assert pyjail.run("run", *mark, "--", "/usr/bin/touch", "/data/marker", env=runtime).returncode == 0
    assert (place / "marker").exists()


def test_a_lock_on_the_folder_of_names_holds_nobody_up(
    pyjail: Launcher, runtime: dict[str, str], place: Path
) -> None:
    """A jail that was shown the folder, even read-only, can take one."""
    folder = Path(runtime["XDG_RUNTIME_DIR"], "pyjail")
    words = ("run", "--bind", f"{place}:/data", "--name", "one", "--", "/usr/bin/touch", "/data/marker")
    with started(pyjail, runtime, "--name", "two") as running:
        running.kill()  # its entry stays
        running.wait()
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        done = pyjail.run(*words, env=runtime)
        assert (done.returncode, b"keeps a lock on the folder of names" in done.stderr) == (125, True)
        assert not (place / "marker").exists()
        assert listed(pyjail, runtime) == []
    finally:
        os.close(descriptor)
    assert pyjail.run(*words, env=runtime).returncode == 0


def test_what_a_killed_supervisor_left_is_removed(pyjail: Launcher, runtime: dict[str, str]) -> None:
    with started(pyjail, runtime, "--name", "gone") as running:
        running.kill()
        running.wait()
    assert listed(pyjail, runtime) == []
    assert os.listdir(Path(runtime["XDG_RUNTIME_DIR"], "pyjail")) == []


@pytest.mark.parametrize("named", [False, True])
def test_without_a_folder_only_a_named_jail_does_not_start(
    pyjail: Launcher, runtime: dict[str, str], named: bool
) -> None:
    """Others may write the folder: it is not used, and none of the others can be had in the test's own mount
    namespace."""
    folder = Path(runtime["XDG_RUNTIME_DIR"], "pyjail")
    folder.mkdir()
    pyjail.user.owns(folder)
    folder.chmod(0o777)
    hidden = "for d in /run /tmp; do mount --bind $d $d && mount -o remount,bind,ro $d; done; exec \"$@\""
    user = ["setpriv", f"--reuid={pyjail.user.uid}", f"--regid={pyjail.user.gid}", "--clear-groups"]
    name = ("--name", "a") if named else ()
    words = [str(pyjail.installation.pyjail), "run", *name, "--", "sleep", "0.3"]
    if os.geteuid() != 0 or pyjail.user.is_root:
        pytest.skip("only root can take folders from another user")
    env = {**pyjail.user.environment(), **runtime}
    done = subprocess.run(["unshare", "--mount", "sh", "-c", hidden, "sh", *user, *words], env=env,
                          capture_output=True, check=False)
    assert done.returncode == (125 if named else 0), done.stderr
    assert os.listdir(folder) == []


def test_other_users_neither_see_nor_reach_it(
    root_pyjail: Launcher, ordinary_pyjail: Launcher, runtime: dict[str, str], pyjail: Launcher
) -> None:
    other = ordinary_pyjail if pyjail.user.is_root else root_pyjail
    with started(pyjail, runtime, "--name", "mine") as running:
        assert listed(other, runtime) == []
        for words in (("kill", "mine"), ("stats", "mine"), ("exec", "mine", "true")):
            assert other.run(*words, env=runtime).returncode == 1
        assert [one["name"] for one in listed(pyjail, runtime)] == ["mine"]
        pyjail.run("kill", "mine", env=runtime)
        running.wait()


def test_who_is_in_a_jail_is_not_answered(pyjail: Launcher, runtime: dict[str, str]) -> None:
    """Also where the caller has bound the folder, and the jail has his own id outside."""
    folder = runtime["XDG_RUNTIME_DIR"]
    with started(pyjail, runtime, "--name", "a") as running:
        done = pyjail.python(f"""
import socket
found = []
for request in (b"info", b"kill", b"exec"):
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect({folder!r} + "/pyjail/a")
        connection.send(request)
        found.append(len(connection.recv(4096)))
    except (ConnectionError, PermissionError):
        found.append(0)
answer(found=found)
""", options=["--bind", folder], env=runtime)
        assert done.answer == {"found": [0, 0, 0]}
        assert running.poll() is None
        pyjail.run("kill", "a", env=runtime)
        running.wait()


def test_who_is_in_a_jail_is_not_asked(pyjail: Launcher, runtime: dict[str, str]) -> None:
    """Nor given the caller's descriptors, where the folder is bound and what is in the jail listens there."""
    folder = Path(runtime["XDG_RUNTIME_DIR"], "pyjail")
    folder.mkdir(0o700)
    pyjail.user.owns(folder)
    code = f"""
import socket
listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listener.bind({str(folder / "a")!r})
listener.listen()
print("ready", flush=True)
while True:
    with listener.accept()[0] as connection:
        print(connection.recv(100), flush=True)
"""
    words = ("run", "--bind", str(folder.parent), "--", "/usr/bin/python3", "-c", code)
    with pyjail.popen(*words, env=runtime, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"ready\n"
        for command in (("exec", "a", "true"), ("kill", "a"), ("stats", "a")):
            assert pyjail.run(*command, env=runtime).returncode == 1
        running.send_signal(signal.SIGTERM)
        assert set(running.stdout.read().splitlines()) <= {b"b''"}


def test_requests_that_make_no_sense(pyjail: Launcher, runtime: dict[str, str]) -> None:
    for words, part in (
        (("kill",), b"usage: pyjail kill"), (("kill", "--signal", "NOPE", "x"), b"NOPE"),
        (("exec", "x"), b"usage"), (("stats", "a", "b"), b"usage"), (("ps", "a"), b"usage"),
        (("run", "--name", "a/b", "--", "true"), b"--name"), (("plan", "--name", ".a", "true"), b"--name"),
        (("run", "--name", "12", "--", "true"), b"--name"),
    ):
        done = pyjail.run(*words, env=runtime)
        assert done.returncode in (2, 125), words
        assert part in done.stderr, words
    for name in ("nobody", "..", "/etc/passwd", ""):
        done = pyjail.run("kill", name, env=runtime)
        assert (done.returncode, b"pyjail ps" in done.stderr) == (1, True)


def test_a_flood_of_connections_holds_nobody_up(pyjail: Launcher, runtime: dict[str, str]) -> None:
    with started(pyjail, runtime, "--name", "a", "--timeout", "1s") as running:
        many = []
        for _ in range(60):
            one = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            one.setblocking(False)
            try:
                one.connect(runtime["XDG_RUNTIME_DIR"] + "/pyjail/a")
            except BlockingIOError:
                pass
            many.append(one)
        assert running.wait() == 124
        for one in many:
            one.close()
