"""A test that waits for what never comes fails, instead of holding up all the others."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SLOWNESS = int(os.environ.get("PYJAIL_PATIENCE", "1"))  # of an emulated machine
# Nothing is measured by it: only a hung test takes as long.
SECONDS = 180 * SLOWNESS


@contextmanager
def patience(seconds: int = SECONDS) -> Iterator[None]:
    """Raise TimeoutError in the waiting call when the time is over."""

    def give_up(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"still waiting after {seconds} s")

    old = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
