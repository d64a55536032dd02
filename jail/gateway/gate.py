"""How much is let in: requests at a time and by the second, of a service and of each of its clients."""

from __future__ import annotations

import ipaddress
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jail.gateway.problem import Problem
from jail.services.settings import Settings

MAX_CLIENTS = 10_000
"""Clients that are remembered at a time; the longest idle is forgotten first."""


class Bucket:
    """A token bucket: `rate` by the second on the average, as many at once as come in a second (at least
    one)."""

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self.size = max(1.0, rate)
        self.level = self.size
        self.at = now

    def take(self, now: float) -> float:
        """0 if there was one; else the seconds until there is."""
        self.level = min(self.size, self.level + (now - self.at) * self.rate)
        self.at = now
        if self.level >= 1:
            self.level -= 1
            return 0.0
        return (1 - self.level) / self.rate

    def give_back(self) -> None:
        """What was taken was not used."""
        self.level += 1


class Share:
    """What one party, a service or a client of it, may use and uses."""

    def __init__(self, most: int, rate: float | None, now: float) -> None:
        self.most = most
        self.live = 0
        self.bucket = None if rate is None else Bucket(rate, now)


class Gate:
    """Of one service."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self.clock = clock
        self.own = Share(settings.concurrency, settings.rate, clock())
        self.clients: dict[str, Share] = {}

    @contextmanager
    def passed(self, client: str) -> Iterator[None]:
        """For as long as a request lasts. Raises Problem with status 429."""
        share = self._share(client_key(client))
        taken: list[Bucket] = []
        try:
            for each, who in ((share, "of this client"), (self.own, "of this service")):
                if each.live >= each.most:
                    raise too_many(f"too many requests {who} are under way", 1)
                wait = each.bucket.take(self.clock()) if each.bucket else 0.0
                if wait:
                    raise too_many(f"too many requests {who} in a short time", wait)
                if each.bucket:
                    taken.append(each.bucket)
        except Problem:
            for bucket in taken:
                bucket.give_back()
            raise
        self.own.live += 1
        share.live += 1
        try:
            yield
        finally:
            self.own.live -= 1
            share.live -= 1

    def _share(self, key: str) -> Share:
        share = self.clients.pop(key, None)
        if share is None:
            share = Share(self.settings.client_concurrency, self.settings.client_rate, self.clock())
        self.clients[key] = share  # the last in order is the one that came last
        if len(self.clients) > MAX_CLIENTS:
            idle = next((name for name, each in self.clients.items() if not each.live), None)
            if idle is not None and idle != key:
                del self.clients[idle]
        return share


def too_many(detail: str, wait: float) -> Problem:
    """429, with the time after which to come again."""
    return Problem(429, detail, headers=[(b"retry-after", b"%d" % math.ceil(wait))])


def client_key(client: str) -> str:
    """Who counts as one client: an IPv4 address, a /64 of IPv6."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address), 64), strict=False).network_address)
    return client
