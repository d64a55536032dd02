"""One connection: uvicorn's protocol over h11, with the limits of time that it lacks, and with an eye on
clients that go away.

A client that has closed its sending side counts as gone, also where nothing is read from it because the
service does not take its body: then only epoll(7) tells, EPOLLRDHUP.
"""

from __future__ import annotations

import asyncio
import json
import select
import socket
import struct
import sys
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

LINGER = 2.0
"""Seconds for which the rest of a body is taken and thrown away after the response, so that it arrives."""
MAX_HEAD = 32 << 10
FULL = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\nretry-after: 1\r\n\r\n"


class Hangups:
    """Tells connections that their clients have closed, whether or not they are being read."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.epoll = select.epoll()
        self.known: dict[int, Connection] = {}
        loop.add_reader(self.epoll.fileno(), self._look)

    def add(self, descriptor: int, connection: Connection) -> None:
        self.known[descriptor] = connection
        self.epoll.register(descriptor, select.EPOLLRDHUP | select.EPOLLONESHOT)

    def remove(self, descriptor: int) -> None:
        if self.known.pop(descriptor, None) is not None:
            try:
                self.epoll.unregister(descriptor)
            except OSError:
                pass  # closed already

    def _look(self) -> None:
        for descriptor, _ in self.epoll.poll(0):
            if descriptor in self.known:
                self.known[descriptor].hung_up()


class Framed(h11.Connection):
    """Refuses requests whose end a proxy may see elsewhere: what it takes for a body would be a request here
    (RFC 9112, 6.1)."""

    def next_event(self) -> Any:
        event = super().next_event()
        if isinstance(event, h11.Request):
            names = {name for name, _ in event.headers}
            if b"transfer-encoding" in names and (b"content-length" in names or event.http_version < b"1.1"):
                raise h11.RemoteProtocolError("Transfer-Encoding with Content-Length, or with HTTP/1.0")
        return event


class Connection(H11Protocol):
    """In each request's scope as `state["connection"]`."""

    hangups: Hangups
    header_timeout = 10.0
    most = 1024

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, {**app_state, "connection": self}, _loop)
        self.conn = Framed(h11.SERVER, MAX_HEAD)
        self.gone = asyncio.Event()
        """Nobody waits for a response any more."""
        self._timer: asyncio.TimerHandle | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._descriptor = -1

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.write(FULL)
            transport.close()
            return
        self._descriptor = transport.get_extra_info("socket").fileno()
        self.hangups.add(self._descriptor, self)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self.hangups.remove(self._descriptor)
        super().connection_lost(exc)
        for timer in (self._timer, self._linger, self.timeout_keep_alive_task):
            if timer is not None:
                timer.cancel()
        self.gone.set()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_head()
        if self._linger is not None and self.conn.their_state is not h11.SEND_BODY:
            self._linger.cancel()
            self._linger = None

    def _watch_head(self) -> None:
        """A request's head must be complete in time, from its first byte or the connection's begin."""
        waiting = self.conn.their_state is h11.IDLE and self.timeout_keep_alive_task is None
        if waiting and self._timer is None:
            self._timer = self.loop.call_later(self.header_timeout, self._late)
        elif not waiting and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        if self.conn.trailing_data[0]:
            self.refuse(408, "the request's head took too long")
        else:
            self.transport.close()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY and not self.transport.is_closing():
            self._linger = self.loop.call_later(LINGER, self.transport.abort)
        self._watch_head()

    @property
    def busy(self) -> bool:
        """Whether a request has come and its response is not complete."""
        cycle: Any = self.cycle  # None before the first
        return cycle is not None and not cycle.response_complete

    def hung_up(self) -> None:
        """The client sends nothing any more."""
        if self.busy:
            self.cycle.disconnected = True
            self.gone.set()
            self.transport.abort()

    def break_off(self) -> None:
        """End a response so that the client sees that it is not whole: no last chunk, too few bytes, or,
        where the end of the connection would pass for the end of the body, a reset."""
        self.cycle.disconnected = True
        self.gone.set()
        if self.cycle.scope["http_version"] == "1.0" and self.cycle.response_started:
            sock = self.transport.get_extra_info("socket")
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
        else:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """What h11 cannot read."""
        error = sys.exc_info()[1]
        self.refuse(getattr(error, "error_status_hint", 400), "the request is not HTTP as it should be")

    def refuse(self, status: int, detail: str) -> None:
        """Answer without the application, and close."""
        if self.busy:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self.gone.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps({"type": "about:blank", "status": status, "detail": detail}).encode() + b"\n"
            self.transport.write(
                b"HTTP/1.1 %d %s\r\ncontent-type: application/problem+json\r\ncontent-length: %d\r\n"
                b"connection: close\r\n\r\n%s"
                % (status, REASONS.get(status, b"Bad Request"), len(body), body)
            )
        self.transport.close()


REASONS = {408: b"Request Timeout", 431: b"Request Header Fields Too Large", 501: b"Not Implemented"}
