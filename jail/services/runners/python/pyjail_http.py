"""The request and the response as services know them."""

from __future__ import annotations

import json
import os
import select
import sys
from collections.abc import AsyncIterator, Iterator, Mapping

import pyjail_tell as tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from io import BufferedReader
    from typing import Any

PIECE = 1 << 16
BODY = 1


class Headers(dict[str, str]):
    """Header fields, found whatever the case of their names."""

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.lower())

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)


class Request:
    """What was asked. The body is a stream: `read`, `readline`, iteration over pieces, plain or async."""

    def __init__(self, asked: Mapping[str, Any]) -> None:
        self.id: str = asked["id"]
        self.method: str = asked["method"]
        self.url: str = asked["url"]
        self.path: str = asked["path"]
        self.remote: str = asked["remote"]
        self.headers = Headers(asked["headers"])
        self.params: Any = asked["params"]
        self.deadline_ms: int | None = asked["deadline_ms"]
        self.env = dict(os.environ)
        self.stream: BufferedReader = sys.stdin.buffer  # type: ignore[assignment]

    def read(self, size: int = -1) -> bytes:
        return self.stream.read(size)

    def readline(self, size: int = -1) -> bytes:
        return self.stream.readline(size)

    def __iter__(self) -> Iterator[bytes]:
        while part := self.stream.read1(PIECE):
            yield part

    async def __aiter__(self) -> AsyncIterator[bytes]:
        import asyncio

        while part := await asyncio.to_thread(self.stream.read1, PIECE):
            yield part

    def text(self, encoding: str = "utf-8") -> str:
        return self.read().decode(encoding, "replace")

    def json(self) -> Any:
        return json.loads(self.read())


class Response:
    """The answer. Status and header fields leave with the first byte of the body, or when `flush` is
    called."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: dict[str, str | list[str]] = {}
        self.head_sent = False
        self.ended = False
        self.open = True
        """Whether somebody reads it."""

    def set_header(self, name: str, value: str | list[str]) -> None:
        self.headers[name] = value

    def write_head(self, status: int, headers: Mapping[str, str | list[str]] | None = None) -> None:
        self.status = status
        self.headers.update(headers or {})
        self._send_head()

    def flush(self) -> None:
        """Let status and header fields go, before any body."""
        if not self.head_sent:
            self._send_head()

    def write(self, data: str | bytes | bytearray | memoryview) -> None:
        """Waits until the reader takes it. Raises BrokenPipeError where nobody reads."""
        if self.ended:
            raise ValueError("the response has ended")
        if not self.head_sent and (self.status != 200 or self.headers):
            self._send_head()
        self.head_sent = True
        left = memoryview(data.encode() if isinstance(data, str) else data).cast("B")
        while left:
            try:
                left = left[os.write(BODY, left[:PIECE]) :]
            except BlockingIOError:
                select.select([], [BODY], [])
            except BrokenPipeError:
                self.open = False
                raise

    def json(self, value: Any) -> None:
        if not any(name.lower() == "content-type" for name in self.headers):
            self.headers["Content-Type"] = "application/json; charset=utf-8"
        self.end(json.dumps(value))

    def end(self, data: str | bytes = b"") -> None:
        self.write(data)
        self.ended = True

    def _send_head(self) -> None:
        if self.head_sent:
            raise ValueError("the head of the response has been sent already")
        self.head_sent = True
        tell.tell(type="head", status=int(self.status), headers=self.headers)
