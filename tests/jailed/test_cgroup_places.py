"""Where a run's cgroup is in version 2, whoever starts it and wherever; and that nothing of it stays."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from support.features import no_memory_cgroup
from support.launcher import Completed, Launcher, Running
from support.processes import cgroup_folders, children

TREE = Path("/sys/fs/cgroup")
LIMITED = ("--memory", "64M")
WAIT = ("/bin/sh", "-c", "echo up; read x; echo $x")


@pytest.fixture(autouse=True)
def version_two(require: Callable[[str], None]) -> None:
    require("cgroup2")


@pytest.fixture
def cgroup(root_user: object) -> Iterator[Path]:
    """A cgroup of our own with no process in it, which has all controllers and hands none down."""
    top = Path(tempfile.mkdtemp(prefix="test-", dir=TREE))
    try:
        yield top
    finally:
        for folder, _, _ in os.walk(top, topdown=False):
            os.rmdir(folder)


def own_cgroup(pid: int) -> Path:
    line = next(
        line for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line.startswith("0::")
    )
    return TREE / line[len("0::/") :]


@contextmanager
def placed(launcher: Launcher, folder: Path, *words: str) -> Iterator[Running]:
    """The command, started in a cgroup in which it is the first process."""
    shell = ("-c", 'read go; exec "$@"', "sh", *words)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with launcher.popen(*shell, program="/bin/sh", **pipes) as process:
        (folder / "cgroup.procs").write_text(str(process.pid))
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
        yield process


def up(process: Running) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n", process.communicate()[1]


def end(process: Running) -> None:
    assert process.communicate(b"end\n", 60) == (b"end\n", b"")
    assert process.returncode == 0


def pyjail_run(launcher: Launcher, *options: str) -> tuple[str, ...]:
    return (str(launcher.installation.pyjail), "run", *options, "--", *WAIT)


def birthplace(process: Running) -> Path:
    """The cgroup of the run: that of the jail's init."""
    return own_cgroup(children(process.pid)[0])


def hand_over(folder: Path, launcher: Launcher) -> None:
    """Delegate a cgroup to the launcher's user, as cgroups(7) says."""
    for path in (folder, *(folder / f"cgroup.{name}" for name in ("procs", "threads", "subtree_control"))):
        launcher.user.owns(path)


def test_runs_of_root_are_at_the_top(root_pyjail: Launcher) -> None:
    """Each in a cgroup of its own; what they are in goes with the last of them."""
    place = TREE / "pyjail"
    with ExitStack() as stack:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        first, second = (
            stack.enter_context(root_pyjail.popen("run", "--", *WAIT, **pipes)) for _ in range(2)
        )
        for process in (first, second):
            up(process)
            folder = birthplace(process)
            assert folder.parent == place
            assert folder.name.startswith(f"pyjail-{process.pid}-")
            assert (folder / "memory.max").read_text() == f"{512 << 20}\n"
            assert (folder / "memory.swap.max").read_text() == "0\n"
            assert own_cgroup(process.pid) == own_cgroup(os.getpid()), "the supervisor stays where it was"
        end(first)
        assert birthplace(second).is_dir()
        assert len([folder for folder in place.iterdir() if folder.is_dir()]) == 1
        end(second)
    assert not place.exists()


@pytest.mark.parametrize("kind", ["root", "ordinary"])
def test_a_jailer_alone_in_its_cgroup_divides_it(
    request: pytest.FixtureRequest, cgroup: Path, kind: str
) -> None:
    """As the main process of a unit with Delegate=yes is; afterwards all is as it was."""
    launcher: Launcher = request.getfixturevalue(f"{kind}_pyjail")
    hand_over(cgroup, launcher)
    for _ in range(2):
        with placed(launcher, cgroup, *pyjail_run(launcher, *LIMITED)) as process:
            up(process)
            assert own_cgroup(process.pid) == cgroup / "pyjail-supervisor"
            assert birthplace(process).parent == cgroup / "pyjail"
            assert (birthplace(process) / "memory.max").read_text() == f"{64 << 20}\n"
            end(process)
        assert [entry for entry in cgroup.iterdir() if entry.is_dir()] == []
        assert (cgroup / "cgroup.subtree_control").read_text().split() == []


def test_an_ordinary_user_who_is_not_alone_is_refused(ordinary_pyjail: Launcher, cgroup: Path) -> None:
    """Its processes cannot be moved out of the way, and nowhere else may it make a cgroup."""
    if no_memory_cgroup(ordinary_pyjail.user.uid) is None:
        pytest.skip("this user's systemd helps")
    hand_over(cgroup, ordinary_pyjail)
    with placed(ordinary_pyjail, cgroup, "/bin/sh", "-c", "echo up; read x; echo $x") as other:
        up(other)
        with placed(ordinary_pyjail, cgroup, *pyjail_run(ordinary_pyjail, *LIMITED)) as process:
            out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (125, b"")
        assert b"EBUSY" in err
        assert b"Delegate=yes" in err
        with placed(ordinary_pyjail, cgroup, *pyjail_run(ordinary_pyjail)) as process:
            up(process)  # default limits ask for no cgroup then
            end(process)
        end(other)


def test_root_who_is_not_alone_goes_to_the_top(root_pyjail: Launcher, cgroup: Path) -> None:
    with placed(root_pyjail, cgroup, "/bin/sh", "-c", "echo up; read x; echo $x") as other:
        up(other)
        with placed(root_pyjail, cgroup, *pyjail_run(root_pyjail)) as process:
            up(process)
            assert birthplace(process).parent == TREE / "pyjail"
            end(process)
        end(other)


def test_a_threaded_cgroup_is_no_place(
    root_pyjail: Launcher, ordinary_pyjail: Launcher, cgroup: Path
) -> None:
    inner = cgroup / "threaded"
    inner.mkdir()
    (inner / "cgroup.type").write_text("threaded")
    hand_over(inner, ordinary_pyjail)
    with placed(root_pyjail, inner, *pyjail_run(root_pyjail)) as process:
        up(process)
        assert birthplace(process).parent == TREE / "pyjail"
        end(process)
    if no_memory_cgroup(ordinary_pyjail.user.uid) is None:
        return
    with placed(ordinary_pyjail, inner, *pyjail_run(ordinary_pyjail, *LIMITED)) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (125, b"")
    assert b"memory: this host lacks a memory cgroup" in err


def contained(launcher: Launcher, folder: Path, before: str, *options: str) -> Completed:
    """A run in namespaces like a container's, begun in a cgroup of its own."""
    words = ("/usr/bin/unshare", "--cgroup", "--mount", "/bin/sh", "-c", f'{before}; exec "$@"', "sh")
    with tempfile.TemporaryDirectory(prefix="pyjail-outcome-") as place:
        outcome = Path(place, "outcome")
        command = (
            str(launcher.installation.pyjail),
            "run",
            "--outcome",
            str(outcome),
            *options,
            "--",
            "/bin/true",
        )
        with placed(launcher, folder, *words, *command) as process:
            out, err = process.communicate(timeout=60)
        told = json.loads(outcome.read_text()) if outcome.exists() else None
    return Completed(command, process.returncode, out, err, told)


def test_a_container_whose_cgroups_are_read_only(root_pyjail: Launcher, cgroup: Path) -> None:
    before = "umount -l /sys/fs/cgroup; mount -t cgroup2 -o ro none /sys/fs/cgroup"
    r = contained(root_pyjail, cgroup, before)
    assert r.returncode == 0, r.stderr
    assert r.outcome is not None
    assert r.outcome["enforced"]["memory"] == "rlimit"
    r = contained(root_pyjail, cgroup, before, *LIMITED)
    assert r.returncode == 125
    assert b"read-only" in r.stderr
    assert b"--allow-weaker memory" in r.stderr


def test_a_container_with_a_cgroup_namespace(root_pyjail: Launcher, cgroup: Path) -> None:
    """Its top is an inner cgroup of the host's: it serves a first process, and by default is left alone."""
    before = "umount -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup"
    r = contained(root_pyjail, cgroup, before, *LIMITED)
    assert r.returncode == 0, r.stderr
    assert r.outcome is not None
    assert r.outcome["enforced"]["memory"] == "cgroup-v2"
    with placed(root_pyjail, cgroup, "/bin/sh", "-c", "echo up; read x; echo $x") as other:
        up(other)
        r = contained(root_pyjail, cgroup, before, *LIMITED)
        assert r.returncode == 125
        assert b"EBUSY" in r.stderr
        assert contained(root_pyjail, cgroup, before).returncode == 0
        end(other)
    assert [entry for entry in cgroup.iterdir() if entry.is_dir()] == []


@pytest.fixture
def session_pyjail(ordinary_pyjail: Launcher) -> Launcher:
    """For a user whose systemd can be asked."""
    why = no_memory_cgroup(ordinary_pyjail.user.uid)
    if why:
        pytest.skip(why)
    return ordinary_pyjail


def test_an_ordinary_user_is_given_a_scope(session_pyjail: Launcher) -> None:
    """Only for limits that are asked for; the next run, from the cache, has one of its own."""
    before = cgroup_folders()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    for _ in range(2):
        with session_pyjail.popen("run", *LIMITED, "--", *WAIT, **pipes) as process:
            up(process)
            supervisor, run = own_cgroup(process.pid), birthplace(process)
            assert supervisor.parent.suffix == ".scope"
            assert str(process.pid) in supervisor.parent.name
            assert run.parent == supervisor.parent / "pyjail"
            assert (run / "memory.max").read_text() == f"{64 << 20}\n"
            end(process)
    r = session_pyjail.run("run", *LIMITED, "--", "/bin/sh", "-c", "exit 7")
    assert (r.returncode, r.stderr) == (7, b"")
    left = {folder for folder in cgroup_folders() - before if "pyjail" in Path(folder).name}
    assert not {folder for folder in left if ".scope" not in folder}, (
        "systemd removes what it made when it can"
    )


def test_a_scope_that_cannot_be_had_ends_the_start(session_pyjail: Launcher, place: Path) -> None:
    plan = session_pyjail.run("plan", *LIMITED, "--", "/bin/echo", "ran").stdout
    lines = [line for line in plan.splitlines() if not line.startswith(b"scope ")]
    for command in (b"/bin/false", b"/no/such/program"):
        (place / "plan").write_bytes(b"\n".join([*lines[:-1], b"scope " + command, b"end", b""]))
        r = session_pyjail.run("run", str(place / "plan"), program=session_pyjail.installation.jailer)
        assert (r.returncode, r.stdout) == (125, b"")
        assert command in r.stderr
        assert b"--allow-weaker memory" in r.stderr
