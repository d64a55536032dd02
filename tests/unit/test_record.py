"""Records: what they share with dataclasses, and what they cost."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle

import pytest

from jail._record import record


@record(frozen=True)
class Point:
    x: int
    y: int = 2
    label: str = ""


@record(frozen=True)
class Other:
    x: int
    y: int = 2
    label: str = ""


@record(frozen=True)
class Positive:
    value: int

    def __post_init__(self) -> None:
        if self.value < 0:
            raise ValueError("negative")


def test_positions_names_and_defaults_fill_the_fields() -> None:
    assert Point(1) == Point(1, 2) == Point(y=2, x=1) == Point(1, 2, "") == Point(1, label="")
    assert (Point(1, 5).x, Point(1, 5).y) == (1, 5)


@pytest.mark.parametrize(
    ("args", "named", "words"),
    [
        ((), {}, "missing 'x'"),
        ((1, 2, "", 4), {}, "takes 3 values, 4 were given"),
        ((1,), {"x": 2}, "multiple values for argument 'x'"),
        ((1,), {"z": 2}, "unexpected keyword argument 'z'"),
    ],
)
def test_wrong_arguments_are_type_errors(
    args: tuple[object, ...], named: dict[str, object], words: str
) -> None:
    with pytest.raises(TypeError, match=words):
        Point(*args, **named)  # type: ignore[arg-type]


def test_equality_needs_the_same_class_and_hash_follows_it() -> None:
    assert Point(1) != Other(1)
    assert Point(1) != Point(2)
    assert len({Point(1), Point(1, 2), Point(2), Other(1)}) == 3


def test_values_do_not_change() -> None:
    point = Point(1)
    with pytest.raises(AttributeError, match="frozen"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError, match="frozen"):
        point.new = 2  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="frozen"):
        del point.x
    assert point == Point(1)


def test_a_check_runs_on_every_way_of_making_one() -> None:
    with pytest.raises(ValueError, match="negative"):
        Positive(-1)
    with pytest.raises(ValueError, match="negative"):
        dataclasses.replace(Positive(1), value=-1)


def test_repr_can_be_read() -> None:
    assert repr(Point(1, label="a")) == "Point(x=1, y=2, label='a')"


def test_dataclasses_functions_work() -> None:
    assert dataclasses.is_dataclass(Point)
    assert dataclasses.replace(Point(1), y=7) == Point(1, 7)
    assert dataclasses.asdict(Point(1)) == {"x": 1, "y": 2, "label": ""}
    assert [field.name for field in dataclasses.fields(Point)] == ["x", "y", "label"]


def test_copies_and_pickles_are_equal() -> None:
    point = Point(1, 3, "a")
    for twin in (copy.copy(point), copy.deepcopy(point), pickle.loads(pickle.dumps(point))):
        assert twin == point


def test_patterns_and_signatures_know_the_fields() -> None:
    match Point(1, 9):
        case Point(x, y):
            assert (x, y) == (1, 9)
    assert list(inspect.signature(Point).parameters) == ["x", "y", "label"]
