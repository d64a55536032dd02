"""What a service is asked: as JSON, and as variables that nothing hostile gets around."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jail.errors import SpecError
from jail.services.request import (
    MAX_NAME,
    MAX_PARAMS,
    MAX_REQUEST,
    MAX_VALUE,
    MAX_VALUES,
    OMITTED,
    Request,
    variable_name,
)
from jail.spec import check_env

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.text(st.characters(exclude_characters="\0"), max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = st.text(st.characters(exclude_characters="\0"), max_size=MAX_NAME)


def test_the_json() -> None:
    request = Request(
        "POST",
        "/n/p?a=1",
        "/p",
        (("Host", "h"), ("Cookie", "a"), ("cookie", "b"), ("X", "1"), ("x", "2")),
        {"a": "1"},
        {"HOME": "/h"},
        500,
        "9.9.9.9",
        "7",
    )
    assert json.loads(request.to_json()) == {
        "v": 1,
        "id": "7",
        "method": "POST",
        "url": "/n/p?a=1",
        "path": "/p",
        "headers": {"host": "h", "cookie": "a; b", "x": "1, 2"},
        "params": {"a": "1"},
        "deadline_ms": 500,
        "env": {
            "HOME": "/h",
            "PYJAIL_ID": "7",
            "PYJAIL_METHOD": "POST",
            "PYJAIL_URL": "/n/p?a=1",
            "PYJAIL_PATH": "/p",
            "PYJAIL_PARAM_A": "1",
        },
        "remote": "9.9.9.9",
    }


def test_ids_are_new() -> None:
    assert Request().id != Request().id


NAMED = {"a": "A", "a-b": "A_B", "é": "_", "": "", "$(id)": "__ID_", "a=b": "A_B", "ß": "_", "１": "_"}


@pytest.mark.parametrize(("name", "variable"), NAMED.items())
def test_names_of_variables(name: str, variable: str) -> None:
    assert variable_name(name) == variable


@given(st.dictionaries(NAMES, JSON, max_size=6))
def test_whatever_is_accepted_reaches_the_service_as_it_is(params: dict[str, Any]) -> None:
    try:
        request = Request(params=params)
    except SpecError:
        return
    variables = request.variables()
    assert json.loads(request.to_json())["params"] == params
    assert all(name.startswith("PYJAIL_") for name in variables)
    assert all(set(name) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") for name in variables)
    check_env(tuple(variables.items()))  # raises for what execve(2) could not take


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"a-b": "1", "a_b": "2"}, "params.a_b"),
        ({"a": "x\0y"}, "params.a"),
        ({"a\0": "x"}, "params"),
        ({"x" * (MAX_NAME + 1): ""}, "params"),
        ({1: "x"}, "params"),
        ({str(number): "" for number in range(MAX_PARAMS + 1)}, "params"),
        ({"a": float("nan")}, "params"),
        pytest.param({"a": object()}, "params", id="an object"),
        ({"a": "x" * MAX_REQUEST}, "request"),
    ],
    ids=str,
)
def test_what_is_refused(params: dict[Any, Any], field: str) -> None:
    with pytest.raises(SpecError) as caught:
        Request(params=params)
    assert caught.value.field == field


def test_values_as_texts() -> None:
    params = {"s": "x y", "n": 1, "l": ["a"], "o": {"k": None}, "t": True}
    found = Request(params=params).variables()
    assert {name[len("PYJAIL_PARAM_") :]: value for name, value in found.items() if "PARAM" in name} == {
        "S": "x y",
        "N": "1",
        "L": '["a"]',
        "O": '{"k": null}',
        "T": "true",
    }


def test_what_is_too_large_for_a_variable_is_named() -> None:
    found = Request(params={"big": "x" * (MAX_VALUE + 1), "small": "x", "odd": "\ud800"}).variables()
    assert found[OMITTED] == "BIG ODD"
    assert "PYJAIL_PARAM_BIG" not in found and found["PYJAIL_PARAM_SMALL"] == "x"
    many = {f"a{number}": "x" * MAX_VALUE for number in range(12)}
    found = Request(params=many).variables()
    assert sum(len(value) for name, value in found.items() if "_PARAM_" in name) == MAX_VALUES
    assert found[OMITTED].split() == ["A8", "A9", "A10", "A11"]


def test_a_parameter_cannot_pose_as_something_else() -> None:
    found = Request(params={"S_OMITTED": "x", "METHOD": "PUT"}).variables()
    assert found["PYJAIL_METHOD"] == "GET" and OMITTED not in found


@pytest.mark.parametrize("env", [{"PYJAIL_METHOD": "x"}, {"": "x"}, {"A=B": "x"}, {"A": "\0"}])
def test_variables_that_a_request_cannot_set(env: dict[str, str]) -> None:
    with pytest.raises(SpecError, match="env"):
        Request(env=env)


@pytest.mark.parametrize("field", ["id", "method", "url", "path", "remote"])
def test_nul_in_a_field(field: str) -> None:
    with pytest.raises(SpecError) as caught:
        Request(**{field: "a\0b"})  # type: ignore[arg-type]
    assert caught.value.field == field


@pytest.mark.parametrize("params", [None, "testing 123", 5, ["a"]])
def test_params_of_old_callers(params: object) -> None:
    request = Request(params=params)
    assert json.loads(request.to_json())["params"] == params
    assert not [name for name in request.variables() if "_PARAM_" in name]
