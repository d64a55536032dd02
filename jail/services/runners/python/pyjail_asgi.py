"""An ASGI application (version 3) as a service, its lifespan included."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import unquote

from pyjail_http import PIECE, Request, Response
from pyjail_wsgi import grouped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ASGI = {"version": "3.0", "spec_version": "2.3"}


def scope_of(request: Request, state: dict[str, Any]) -> dict[str, Any]:
    """What the application is told."""
    host, _, port = request.headers.get("host", "localhost").partition(":")
    fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers.items()]
    return {
        "type": "http",
        "asgi": ASGI,
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": unquote(request.path),
        "raw_path": request.path.encode(),
        "query_string": request.url.partition("?")[2].encode(),
        "root_path": "",
        "headers": fields,
        "client": (request.remote, 0) if request.remote else None,
        "server": (host, int(port) if port.isdigit() else 80),
        "state": state.copy(),
    }


async def serve_asgi(app: Callable[..., Awaitable[None]], request: Request, response: Response) -> None:
    state: dict[str, Any] = {}
    lifespan = Lifespan(app, state)
    await lifespan.start()
    more = True

    async def receive() -> dict[str, Any]:
        nonlocal more
        if not more:
            await asyncio.Event().wait()  # who has gone is noticed when writing
        body = await asyncio.to_thread(request.stream.read1, PIECE)
        more = bool(body)
        return {"type": "http.request", "body": body, "more_body": more}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            response.status = message["status"]
            fields = message.get("headers", ())
            response.headers = grouped((str(name, "latin-1"), str(text, "latin-1")) for name, text in fields)
        elif message["type"] == "http.response.body":
            if message.get("body"):
                response.write(message["body"])
            if not message.get("more_body", False):
                response.flush()
                response.end()

    await app(scope_of(request, state), receive, send)
    await lifespan.stop()


class Lifespan:
    """The application's start and stop. One that knows of neither raises, which is no error."""

    def __init__(self, app: Callable[..., Awaitable[None]], state: dict[str, Any]) -> None:
        self._asked: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self._answers: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        scope = {"type": "lifespan", "asgi": ASGI, "state": state}
        self._task = asyncio.ensure_future(app(scope, self._asked.get, self._answers.put))
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def start(self) -> None:
        """Raises RuntimeError where the application says that it cannot start."""
        answer = await self._ask("startup")
        if answer.get("type") == "lifespan.startup.failed":
            raise RuntimeError(answer.get("message") or "the application could not start")

    async def stop(self) -> None:
        await self._ask("shutdown")
        self._task.cancel()

    async def _ask(self, what: str) -> dict[str, str]:
        """What the application answers; nothing where it has ended."""
        await self._asked.put({"type": f"lifespan.{what}"})
        answer = asyncio.ensure_future(self._answers.get())
        await asyncio.wait((answer, self._task), return_when=asyncio.FIRST_COMPLETED)
        return answer.result() if answer.done() else {}
