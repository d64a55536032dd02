"""Where a request ends: what is not clear is refused, nothing of a body or of trailers becomes a request."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from support.gateway import Gateway, gateway, received

POST = b"POST /seen/first HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n"
NEXT = b"GET /seen/next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
BODY = b"3\r\nabc\r\n0\r\n\r\n"
SEEN = """
import json
def handler(req, res):
    seen = {"method": req.method, "path": req.path, "headers": dict(req.headers), "body": req.text()}
    return "<" + json.dumps(seen) + ">"
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    options = ["--no-admin", "--header-timeout", "1s", "--stall-timeout", "1s"]
    with gateway(tmp_path_factory.mktemp("framing"), options) as made:
        made.service("seen.py", SEEN, pool=2)
        yield made


def answers(served: Gateway, sent: bytes) -> tuple[list[int], list[dict[str, Any]]]:
    """The statuses on one connection, and the requests that the service saw."""
    connection = served.raw()
    connection.sendall(sent)
    came = received(connection)
    statuses = [int(status) for status in re.findall(rb"HTTP/1\.1 ([2-5]\d\d)", came)]
    return statuses, [json.loads(seen) for seen in re.findall(rb"<(\{.*?\})>", came, re.DOTALL)]


ACCEPTED = {
    "trailers": CHUNKED + b"\r\n3\r\nabc\r\n0\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n"
    b"Host: y\r\n\r\n",
    "many trailers": CHUNKED + b"\r\n3\r\nabc\r\n0\r\n" + b"X: y\r\n" * 500 + b"\r\n",
    "folded": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + BODY,
    "extension": CHUNKED + b"\r\n3;a=b\r\nabc\r\n0\r\n\r\n",
    "one length": POST + b"Content-Length: 3, 3\r\n\r\nabc",
    "expects": POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_body_ends_where_it_ends(served: Gateway, name: str) -> None:
    statuses, seen = answers(served, ACCEPTED[name] + NEXT)
    assert statuses == [200, 200]
    assert [(each["method"], each["path"], each["body"]) for each in seen] == [
        ("POST", "/first", "abc"),
        ("GET", "/next", ""),
    ]
    assert set(seen[0]["headers"]) <= {"host", "content-length", "expect"}
    assert seen[0]["headers"]["host"] == "x", "a trailer is no header field"


def test_a_request_in_a_body_is_a_body(served: Gateway) -> None:
    statuses, seen = answers(served, POST + b"Content-Length: %d\r\n\r\n" % len(NEXT) + NEXT + NEXT)
    assert statuses == [200, 200]
    assert seen[0]["body"] == NEXT.decode()


REFUSED = {
    "both": POST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    "both, the other way": CHUNKED + b"Content-Length: 3\r\n\r\n" + BODY,
    "1.0": b"POST /seen HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n" + BODY,
    "chunked twice": CHUNKED + b"Transfer-Encoding: chunked\r\n\r\n" + BODY,
    "gzip": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + BODY,
    "identity": POST + b"Transfer-Encoding: identity\r\n\r\n",
    "no coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n" + BODY,
    "control": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + BODY,
    "space": POST + b"Transfer-Encoding : chunked\r\n\r\n" + BODY,
    "two lengths": POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    "two in one": POST + b"Content-Length: 3, 4\r\n\r\nabc",
    "plus": POST + b"Content-Length: +3\r\n\r\nabc",
    "underscore": POST + b"Content-Length: 1_0\r\n\r\nabcdefghij",
    "negative": POST + b"Content-Length: -1\r\n\r\nabc",
    "long": POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nabc",
    "superscript": POST + b"Content-Length: \xb2\r\n\r\nabc",
    "chunk 0x": CHUNKED + b"\r\n0x3\r\nabc\r\n0\r\n\r\n",
    "chunk +": CHUNKED + b"\r\n+3\r\nabc\r\n0\r\n\r\n",
    "chunk LF": CHUNKED + b"\r\n3\nabc\r\n0\r\n\r\n",
    "chunk extension LF": CHUNKED + b"\r\n3;a\nb\r\nabc\r\n0\r\n\r\n",
    "chunk end": CHUNKED + b"\r\n3\r\nabcXX0\r\n\r\n",
    "bad trailer": CHUNKED + b"\r\n3\r\nabc\r\n0\r\nno colon\r\n\r\n",
    "NUL": POST + b"X-A: a\0b\r\n\r\n",
    "CR": POST + b"X-A: a\rX-B: b\r\n\r\n",
    "two hosts": POST + b"Host: y\r\n\r\n",
    "no host": b"GET /seen HTTP/1.1\r\n\r\n",
    "line": b"GET /seen HTTP/1.1 HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_clear_is_the_last_of_its_connection(served: Gateway, name: str) -> None:
    statuses, seen = answers(served, REFUSED[name] + NEXT)
    assert len(statuses) == 1 and statuses[0] in (400, 431, 501)
    assert seen == []


def test_a_chunk_that_never_comes_is_given_up(served: Gateway) -> None:
    assert answers(served, CHUNKED + b"\r\n" + b"f" * 20 + b"\r\nabc\r\n0\r\n\r\n" + NEXT) == ([408], [])


def test_trailers_without_end_are_given_up(served: Gateway) -> None:
    assert answers(served, CHUNKED + b"\r\n3\r\nabc\r\n0\r\nX: " + b"y" * 100_000) == ([431], [])
