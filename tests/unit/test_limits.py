"""`Limits`: checked when made."""

from __future__ import annotations

import pytest

from jail import SpecError
from jail.spec import parse_limits
from rlimits import INFINITY, RESOURCES, LimitError, Limits, format_rlimit, parse_rlimit
from rlimits.limits import RULES, SAME


def test_nothing_is_asked_for_by_default() -> None:
    assert all(getattr(Limits(), name) is None for name in RULES)
    assert Limits().rlimits == ()


def test_texts_and_numbers_are_parsed() -> None:
    limits = Limits.parse(memory="256M", timeout="1.5s", pids=64, core=None)
    assert limits == Limits(memory=256 << 20, timeout=1.5, pids=64)


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"memory": 0}, "memory", "out of range"),
        ({"memory": -2}, "memory", "out of range"),
        ({"memory": 2**63}, "memory", "out of range"),
        ({"memory": 1.5}, "memory", "not a whole number"),
        ({"memory": True}, "memory", "not a whole number"),
        ({"memory": "256M"}, "memory", "Limits.parse reads texts"),
        ({"pids": 0}, "pids", "out of range"),
        ({"tmp_size": 0}, "tmp_size", "out of range"),
        ({"tmp_inodes": 0}, "tmp_inodes", "out of range"),
        ({"timeout": float("nan")}, "timeout", "out of range"),
        ({"timeout": float("inf")}, "timeout", "out of range"),
        ({"timeout": 0}, "timeout", "would end the run before it starts"),
        ({"cpu_time": 0.0}, "cpu_time", "would end the run before it starts"),
        ({"grace": INFINITY}, "grace", "infinity makes no sense"),
        ({"timeout": "soon"}, "timeout", "not a number of seconds"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(values: dict[str, object], field: str, words: str) -> None:
    with pytest.raises(LimitError, match=words) as caught:
        Limits(**values)  # type: ignore[arg-type]
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: ")


@pytest.mark.parametrize("field", [name for name, rule in RULES.items() if rule[2]])
def test_infinity_takes_a_limit_away(field: str) -> None:
    assert getattr(Limits(**{field: INFINITY}), field) == INFINITY


def test_zero_is_a_limit_where_it_makes_sense() -> None:
    assert Limits(nofile=0, file_size=0, memlock=0, core=0, grace=0) == Limits(
        nofile=0, file_size=0, memlock=0, core=0, grace=0.0
    )


def test_an_unknown_limit_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="memroy"):
        Limits.parse(memroy="1G")


def test_the_jail_package_has_its_own_error() -> None:
    with pytest.raises(SpecError, match=r"limits\.memory: '10X' is not a size") as caught:
        parse_limits(memory="10X")
    assert caught.value.field == "limits.memory"


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("nofile=64", ("nofile", 64, 64)),
        ("nofile=64:128", ("nofile", 64, 128)),
        ("as=1G:infinity", ("as", 1 << 30, INFINITY)),
        ("cpu=1.5s", ("cpu", 2, 2)),
        ("cpu=1m:2m", ("cpu", 60, 120)),
        ("rttime=200ms", ("rttime", 200_000, 200_000)),
        ("nice=infinity", ("nice", INFINITY, INFINITY)),
        ("msgqueue=800K", ("msgqueue", 800 << 10, 800 << 10)),
    ],
)
def test_an_rlimit_has_the_unit_of_its_resource(text: str, limit: tuple[str, int, int]) -> None:
    assert parse_rlimit(text) == limit
    assert parse_rlimit(format_rlimit(limit)) == limit
    assert Limits.parse(rlimits=[text]) == Limits(rlimits=(limit,))


@pytest.mark.parametrize("name", RESOURCES)
def test_every_resource_survives_its_text(name: str) -> None:
    for limit in ((name, 0, 0), (name, 3, 4096), (name, 1, INFINITY)):
        assert parse_rlimit(format_rlimit(limit)) == limit


@pytest.mark.parametrize(
    ("rlimits", "words"),
    [
        ((("nofil", 1, 1),), "unknown resource 'nofil'; the names are cpu, fsize"),
        ((("as", 2, 1),), "soft limit is above the hard one"),
        ((("as", INFINITY, 1),), "soft limit is above the hard one"),
        ((("as", 1.5, 2),), "expected a whole number"),
        ((("as", True, 2),), "expected a whole number"),
        ((("as", 1, 2**63),), "expected a whole number"),
        ((("as", 1),), r"expected \(name, soft, hard\)"),
        ([("as", 1, 1)], "expected a tuple"),
        ((("as", 1, 1), ("as", 1, 2)), "as stands twice"),
    ],
)
def test_rlimits_that_make_no_sense(rlimits: object, words: str) -> None:
    with pytest.raises(LimitError, match=words) as caught:
        Limits(rlimits=rlimits)  # type: ignore[arg-type]
    assert caught.value.field == "rlimits"


@pytest.mark.parametrize(
    "text", ["nofile", "nofile=", "nofile=1:", "=5", "nofile=64:128:256", "as=5X", "nofile=1.5"]
)
def test_texts_that_are_no_rlimit(text: str) -> None:
    with pytest.raises(LimitError, match=r"^rlimits: "):
        parse_rlimit(text)


@pytest.mark.parametrize(("resource", "field"), SAME.items())
def test_a_limit_and_the_rlimit_that_it_sets_exclude_each_other(resource: str, field: str) -> None:
    with pytest.raises(LimitError, match=rf"{field} .*rlimit {resource} .*leave one out"):
        Limits(**{field: 5}, rlimits=((resource, 5, 5),))  # type: ignore[arg-type]


def test_both_limits_hold_in_their_conjunction() -> None:
    one = Limits(memory=10, pids=INFINITY, timeout=2.5, cpuset="0-4", rlimits=(("as", 5, 9), ("nice", 1, 1)))
    other = Limits(memory=20, pids=7, nofile=3, cpuset="1,3-9", rlimits=(("as", 4, INFINITY),))
    rlimits = (("as", 4, 9), ("nice", 1, 1))
    both = Limits(memory=10, pids=7, timeout=2.5, nofile=3, cpuset="1,3-4", rlimits=rlimits)
    assert one & other == both
    assert both & both == both
    assert both & Limits() == both
    assert Limits(core=INFINITY) & Limits(core=INFINITY) == Limits(core=INFINITY)
    with pytest.raises(LimitError, match="nofile"):
        both & Limits(rlimits=(("nofile", 1, 1),))
    with pytest.raises(LimitError, match="no CPU is both in 1 and in 2"):
        Limits(cpuset="1") & Limits(cpuset="2")
    with pytest.raises(TypeError):
        both & 5  # type: ignore[operator]


def test_limits_print_as_the_options_write_them() -> None:
    limits = Limits(
        memory=256 << 20,
        timeout=1.5,
        cpus=0.5,
        pids=INFINITY,
        nofile=64,
        cpuset="0-1",
        rlimits=(("as", 1 << 30, INFINITY),),
    )
    assert str(limits) == (
        "memory=256M pids=infinity cpus=0.5 timeout=1.5s nofile=64 cpuset=0-1 rlimit as=1G:infinity"
    )
    assert str(Limits()) == ""
