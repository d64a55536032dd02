"""Start programs over and over and measure each from posix_spawn(3) to its end, all contenders in turn.

Every user has a process of its own that starts that user's contenders, so that what is measured is the same
for all.
"""

from __future__ import annotations

import gc
import os
import random
import statistics
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

NULL = (
    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
    (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
)


@dataclass(frozen=True)
class Contender:
    """A program to start: `opens` are files given as descriptors, `before` is done outside of the time."""

    name: str
    argv: Sequence[str]
    env: dict[str, str] = field(default_factory=lambda: {"PATH": "/usr/bin:/bin"})
    opens: Sequence[tuple[int, str]] = ()
    uid: int = 0
    before: Callable[[], None] | None = None
    prepare: Callable[[], None] | None = None
    """Done once in the process that starts it, which is then this contender's alone."""
    divisor: int = 1
    """Started once in so many rounds."""


@dataclass(frozen=True)
class Figures:
    """Nanoseconds of one contender's starts."""

    samples: Sequence[int]

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def p95(self) -> float:
        return sorted(self.samples)[len(self.samples) * 95 // 100]


class StartError(Exception):
    """A contender did not end with status 0; the text says which and what it wrote."""


def start(contender: Contender, complaints: int) -> int:
    """One start; nanoseconds, or minus the wait status where that is not 0. Stderr goes to `complaints`."""
    actions = [
        *NULL,
        (os.POSIX_SPAWN_DUP2, complaints, 2),
        *((os.POSIX_SPAWN_OPEN, number, path, os.O_RDONLY, 0) for number, path in contender.opens),
    ]
    argv, env = list(contender.argv), contender.env
    begin = time.perf_counter_ns()
    pid = os.posix_spawn(argv[0], argv, env, file_actions=actions)
    status = os.waitpid(pid, 0)[1]
    spent = time.perf_counter_ns() - begin
    return -status if status else spent


class Starter:
    """A process of one user that starts that user's contenders when told to."""

    def __init__(self, contenders: Sequence[Contender], mine: Contender) -> None:
        ours, theirs = os.pipe(), os.pipe()
        self._orders, self._answers = ours[1], theirs[0]
        self.pid = os.fork()
        if self.pid == 0:
            self._serve(contenders, mine, ours[0], theirs[1])
        os.close(ours[0])
        os.close(theirs[1])

    def _serve(self, contenders: Sequence[Contender], mine: Contender, orders: int, answers: int) -> NoReturn:
        gc.disable()
        complaints = os.memfd_create("stderr")
        # All else that is open goes: a copy of the pipes of an earlier starter would keep it alive.
        for number in map(int, os.listdir("/proc/self/fd")):
            if number > 2 and number not in (orders, answers, complaints):
                with suppress(OSError):  # the folder's own
                    os.close(number)
        if mine.prepare:
            mine.prepare()
        if mine.uid:
            os.setgroups([])
            os.setresgid(mine.uid, mine.uid, mine.uid)
            os.setresuid(mine.uid, mine.uid, mine.uid)
        os.chdir("/")
        while order := os.read(orders, 1):
            os.ftruncate(complaints, 0)
            os.lseek(complaints, 0, os.SEEK_SET)
            spent = start(contenders[order[0]], complaints)
            if spent < 0:
                os.write(2, os.pread(complaints, 4096, 0))
            os.write(answers, struct.pack("=q", spent))
        os._exit(0)

    def measure(self, index: int) -> int:
        os.write(self._orders, bytes((index,)))
        answer = os.read(self._answers, 8)
        if len(answer) < 8:
            raise StartError("the process that starts the contenders has ended")
        return int(struct.unpack("=q", answer)[0])

    def end(self) -> None:
        os.close(self._orders)
        os.close(self._answers)
        os.waitpid(self.pid, 0)


def who(contender: Contender) -> object:
    return contender.uid, contender.prepare


def measure(contenders: Sequence[Contender], rounds: int) -> dict[str, Figures]:
    """Start all contenders `rounds` times, each round in another order. Raises StartError.

    What ran before a start counts for half a millisecond: it leaves the caches to the next, and its network
    namespace to be removed meanwhile. So nobody has always the same predecessor.
    """
    starters: dict[object, Starter] = {}
    for contender in contenders:
        if who(contender) not in starters:
            starters[who(contender)] = Starter(contenders, contender)
    samples: dict[str, list[int]] = {contender.name: [] for contender in contenders}
    order = list(range(len(contenders)))
    dice = random.Random(1)
    try:
        for number in range(-3, rounds):  # the first rounds warm the caches and do not count
            dice.shuffle(order)
            for index in order:
                contender = contenders[index]
                if number % contender.divisor:
                    continue
                if contender.before:
                    contender.before()
                spent = starters[who(contender)].measure(index)
                if spent < 0:
                    status = os.waitstatus_to_exitcode(-spent)
                    raise StartError(f"{contender.name} ended with {status}: {' '.join(contender.argv)}")
                if number >= 0:
                    samples[contender.name].append(spent)
    finally:
        for starter in starters.values():
            starter.end()
    return {name: Figures(taken) for name, taken in samples.items()}


def clear_folder(folder: Path) -> None:
    """Empty the cache: what `pyjail cache clear` does."""
    for path in (folder / "pyjail" / "plans").glob("*"):
        path.unlink()
