"""`--io-max`: what goes beyond waits, which the run's own length tells."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.features import PROJECT

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
