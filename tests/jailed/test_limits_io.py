"""`--io-max`: what goes beyond waits, which the run's own length tells. `--io-weight`: the kernel has it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.features import PROJECT
from support.launcher import checked
from support.processes import descendants

PYTHON = ("/usr/bin/python3", "-I", "-S", "-c")
MIB = 1 << 20
# Past the page cache, by blocks: nothing waits for a limit but what goes to the device at once.
WRITE = f"""
import mmap, os
block = mmap.mmap(-1, {MIB})
file = os.open('/disk/file', os.O_CREAT | os.O_RDWR | os.O_DIRECT)
for _ in range(4): os.write(file, block)
"""
READ = f"{WRITE}\nos.lseek(file, 0, 0)\nfor _ in range(4): os.readv(file, [block])"


@pytest.fixture
def disk(pyjail) -> Iterator[tuple[Path, str]]:
    """A folder of the user's on a disk, and that disk's number."""
    for parent in ("/var/tmp", PROJECT):
        sys = Path(f"/sys/dev/block/{os.major(os.stat(parent).st_dev)}:{os.minor(os.stat(parent).st_dev)}")
        if sys.exists():
            break
    else:
        pytest.skip("neither /var/tmp nor the checkout is on a disk")
    whole = sys.resolve().parent if (sys / "partition").exists() else sys
    with tempfile.TemporaryDirectory(prefix="pyjail-disk-", dir=parent) as name:
        os.chown(name, pyjail.user.uid, pyjail.user.gid)
        yield Path(name), (whole / "dev").read_text().strip()


@pytest.mark.parametrize(
    ("code", "rate"),
    [(WRITE, "wbps=4M"), (WRITE, "wiops=4"), (READ, "rbps=4M"), (READ, "wbps=100M,riops=4")],
    ids=("wbps", "wiops", "rbps", "riops"),
)
def test_what_exceeds_the_rate_waits(pyjail, disk, code, rate):
    """Four MiB in four operations or more, at four a second: a disk takes a hundredth of that."""
    folder, number = disk
    r = pyjail.run("run", "--io-max", f"{number}:{rate}", "--bind", f"{folder}:/disk", "--", *PYTHON, code)
    if r.returncode == 125:  # systemd gives ordinary users no such controller by default
        assert not pyjail.user.is_root, r.stderr
        assert b"an io cgroup" in r.stderr
        return
    assert r.returncode == 0, r.stderr
    assert r.outcome["enforced"]["io_max"].startswith("cgroup-")
    assert r.outcome["wall_seconds"] >= 0.7
    free = pyjail.run("run", "--bind", f"{folder}:/disk", "--", *PYTHON, code)
    assert free.outcome["wall_seconds"] < r.outcome["wall_seconds"]


def test_a_disk_that_is_none_is_an_error(root_pyjail, require):
    require("cgroup")
    r = root_pyjail.run("run", "--io-max", "4095:77:rbps=1M", "--", "/bin/echo", "ran")
    assert (r.returncode, r.stdout) == (125, b"")
    assert b"lsblk" in r.stderr


LOOP_CTL_ADD, LOOP_CTL_REMOVE = 0x4C80, 0x4C81
TREE = Path("/sys/fs/cgroup")


@pytest.fixture
def loop(root_user) -> Iterator[Path]:
    """A block device of our own, in /sys."""
    if not os.path.exists("/dev/loop-control"):
        subprocess.run(["modprobe", "loop"], check=True)
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        number = fcntl.ioctl(control, LOOP_CTL_ADD, -1)
        try:
            yield Path(f"/sys/block/loop{number}")
        finally:
            fcntl.ioctl(control, LOOP_CTL_REMOVE, number)
    finally:
        os.close(control)


@pytest.fixture
def bfq(loop) -> str:
    """A disk that BFQ schedules; the file that it has weights in."""
    (loop / "queue/scheduler").write_text("bfq")
    return "io.bfq.weight" if (TREE / "cgroup.controllers").exists() else "blkio.bfq.weight"


@pytest.fixture
def iocost(loop, require) -> Iterator[str]:
    """A disk that iocost schedules; the file that it has weights in."""
    require("cgroup2")
    (loop / "queue/scheduler").write_text("none")
    device = (loop / "dev").read_text().strip()
    (TREE / "io.cost.qos").write_text(f"{device} enable=1")
    yield "io.weight"
    (TREE / "io.cost.qos").write_text(f"{device} enable=0")


@pytest.mark.parametrize("scheduler", ["bfq", "iocost"])
def test_the_run_has_the_weight(root_pyjail, require, request, scheduler):
    require("cgroup")
    file = request.getfixturevalue(scheduler)
    words = ("run", "--io-weight", "300", "--", "/bin/sh", "-c", "echo up; read x")
    with root_pyjail.popen(*words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"up\n"
        places = Path(f"/proc/{descendants(process.pid)[-1]}/cgroup").read_text().splitlines()
        (place,) = (
            TREE / controllers / path.lstrip("/")
            for _, controllers, path in (line.split(":", 2) for line in places)
            if controllers == ("" if file.startswith("io.") else "blkio")
        )
        assert (place / file).read_text().split()[-1] == "300"
        process.stdin.close()
    assert process.returncode == 1


def scheduled_by_bfq() -> bool:
    return any("[bfq]" in path.read_text() for path in Path("/sys/block").glob("*/queue/scheduler"))


def test_a_weight_is_told_of_as_long_as_it_counts(root_pyjail, require, loop, bfq):
    """No plan of an earlier run is taken."""
    require("cgroup")
    words = ("run", "--outcome", "/dev/stderr", "--io-weight", "300", "--", "/bin/echo", "ran")
    r = root_pyjail.run(*words)
    assert (r.returncode, r.stdout) == (0, b"ran\n"), r.stderr
    assert checked(r.stderr)["enforced"]["io_weight"].startswith("cgroup-")
    (loop / "queue/scheduler").write_text("none")
    if not scheduled_by_bfq():
        assert root_pyjail.run(*words).returncode == 125


def test_a_weight_that_bfq_does_not_take_is_an_error(root_pyjail, require, bfq):
    require("cgroup")
    r = root_pyjail.run("run", "--io-weight", "1001", "--", "/bin/echo", "ran")
    assert (r.returncode, r.stdout) == (125, b"")
    assert b"BFQ's greatest weight" in r.stderr


def test_a_weight_that_does_nothing_is_an_error(pyjail):
    if scheduled_by_bfq():
        pytest.skip("BFQ schedules a disk of this host")
    words = ("--io-weight", "300", "--", "/bin/echo", "ran")
    r = pyjail.run("run", *words)
    assert (r.returncode, r.stdout) == (125, b"")
    assert b"io-weight: this host lacks" in r.stderr
    r = pyjail.run("run", "--allow-weaker", "io-weight", *words)
    assert (r.returncode, r.stdout) == (0, b"ran\n"), r.stderr
    assert "io_weight" not in r.outcome["enforced"]
