"""Feeding a jail and keeping what it writes, in bounded memory.

Hostile output neither exhausts the caller nor keeps it waiting: each stream is kept up to a limit, and the
end of the jail is the end of the exchange, even where a descriptor that got out of it holds a pipe open.
"""

from __future__ import annotations

import math
import os
import select
import time
from collections.abc import Callable, Sequence
from typing import IO, Any

from jail.errors import SpecError

MAX_OUTPUT = 16 << 20
"""Bytes that are kept of each captured stream unless something else is asked for."""

PIECE = 1 << 16


class Capture:
    """What arrives on one descriptor, up to `most` bytes of it."""

    def __init__(self, descriptor: int, most: int) -> None:
        if most < 0:
            raise SpecError(f"expected a number of bytes, got {most!r}", "max_output")
        os.set_blocking(descriptor, False)  # our end: the other has a description of its own
        self.descriptor = descriptor
        self.most = most
        self.data = bytearray()
        self.done = self.exceeded = False

    def take(self) -> bool:
        """Take what is there; False when the end is reached, or more than `most` has come. Raises
        BlockingIOError where nothing is there yet."""
        part = os.read(self.descriptor, PIECE)
        room = self.most - len(self.data)
        self.data += part[:room]
        self.exceeded = len(part) > room
        self.done = not part or self.exceeded
        return not self.done

    def drain(self) -> None:
        """Take all that is left when the jail has ended."""
        try:
            while not self.done:
                self.take()
        except BlockingIOError:
            self.done = True


class Feed:
    """What is written to one stream, which is closed after it."""

    def __init__(self, file: IO[Any], data: bytes) -> None:
        try:
            file.flush()  # what was written before this
        except BrokenPipeError:
            pass
        os.set_blocking(file.fileno(), False)
        self.file = file
        self.descriptor = file.fileno()
        self.left = memoryview(data)
        self.done = False

    def give(self) -> bool:
        """Write what is taken; False when nothing is left, or nobody reads. Raises BlockingIOError where
        nothing is taken yet."""
        try:
            while self.left:
                self.left = self.left[os.write(self.descriptor, self.left[:PIECE]) :]
        except BrokenPipeError:
            pass
        self.done = True
        self.file.close()
        return False


def exchange(
    ended: Sequence[int],
    feed: Feed | None,
    captures: Sequence[Capture],
    deadline: float | None,
    kill: Callable[[], None],
) -> bool:
    """Write and read until the jail has ended, as one of `ended` tells; False if the deadline
    (time.monotonic) came first. A capture that is exceeded kills the jail."""
    poll = select.poll()
    for descriptor in ended:
        poll.register(descriptor, select.POLLIN)
    acts: dict[int, Callable[[], bool]] = {}
    for capture in captures:
        if not capture.done:
            acts[capture.descriptor] = capture.take
            poll.register(capture.descriptor, select.POLLIN)
    if feed is not None and not feed.done:
        acts[feed.descriptor] = feed.give
        poll.register(feed.descriptor, select.POLLOUT)
    while True:
        ready = poll.poll(
            None if deadline is None else max(0, math.ceil((deadline - time.monotonic()) * 1000))
        )
        for descriptor, _ in ready:
            if descriptor in ended:
                for capture in captures:
                    capture.drain()
                return True
            try:
                goes_on = acts[descriptor]()
            except BlockingIOError:
                continue
            if not goes_on:
                poll.unregister(descriptor)
                if any(capture.exceeded for capture in captures):
                    kill()
        if deadline is not None and time.monotonic() >= deadline and not ready:
            return False
