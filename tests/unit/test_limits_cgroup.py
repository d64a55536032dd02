"""Finding cgroups in what /proc tells of this process and its mounts, and in the tree itself."""

from __future__ import annotations

import os
from collections.abc import Mapping

from rlimits.cgroup import Controller, controllers, discover, scope_command

V1_MOUNTS = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
V1_OWN = "5:name=systemd:/user.slice\n4:memory:/a/b\n3:cpu,cpuacct:/\n0::/user.slice/me\n"
V2_MOUNTS = "41 31 0:38 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
MANAGER = "/user.slice/user-7.slice/user@7.service"
SCOPE = scope_command("/run/user/7/bus")


def found(cgroup: str, mounts: str, files: Mapping[str, str], *, writable: bool = True) -> list[Controller]:
    return list(controllers(cgroup, mounts, lambda _path: writable, lambda path: files.get(path, "")))


def v2(
    files: Mapping[str, str], writable: set[str], own: str = "/job", manager: str = MANAGER
) -> list[Controller]:
    """The controllers of a process in the cgroup `own`; `writable` are folders, with all that is in them."""
    tree = {f"/sys/fs/cgroup{path}": text for path, text in files.items()}

    def may(path: str) -> bool:
        return path.removesuffix("/cgroup.subtree_control").removeprefix("/sys/fs/cgroup") in writable

    return list(controllers(f"0::{own}\n", V2_MOUNTS, may, lambda path: tree.get(path, ""), manager, SCOPE))


def test_each_controller_has_its_own_place() -> None:
    known = {one.name: one for one in found(V1_OWN, V1_MOUNTS, {})}
    assert known == {
        "memory": Controller(1, "memory", "/sys/fs/cgroup/memory", "/", "/sys/fs/cgroup/memory/a/b", True),
        "cpu": Controller(1, "cpu", "/sys/fs/cgroup/cpu,cpuacct", "/", "/sys/fs/cgroup/cpu,cpuacct", True),
        "cpuacct": Controller(
            1, "cpuacct", "/sys/fs/cgroup/cpu,cpuacct", "/", "/sys/fs/cgroup/cpu,cpuacct", True
        ),
    }, "a tree of version 2 without controllers beside version 1 has nothing to offer"


def test_what_may_be_written_is_asked_of_our_own_folder() -> None:
    asked = []

    def writable(path: str) -> bool:
        asked.append(path)
        return path.endswith("/a/b")

    known = controllers("4:memory:/a/b\n", V1_MOUNTS, writable, lambda _path: "")
    assert asked == ["/sys/fs/cgroup/memory/a/b"]
    assert [one.writable for one in known] == [True]


def test_a_container_sees_a_part_of_the_hierarchy() -> None:
    mounts = "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
    (one,) = found("4:memory:/docker/abc/job\n", mounts, {}, writable=False)
    assert (one.mountroot, one.path, one.writable) == ("/docker/abc", "/sys/fs/cgroup/memory/job", False)


def test_a_cgroup_that_the_mount_does_not_show_is_left_out() -> None:
    mounts = "35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    assert found("4:memory:/docker/abcd\n", mounts, {}) == []
    assert found("4:memory:/../other\n", V1_MOUNTS, {}) == []
    assert found("0::/../other\n", V2_MOUNTS, {"/sys/fs/cgroup/cgroup.controllers": "memory"}) == []


def test_escaped_mountpoints_are_read() -> None:
    mounts = "35 31 0:32 / /cg\\040two\\134three rw - cgroup cgroup rw,memory\n"
    (one,) = found("4:memory:/\n", mounts, {})
    assert one.mountpoint == "/cg two\\three"


def test_the_cpus_of_a_cpuset_are_read() -> None:
    mounts = "35 31 0:32 / /cs rw - cgroup cgroup rw,cpuset\n"
    (one,) = found(
        "4:cpuset:/a\n", mounts, {"/cs/a/cpuset.effective_cpus": "0-3\n", "/cs/a/cpuset.mems": "0\n"}
    )
    assert (one.cpus, one.mems) == ("0-3", "0")
    (one,) = v2({"/cgroup.controllers": "cpuset", "/job/cpuset.cpus.effective": "1\n"}, set())
    assert one.cpus == "1"
    (one,) = v2({"/cgroup.controllers": "cpuset", "/cpuset.cpus.effective": "0-7\n"}, set())
    assert one.cpus == "0-7", "where the controller is not handed down to us"


def test_the_top_of_the_whole_tree_always_serves_who_may_write_it() -> None:
    known = v2({"/cgroup.controllers": "memory pids\n"}, {""})
    assert [(one.name, one.version, one.writable, one.delegated) for one in known] == [
        ("memory", 2, True, False),
        ("pids", 2, True, False),
    ]
    assert known[0].path == "/sys/fs/cgroup/job"


def test_the_top_of_a_container_serves_with_what_it_hands_down_already() -> None:
    """It is an inner cgroup of the host's, in which processes may be."""
    files = {
        "/cgroup.controllers": "memory pids\n",
        "/cgroup.type": "domain\n",
        "/cgroup.subtree_control": "pids\n",
    }
    assert [(one.name, one.writable) for one in v2(files, {""}, "/")] == [("memory", False), ("pids", True)]
    assert [one.delegated for one in v2(files, {""}, "/")] == [True, True], "while no process is in it"


def test_a_cgroup_that_was_delegated_to_us_may_be_divided() -> None:
    files = {
        "/cgroup.controllers": "memory io\n",
        "/job/cgroup.controllers": "memory\n",
        "/job/cgroup.type": "domain\n",
    }
    assert [(one.name, one.writable, one.delegated) for one in v2(files, {"/job"})] == [
        ("memory", False, True),
        ("io", False, False),
    ]


def test_a_threaded_cgroup_cannot_be_divided() -> None:
    files = {"/cgroup.controllers": "memory\n", "/job/cgroup.controllers": "memory\n"}
    for kind in ("threaded", "domain threaded", "domain invalid"):
        (one,) = v2({**files, "/job/cgroup.type": f"{kind}\n"}, {"/job"})
        assert not one.delegated, kind


def test_systemd_gives_an_ordinary_user_what_was_delegated_to_his_session() -> None:
    files = {"/cgroup.controllers": "memory io\n", f"{MANAGER}/cgroup.controllers": "memory pids\n"}
    memory, io = v2(files, set())
    assert (memory.writable, memory.delegated, memory.scope, io.scope) == (False, False, SCOPE, ())
    assert [one.scope for one in v2(files, set(), manager="")] == [(), ()], "there is no session"


def test_the_call_to_systemd_names_whom_to_move() -> None:
    assert SCOPE[0].startswith("/")
    assert SCOPE.count("%p") == 1
    assert "%n.scope" in SCOPE
    assert SCOPE[SCOPE.index("Delegate") + 2] == "true"


def test_this_host_is_read_without_error() -> None:
    for known in discover():
        assert known.version == 2 or known.writable == os.access(known.path, os.W_OK | os.X_OK)
