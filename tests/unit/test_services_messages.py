"""What services say on descriptor 3: any bytes, in any pieces, within bounds."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jail.services.messages import (
    MAX_HEADERS,
    MAX_LINE,
    MAX_LINES,
    MAX_TOTAL,
    End,
    Error,
    Head,
    Log,
    MessageReader,
    grouped,
    parse_message,
)

KNOWN = [
    ({"type": "head", "status": 201, "headers": {"X-A": "b"}}, Head(201, (("x-a", "b"),))),
    ({"type": "head"}, Head()),
    (
        {"type": "head", "headers": {"a": 1, "set-cookie": ["x", "y"]}},
        Head(200, (("a", "1"), ("set-cookie", "x"), ("set-cookie", "y"))),
    ),
    ({"type": "log", "message": "m"}, Log("m")),
    ({"type": "log", "message": "m", "level": "warn"}, Log("m", "warn")),
    ({"type": "error", "name": "E", "message": "m", "stack": "s"}, Error("E", "m", "s")),
    ({"type": "error", "message": "m"}, Error("", "m", "")),
    ({"type": "end", "more": 1}, End()),
]
WRONG = [
    b"",
    b"{",
    b"null",
    b"[]",
    b"1",
    b'"end"',
    b"{}",
    b'{"type":"stop"}',
    b'{"type":["end"]}',
    b"\xff\xfe",
    b"[" * 9999,
    b'{"type":"head","status":"200"}',
    b'{"type":"head","status":true}',
    b'{"type":"head","status":99}',
    b'{"type":"head","status":101}',
    b'{"type":"head","status":600}',
    b'{"type":"head","headers":[]}',
    b'{"type":"head","headers":{"":"x"}}',
    b'{"type":"head","headers":{"a b":"x"}}',
    b'{"type":"head","headers":{"a:":"x"}}',
    b'{"type":"head","headers":{"\xc3\xa9":"x"}}',
    b'{"type":"head","headers":{"a":"x\\r\\nSet-Cookie: y"}}',
    b'{"type":"head","headers":{"a":"\\u0000"}}',
    b'{"type":"head","headers":{"a":"\\u2028"}}',
    b'{"type":"head","headers":{"a":null}}',
    b'{"type":"head","headers":{"a":true}}',
    b'{"type":"head","headers":{"a":["x",{}]}}',
    b'{"type":"log"}',
    b'{"type":"log","message":1}',
    b'{"type":"error","message":1}',
]


@pytest.mark.parametrize(("value", "message"), KNOWN)
def test_a_message(value: object, message: object) -> None:
    assert parse_message(json.dumps(value).encode()) == message


@pytest.mark.parametrize("line", WRONG, ids=lambda line: repr(line[:40]))
def test_what_is_no_message(line: bytes) -> None:
    assert parse_message(line) is None


def test_too_many_header_fields() -> None:
    many = {"type": "head", "headers": {"a": ["x"] * (MAX_HEADERS + 1)}}
    assert parse_message(json.dumps(many).encode()) is None


def test_what_cannot_be_encoded_is_replaced() -> None:
    assert parse_message(b'{"type":"log","message":"\\ud800"}') == Log("?")


def stream(values: list[object]) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


@given(st.lists(st.sampled_from(KNOWN), max_size=8), st.lists(st.integers(0, 400), max_size=8), st.booleans())
def test_pieces_of_any_size_make_the_same_messages(
    chosen: list[tuple[object, object]], cuts: list[int], newline: bool
) -> None:
    data = stream([value for value, _ in chosen])
    data = data if newline else data.removesuffix(b"\n")
    reader = MessageReader()
    found = []
    before = 0
    for cut in [*sorted(cuts), len(data)]:
        found += reader.feed(data[before:cut])
        before = max(before, cut)
    assert [*found, *reader.finish()] == [message for _, message in chosen]
    assert reader.malformed == 0


@given(st.lists(st.binary(max_size=200), max_size=30))
def test_nothing_raises_and_nothing_is_kept(pieces: list[bytes]) -> None:
    reader = MessageReader()
    for piece in pieces:
        reader.feed(piece)
        assert len(reader._part) <= MAX_LINE
    reader.finish()


MIXED = st.one_of(st.sampled_from(KNOWN), st.sampled_from([(line, None) for line in WRONG]))


@given(st.lists(MIXED, max_size=9))
def test_what_is_wrong_is_counted_and_what_follows_is_read(mixed: list[tuple[object, object]]) -> None:
    lines = [value if isinstance(value, bytes) else json.dumps(value).encode() for value, _ in mixed]
    reader = MessageReader()
    found = reader.feed(b"".join(line + b"\n" for line in lines))
    assert found == [message for _, message in mixed if message is not None]
    assert reader.malformed == sum(message is None for _, message in mixed)


def test_a_line_that_is_too_long_is_one_that_is_wrong() -> None:
    reader = MessageReader()
    long = b'{"type":"log","message":"' + b"x" * MAX_LINE + b'"}\n'
    for start in range(0, len(long), 1000):
        assert reader.feed(long[start : start + 1000]) == []
    assert reader.feed(b'{"type":"end"}\n') == [End()]
    assert (reader.malformed, reader.full) == (1, False)


def test_the_longest_line() -> None:
    start, end = b'{"type":"log","message":"', b'"}'
    text = b"x" * (MAX_LINE - len(start + end))
    assert MessageReader().feed(start + text + end + b"\n") == [Log(text.decode())]


def test_a_flood_of_lines_ends_the_reading() -> None:
    reader = MessageReader()
    assert len(reader.feed(b'{"type":"end"}\n' * (MAX_LINES + 10))) == MAX_LINES
    assert reader.full
    assert reader.feed(b'{"type":"end"}\n') == [] and reader.finish() == []


def test_a_flood_without_lines_ends_the_reading() -> None:
    reader = MessageReader()
    for _ in range(MAX_TOTAL // 65536):
        assert reader.feed(b"x" * 65536) == []
    assert not reader.full
    reader.feed(b"x")
    assert reader.full and not reader._part


def test_grouped() -> None:
    assert grouped([("a", "1"), ("b", "2"), ("a", "3")]) == {"a": ["1", "3"], "b": "2"}
