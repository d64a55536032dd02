"""Every place that can be filled is full at some point: bytes, files, and what only the kernel holds."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import pytest
from support.launcher import Launcher

MIB = 1 << 20
LIMIT = 48 * MIB
FILLERS = {
    "tmpfs": "kept.append(open(f'/tmp/{os.getpid()}-{len(kept)}', 'wb').write(bytes(1 << 20)))",
    "shm": "kept.append(open(f'/dev/shm/{os.getpid()}-{len(kept)}', 'wb').write(bytes(1 << 20)))",
    "memfd": "kept.append(os.memfd_create('x')); os.write(kept[-1], bytes(1 << 20))",
    "heap": "kept.append(b'x' * (2 << 20))",
    "pipes": """
r, w = os.pipe()
kept.append((r, w))
os.set_blocking(w, False)
try:
    while os.write(w, bytes(65536)): pass
except BlockingIOError: pass""",
    "sockets": """
a, b = socket.socketpair()
kept.append((a, b))
a.setblocking(False)
try:
    while a.send(bytes(65536)): pass
except BlockingIOError: pass""",
    "shared anonymous": "m = mmap.mmap(-1, 2 << 20); m.write(bytes(2 << 20)); kept.append(m)",
}


HOARD = """
import mmap, signal, socket
def hoard():
    kept = []
    try:
        while len(kept) < 300:
FILLER
    except OSError:
        pass
    signal.pause()
for _ in range(50):
    if os.fork() == 0:
        hoard()
os._exit(3 if os.wait()[1] else 4)
"""


@pytest.mark.parametrize("filler", FILLERS)
def test_what_many_processes_hoard_counts_together(cgroup_pyjail: Launcher, filler: str) -> None:
    """50 processes, none of which takes much."""
    options = ["--memory", "48M", "--timeout", "60", "--grace", "0", "--nofile", "1000"]
    code = HOARD.replace("FILLER", textwrap.indent(FILLERS[filler].strip(), " " * 12))
    result = cgroup_pyjail.python(code, options=options)
    assert result.outcome is not None
    assert result.outcome["status"] == "out-of-memory", result.stderr
    assert result.outcome["limits_hit"] == ["memory"]
    assert result.outcome["peak_memory_bytes"] <= LIMIT * 1.05


FILL = """
import errno
def fill(folder, most):
    size = 0
    try:
        with open(folder + "/big", "wb", buffering=0) as file:
            while size < most:
                size += file.write(bytes(min(most - size, 65536)))
    except OSError as error:
        return errno.errorcode[error.errno]
    finally:
        os.unlink(folder + "/big")
    return "ok"
"""


@pytest.mark.parametrize("folder", ["/tmp", "/dev/shm", "/work"])
def test_bytes_just_below_and_just_above(pyjail: Launcher, folder: str) -> None:
    code = FILL + "answer(below=fill(sys.argv[1], 95 << 13), above=fill(sys.argv[1], 105 << 13))"
    options = ["--tmp-size", str(100 << 13), "--tmpfs", "/work"]
    assert pyjail.python(code, folder, options=options).answer == {"below": "ok", "above": "ENOSPC"}


def test_a_million_files(pyjail: Launcher) -> None:
    """Stops at the inodes that a folder in memory has; the time limit is for the test's own sake."""
    code = """
import errno
made = {}
for folder in ("/tmp", "/dev/shm"):
    try:
        for n in range(1000000):
            os.close(os.open("%s/%d" % (folder, n), os.O_CREAT))
    except OSError as error:
        made[folder] = [n, errno.errorcode[error.errno]]
answer(made=made)
"""
    made = pyjail.python(code, options=["--timeout", "100"]).answer["made"]
    assert set(made) == {"/tmp", "/dev/shm"}
    for count, error in made.values():
        assert error == "ENOSPC"
        assert 60000 < count <= 65536


def test_every_writable_place_is_one_that_is_capped(pyjail: Launcher) -> None:
    """What can be written is a tmpfs with a size and a number of inodes, and the mount table says so."""
    code = """
mounts = {}
for line in open("/proc/self/mountinfo"):
    fields = line.split()
    dash = fields.index("-")
    if "rw" in fields[5].split(",") and fields[dash + 1] not in ("proc", "devpts"):
        mounts[fields[4]] = [fields[dash + 1], fields[dash + 3]]
answer(mounts=mounts)
"""
    mounts = pyjail.python(code, options=["--tmpfs", "/work", "--tmpfs", "/more:1M"]).answer["mounts"]
    assert set(mounts) == {"/tmp", "/dev/shm", "/work", "/more"}
    for kind, options in mounts.values():
        assert kind == "tmpfs"
        assert "size=" in options
        assert "nr_inodes=" in options


@pytest.fixture
def bare_root(place: Path) -> Path:
    """A root folder of somebody's own, with the host's programs bound into it."""
    for name in ("usr", "proc", "dev", "tmp", "etc"):
        (place / name).mkdir()
    for name in ("bin", "lib", "lib64"):
        if os.path.islink(f"/{name}"):
            (place / name).symlink_to(os.readlink(f"/{name}"))
    return place


def test_the_device_folder_of_another_root_cannot_be_written(pyjail: Launcher, bare_root: Path) -> None:
    options = ["--root", str(bare_root), "--ro-bind", "/usr"]
    code = """
answer(file=attempt(open, "/dev/x", "w"), gone=attempt(os.unlink, "/dev/null"),
       link=attempt(os.unlink, "/dev/fd"), null=attempt(open, "/dev/null", "w"),
       shm=attempt(open, "/dev/shm/x", "w"))
"""
    found = pyjail.python(code, options=options).answer
    assert (found["null"], found["shm"]) == ("ok", "ok")
    assert found["file"] == found["link"] == "EROFS"
    assert found["gone"] in ("EROFS", "EBUSY")
