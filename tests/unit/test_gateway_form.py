"""The parameters in a form with files: which of its fields count, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

pytest.importorskip("python_multipart", reason="pyjail-linux[serve] is not installed")

from jail.gateway.ledger import Entry
from jail.gateway.message import Body
from jail.gateway.params import MAX_FORM, body_params, form_kind
from jail.gateway.problem import Problem

TYPE = 'multipart/form-data; boundary="=_b"'


def part(disposition: str, data: bytes = b"x", more: bytes = b"") -> bytes:
    head = f"Content-Disposition: form-data; {disposition}\r\n".encode()
    return b"--=_b\r\n" + head + more + b"\r\n" + data + b"\r\n"


END = b"--=_b--\r\n"
FILE = 'name="f"; filename="a.png"'


def params(body: bytes, content_type: str = TYPE) -> dict[str, Any]:
    """Those of a body that comes in pieces."""
    pieces = [body[at : at + 50_000] for at in range(0, len(body), 50_000)]

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def read() -> dict[str, Any]:
        made = Body(receive, 1 << 30, 5, Entry("id", "client", "POST", "/"))
        await made.begin(MAX_FORM)
        found = await body_params(form_kind(content_type), content_type, made)
        assert b"".join([piece async for piece in made.parts()]) == body, "the service gets all of it"
        return found

    return asyncio.run(read())


def test_text_counts_and_files_do_not() -> None:
    form = part('name="a"', b"1") + part(FILE, b"\x89PNG") + part('name="a"', "ä\r\n".encode())
    form += part('name="b c"', b"\xff", b"Content-Type: text/plain\r\n") + END + b"epilogue"
    assert params(form) == {"a": ["1", "ä\r\n"], "b c": "�"}
    assert params(END) == {}


def test_of_a_large_form_the_text_before_its_files_counts() -> None:
    form = part('name="a"', b"1") + part(FILE, b"." * (2 * MAX_FORM)) + part('name="b"') + END
    assert params(form) == {"a": "1"}
    early = part(FILE, b".") + part('name="b"') + part(FILE, b"." * MAX_FORM) + END
    assert params(early) == {}


@pytest.mark.parametrize("much", [MAX_FORM, 3 * MAX_FORM])
def test_text_fields_that_are_too_large(much: int) -> None:
    with pytest.raises(Problem) as caught:
        params(part('name="a"', b"." * much) + part(FILE) + END)
    assert caught.value.status == 413


def test_too_many_parts() -> None:
    assert len(params(b"".join(part(f'name="a{n}"') for n in range(999)) + END)) == 999
    for kind in ('name="a"', FILE):
        with pytest.raises(Problem) as caught:
            params(part(kind) * 1001 + END)
        assert caught.value.status == 413


@pytest.mark.parametrize(
    "body",
    [
        part('name="a"'),
        b"no boundary",
        part("filename=x") + END,
        b"--=_b\r\nContent-Disposition: attachment; name=a\r\n\r\nx\r\n" + END,
        b"--=_b\r\nno colon\r\n\r\nx\r\n" + END,
        b"--=_b\r\n" + b"a: b\r\n" * 1000 + b"\r\nx\r\n" + END,
        b"--=_b\r\na: " + b"b" * 100_000 + b"\r\n\r\nx\r\n" + END,
    ],
    ids=["cut", "none", "nameless", "attachment", "header", "headers", "long header"],
)
def test_what_is_no_form(body: bytes) -> None:
    with pytest.raises(Problem) as caught:
        params(body)
    assert caught.value.status == 400


@pytest.mark.parametrize("end", ["", "; boundary=", "; boundary=" + "x" * 1000])
def test_a_boundary_is_needed(end: str) -> None:
    with pytest.raises(Problem) as caught:
        params(part('name="a"') + END, "multipart/form-data" + end)
    assert caught.value.status == 400
