"""`Keeper`: a number of things that are started ahead, each taken once, and others started in their place.

A thread of its own starts them, waits for their gates to open, and replaces those that end, fail or grow old.
It starts a new one only when `refill` says so, which is after the taker has handed its job over: what is made
for later does not compete with what somebody waits for now.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar

from jail.errors import JailError

SLOWEST = 30.0  # seconds between attempts where nothing that is started becomes ready


class Waiting(Protocol):
    """Something that was started ahead, in a jail."""

    @property
    def pidfd(self) -> int:
        """Readable when it has ended."""

    @property
    def gate(self) -> int:
        """Readable when there is something for `look`; -1 where it needs no time to become ready."""

    @property
    def deadline(self) -> float:
        """When it is given up where it is not ready (time.monotonic)."""

    def look(self) -> bool:
        """Whether it is ready; does not wait. Raises JailError where it never will be: it has ended, or its
        deadline has passed."""

    def fits(self, key: object) -> bool:
        """Whether it is still what one that is started now would be."""

    def kill(self) -> None:
        """End it; `pidfd` becomes readable."""

    def close(self) -> None:
        """Let go of it. In a forked child: only of what this process holds."""


T = TypeVar("T", bound=Waiting)


class Keeper(Generic[T]):
    """Keeps `size` things that `make` starts. What waits longer than `max_age` seconds is replaced. Safe to
    use by threads, and after a fork, when the child begins with none. The thread begins with the first
    `refill`."""

    def __init__(self, make: Callable[[], T], size: int, *, max_age: float) -> None:
        self._make, self._size, self._max_age = make, size, max_age
        self._closed = False
        self._begin()
        _keepers.add(self)

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._ready: dict[T, float] = {}  # in the order of their ages, with when they were started
        self._warming: dict[T, float] = {}
        self._ending: list[T] = []
        self._failures = 0
        self._failure: JailError | OSError | None = None
        self._next = 0.0
        self._asked = False
        self._thread: threading.Thread | None = None
        self._wake = -1

    @property
    def ready(self) -> int:
        """How many wait."""
        return len(self._ready)

    def take(self, key: object = None) -> T | None:
        """One of them: the oldest that is ready, else the oldest that will be; None if there is none. It is
        the caller's now. Those that do not fit a key are dropped."""
        with self._changed:
            for kept in (self._ready, self._warming):
                while kept:
                    one = next(iter(kept))
                    del kept[one]
                    if key is None or one.fits(key):
                        self._failures = 0
                        return one
                    self._drop(one)
        return None

    def refill(self, pause: float = 0.0) -> None:
        """Start what is missing, in the background: at once, or after `pause` seconds, in which who has just
        taken one has the machine for himself. Those who take more meanwhile do not put it off."""
        with self._changed:
            if self._closed:
                return
            self._asked = True
            now = time.monotonic()
            if not pause:
                self._failure, self._next = None, 0.0
            elif self._next <= now and self._missing() <= 1:
                self._next = now + pause
            if self._thread is None:
                self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                self._thread = threading.Thread(target=self._keep, name="jail-keeper", daemon=True)
                self._thread.start()
            else:
                os.eventfd_write(self._wake, 1)

    def wait_full(self, timeout: float | None = None) -> bool:
        """Start what is missing and wait until all are ready; False after `timeout` seconds. Raises what one
        of them raises that never will be."""
        if len(self._ready) >= self._size:
            return True
        self.refill()
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or self._failure or len(self._ready) >= self._size, timeout
            )
            if self._failure:
                raise self._failure
            return self._closed or len(self._ready) >= self._size

    def close(self) -> None:
        """End all of them; comes back when they have ended."""
        with self._changed:
            self._closed = True
            thread = self._thread
            self._changed.notify_all()
            if thread is not None:
                os.eventfd_write(self._wake, 1)
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _drop(self, one: T) -> None:
        one.kill()
        self._ending.append(one)

    def _keep(self) -> None:
        while True:
            with self._changed:
                self._look()
                if self._closed:
                    for one in (*self._ready, *self._warming):
                        self._drop(one)
                    self._ready.clear()
                    self._warming.clear()
                if self._closed and not self._ending:
                    os.close(self._wake)
                    self._thread = None
                    return
                missing = not self._closed and self._asked and self._missing() > 0
                pause = self._next - time.monotonic()
            if missing and pause <= 0:
                self._start()
            else:
                self._sleep(pause if missing else None)

    def _missing(self) -> int:
        return self._size - len(self._ready) - len(self._warming)

    def _start(self) -> None:
        try:
            one = self._make()
        except (JailError, OSError) as error:  # who takes meets it too, and is told
            with self._changed:
                self._failed(error)
            return
        with self._changed:
            kept = self._ready if one.gate < 0 else self._warming
            kept[one] = time.monotonic()
            self._changed.notify_all()

    def _failed(self, why: JailError | OSError | None = None) -> None:
        self._failures += 1
        self._failure = why or self._failure
        self._changed.notify_all()
        self._next = time.monotonic() + min(SLOWEST, 0.05 * 2 ** min(self._failures, 20))

    def _look(self) -> None:
        """What has ended, has become ready or is too old. Under the lock: a taker looks too."""
        now = time.monotonic()
        ended = _readable(one.pidfd for one in (*self._ready, *self._warming, *self._ending))
        opened = _readable(one.gate for one in self._warming)
        for one in [one for one in self._ending if one.pidfd in ended]:
            self._ending.remove(one)
            one.close()
        for one, since in list(self._ready.items()):
            if one.pidfd in ended or now - since > self._max_age:
                del self._ready[one]
                self._drop(one)
                if one.pidfd in ended:
                    self._failed()
        for one, since in list(self._warming.items()):
            if one.gate not in opened and one.pidfd not in ended and now < one.deadline:
                continue
            try:
                if not one.look():
                    continue
                self._ready[one] = since
                self._changed.notify_all()
            except (JailError, OSError) as error:
                self._drop(one)
                self._failed(error)
            del self._warming[one]

    def _sleep(self, pause: float | None) -> None:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        with self._changed:
            now = time.monotonic()
            waits = [] if pause is None else [pause]
            waits += [since + self._max_age - now for since in self._ready.values()]
            waits += [one.deadline - now for one in self._warming]
            for one in (*self._ready, *self._warming, *self._ending):
                poll.register(one.pidfd, select.POLLIN)
            for one in self._warming:
                poll.register(one.gate, select.POLLIN)
        poll.poll(max(0.0, min(waits)) * 1000 + 1 if waits else None)
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)

    def _after_fork(self) -> None:
        """In the child: they are the parent's, and so is the thread."""
        for one in (*self._ready, *self._warming, *self._ending):
            with contextlib.suppress(OSError):
                one.close()
        if self._wake >= 0:
            os.close(self._wake)
        self._begin()


def _readable(descriptors: Iterable[int]) -> set[int]:
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return {descriptor for descriptor, _ in poll.poll(0)}


_keepers: weakref.WeakSet[Keeper[Any]] = weakref.WeakSet()


def _in_child() -> None:
    for keeper in list(_keepers):
        keeper._after_fork()


def _at_exit() -> None:
    for keeper in list(_keepers):
        keeper.close()


os.register_at_fork(after_in_child=_in_child)
atexit.register(_at_exit)
