"""`Standby`: a jail in which a runner waits for its one job, seen from outside.

All that the runner says it says before anything of the job runs: first that it is ready, or why it never will
be; when it has the job and the word that it may begin, that it has taken it (`a`), or that a file which it
has imported may have changed since (`s`); then it closes its end. Nothing is read after that. How the job
ended is what the supervisor says.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from array import array
from collections.abc import Generator, Mapping, Sequence

from jail.errors import LaunchError
from jail.remote import printable
from jail.requests import answered, send, take
from jail.runners import Runner
from jail.spec import Jail
from jail.started import Wait, Wanted, begin_new, found
from jail.streams import Stream

WARM_UP = 30.0
"""Seconds that a runner has to become ready."""
MOST_TOLD = 4096
CONFIRMED = b"y"
PIECE = 1 << 16


class Job:
    """What a runner is told: the words that the program sees as its own, variables, and its text; None for a
    file inside."""

    def __init__(
        self, words: Sequence[str | bytes], env: Mapping[str, str], code: str | bytes | None
    ) -> None:
        self.words = [os.fsencode(word) for word in words]
        self.env = [os.fsencode(f"{name}={value}") for name, value in env.items()]
        self.code = code.encode() if isinstance(code, str) else code

    def message(self, numbers: Sequence[int]) -> bytes:
        """The job as the runner reads it. `numbers`: where the descriptors go that come with it."""
        code = self.code or b""
        listed = b",".join(b"%d" % number for number in numbers)
        kind = b"file" if self.code is None else b"code"
        head = b"\0".join([kind, listed, b"%d" % len(self.env), *self.env, *self.words])
        return b"%08x%08x" % (len(head), len(code)) + head + code


class StaleError(LaunchError):
    """Another that is made now would have read the files as they are."""


class Standby:
    """A runner in its jail; see keeper.Waiting."""

    def __init__(
        self,
        runner: Runner,
        jail: Jail,
        streams: tuple[Stream, Stream, Stream],
        descriptors: Mapping[int, int] | None = None,
        *,
        receives: bool = False,
        key: object = None,
    ) -> None:
        self.runner, self.key = runner, key
        self.deadline = time.monotonic() + WARM_UP
        self._ready = self._silent = self._offered = self._asked = False
        self._unsent, self._rights = memoryview(b""), array("i")
        self._clocks: socket.socket | None = None
        given = dict(descriptors or {})
        number = next(n for n in range(3, 4 + len(given) + len(jail.pass_fds))
                      if n not in given and n not in jail.pass_fds)
        self._channel, theirs = socket.socketpair()
        try:
            self._channel.setblocking(False)
            streams_come = "receive" if receives else "pipes"
            words = (*runner.command, str(number), streams_come, *runner.imports)
            wanted = Wanted(words, streams, {**given, number: theirs}, {})
            self.running, self.ends = begin_new(jail, wanted, ahead=True)
        except BaseException:
            self._channel.close()
            raise
        finally:
            theirs.close()

    @property
    def pidfd(self) -> int:
        return self.running.pidfd

    @property
    def gate(self) -> int:
        if self._silent:
            return self.pidfd
        return -1 if self._ready else self._channel.fileno()

    def fits(self, key: object) -> bool:
        return self.key == key

    def look(self) -> bool:
        said = self._said()
        self._ready, self._silent = said == b"r", said == b""
        if self._ready:
            self._connect()
        elif said:
            raise self._never(f"cannot import: {printable(said[1:].decode(errors='replace'))}")
        elif select_now(self.pidfd):
            raise self._ended()
        elif time.monotonic() >= self.deadline:
            raise self._never(f"was not ready within {WARM_UP:g} seconds")
        return self._ready

    def _said(self) -> bytes | None:
        """What it has told now; None for nothing yet, empty where it never will tell more."""
        try:
            return self._channel.recv(MOST_TOLD)
        except BlockingIOError:
            return None
        except ConnectionError:
            return b""

    def _ended(self) -> LaunchError:
        """Why it has, before it was ready."""
        became = found(self.running, exceeded=False)
        if isinstance(became, LaunchError):
            return became
        hint = ""
        if became.error is not None and became.error.step == "exec":
            name = self.runner.name
            hint = f"install it where the jail sees it, or name another with jail.runners.{name}({name}=…)"
        return self._never(f"ended before it was ready: {became.describe()}", hint=hint)

    def _connect(self) -> None:
        """The way to its clocks. Raises LaunchError."""
        try:
            self._clocks = self.running.connect()
        except ProcessLookupError:
            raise self._never("has ended") from None

    def offer(self, job: Job, descriptors: Mapping[int, int]) -> None:
        """Show it the job, which it gets ready for while we look whether it is to have it, as its supervisor
        does. The descriptors must stay open until `taking` has come to its end. That it has ended is seen
        later."""
        self._offered = True
        self._unsent = memoryview(job.message(tuple(descriptors)))
        self._rights = array("i", descriptors.values())
        with contextlib.suppress(ConnectionError):
            self._send()
            self._begin()

    def _send(self) -> bool:
        """Send on; False where it has to read first. Raises ConnectionError."""
        while self._unsent:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, self._rights)] if self._rights else []
            try:
                sent = self._channel.sendmsg([self._unsent[:PIECE]], rights)
            except BlockingIOError:
                return False
            self._unsent, self._rights = self._unsent[sent:], array("i")
        return True

    def _begin(self) -> None:
        """Ask for the start of its clocks, once. Not before it is ready: its own start is not the job's
        time."""
        if self._clocks is not None and not self._asked:
            send(self._clocks, "begin")
            self._asked = True

    def taking(self, job: Job, descriptors: Mapping[int, int]) -> Generator[Wait, None, None]:
        """Hand the job over. Raises LaunchError, and nothing of the job was begun; then this is closed."""
        try:
            if not self._offered:
                self.offer(job, descriptors)
            yield from self.becoming_ready()
            self._begin()
            yield from self.giving()
            yield from self._begun()
        except BaseException:
            self.drop()
            raise

    def _begun(self) -> Generator[Wait, None, None]:
        """Its clocks run, or it does not. Asked before the job was given, and mostly answered by now."""
        assert self._clocks is not None
        with self._clocks:
            yield self._clocks.fileno(), select.POLLIN, time.monotonic() + WARM_UP
            self._clocks.setblocking(False)
            try:
                answered(take(self._clocks))
            except OSError:
                self.kill()

    def drop(self) -> None:
        """Nobody wants it."""
        self.kill()
        self.close()

    def becoming_ready(self) -> Generator[Wait, None, None]:
        """Wait until it is. Raises LaunchError."""
        while not self._ready:
            yield self.gate, select.POLLIN, self.deadline
            self.look()

    def giving(self) -> Generator[Wait, None, None]:
        """Have it do the job. Raises LaunchError where nothing of it was begun: the runner has ended, or, as
        StaleError, its files have changed."""
        said = b"" if select_now(self.pidfd) else (yield from self._giving())
        if said == b"s":
            raise self._never("read files that have changed since; start it again when they stay", StaleError)
        if said != b"a":
            raise self._never("did not take its job")

    def _giving(self) -> Generator[Wait, None, bytes]:
        try:
            for last in b"", CONFIRMED:
                self._unsent = memoryview(last or self._unsent)
                while not self._send():
                    yield self._channel.fileno(), select.POLLOUT, time.monotonic() + WARM_UP
            while True:
                try:
                    return self._channel.recv(1)
                except BlockingIOError:
                    yield self._channel.fileno(), select.POLLIN, time.monotonic() + WARM_UP
        except ConnectionError:
            return b""
        finally:
            self._channel.close()

    def kill(self) -> None:
        self.running.kill()

    def close(self) -> None:
        """Also of what it was to hand over."""
        self.ends.close_all()
        if self._clocks is not None:
            self._clocks.close()
        self._channel.close()
        self.running.close()

    def _never(self, why: str, kind: type[LaunchError] = LaunchError, hint: str = "") -> LaunchError:
        what = f"the runner {self.runner.name!r} {why}"
        return kind(what, "runner", hint=hint, object=self.runner.command[0])


def select_now(descriptor: int) -> bool:
    """Whether it is readable at this moment."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
