"""`Ahead`: services whose runners are started before their requests come, each for one request.

A runner reads its request up to the end of descriptor 4 before it looks at the service's code
(jail/services/runners), so it is started with a pipe there whose other end is kept here. What was started
ahead is a jail as any other, but for the time limit: that begins with the request, so it is held here, by
TERM and then, by the jail's supervisor, KILL.
"""

from __future__ import annotations

import os
import threading
import time

import anyio
from anyio.to_thread import run_sync

from jail.aio import AsyncProcess, SendStream
from jail.errors import JailError
from jail.keeper import Keeper
from jail.outcome import Outcome
from jail.services.exchange import Exchange, open_exchange
from jail.services.request import Request
from jail.services.service import CODE, MESSAGES, REQUEST, Service, sealed
from jail.standby import WARM_UP, select_now
from jail.started import Started, Wanted, begin_new, outcome_with
from jail.streams import PIPE
from rlimits import INFINITY

MAX_AGE = 600.0
TRIES = 3
ENDED_BY_TERM = ("signaled", "killed", "exited")


class Ahead:
    """Keeps as many runners of each service ready as its settings say (`pool`), from its first request on.

    `open` stands in the place of `open_exchange`. A service that has no runner, or a limit on idle or CPU
    time, which a jail that waits would use up, is started when its request comes; so is one where none is
    ready.
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
            keeper.refill()

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
                lambda: Waiting(service), service.settings.pool, max_age=self._max_age, warm_up=WARM_UP
            )
            for old in olds:
                await run_sync(old.close)
        return found


def can_wait(service: Service) -> bool:
    """Whether its runner can be started before its request comes."""
    if not service.has_runner or service.settings.pool == 0:
        return False
    clocks = (service.jail.limits.idle_timeout, service.jail.limits.cpu_time)
    return all(clock in (None, INFINITY) for clock in clocks)


def stamp(service: Service) -> object:
    """The service's file as it is now: what was started with another one is of no use."""
    if service.path is None:
        return None
    try:
        found = os.stat(service.path)
    except OSError:
        return False
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


class Waiting:
    """A runner that waits for its request; see keeper.Waiting. Raises what `jail.start` raises."""

    gate = -1

    def __init__(self, service: Service) -> None:
        self._service = service
        self._stamp = stamp(service)
        self._since = time.monotonic()
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
            box = service.jail.with_limits(timeout=INFINITY)
            self._running, self._ends = begin_new(
                box, Wanted(service.command, (PIPE, PIPE, PIPE), descriptors, {})
            )
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
        """Hand over the request; None where the runner has ended."""
        process = AsyncProcess._with(self._service.command, self._running, self._ends)
        deadline = self._service.deadline_ms
        exchange = Exchange(process, self._messages, Deadline(process, deadline, self._since))
        asked = SendStream(self._request)
        try:
            await asked.send(request.to_json())
            return exchange
        except anyio.BrokenResourceError:
            await exchange.aclose()
            return None
        except BaseException:
            await exchange.aclose()
            raise
        finally:
            await close_now(asked)


async def close_now(stream: SendStream) -> None:
    """Close it also where a cancellation has come."""
    with anyio.CancelScope(shield=True):
        await stream.aclose()


class Deadline:
    """Ends a service after a number of milliseconds from now; None: never. `since`: when its jail was
    started."""

    def __init__(self, process: Started, milliseconds: int | None, since: float) -> None:
        self._process = process
        self._waited = time.monotonic() - since
        self._lock = threading.Lock()
        self._passed = False
        self._timer: threading.Timer | None = None
        if milliseconds is not None:
            self._timer = threading.Timer(milliseconds / 1000, self._pass)
            self._timer.daemon = True
            self._timer.start()

    def _pass(self) -> None:
        with self._lock:
            if self._timer is not None and not select_now(self._process.pidfd):
                self._passed = True
                self._process.terminate()

    def outcome(self, outcome: Outcome) -> Outcome:
        self.stop()
        wall = max(0.0, (outcome.wall_seconds or 0.0) - self._waited)
        if not self._passed or outcome.status not in ENDED_BY_TERM:
            return outcome_with(outcome, wall_seconds=wall)
        return outcome_with(
            outcome, status="timed-out", wall_seconds=wall, limits_hit=(*outcome.limits_hit, "timeout")
        )

    def stop(self) -> None:
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
