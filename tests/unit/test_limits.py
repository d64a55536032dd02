"""`Limits`: checked when made."""

from __future__ import annotations

import pytest

from jail import SpecError
from jail.spec import parse_limits
from rlimits import INFINITY, LimitError, Limits


def test_nothing_is_asked_for_by_default() -> None:
    assert all(getattr(Limits(), name) is None for name in Limits.__match_args__)


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


@pytest.mark.parametrize("field", [name for name in Limits.__match_args__ if name not in ("grace", "cpuset")])
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
