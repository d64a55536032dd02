"""Requests to the serving jailer: a run begins once, or not at all, whatever becomes of who was asked."""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Callable, Sequence

import pytest

from jail import spawn
from jail.errors import LaunchError
from jail.server import surroundings


class Fake:
    """A jailer that does something with the life of each run, in its own time."""

    def __init__(self, act: Callable[[socket.socket], object]) -> None:
        self._act = act
        self.threads: list[threading.Thread] = []

    def ask(self, message: bytes, descriptors: Sequence[int]) -> None:
        life = socket.socket(fileno=os.dup(descriptors[1]))
        self.threads.append(threading.Thread(target=self._serve, args=(life,)))
        self.threads[-1].start()

    def _serve(self, life: socket.socket) -> None:
        with life:
            self._act(life)

    def close(self) -> None:
        pass


def sees_the_word(life: socket.socket) -> None:
    """And does not read it."""
    select.select([life], [], [])


@pytest.mark.parametrize(
    ("act", "times"),
    [
        pytest.param(lambda life: None, spawn.TRIES, id="ends at once"),
        pytest.param(sees_the_word, spawn.TRIES, id="ends with the word unread"),
        pytest.param(lambda life: life.recv(1), 1, id="may have begun"),
    ],
)
def test_a_jailer_that_does_not_answer(act: Callable[[socket.socket], object], times: int) -> None:
    serving, fake = spawn.Serving(), Fake(act)
    serving._server = fake  # type: ignore[assignment]
    serving._surroundings = surroundings()
    with pytest.raises(LaunchError) as caught:
        serving.start(b"plan", ["true"], {}, {})
    for each in fake.threads:
        each.join()
    assert len(fake.threads) == times
    assert ("may have begun" in caught.value.hint) == (times == 1)
