"""`Host`: facts about the machine, and the `depends` lines that they become."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jail.directives import Depends
from jail.host import LOOKED_AT, POOLS, Host, fact, find_pool, kernel_version

WHOLE = "         0          0 4294967295\n"


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ("6.1.0-18-amd64", (6, 1)),
        ("6.18.44-fc", (6, 18)),
        ("5.14", (5, 14)),
        ("6.12rc1", (6, 12)),
        ("odd", (0, 0)),
    ],
)
def test_kernel_versions(release: str, version: tuple[int, int]) -> None:
    assert kernel_version(release) == version


def test_the_usual_pool_is_taken_where_all_ids_are_mapped() -> None:
    assert find_pool(WHOLE, WHOLE) == POOLS[0] == (1_879_048_192, 65_536)


def test_a_pool_must_be_mapped_whole_in_both_maps() -> None:
    small = "0 100000 65536\n"
    assert find_pool(small, small) == (57_344, 3_072)
    assert find_pool(WHOLE, small) == (57_344, 3_072)
    assert find_pool(WHOLE, "0 0 1000\n") is None
    assert find_pool("0 1000 1\n", "0 1000 1\n") is None
    assert find_pool("", "") is None
    assert find_pool("0 0 60000\n60000 60000 5536\n", WHOLE) is None


def test_no_pool_holds_host_root() -> None:
    assert all(first > 0 and first + count < 2**32 - 1 for first, count in POOLS)


def test_facts_of_each_kind(tmp_path: Path) -> None:
    file, folder, link, pipe = (tmp_path / name for name in ("file", "folder", "link", "pipe"))
    file.write_text("abc")
    folder.mkdir()
    link.symlink_to("file")
    os.mkfifo(pipe)
    found = os.lstat(file)
    assert fact(str(file)) == Depends(
        "file", str(file), found.st_dev, found.st_ino, 3, found.st_mtime_ns, found.st_ctime_ns
    )
    assert fact(str(link)).kind == "symlink"
    assert fact(str(pipe)).kind == "other"
    assert fact(str(tmp_path / "none")) == Depends("absent", str(tmp_path / "none"))
    seen = fact(str(folder))
    assert (seen.kind, seen.size, seen.mtime) == ("dir", None, None)


def test_a_folders_content_does_not_count_but_another_folder_does(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    before = fact(str(folder))
    (folder / "new").touch()
    assert fact(str(folder)) == before
    other = tmp_path / "other"
    other.mkdir()
    folder.rename(tmp_path / "old")
    other.rename(folder)
    assert fact(str(folder)) != before


def test_this_host() -> None:
    host = Host.probe()
    assert host.euid == os.geteuid()
    assert host.kernel > (4, 0)
    assert [known.path for known in host.facts] == list(LOOKED_AT)
    assert all(
        host.link(known.path) == os.readlink(known.path) for known in host.facts if known.kind == "symlink"
    )
    assert (host.pool is None) or host.euid == 0


SHORT = """
import os, resource
from jail.errors import LaunchError
from jail.host import Host
least = os.dup(0)
resource.setrlimit(resource.RLIMIT_NOFILE, (least + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
try:
    Host.probe()
except LaunchError as error:
    print(error.step, error)
os.close(least)
Host.probe()
"""


def test_a_shortage_of_descriptors_is_no_host_without_cgroups() -> None:
    """The jail would be made without them, and its plan kept for later ones."""
    words = [sys.executable, "-c", SHORT]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "host cannot look at /proc/self/cgroup: Too many open files\n"


def test_what_was_not_looked_at_is_absent() -> None:
    host = Host((6, 1), "x86_64", 1000, 1000)
    assert (host.kind("/bin"), host.link("/bin"), host.cgroup("memory")) == ("absent", "", None)
