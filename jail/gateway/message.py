"""A request's body as it comes in and a response as it goes out, over ASGI: counted, and with an end to the
patience with clients that stall."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

from jail.gateway.ledger import Entry
from jail.gateway.problem import Headers, Problem

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Scope = MutableMapping[str, Any]


TOO_LONG = "the request's body took too long"


class Gone(Exception):  # noqa: N818
    """The client has gone away, or takes nothing any more."""


class Broken(Exception):  # noqa: N818
    """The response has begun and cannot be completed: the connection must say so."""


class Body:
    """The body of a request, of at most `most` bytes, read as it is wanted."""

    def __init__(self, receive: Receive, most: int, stall: float, entry: Entry) -> None:
        self.receive = receive
        self.most = most
        self.stall = stall
        self.entry = entry
        self.read = b""
        """What was read ahead; `parts` begins with it."""
        self.whole = False

    async def begin(self, most: int) -> None:
        """Read ahead, all of it or more than `most` bytes. No jail runs yet whose time would end: so that
        comes within the time that else each part has, or it is a Problem."""
        parts, size = [], 0
        try:
            async with asyncio.timeout(self.stall):
                while not self.whole and size <= most:
                    parts.append(await self._next())
                    size += len(parts[-1])
        except TimeoutError:
            raise Problem(408, TOO_LONG) from None
        self.read = b"".join(parts)

    async def parts(self) -> AsyncIterator[bytes]:
        """All of it. Raises Problem, Gone."""
        if self.read:
            read, self.read = self.read, b""
            yield read
        while not self.whole:
            part = await self._next()
            if part:
                yield part

    async def _next(self) -> bytes:
        try:
            async with asyncio.timeout(self.stall):
                message = await self.receive()
        except TimeoutError:
            raise Problem(408, TOO_LONG) from None
        if message["type"] == "http.disconnect":
            raise Gone
        part: bytes = message.get("body", b"")
        self.whole = not message.get("more_body", False)
        self.entry.received += len(part)
        if self.entry.received > self.most:
            raise Problem(413, f"the body is larger than {self.most} bytes")
        return part


class Reply:
    """The response to one request."""

    def __init__(self, send: Send, stall: float, entry: Entry) -> None:
        self._send = send
        self.stall = stall
        self.entry = entry
        self.fields: Headers = [(b"x-request-id", entry.id.encode())]
        self.started = False
        self.left: int | None = None

    async def start(self, status: int, fields: Headers, length: int | None = None) -> None:
        """The head; `length`: what it promises of the body."""
        self.started = True
        self.left = length
        self.entry.status = status
        await self._give(
            {"type": "http.response.start", "status": status, "headers": [*self.fields, *fields]}
        )

    async def write(self, data: bytes) -> None:
        """A part of the body. Raises Broken where it is more than was promised, Gone."""
        excess = self.left is not None and len(data) > self.left
        if self.left is not None:
            data = data[: self.left]
            self.left -= len(data)
        if data:
            self.entry.sent += len(data)
            await self._give({"type": "http.response.body", "body": data, "more_body": True})
        if excess:
            raise Broken("the service sent more than its Content-Length says")

    async def finish(self) -> None:
        """The body is whole. Raises Broken where it is shorter than was promised."""
        if self.left:
            raise Broken("the service sent less than its Content-Length says")
        await self._give({"type": "http.response.body", "body": b"", "more_body": False})

    async def problem(self, problem: Problem, accept: str) -> None:
        """The whole response."""
        status, fields, body = problem.response(accept, self.entry.id)
        await self.start(status, fields)
        await self._give({"type": "http.response.body", "body": body, "more_body": False})

    async def _give(self, message: MutableMapping[str, Any]) -> None:
        try:
            async with asyncio.timeout(self.stall):
                await self._send(message)
        except TimeoutError:
            raise Gone("the client takes nothing any more") from None
