"""Limits on block devices: how they are written, and what holds them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from unit.test_build_limits import controller, host_with
from unit.test_build_plan import enforced, plan

from jail import Host, Jail, Limits, UnsupportedError
from jail import directives as d
from jail.sources import Sources
from rlimits import LimitError, io_weight
from rlimits.io_max import format_io_max, parse_io_max
from rlimits.io_weight import weighers

BOTH = (("8:0", "rbps", 10 << 20), ("8:0", "wiops", 100))


def test_a_text_and_back() -> None:
    assert parse_io_max("8:0:rbps=10M,wiops=100") == BOTH
    assert [format_io_max(limit) for limit in BOTH] == ["8:0:rbps=10M", "8:0:wiops=100"]
    assert Limits.parse(io_max=["8:0:rbps=10M", BOTH[1]]) == Limits(io_max=BOTH)
    assert str(Limits(io_max=BOTH)) == "io-max=8:0:rbps=10M io-max=8:0:wiops=100"


def test_of_two_the_smaller_of_each_rate_holds() -> None:
    other = Limits(io_max=(("8:0", "rbps", 5), ("8:16", "rbps", 7)))
    assert (Limits(io_max=BOTH) & other).io_max == (("8:0", "rbps", 5), BOTH[1], ("8:16", "rbps", 7))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("8:0", "MAJOR:MINOR:RATE=N"),
        ("rbps=1M", "not MAJOR:MINOR of a whole disk"),
        ("/dev/sda:rbps=1M", "not MAJOR:MINOR of a whole disk"),
        ("8:0:rate=1M", "MAJOR:MINOR:RATE=N"),
        ("8:0:rbps=1X", "not a size"),
        ("8:0:riops=1M", "not a whole number"),
        ("8:0:rbps=1", "least is 2"),
        ("8:0:rbps=infinity", "least is 2"),
        ("8:0:rbps=5,rbps=6", "stands twice"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, words: str) -> None:
    with pytest.raises(LimitError, match=words) as caught:
        Limits.parse(io_max=[text])
    assert caught.value.field == "io_max"


def test_devices_have_an_end() -> None:
    with pytest.raises(LimitError, match="at most 4 devices"):
        Limits(io_max=tuple((f"8:{n}", "rbps", 5) for n in range(5)))


def test_each_version_has_its_own_files() -> None:
    jail = Jail(limits=Limits(io_max=BOTH))
    made = plan(jail, host_with(controller(1, "blkio")))
    assert made.of(d.CgroupSet) == (
        d.CgroupSet("blkio", "blkio.throttle.read_bps_device", "8:0 10485760"),
        d.CgroupSet("blkio", "blkio.throttle.write_iops_device", "8:0 100"),
    )
    assert enforced(made)["io_max"] == "cgroup-v1"
    made = plan(jail, host_with(controller(2, "io")))
    assert made.of(d.CgroupSet) == (
        d.CgroupSet("io", "io.max", "8:0 rbps=10485760"),
        d.CgroupSet("io", "io.max", "8:0 wiops=100"),
    )
    assert enforced(made)["io_max"] == "cgroup-v2"


@pytest.mark.parametrize("euid", [0, 5])
def test_nothing_else_holds_them(euid: int) -> None:
    with pytest.raises(UnsupportedError, match="io cgroup") as caught:
        plan(Jail(limits=Limits(io_max=BOTH)), host_with(controller(2, "memory"), euid=euid))
    assert caught.value.feature == "io-max"


# ---- weights ----


def weighing(version: int, *weighers: str) -> Host:
    """A host with an io cgroup whose disks are scheduled so."""
    return dataclasses.replace(
        host_with(controller(version, "io" if version == 2 else "blkio")), weighers=weighers
    )


def weighted(weight: int, *weaker: str) -> Jail:
    return Jail(limits=Limits(io_weight=weight), allow_weaker=frozenset(weaker))


@pytest.mark.parametrize(
    ("host", "weight", "files"),
    [
        (weighing(1, "bfq"), 1000, ["blkio.bfq.weight"]),
        (weighing(2, "bfq"), 1, ["io.bfq.weight"]),
        (weighing(2, "iocost"), 10_000, ["io.weight"]),
        (weighing(2, "bfq", "iocost"), 300, ["io.bfq.weight", "io.weight"]),
    ],
)
def test_a_weight_goes_to_what_schedules_disks(host: Host, weight: int, files: list[str]) -> None:
    made = plan(weighted(weight), host)
    name = host.controllers[0].name
    assert list(made.of(d.CgroupSet)) == [d.CgroupSet(name, file, str(weight)) for file in files]
    assert enforced(made)["io_weight"] == f"cgroup-v{host.controllers[0].version}"


@pytest.mark.parametrize(
    ("host", "weight", "needs", "remedy"),
    [
        (weighing(1), 300, "a disk whose scheduler is BFQ; without", "echo bfq > /sys/block/"),
        (weighing(1, "iocost"), 300, "a disk whose scheduler is BFQ; without", "echo bfq > /sys/block/"),
        (weighing(2), 300, "a disk whose scheduler is BFQ or iocost; without", "echo bfq > /sys/block/"),
        (weighing(1, "bfq"), 1001, "BFQ's greatest weight is 1000", "ask for less"),
        (host_with(controller(2, "memory")), 300, "an io cgroup", "in a container mount"),
    ],
)
def test_a_weight_that_does_nothing_is_an_error_unless_allowed_weaker(
    host: Host, weight: int, needs: str, remedy: str
) -> None:
    with pytest.raises(UnsupportedError) as caught:
        plan(weighted(weight), host)
    assert caught.value.feature == "io-weight"
    assert needs in caught.value.needs
    assert remedy in caught.value.remedy
    assert "--allow-weaker io-weight" in caught.value.remedy
    made = plan(weighted(weight, "io-weight"), host)
    assert not any("weight" in line.file for line in made.of(d.CgroupSet))
    assert "io_weight" not in enforced(made)


def test_a_weight_that_is_too_great_for_some_disks_holds_on_the_others_if_allowed_weaker() -> None:
    host = weighing(2, "bfq", "iocost")
    with pytest.raises(UnsupportedError, match="BFQ's greatest weight"):
        plan(weighted(1001), host)
    made = plan(weighted(1001, "io-weight"), host)
    assert made.of(d.CgroupSet) == (d.CgroupSet("io", "io.weight", "1001"),)


@pytest.mark.parametrize("value", ["0", "10001", "infinity", "1.5", "-1", ""])
def test_weights_have_bounds(value: str) -> None:
    with pytest.raises(LimitError, match="not a weight") as caught:
        Limits.parse(io_weight=value)
    assert caught.value.field == "io_weight"


@pytest.mark.parametrize("value", [-1, 0, 10_001])
def test_weights_that_are_numbers_have_the_same_bounds(value: int) -> None:
    with pytest.raises(LimitError, match=r"no sense|the least is 1, the most 10000"):
        Limits(io_weight=value)


def test_a_weight_as_text_and_of_two_the_smaller() -> None:
    assert Limits.parse(io_weight="10000") == Limits(io_weight=10_000)
    assert str(Limits(io_weight=10_000)) == "io-weight=10000"
    assert (Limits(io_weight=300) & Limits(io_weight=200)).io_weight == 200


@pytest.mark.parametrize(
    ("schedulers", "qos", "found"),
    [
        (["[none] mq-deadline bfq"], "", ()),
        (["[none] bfq", "none [bfq] kyber"], "", ("bfq",)),
        (["none"], "8:0 enable=0 ctrl=auto\n8:16 enable=1 ctrl=user\n", ("iocost",)),
        (["[bfq] none"], "8:0 enable=1\n", ("bfq", "iocost")),
        ([], "8:0 enable=0\n", ()),
    ],
)
def test_what_schedules_disks_is_read(
    tmp_path: Path, schedulers: list[str], qos: str, found: tuple[str, ...]
) -> None:
    block, tree = tmp_path / "block", tmp_path / "cgroup"
    for folder in (block, tree, block / "partly"):
        folder.mkdir()
    for number, text in enumerate(schedulers):
        (block / f"sd{number}/queue").mkdir(parents=True)
        (block / f"sd{number}/queue/scheduler").write_text(f"{text} \n")
    if qos:
        (tree / "io.cost.qos").write_text(qos)
    assert weighers(str(tree), str(block)) == found
    assert weighers("", str(tmp_path / "absent")) == ()


def test_disks_are_looked_at_for_a_weight_alone_and_such_a_plan_is_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(io_weight, "weighers", lambda tree: ("seen",))
    for jail, seen in ((Jail(), ()), (weighted(5), ("seen",))):
        assert Host.probe(jail).weighers == seen
        sources = Sources()
        sources.add_schedulers(jail)
        assert sources.settled == (not seen)
