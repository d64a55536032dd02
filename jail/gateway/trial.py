"""A service run from the page: the same way as any other request, with its response shown as escaped text."""

from __future__ import annotations

import asyncio
import codecs
import html
from collections.abc import AsyncIterator, MutableMapping
from types import TracebackType
from typing import Any
from urllib.parse import quote

from jail.gateway.app import USUAL, Gateway
from jail.gateway.message import Broken, Scope

MAX_SHOWN = 1 << 20
"""Characters of a body that are shown."""
MAX_HEADER = 200
WAITING = 4
"""Parts of the response that wait for the browser; the service waits then too."""
PASSED = ("state", "client", "server", "scheme", "http_version", "asgi", "type")


class Trial:
    """One run. As an async context manager it ends the service with its block."""

    def __init__(self, gateway: Gateway, scope: Scope, fields: dict[str, str]) -> None:
        self.gateway = gateway
        self.body = fields.get("body", "").encode()
        service = "" if gateway.catalogue.single else f"/{quote(fields.get('service', ''), safe='')}"
        path = service + quote("/" + fields.get("path", "").lstrip("/"), safe="/%:@!$&'()*+,;=~._-")
        self.scope: Scope = {name: scope[name] for name in PASSED if name in scope} | {
            "method": fields.get("method") if fields.get("method") in USUAL else "GET",
            "path": path,
            "raw_path": path.encode("ascii"),
            "query_string": quote(fields.get("query", ""), safe="/%:@!$&'()*+,;=~._-?").encode("ascii"),
            "headers": [(b"content-type", b"application/x-www-form-urlencoded")] if self.body else [],
        }
        self.parts: asyncio.Queue[str | None] = asyncio.Queue(WAITING)
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.left = MAX_SHOWN
        self.entry = gateway.entry_of(self.scope)
        self.broken = False
        self.task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Trial:
        self.task = asyncio.create_task(self._work())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.wait([self.task])

    async def output(self) -> AsyncIterator[str]:
        """The response as HTML that holds nothing but text."""
        while (part := await self.parts.get()) is not None:
            yield part

    def verdict(self) -> str:
        """How it ended, as HTML."""
        entry = self.entry
        words = [entry.verdict, f"{entry.seconds * 1000:.0f} ms", f"{entry.sent} bytes", entry.id]
        if self.broken:
            words.insert(1, "the response was broken off")
        return html.escape(" · ".join(words))

    async def _work(self) -> None:
        try:
            await self.gateway.answer(self.entry, self.scope, self._receive, self._send)
        except Broken:
            self.broken = True
        await self.parts.put(None)

    async def _receive(self) -> MutableMapping[str, Any]:
        body, self.body = self.body, b""
        return {"type": "http.request", "body": body, "more_body": False}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            await self.parts.put(head_shown(message))
            return
        text = self.decoder.decode(message["body"], not message["more_body"])
        if text and self.left:
            shown, self.left = text[: self.left], max(0, self.left - len(text))
            await self.parts.put(
                html.escape(shown) + ("" if self.left else "\n… and more, which is not shown")
            )


def head_shown(message: MutableMapping[str, Any]) -> str:
    """Status and header fields, as HTML."""
    lines = [f"{message['status']}"]
    lines += [
        f"{name.decode()}: {value.decode('latin-1')}"[:MAX_HEADER] for name, value in message["headers"]
    ]
    return f'<span class="head">{html.escape(chr(10).join(lines))}</span>\n\n'
