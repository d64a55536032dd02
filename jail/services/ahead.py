"""`Ahead`: services whose runners are started before their requests come, each for one request.

A runner reads its request up to the end of descriptor 4 before it looks at the service's code
(jail/services/runners), so it is started with a pipe there whose other end is kept here. What was started
ahead is a jail as any other, but that its clocks stand still until the request comes.
"""

from __future__ import annotations

import math
import os
import socket

import anyio
from anyio.to_thread import run_sync

from jail.aio import AsyncProcess, SendStream
from jail.errors import JailError
from jail.keeper import Keeper
from jail.requests import answered, send, take
from jail.services.exchange import Exchange, open_exchange
from jail.services.request import Request
from jail.services.service import CODE, MESSAGES, REQUEST, Service, sealed
from jail.standby import WARM_UP, select_now
from jail.started import Wanted, begin_new
from jail.streams import PIPE

MAX_AGE = 600.0
TRIES = 3
HEAD_START = 0.05
"""Seconds that a request has before another runner is started in the place of its own."""


class Ahead:
    """Keeps as many runners of each service ready as its settings say (`pool`), from its first request on.

    `open` stands in the place of `open_exchange`. A service that has no runner is started when its request
    comes; so is one where none is ready.
    """

    def __init__(self, max_age: float = MAX_AGE) -> None:
        self._max_age = max_age
        self._keepers: dict[Service, Keeper[Waiting]] = {}

    async def open(self, service: Service, request: Request) -> Exchange:
        """As open_exchange."""
        if not can_wait(service):
            return await open_exchange(service, request)
        keeper = await self._keeper(service)
        try:
            for _ in range(TRIES):
                waiting = keeper.take(stamp(service))
                if waiting is None:
                    break
                exchange = await waiting.begin(request)
                if exchange is not None:
                    return exchange
            return await open_exchange(service, request)
        finally:
            keeper.refill(HEAD_START)

    def ready(self, service: Service) -> int:
        """How many of its runners wait."""
        return self._keepers[service].ready if service in self._keepers else 0

    def close(self) -> None:
        """End all that wait; comes back when they have ended. Exchanges go on."""
        while self._keepers:
            self._keepers.popitem()[1].close()

    async def _keeper(self, service: Service) -> Keeper[Waiting]:
        """The service's own; those of what its file or its settings were before are ended."""
        found = self._keepers.get(service)
        if found is None:
            name = (service.path, service.name)
            others = [each for each in self._keepers if (each.path, each.name) == name]
            olds = [self._keepers.pop(other) for other in others]
            found = self._keepers[service] = Keeper(
                lambda: Waiting(service), service.settings.pool, max_age=self._max_age
            )
            for old in olds:
                await run_sync(old.close)
        return found


def can_wait(service: Service) -> bool:
    """Whether its runner can be started before its request comes."""
    return service.has_runner and service.settings.pool > 0


def stamp(service: Service) -> object:
    """The service's file, or folder, as it is now: what was started with another one is of no use."""
    if service.path is None:
        return None
    try:
        found = os.stat(service.path)
    except OSError:
        return False
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


class Waiting:
    """A runner that waits for its request; see keeper.Waiting. Raises what `jail.start` raises."""

    gate, deadline = -1, math.inf

    def __init__(self, service: Service) -> None:
        self._service = service
        self._stamp = stamp(service)
        opened: list[int] = []
        try:
            self._messages, theirs = os.pipe()
            opened += [theirs, self._messages]
            asked, self._request = os.pipe()
            opened += [asked, self._request]
            descriptors = {MESSAGES: theirs, REQUEST: asked}
            if service.code is not None:
                descriptors[CODE] = sealed(service.code, "code")
                opened.append(descriptors[CODE])
            wanted = Wanted(service.command, (PIPE, PIPE, PIPE), descriptors, {})
            self._running, self._ends = begin_new(service.jail, wanted, ahead=True)
            for ours in (self._messages, self._request):
                opened.remove(ours)
        finally:
            for descriptor in opened:
                os.close(descriptor)

    @property
    def pidfd(self) -> int:
        return self._running.pidfd

    def look(self) -> bool:
        return True

    def fits(self, key: object) -> bool:
        return self._stamp == key and not select_now(self.pidfd)

    def kill(self) -> None:
        self._running.kill()

    def close(self) -> None:
        self._ends.close_all()
        for descriptor in (self._messages, self._request):
            os.close(descriptor)
        if select_now(self.pidfd):
            try:
                self._running.finish()  # it is reaped
            except JailError:
                pass
        self._running.close()

    async def begin(self, request: Request) -> Exchange | None:
        """Hand over the request, with which the clocks start; None where the runner has ended."""
        process = AsyncProcess._with(self._service.command, self._running, self._ends)
        exchange = Exchange(process, self._messages)
        asked = SendStream(self._request)
        try:
            with self._running.connect() as clocks:
                send(clocks, "begin")
                await asked.send(request.to_json())
                await close_now(asked)
                await self._begun(clocks)
            return exchange
        except (anyio.BrokenResourceError, ProcessLookupError):
            await exchange.aclose()
            return None
        except BaseException:
            await exchange.aclose()
            raise
        finally:
            await close_now(asked)

    async def _begun(self, clocks: socket.socket) -> None:
        """The clocks run, or nothing does. The runner is at work meanwhile: whatever has become of it, no
        other gets its request."""
        with anyio.move_on_after(WARM_UP):
            await anyio.wait_readable(clocks)
        clocks.setblocking(False)
        try:
            answered(take(clocks))
        except OSError:
            self.kill()


async def close_now(stream: SendStream) -> None:
    """Close it also where a cancellation has come."""
    with anyio.CancelScope(shield=True):
        await stream.aclose()
