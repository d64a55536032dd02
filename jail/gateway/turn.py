"""One request to one service: the body goes in, stdout comes out, and how the jail ends decides what it was.

As long as nothing of the response has been sent, a service that fails is answered with a problem; later the
connection is broken off. A response that arrives whole is one whose service ended well.
"""

from __future__ import annotations

from collections.abc import Awaitable

import anyio
from anyio.abc import TaskGroup

from jail.errors import JailError
from jail.gateway.head import BODILESS, response_head
from jail.gateway.ledger import Entry
from jail.gateway.message import Body, Broken, Gone, Reply
from jail.gateway.problem import Problem, of_outcome
from jail.outcome import Outcome
from jail.services.exchange import Exchange
from jail.services.messages import Head, Log

ENDED = (anyio.BrokenResourceError, anyio.ClosedResourceError)
MAX_TEXT = 2000


class Turn:
    """`prefix`: the path of the service, `sandboxed`: its pages get an origin of their own, `head_only`: no
    body is wanted."""

    def __init__(
        self, body: Body, reply: Reply, entry: Entry, *, prefix: str, sandboxed: bool, head_only: bool
    ) -> None:
        self.body = body
        self.reply = reply
        self.entry = entry
        self.prefix = prefix
        self.sandboxed = sandboxed
        self.head_only = head_only
        self._end: Exception | None = None
        self._done = False

    async def take(self, opening: Awaitable[Exchange], gone: Awaitable[object]) -> None:
        """Have the service answer, up to the end of the response, which is the caller's to say; `gone` comes
        back when the client is. Raises Problem, Broken, Gone; the jail is gone either way."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch, gone, group)
            try:
                exchange = await opening
            except (JailError, OSError) as error:
                self.entry.detail = str(error)
                self._stop(Problem(500, "the service could not be started"), group)
            else:
                await self._converse(exchange, group)
            group.cancel_scope.cancel()
        if self._end is not None:
            raise self._end

    async def _converse(self, exchange: Exchange, group: TaskGroup) -> None:
        async with exchange:
            group.start_soon(self._upload, exchange, group)
            group.start_soon(self._keep_stderr, exchange)
            try:
                await self._respond(exchange, group)
            except (Problem, Broken, Gone) as end:
                self._stop(end, group)
            except JailError as error:
                self.entry.detail = str(error)
                self._stop(Problem(500, "the service could not be started"), group)
            finally:
                if exchange.error is not None:
                    said = exchange.error
                    self.entry.error = f"{said.name}: {said.message}"[:MAX_TEXT]

    def _stop(self, end: Exception, group: TaskGroup) -> None:
        """The first reason counts, and none when all that there is has been sent."""
        if not self._done:
            self._end = self._end or end
        group.cancel_scope.cancel()

    async def _watch(self, gone: Awaitable[object], group: TaskGroup) -> None:
        await gone
        self._stop(Gone(), group)

    async def _upload(self, exchange: Exchange, group: TaskGroup) -> None:
        """The body to stdin. A service need not read it."""
        try:
            async for part in self.body.parts():
                await exchange.stdin.send(part)
            await exchange.stdin.aclose()
        except ENDED:
            pass
        except (Problem, Gone) as end:
            self._stop(end, group)

    async def _keep_stderr(self, exchange: Exchange) -> None:
        try:
            async for part in exchange.stderr:
                self.entry.keep_stderr(part)
        except ENDED:
            pass

    async def _messages(self, exchange: Exchange) -> None:
        """What it logs there is as what it writes to stderr; its error the exchange keeps."""
        async for message in exchange.messages():
            if isinstance(message, Log):
                self.entry.keep_stderr(f"{message.message}\n".encode())

    async def _respond(self, exchange: Exchange, group: TaskGroup) -> None:
        head = await exchange.head()
        group.start_soon(self._messages, exchange)
        if head != Head():
            await self._start(head)
        async for part in exchange.stdout:
            if not self.reply.started:
                await self._start(head)
            if not self.head_only and head.status not in BODILESS:
                await self.reply.write(part)
        outcome = await exchange.outcome()
        self._note(outcome)
        problem = of_outcome(outcome)
        if problem is not None:
            raise Broken(problem.detail) if self.reply.started else problem
        if not self.reply.started:
            await self._start(head)
        if self.head_only:
            self.reply.left = None
        self._done = True

    async def _start(self, head: Head) -> None:
        fields, length = response_head(head, self.prefix, self.sandboxed)
        await self.reply.start(head.status, fields, length)

    def _note(self, outcome: Outcome) -> None:
        self.entry.outcome = outcome
        self.entry.verdict = "ok" if outcome.ok else outcome.status
