"""How long the gateway waits for the body of a request before a jail runs."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from jail.gateway.ledger import Entry
from jail.gateway.message import Body
from jail.gateway.problem import Problem


def body_of(*parts: bytes, then_drip: bool = False) -> Body:
    waiting = list(parts)

    async def receive() -> MutableMapping[str, Any]:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting) or then_drip}
        await asyncio.sleep(0.001)  # each in time
        return {"type": "http.request", "body": b".", "more_body": True}

    return Body(receive, 1 << 20, 0.05, Entry("id", "client", "POST", "/"))


def test_a_form_that_drips_is_not_waited_for() -> None:
    """Each part comes in time, but not all: it would hold the place of a request for as long as it likes."""
    with pytest.raises(Problem) as caught:
        asyncio.run(body_of(b"a=", then_drip=True).begin(1 << 20))
    assert caught.value.status == 408


def test_what_was_read_ahead_comes_first() -> None:
    async def read() -> tuple[bool, list[bytes]]:
        body = body_of(b"a=", b"1", b"&b=2")
        await body.begin(2)
        return body.whole, [part async for part in body.parts()]

    assert asyncio.run(read()) == (False, [b"a=1", b"&b=2"])
