"""What goes on and what went on: requests under way, the last ones, and the numbers for Prometheus.

Labels are names of services that exist and words of ours, so that no client and no service can make more time
series than there are services. All is kept within bounds.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from jail.gateway.log import Log
from jail.outcome import Outcome

KEPT = 200
SAMPLES = 500
MAX_TARGET = 200
MAX_STDERR = 8 << 10
BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)


@dataclass
class Entry:
    """One request."""

    id: str
    client: str
    method: str
    target: str
    service: str = ""
    began: float = field(default_factory=time.monotonic)
    at: float = field(default_factory=time.time)
    status: int = 0
    """Of the response; 0 before there is one."""
    seconds: float = 0.0
    received: int = 0
    sent: int = 0
    verdict: str = ""
    """How it ended: `ok`, `refused`, `gone` (the client), `stopped` (the gateway), the outcome's status, or
    `failed`."""
    broken: bool = False
    """The response was cut off, visibly."""
    detail: str = ""
    outcome: Outcome | None = None
    error: str = ""
    """What the service said went wrong. Hostile text."""
    stderr: bytearray = field(default_factory=bytearray)
    stderr_bytes: int = 0

    def keep_stderr(self, data: bytes) -> None:
        """The beginning of what the service writes there."""
        self.stderr_bytes += len(data)
        self.stderr += data[: MAX_STDERR - len(self.stderr)]

    @property
    def age(self) -> float:
        """Seconds, until now or its end."""
        return self.seconds or time.monotonic() - self.began

    @property
    def denials(self) -> int | None:
        """Refused system calls; None without an audit."""
        denied = None if self.outcome is None else self.outcome.denied
        return None if denied is None else sum(count for _, count in denied)


@dataclass
class Summary:
    """The numbers of one service since the start."""

    requests: int = 0
    failed: int = 0
    denials: int | None = None
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    verdicts: dict[str, int] = field(default_factory=dict)

    def quantile(self, part: float) -> float | None:
        """Of the last requests' seconds."""
        ordered = sorted(self.seconds)
        return ordered[min(int(len(ordered) * part), len(ordered) - 1)] if ordered else None


class Ledger:
    """Of one gateway."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.live: dict[int, Entry] = {}
        self.recent: deque[Entry] = deque(maxlen=KEPT)
        self.services: dict[str, Summary] = {}
        self.registry = CollectorRegistry()
        self.requests = self._counter("requests", "Requests answered.", "status")
        self.verdicts = self._counter("verdicts", "How requests ended.", "verdict")
        self.received = self._counter("received_bytes", "Bytes of requests' bodies.")
        self.sent = self._counter("sent_bytes", "Bytes of responses' bodies.")
        self.denials = self._counter("denied_syscalls", "System calls refused, where an audit is on.")
        about = "Seconds from a request's head to its response's end."
        self.duration = Histogram(
            "pyjail_request_seconds", about, ("service",), buckets=BUCKETS, registry=self.registry
        )
        live = Gauge("pyjail_requests_live", "Requests under way.", registry=self.registry)
        live.set_function(lambda: len(self.live))

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"pyjail_{name}", about, ("service", *labels), registry=self.registry)

    def begin(self, entry: Entry) -> None:
        """A request has come."""
        self.live[id(entry)] = entry

    def end(self, entry: Entry) -> None:
        """It has been answered, or cannot be."""
        self.live.pop(id(entry), None)
        entry.seconds = time.monotonic() - entry.began
        self.recent.appendleft(entry)
        name = entry.service
        self.requests.labels(name, str(entry.status)).inc()
        self.verdicts.labels(name, entry.verdict).inc()
        self.duration.labels(name).observe(entry.seconds)
        self.received.labels(name).inc(entry.received)
        self.sent.labels(name).inc(entry.sent)
        if entry.denials:
            self.denials.labels(name).inc(entry.denials)
        if name:
            self._sum_up(self.services.setdefault(name, Summary()), entry)
        self._write(entry)

    def _sum_up(self, summary: Summary, entry: Entry) -> None:
        summary.requests += 1
        summary.failed += entry.status >= 500 or entry.broken
        if entry.denials is not None:
            summary.denials = (summary.denials or 0) + entry.denials
        summary.seconds.append(entry.seconds)
        summary.verdicts[entry.verdict] = summary.verdicts.get(entry.verdict, 0) + 1

    def forget(self, names: Sequence[str]) -> None:
        """Keep the numbers of these services alone."""
        for name in set(self.services) - set(names):
            del self.services[name]

    def _write(self, entry: Entry) -> None:
        if entry.stderr:
            self.log.write(
                "service",
                id=entry.id,
                service=entry.service,
                stderr=entry.stderr.decode("utf-8", "replace"),
                more_bytes=entry.stderr_bytes - len(entry.stderr) or None,
            )
        self.log.write(
            "request",
            id=entry.id,
            client=entry.client,
            method=entry.method,
            target=entry.target,
            status=entry.status,
            verdict=entry.verdict,
            broken=True if entry.broken else None,
            service=entry.service or None,
            ms=round(entry.seconds * 1000, 1),
            received=entry.received,
            sent=entry.sent,
            detail=entry.detail or None,
            error=entry.error or None,
        )

    def exposition(self) -> bytes:
        """The numbers in Prometheus' text format."""
        return generate_latest(self.registry)
