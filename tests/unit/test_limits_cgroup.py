"""Finding cgroups in the texts of /proc/self/cgroup and /proc/self/mountinfo."""

from __future__ import annotations

import os

from rlimits.cgroup import Controller, controllers, discover

V1_MOUNTS = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
V1_OWN = "5:name=systemd:/user.slice\n4:memory:/a/b\n3:cpu,cpuacct:/\n0::/user.slice/me\n"


def test_each_controller_has_its_own_place() -> None:
    found = {known.name: known for known in controllers(V1_OWN, V1_MOUNTS, lambda _path: True)}
    assert found == {
        "memory": Controller(1, "memory", "/sys/fs/cgroup/memory", "/", "/sys/fs/cgroup/memory/a/b", True),
        "cpu": Controller(1, "cpu", "/sys/fs/cgroup/cpu,cpuacct", "/", "/sys/fs/cgroup/cpu,cpuacct", True),
        "cpuacct": Controller(
            1, "cpuacct", "/sys/fs/cgroup/cpu,cpuacct", "/", "/sys/fs/cgroup/cpu,cpuacct", True
        ),
        "": Controller(2, "", "/sys/fs/cgroup/unified", "/", "/sys/fs/cgroup/unified/user.slice/me", True),
    }


def test_what_may_be_written_is_asked_of_our_own_folder() -> None:
    asked = []

    def writable(path: str) -> bool:
        asked.append(path)
        return path.endswith("/a/b")

    found = controllers("4:memory:/a/b\n", V1_MOUNTS, writable)
    assert asked == ["/sys/fs/cgroup/memory/a/b"]
    assert [known.writable for known in found] == [True]


def test_a_container_sees_a_part_of_the_hierarchy() -> None:
    mounts = "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
    (found,) = controllers("4:memory:/docker/abc/job\n", mounts, lambda _path: False)
    assert (found.mountroot, found.path) == ("/docker/abc", "/sys/fs/cgroup/memory/job")


def test_a_cgroup_that_the_mount_does_not_show_is_left_out() -> None:
    mounts = "35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    assert controllers("4:memory:/docker/abcd\n", mounts, lambda _path: True) == ()
    assert controllers("4:memory:/../other\n", V1_MOUNTS, lambda _path: True) == ()


def test_escaped_mountpoints_are_read() -> None:
    mounts = "35 31 0:32 / /cg\\040two\\134three rw - cgroup cgroup rw,memory\n"
    (found,) = controllers("4:memory:/\n", mounts, lambda _path: True)
    assert found.mountpoint == "/cg two\\three"


def test_only_version_two() -> None:
    mounts = "41 31 0:38 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
    (found,) = controllers("0::/user.slice\n", mounts, lambda _path: False)
    assert (found.version, found.path) == (2, "/sys/fs/cgroup/user.slice")


def test_this_host_is_read_without_error() -> None:
    for known in discover():
        assert known.writable == os.access(known.path, os.W_OK | os.X_OK)
