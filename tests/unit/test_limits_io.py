"""Limits on block devices: how they are written, and what holds them."""

from __future__ import annotations

import pytest
from unit.test_build_limits import controller, host_with
from unit.test_build_plan import enforced, plan

from jail import Jail, Limits, UnsupportedError
from jail import directives as d
from rlimits import LimitError
from rlimits.io_max import format_io_max, parse_io_max

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
