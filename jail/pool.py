"""`Pool`: jails that are made ahead, each used once."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Generator, Sequence
from types import TracebackType
from typing import Unpack

from jail import spawn
from jail.errors import LaunchError, SpecError
from jail.options import Run, RunAsync, Start, StartAsync
from jail.outcome import Outcome
from jail.plans import likely_plan, plan_text
from jail.process import Process, run, start
from jail.runners import Runner
from jail.spec import Jail
from jail.started import DEFAULT, Begun, Place, Wait, Wanted, begin_new
from jail.warm import Warm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jail.aio import AsyncProcess

MAX_AGE = 600.0


class Pool(Place):
    """Keeps `size` jails ready, so that a command, or with a runner a program's text, starts in a fraction of
    the time. Each is used once, and is made as any other: `run`, `start` and the rest are `jail.run`,
    `jail.start`…, and `jail.run(…, jail=pool)` is the same.

    `runner`, one of `jail.runners`, keeps an interpreter in each; jobs are then what would follow it on a
    command line: a file in the jail and arguments, or with `code` the text of a program and, for its
    `sys.argv`, a name and arguments.

    What is ready and older than `max_age` seconds, or no longer what the Jail says on this host (files of the
    policy, sources of binds and what is mounted there, passed variables, files that the
    interpreter has read), is replaced. Where none is ready the call waits for one in the making, or makes
    one. Threads may share it; a forked child begins with an empty one. It ends with its `with` block,
    `close`, or the process.
    """

    def __init__(
        self,
        jail: Jail | None = None,
        size: int = 2,
        *,
        runner: Runner | None = None,
        max_age: float = MAX_AGE,
    ) -> None:
        self.jail = jail if jail is not None else DEFAULT
        if not isinstance(self.jail, Jail):
            raise SpecError(f"expected a Jail, got {jail!r}", "jail")
        if isinstance(size, bool) or not size >= 0:
            raise SpecError(f"expected a whole number from 0 on, got {size!r}", "size")
        if runner is not None and not isinstance(runner, Runner):
            raise SpecError(f"expected one of jail.runners, got {runner!r}", "runner")
        self.runner = runner
        self._closed = False
        self._source = Warm(self.jail, size, runner, max_age) if runner else _Plain(self.jail, size)

    @property
    def ready(self) -> int:
        """How many jails wait for a job at this moment."""
        return self._source.ready

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Wait until all `size` of them do; False after `timeout` seconds. Raises LaunchError where one of
        them never will: its program or a module is missing, its jail cannot be set up."""
        return self._source.wait_ready(timeout)

    def run(self, argv: Sequence[str | bytes], **options: Unpack[Run]) -> Outcome:
        """As `jail.run`, with its options but `jail`."""
        return run(argv, jail=self, **options)

    def start(self, argv: Sequence[str | bytes], **options: Unpack[Start]) -> Process:
        """As `jail.start`, with its options but `jail`."""
        return start(argv, jail=self, **options)

    async def run_async(self, argv: Sequence[str | bytes], **options: Unpack[RunAsync]) -> Outcome:
        """As `jail.run_async`, with its options but `jail`."""
        from jail.aio import run_async

        return await run_async(argv, jail=self, **options)

    async def start_async(self, argv: Sequence[str | bytes], **options: Unpack[StartAsync]) -> AsyncProcess:
        """As `jail.start_async`, with its options but `jail`."""
        from jail.aio import start_async

        return await start_async(argv, jail=self, **options)

    def close(self) -> None:
        """End the jails that wait; those that were taken go on. Later calls are refused."""
        self._closed = True
        self._source.close()

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_source") and not self._closed:
            told = f"{self!r} is closed: nobody has it any more"
            warnings.warn(told, ResourceWarning, source=self, stacklevel=2)
            self.close()

    def __repr__(self) -> str:
        what = f" of {self.runner.name}" if self.runner else ""
        return f"<Pool{what}: {'closed' if self._closed else f'{self.ready} ready'}>"

    def beginning(self, wanted: Wanted) -> Generator[Wait, None, Begun]:
        """See started.Place."""
        if self._closed:
            raise SpecError("the pool is closed", "pool")
        return (yield from self._source.beginning(wanted))


class _Plain:
    """Jails that lack a command only: the serving jailer keeps them."""

    def __init__(self, jail: Jail, size: int) -> None:
        self._jail, self._size = jail, size
        self.ready = 0
        self._kept: tuple[int, bytes] | None = None
        self._keep(plan_text(jail))

    def wait_ready(self, timeout: float | None) -> bool:
        self._kept = None
        self._keep(plan_text(self._jail))
        return self.ready >= self._size

    def beginning(self, wanted: Wanted) -> Generator[Wait, None, Begun]:
        """See started.Place."""
        begun = begin_new(self._jail, wanted)
        with contextlib.suppress(LaunchError):  # the next start meets it too
            self._keep(likely_plan(self._jail).text)
        yield from ()
        return begun

    def close(self) -> None:
        if self._kept is not None and self._kept[0] == os.getpid():
            with contextlib.suppress(LaunchError):
                spawn.launcher.keep(self._kept[1], None)

    def _keep(self, plan: bytes) -> None:
        """Have them kept for this plan. A forked child has a jailer of its own."""
        now = os.getpid(), plan
        if now != self._kept:
            self.close()
            self.ready = spawn.launcher.keep(now[1], self._size)
            self._kept = now
