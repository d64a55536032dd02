"""What holds the limits of a jail, on hosts of all kinds."""

from __future__ import annotations

import dataclasses

import pytest
from unit.test_build_plan import CGROUPS, OLD_USER, ROOT, enforced, mounts, plan, rlimits

from jail import INFINITY, Jail, Limits, UnsupportedError
from jail import directives as d


def test_every_rlimit_that_matters_is_finite_by_default() -> None:
    held = rlimits(plan(host=ROOT))
    assert {
        "nofile",
        "nproc",
        "fsize",
        "memlock",
        "msgqueue",
        "sigpending",
        "stack",
        "rtprio",
        "nice",
        "core",
    } <= set(held)
    assert all(0 <= limit.soft <= limit.hard for limit in held.values())
    assert not any(limit.exact for limit in held.values()), "a caller's own lower limits stay"
    assert (held["core"].soft, held["core"].hard) == (1, 1)


def test_limits_that_are_asked_for_are_exact_and_named() -> None:
    made = plan(
        Jail(
            limits=Limits(
                nofile=64,
                file_size=1,
                stack=4,
                memlock=0,
                core=5,
                address_space=6,
                cpu_time=1.2,
                timeout=0.0001,
                grace=0,
                pids=9,
            )
        )
    )
    held = rlimits(made)
    assert {
        name: (held[name].soft, held[name].hard)
        for name in ("nofile", "fsize", "stack", "memlock", "core", "as", "cpu", "nproc")
    } == {
        "nofile": (64, 64),
        "fsize": (1, 1),
        "stack": (4, 4),
        "memlock": (0, 0),
        "core": (5, 5),
        "as": (6, 6),
        "cpu": (2, 3),
        "nproc": (10, 10),
    }
    assert all(
        held[name].exact for name in ("nofile", "fsize", "stack", "memlock", "core", "as", "cpu", "nproc")
    )
    assert made.of(d.Timeout) == (d.Timeout(1),)
    assert made.of(d.Grace) == (d.Grace(0),)
    assert enforced(made) == {
        "memory": "rlimit",
        "pids": "rlimit",
        "nofile": "rlimit",
        "file_size": "rlimit",
        "stack": "rlimit",
        "memlock": "rlimit",
        "core": "rlimit",
        "address_space": "rlimit",
        "cpu_time": "rlimit",
        "timeout": "supervisor",
    }


def test_infinity_leaves_the_callers_own_limit() -> None:
    made = plan(
        Jail(limits=Limits(**{name: INFINITY for name in Limits.__match_args__ if name != "grace"})), ROOT
    )
    assert made.of(d.Cgroup) == made.of(d.Timeout) == made.of(d.Enforced) == ()
    held = rlimits(made)
    assert all(
        held[name] == d.Rlimit(name, INFINITY, INFINITY, False)
        for name in ("nofile", "fsize", "nproc", "core")
    )
    assert mounts(made)["/tmp"].data == "size=0,nr_inodes=0,mode=1777"


def test_a_memory_cgroup_is_used_where_there_is_one() -> None:
    made = plan(Jail(limits=Limits(memory=1 << 20, pids=10)), ROOT)
    assert [group.controller for group in made.of(d.Cgroup)] == ["memory", "pids"]
    settings = {line.file: line for line in made.of(d.CgroupSet)}
    assert settings["memory.limit_in_bytes"] == d.CgroupSet("memory", "memory.limit_in_bytes", "1048576")
    assert settings["pids.max"] == d.CgroupSet("pids", "pids.max", "11")
    assert not settings["memory.memsw.limit_in_bytes"].required
    files = [line.file for line in made.of(d.CgroupSet)]
    assert files.index("memory.limit_in_bytes") < files.index("memory.memsw.limit_in_bytes")
    assert (enforced(made)["memory"], enforced(made)["pids"]) == ("cgroup-v1", "cgroup-v1")
    assert "data" not in rlimits(made)


def test_a_cgroup_that_may_not_be_written_is_none() -> None:
    locked = dataclasses.replace(
        ROOT, controllers=tuple(dataclasses.replace(one, writable=False) for one in CGROUPS)
    )
    assert plan(host=locked).of(d.Cgroup) == ()
    assert enforced(plan(host=locked)) == {"memory": "rlimit", "pids": "rlimit"}


def test_memory_that_cannot_be_held_is_an_error_unless_allowed_weaker() -> None:
    jail = Jail(limits=Limits(memory=1 << 20))
    with pytest.raises(UnsupportedError) as caught:
        plan(jail)
    assert caught.value.feature == "memory"
    assert "--allow-weaker memory" in caught.value.remedy
    weaker = plan(dataclasses.replace(jail, allow_weaker=frozenset({"memory"})))
    assert rlimits(weaker)["data"] == d.Rlimit("data", 1 << 20, 1 << 20, True)
    assert enforced(weaker)["memory"] == "rlimit"
    assert rlimits(plan())["data"] == d.Rlimit("data", 512 << 20, 512 << 20, False), (
        "by default as well as can be"
    )


def test_pids_that_cannot_be_held_are_an_error_unless_allowed_weaker() -> None:
    jail = Jail(limits=Limits(pids=10))
    with pytest.raises(UnsupportedError, match=r"5\.14"):
        plan(jail, OLD_USER)
    assert "nproc" not in rlimits(plan(dataclasses.replace(jail, allow_weaker=frozenset({"pids"})), OLD_USER))
    assert "pids" not in enforced(plan(host=OLD_USER)), "an old kernel would count the user's other processes"
    assert rlimits(plan(jail, dataclasses.replace(ROOT, kernel=(5, 10), controllers=())))["nproc"].hard == 11


def test_tmp_sizes_are_held_by_the_mounts() -> None:
    made = plan(Jail(limits=Limits(tmp_size=4096, tmp_inodes=7)))
    assert mounts(made)["/tmp"].data == mounts(made)["/dev/shm"].data == "size=4096,nr_inodes=7,mode=1777"
    assert enforced(made)["tmp_size"] == enforced(made)["tmp_inodes"] == "tmpfs"
