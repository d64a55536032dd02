"""`open_exchange`: one request to one service, under asyncio or trio.

    async with await open_exchange(service, request) as exchange:
        await exchange.stdin.aclose()
        head = await exchange.head()
        async for part in exchange.stdout: ...
        outcome = await exchange.outcome()
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import cast

import anyio

from jail.aio import AsyncProcess, ReceiveStream, SendStream, start_async
from jail.capture import PIECE
from jail.outcome import Outcome
from jail.services.messages import Error, Head, Message, MessageReader
from jail.services.request import Request
from jail.services.service import CODE, MESSAGES, REQUEST, Service, sealed
from jail.services.verdict import verdict
from jail.streams import PIPE


class Exchange:
    """An answer under way; `open_exchange` makes it. Leaving its block kills the jail."""

    def __init__(self, process: AsyncProcess, messages: int) -> None:
        self.process = process
        self.stdin = cast(SendStream, process.stdin)
        self.stdout = cast(ReceiveStream, process.stdout)
        self.stderr = cast(ReceiveStream, process.stderr)
        self.error: Error | None = None
        """The last error that the service sent, once `head` or `messages` has read it. Untrusted."""
        self.reader = MessageReader()
        self._stream = ReceiveStream(messages)
        self._waiting: deque[Message] = deque()
        self._open = True

    async def head(self) -> Head:
        """The response's head: what the service sent before its first byte of body or its end, else a plain
        200. To be called before anything of stdout is received, and before `messages`."""
        found: Head | None = None
        async with anyio.create_task_group() as group:

            async def watch_messages() -> None:
                nonlocal found
                while found is None and await self._read():
                    found = self._take_head()
                if found is not None:
                    group.cancel_scope.cancel()

            async def watch_body() -> None:
                await anyio.wait_readable(self.stdout.fileno())
                group.cancel_scope.cancel()

            group.start_soon(watch_messages)
            group.start_soon(watch_body)
        # What was written before the body is there by now, though the body was seen first.
        while found is None and self._read_now():
            found = self._take_head()
        return found or self._take_head() or Head()

    async def messages(self) -> AsyncIterator[Message]:
        """The messages until the service closes descriptor 3 or has said too much; for one consumer."""
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            if not await self._read() and not self._waiting:
                return

    async def outcome(self) -> Outcome:
        """Wait for the end of the jail. A service waits in turn for who reads its stdout and stderr."""
        return await self.process.wait()

    async def verdict(self) -> Error | None:
        """None where the service ended well, else what became of it; decided by the supervisor."""
        return verdict(await self.outcome(), self.error)

    async def aclose(self) -> None:
        """Kill the jail, wait for its end, close the streams."""
        self._shut()
        await self.process.aclose()

    async def __aenter__(self) -> Exchange:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _read(self) -> bool:
        """Read what comes; whether more may come."""
        if not self._open:
            return False
        try:
            data = await self._stream.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            data = b""
        return self._took(data)

    def _read_now(self) -> bool:
        """Read what is there; whether anything was."""
        if not self._open:
            return False
        try:
            return self._took(os.read(self._stream.fileno(), PIECE))
        except BlockingIOError:
            return False

    def _took(self, data: bytes) -> bool:
        for message in self.reader.feed(data) if data else self.reader.finish():
            if isinstance(message, Error):
                self.error = message
            self._waiting.append(message)
        if not data or self.reader.full:
            self._shut()
        return self._open

    def _take_head(self) -> Head | None:
        """The first head among what was read, if there is one."""
        for message in self._waiting:
            if isinstance(message, Head):
                self._waiting.remove(message)
                return message
        return None

    def _shut(self) -> None:
        """The service gets EPIPE from now on."""
        if self._open:
            self._open = False
            descriptor = self._stream.fileno()
            anyio.notify_closing(descriptor)
            self._stream._file.close()


async def open_exchange(service: Service, request: Request) -> Exchange:
    """Start the service's jail for a request. Raises what `start_async` raises."""
    descriptors: dict[int, int] = {}
    reader, descriptors[MESSAGES] = os.pipe()
    try:
        descriptors[REQUEST] = sealed(request.to_json(), "request")
        if service.code is not None:
            descriptors[CODE] = sealed(service.code, "code")
        process = await start_async(
            service.command,
            jail=service.jail,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            descriptors=descriptors,
            env={} if service.has_runner else request.variables(),
        )
    except BaseException:
        os.close(reader)
        raise
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)
    return Exchange(process, reader)

