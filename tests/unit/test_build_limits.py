"""What holds the limits of a jail, on hosts of all kinds."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from unit.test_build_plan import CGROUPS, OLD_USER, ROOT, USER, enforced, mounts, plan, rlimits

from jail import INFINITY, Host, Jail, Limits, UnsupportedError
from jail import directives as d
from rlimits.cgroup import Controller
from rlimits.limits import RULES


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
                idle_timeout=0.5,
                max_output=7,
                max_stdout=6,
                max_stderr=0,
                grace=0,
                pids=9,
            ),
            allow_weaker=frozenset({"cpu-time"}),
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
    assert made.of(d.IdleTimeout) == (d.IdleTimeout(500),)
    assert made.of(d.MaxOutput) == (
        d.MaxOutput("both", 7),
        d.MaxOutput("stdout", 6),
        d.MaxOutput("stderr", 0),
    )
    assert made.of(d.CpuTime) == (), "nothing here counts it"
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
        "idle_timeout": "supervisor",
        "max_output": "supervisor",
        "max_stdout": "supervisor",
        "max_stderr": "supervisor",
    }


def test_infinity_leaves_the_callers_own_limit() -> None:
    made = plan(
        Jail(limits=Limits(**{name: INFINITY for name, rule in RULES.items() if rule[2]})), ROOT
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
    assert [group.controllers for group in made.of(d.Cgroup)] == ["memory", "pids"]
    settings = {line.file: line for line in made.of(d.CgroupSet)}
    assert settings["memory.limit_in_bytes"] == d.CgroupSet("memory", "memory.limit_in_bytes", "1048576")
    assert settings["pids.max"] == d.CgroupSet("pids", "pids.max", "10")
    assert not settings["memory.memsw.limit_in_bytes"].required
    files = [line.file for line in made.of(d.CgroupSet)]
    assert files.index("memory.limit_in_bytes") < files.index("memory.memsw.limit_in_bytes")
    assert (enforced(made)["memory"], enforced(made)["pids"]) == ("cgroup-v1", "cgroup-v1")
    assert "data" not in rlimits(made)
    assert rlimits(made)["nproc"].soft == 12, "init counts, and the cgroup is to be hit first: it tells"


def controller(version: int, name: str, **facts: Any) -> Controller:
    where = "/sys/fs/cgroup" if version == 2 else f"/sys/fs/cgroup/{name}"
    facts = {"writable": True, "path": where, **facts}
    return Controller(version=version, name=name, mountpoint=where, mountroot="/", **facts)


def host_with(*controllers: Controller, euid: int = 0) -> Host:
    return dataclasses.replace(ROOT if euid == 0 else USER, controllers=controllers)


def test_version_two_has_one_cgroup_for_all_controllers() -> None:
    host = host_with(*(controller(2, name) for name in ("memory", "pids", "cpu", "io")))
    made = plan(Jail(limits=Limits(memory=1 << 20, pids=10, cpus=0.5)), host)
    assert made.of(d.Cgroup) == (d.Cgroup(2, "memory,pids,cpu", "/sys/fs/cgroup", "/"),)
    settings = {line.file: line.value for line in made.of(d.CgroupSet) if line.required}
    assert settings == {"memory.max": "1048576", "pids.max": "11", "cpu.max": "50000 100000"}, "init counts"
    assert {line.file: line.value for line in made.of(d.CgroupSet) if not line.required} == {
        "memory.swap.max": "0",
        "memory.oom.group": "1",
    }
    assert made.of(d.Scope) == ()
    assert {mechanism for _, mechanism in enforced(made).items()} == {"cgroup-v2"}


def test_a_machine_may_have_both_versions() -> None:
    host = host_with(controller(1, "memory"), controller(2, "pids"))
    made = plan(Jail(), host)
    assert {(one.version, one.controllers) for one in made.of(d.Cgroup)} == {(1, "memory"), (2, "pids")}
    assert (enforced(made)["memory"], enforced(made)["pids"]) == ("cgroup-v1", "cgroup-v2")


def test_controllers_that_are_mounted_together_share_a_cgroup() -> None:
    both = tuple(dataclasses.replace(controller(1, name), mountpoint="/both") for name in ("memory", "pids"))
    assert plan(host=host_with(*both)).of(d.Cgroup) == (d.Cgroup(1, "memory,pids", "/both", "/"),)


def test_what_a_jail_of_version_one_can_be_paused_by() -> None:
    """A cgroup that is made when it is needed; in version 2, and without any, there is none."""
    groups = controller(1, "memory"), controller(1, "pids")
    freezer = controller(1, "freezer")
    made = plan(host=host_with(*groups, freezer))
    assert made.of(d.Freezer) == (d.Freezer("/sys/fs/cgroup/freezer", "/"),)
    assert [one.controllers for one in made.of(d.Cgroup)] == ["memory", "pids"]
    for host in (
        host_with(*groups),
        host_with(*groups, dataclasses.replace(freezer, writable=False)),
        host_with(groups[0], controller(2, "pids"), freezer),
        host_with(freezer),
    ):
        assert plan(host=host).of(d.Freezer) == ()
    together = dataclasses.replace(freezer, mountpoint=groups[1].mountpoint)
    made = plan(host=host_with(*groups, together))
    assert [one.controllers for one in made.of(d.Cgroup)] == ["memory", "pids,freezer"]
    assert made.of(d.Freezer) == ()


def test_only_what_is_asked_for_is_worth_a_call_to_systemd() -> None:
    """And once it is made, the other limits use it."""
    scope = ("/bin/call", "a", "a", "%p")
    host = host_with(
        *(controller(2, name, writable=False, scope=scope) for name in ("memory", "pids", "cpu")), euid=5
    )
    for cheap in (Limits(), Limits(pids=5), Limits(memory=INFINITY)):
        assert plan(Jail(limits=cheap), host).of(d.Cgroup) == plan(Jail(limits=cheap), host).of(d.Scope) == ()
    for dear, names in ((Limits(memory=1 << 20), "memory,pids"), (Limits(cpus=1), "memory,pids,cpu")):
        made = plan(Jail(limits=dear), host)
        assert [one.controllers for one in made.of(d.Cgroup)] == [names]
        assert tuple(one.word for one in made.of(d.Scope)) == scope
        assert (enforced(made)["memory"], enforced(made)["pids"]) == ("cgroup-v2", "cgroup-v2")


def test_a_cgroup_of_our_own_that_must_be_ours_alone_is_used_when_asked_for() -> None:
    host = host_with(controller(2, "memory", writable=False, delegated=True), euid=5)
    assert plan(host=host).of(d.Cgroup) == ()
    made = plan(Jail(limits=Limits(memory=1 << 20)), host)
    assert [one.controllers for one in made.of(d.Cgroup)] == ["memory"]


def test_cpus_are_a_quota_of_each_period() -> None:
    one = controller(1, "cpu")
    for asked, quota in ((0.5, "50000"), (2, "200000"), (0.01, "1000"), (0.333, "33300")):
        made = plan(Jail(limits=Limits(cpus=asked)), host_with(one))
        assert made.of(d.CgroupSet) == (
            d.CgroupSet("cpu", "cpu.cfs_period_us", "100000"),
            d.CgroupSet("cpu", "cpu.cfs_quota_us", quota),
        )
    assert "cpus" not in enforced(plan(Jail(limits=Limits(cpus=INFINITY)), host_with(one)))


def test_a_cpuset_must_be_of_cpus_that_are_there() -> None:
    one = controller(1, "cpuset", cpus="0-3", mems="0")
    made = plan(Jail(limits=Limits(cpuset="1-2")), host_with(one))
    assert made.of(d.CgroupSet) == (
        d.CgroupSet("cpuset", "cpuset.mems", "0"),
        d.CgroupSet("cpuset", "cpuset.cpus", "1-2"),
    )
    assert enforced(made)["cpuset"] == "cgroup-v1"
    with pytest.raises(UnsupportedError, match="0-3"):
        plan(Jail(limits=Limits(cpuset="3-4")), host_with(one))
    two = controller(2, "cpuset", cpus="0-3", mems="0")
    made = plan(Jail(limits=Limits(cpuset="3")), host_with(two))
    assert made.of(d.CgroupSet) == (d.CgroupSet("cpuset", "cpuset.cpus", "3"),)


@pytest.mark.parametrize("limits", [Limits(cpus=1), Limits(cpuset="0")])
@pytest.mark.parametrize("euid", [0, 5])
def test_what_only_a_cgroup_holds_is_refused_without_one(limits: Limits, euid: int) -> None:
    for host in (host_with(euid=euid), host_with(controller(2, "memory", writable=False), euid=euid)):
        with pytest.raises(UnsupportedError) as caught:
            plan(Jail(limits=limits), host)
        assert caught.value.feature in ("cpus", "cpuset")
        assert "--cpu" in caught.value.remedy


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


CPUACCT = Controller(1, "cpuacct", "/sys/fs/cgroup/cpuacct", "/", "/sys/fs/cgroup/cpuacct", True)
COUNTED = dataclasses.replace(ROOT, controllers=(*CGROUPS, CPUACCT))


def test_cpu_time_of_the_whole_jail_is_counted_by_a_cgroup() -> None:
    made = plan(Jail(limits=Limits(cpu_time=1.5)), COUNTED)
    assert [group.controllers for group in made.of(d.Cgroup)] == ["memory", "pids", "cpuacct"]
    assert made.of(d.CpuTime) == (d.CpuTime(1500),)
    assert rlimits(made)["cpu"] == d.Rlimit("cpu", 3, 4, True), "a second layer, out of the first one's way"
    assert enforced(made)["cpu_time"] == "cgroup-v1"


def test_every_cgroup_of_version_2_counts_cpu_time() -> None:
    found = Controller(2, "pids", "/sys/fs/cgroup", "/", "/sys/fs/cgroup/me", True)
    made = plan(Jail(limits=Limits(cpu_time=1.5)), dataclasses.replace(USER, controllers=(found,)))
    assert [(group.version, group.controllers) for group in made.of(d.Cgroup)] == [(2, "pids")]
    assert enforced(made)["cpu_time"] == "cgroup-v2"


def test_cpu_time_that_nothing_counts_is_an_error_unless_allowed_weaker() -> None:
    jail = Jail(limits=Limits(cpu_time=1.5))
    with pytest.raises(UnsupportedError) as caught:
        plan(jail, USER)
    assert caught.value.feature == "cpu-time"
    assert "--allow-weaker cpu-time" in caught.value.remedy
    weaker = plan(dataclasses.replace(jail, allow_weaker=frozenset({"cpu-time"})), USER)
    assert weaker.of(d.CpuTime) == ()
    assert enforced(weaker)["cpu_time"] == "rlimit"


def test_rlimits_replace_the_defaults() -> None:
    made = plan(Jail(limits=Limits(rlimits=(("nofile", 5, 6), ("rttime", 7, INFINITY)))), ROOT)
    held = rlimits(made)
    assert held["nofile"] == d.Rlimit("nofile", 5, 6, True)
    assert held["rttime"] == d.Rlimit("rttime", 7, INFINITY, True)
    assert len(held) == len(made.of(d.Rlimit)), "no resource stands twice"
    assert enforced(made)["rlimit nofile"] == "rlimit"


def test_of_an_rlimit_and_a_weaker_limit_on_the_same_resource_the_tighter_holds() -> None:
    limits = Limits(memory=1 << 20, rlimits=(("data", 1 << 19, 1 << 30),))
    jail = Jail(limits=limits, allow_weaker=frozenset({"memory"}))
    assert rlimits(plan(jail, USER))["data"] == d.Rlimit("data", 1 << 19, 1 << 20, True)
