"""`start_async` and `run_async`: the same jails under asyncio and trio, by way of anyio.

A cancelled `run_async`, and a block of an AsyncProcess that ends by an exception or is cancelled, come back
only when the jail is gone.
"""

from __future__ import annotations

import io
import os
import select
import socket
import time
from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, cast

from jail.capture import MAX_OUTPUT, PIECE, Capture, Feed
from jail.errors import LaunchError, SpecError, UnsupportedError
from jail.further import Further, asking
from jail.outcome import Outcome
from jail.requests import Event, Stats, answered, event_of, pausing, send, stats_of, take
from jail.spawn import Running
from jail.spec import Jail
from jail.started import (
    Begun,
    Place,
    Started,
    Wait,
    Wanted,
    beginning,
    checked_streams,
    decoded,
    encoded,
    outcome_with,
    text_form,
)
from jail.streams import Ends, HasFileno, Stream

try:
    import anyio
    from anyio.abc import ByteReceiveStream, ByteSendStream
    from anyio.lowlevel import checkpoint
except ImportError as error:
    raise UnsupportedError(
        "start_async and run_async", f"the package anyio ({error})", "pip install 'pyjail-linux[anyio]'"
    ) from None


class ReceiveStream(ByteReceiveStream):
    """What a jail writes, read when it is asked for: a jail that writes faster waits."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._file = io.FileIO(descriptor, "r")

    def fileno(self) -> int:
        """The descriptor. Raises ClosedResourceError."""
        if self._file.closed:
            raise anyio.ClosedResourceError
        return self._file.fileno()

    async def receive(self, max_bytes: int = PIECE) -> bytes:
        """At least one byte; EndOfStream at the end."""
        await checkpoint()
        while True:
            try:
                part = os.read(self.fileno(), max_bytes)
            except BlockingIOError:
                await anyio.wait_readable(self.fileno())
                continue
            if not part:
                raise anyio.EndOfStream
            return part

    async def aclose(self) -> None:
        """Who waits here gets ClosedResourceError; the jail that writes on gets SIGPIPE."""
        _close(self._file)
        await checkpoint()


class SendStream(ByteSendStream):
    """What a jail reads: sending waits until it is taken."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._file = io.FileIO(descriptor, "w")

    def fileno(self) -> int:
        """The descriptor. Raises ClosedResourceError."""
        if self._file.closed:
            raise anyio.ClosedResourceError
        return self._file.fileno()

    async def send(self, item: bytes) -> None:
        """All of it. Raises BrokenResourceError where the jail no longer reads."""
        await checkpoint()
        left = memoryview(item)
        while left:
            try:
                left = left[os.write(self.fileno(), left[:PIECE]) :]
            except BlockingIOError:
                await anyio.wait_writable(self.fileno())
            except BrokenPipeError:
                raise anyio.BrokenResourceError from None

    async def aclose(self) -> None:
        """The jail reads an end."""
        _close(self._file)
        await checkpoint()


def _close(file: Any) -> None:
    if not file.closed:
        anyio.notify_closing(file.fileno())
        file.close()


class AsyncProcess(Started):
    """A command that runs in a jail; `start_async` makes it. Its pipes are anyio's byte streams.

    As an async context manager it closes the pipes and waits for the jail; a block that ends by an exception,
    or is cancelled, kills it first. Either way the jail is gone afterwards.
    """

    stdin: SendStream | None
    stdout: ReceiveStream | None
    stderr: ReceiveStream | None

    @classmethod
    def _with(cls, argv: Sequence[str | bytes], running: Running, ends: Ends) -> Self:
        process = cls._of(argv, running)
        process.stdin = SendStream(ends.ours[0]) if 0 in ends.ours else None
        process.stdout = ReceiveStream(ends.ours[1]) if 1 in ends.ours else None
        process.stderr = ReceiveStream(ends.ours[2]) if 2 in ends.ours else None
        return process

    async def wait(self) -> Outcome:
        """Wait for the end of the jail. Cancelling the wait alone does not end it. Raises LaunchError where
        it could not be set up."""
        await self._ended()
        self._collect()
        return cast(Outcome, self.outcome)

    async def communicate(self, input: bytes = b"", *, max_output: int = MAX_OUTPUT) -> tuple[Any, Any]:  # noqa: A002
        """Write `input` to stdin, read stdout and stderr, wait for the end; what was read, None for what is
        no pipe. As Process.communicate, but that what was read is lost where it is cancelled."""
        outs: Mapping[int, ReceiveStream | None] = {1: self.stdout, 2: self.stderr}
        captures = {
            number: Capture(out.fileno(), max_output) for number, out in outs.items() if out is not None
        }
        if input and self.stdin is None:
            raise SpecError("there is no pipe to write it to: start with stdin=PIPE", "input")
        async with anyio.create_task_group() as group:
            if self.stdin is not None:
                group.start_soon(_feed, Feed(self.stdin._file, input))
            for capture in captures.values():
                group.start_soon(self._capture, capture)
            await self._ended()
            group.cancel_scope.cancel()
        for capture in captures.values():
            capture.drain()
        self._collect(exceeded=any(capture.exceeded for capture in captures.values()))
        if isinstance(self._outcome, LaunchError):
            raise self._outcome
        found = [bytes(captures[number].data) if number in captures else None for number in (1, 2)]
        return found[0], found[1]

    async def stats(self) -> Stats:
        """What the jail uses now; waits while it is being made. Raises ProcessLookupError where it has
        ended."""
        with self._running.connect() as connection:
            send(connection, "stats")
            return stats_of(answered(await _take(connection)))

    async def pause(self) -> None:
        """Freeze all of the jail; as Process.pause. Cancelled, it may be paused or not: `resume` it."""
        with self._running.connect() as connection:
            send(connection, "pause")
            try:
                answered(await _take(connection))
            except OSError as error:
                raise pausing(error) from None

    async def resume(self) -> None:
        """Have a paused jail go on; as Process.resume."""
        with self._running.connect() as connection:
            send(connection, "resume")
            answered(await _take(connection))

    async def events(self) -> AsyncIterator[Event]:
        """What happens to the jail from now on, until its end. Whoever does not read loses events, and is
        told how many (`Event.lost`). Raises ProcessLookupError where the jail has ended."""
        with self._running.connect() as connection:
            send(connection, "events")
            while (found := await _take(connection)) is not None:
                yield event_of(found)

    async def exec(
        self,
        argv: Sequence[str | bytes],
        *,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        env: Mapping[str, str] | None = None,
    ) -> AsyncExec:
        """Start another command in this jail; as Process.exec, with streams of bytes."""
        ends = Ends(stdin, stdout, stderr)
        with asking(self._running, argv, env, ends) as connection:
            answered(await _take(connection))
        return AsyncExec._with(argv, Further(self._running, connection), ends)

    async def aclose(self) -> None:
        """Kill the jail and wait for its end."""
        self.kill()
        with anyio.CancelScope(shield=True):
            await self._leave()

    async def __aenter__(self) -> AsyncProcess:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            await self.aclose()
            return
        try:
            await self._leave()
        except BaseException:
            if self.pidfd >= 0:
                await self.aclose()
            raise

    async def _leave(self) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                await stream.aclose()
        if self._outcome is None:
            await self._ended()
            self._collect()
        self._running.close()

    async def _ended(self) -> None:
        """Wait for the pidfd. By a copy: an event loop knows one waiter for each descriptor."""
        await checkpoint()
        if self._outcome is not None:
            return
        pidfd = os.dup(self.pidfd)
        try:
            await anyio.wait_readable(pidfd)
        finally:
            os.close(pidfd)

    async def _capture(self, capture: Capture) -> None:
        while not capture.done:
            try:
                capture.take()
                await checkpoint()
            except BlockingIOError:
                await anyio.wait_readable(capture.descriptor)
        if capture.exceeded:
            self.kill()


class AsyncExec(AsyncProcess):
    """A further command in a running jail; `AsyncProcess.exec` makes it. As Exec."""


async def _take(connection: socket.socket) -> dict[str, Any] | None:
    await anyio.wait_readable(connection)
    return take(connection)


async def _feed(feed: Feed) -> None:
    while not feed.done:
        try:
            feed.give()
        except BlockingIOError:
            await anyio.wait_writable(feed.descriptor)


async def _begin(steps: Generator[Wait, None, Begun]) -> Begun:
    try:
        while True:
            descriptor, events, deadline = next(steps)
            with anyio.move_on_after(max(0.0, deadline - time.monotonic())):
                await (anyio.wait_writable if events & select.POLLOUT else anyio.wait_readable)(descriptor)
    except StopIteration as stop:
        return cast(Begun, stop.value)
    finally:
        steps.close()


async def start_async(
    argv: Sequence[str | bytes],
    *,
    jail: Jail | Place | None = None,
    stdin: Stream = None,
    stdout: Stream = None,
    stderr: Stream = None,
    descriptors: Mapping[int, int | HasFileno] | None = None,
    env: Mapping[str, str] | None = None,
    code: str | bytes | None = None,
) -> AsyncProcess:
    """Start a command in a jail; as `start`, with streams of bytes. Use it so that nothing is left running:

    async with await jail.start_async(["cat"], stdin=PIPE, stdout=PIPE) as process: ...
    """
    await checkpoint()
    wanted = Wanted(argv, (stdin, stdout, stderr), descriptors or {}, env or {}, code)
    return AsyncProcess._with(argv, *await _begin(beginning(jail, wanted)))


async def run_async(
    argv: Sequence[str | bytes],
    *,
    jail: Jail | Place | None = None,
    stdin: Stream = None,
    input: Any = None,  # noqa: A002 - as in subprocess.run
    stdout: Stream = None,
    stderr: Stream = None,
    descriptors: Mapping[int, int | HasFileno] | None = None,
    env: Mapping[str, str] | None = None,
    code: str | bytes | None = None,
    capture_output: bool = False,
    text: bool = False,
    encoding: str | None = None,
    errors: str | None = None,
    check: bool = False,
    max_output: int = MAX_OUTPUT,
) -> Outcome:
    """Run a command in a jail and wait for its end; as `run`. For a time limit, cancel it (`asyncio.timeout`,
    `trio.fail_after`, `anyio.fail_after`): when the cancelled call comes back, the jail is gone.
    """
    form = text_form(text, encoding, errors)
    data = encoded(input, form)
    stdin, stdout, stderr = checked_streams(stdin, input, stdout, stderr, capture_output)
    async with await start_async(
        argv,
        jail=jail,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        descriptors=descriptors,
        env=env,
        code=code,
    ) as process:
        found = await process.communicate(data, max_output=max_output)
        out, err = [None if part is None else decoded(part, form) for part in found]
        outcome = outcome_with(cast(Outcome, process.outcome), stdout=out, stderr=err)
    return outcome.check() if check else outcome
