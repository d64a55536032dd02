"""`Pool`: jails that are made ahead, each used once."""

from __future__ import annotations

import dataclasses
import os
import stat
import warnings
from collections.abc import Generator, Mapping, Sequence
from types import TracebackType
from typing import Unpack

from jail.errors import LaunchError, SpecError
from jail.keeper import Keeper
from jail.options import Run, RunAsync, Start, StartAsync
from jail.outcome import Outcome
from jail.plans import plan_text
from jail.process import Process, run, start
from jail.runners import Runner
from jail.spec import Bind, Jail, check_env
from jail.standby import WARM_UP, Job, Standby
from jail.started import DEFAULT, Begun, Wait, Wanted, all_passed, begin_new
from jail.streams import DEVNULL, PIPE, Ends, Stream
from rlimits import INFINITY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jail.aio import AsyncProcess

MAX_AGE = 600.0
TRIES = 3
"""Standbys that are tried before a jail is made for the job."""


class Pool:
    """Keeps `size` jails ready, so that a command, or with a runner a program's text, starts in a fraction of
    the time. Each is used once, and is made as any other: `run`, `start` and the rest are `jail.run`,
    `jail.start`…, and `jail.run(…, jail=pool)` is the same.

    `runner`, one of `jail.runners`, keeps an interpreter in each; jobs are then what would follow it on a
    command line: a file in the jail and arguments, or with `code` the text of a program and, for its
    `sys.argv`, a name and arguments.

    What is ready and older than `max_age` seconds, or no longer what the Jail says on this host (files of the
    policy, sources of binds, passed variables, files that the interpreter has read), is replaced. Where none
    is ready the call waits for one in the making, or makes one. Threads may share it; a forked child begins
    with an empty one. It ends with its `with` block, `close`, or the process.
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
        self._passes = runner is not None and runner.receives and not _is_relayed(self.jail)
        # What the caller passes goes with the job, not to those that wait for one.
        self._standby_jail = dataclasses.replace(self.jail, pass_fds=())
        self._env = [name for name, value in self.jail.env if value is None]
        self._binds = [mount.source for mount in self.jail.mounts if isinstance(mount, Bind)]
        self._closed = False
        kept = size if runner is not None and not _has_clock(self.jail) else 0
        self._keeper = Keeper(self._make, kept, max_age=max_age, warm_up=WARM_UP)
        if kept:
            self._keeper.refill()

    @property
    def ready(self) -> int:
        """How many jails wait for a job at this moment."""
        return self._keeper.ready

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Wait until all `size` of them do; False after `timeout` seconds."""
        return self._keeper.wait_full(timeout)

    def run(
        self, argv: Sequence[str | bytes], *, code: str | bytes | None = None, **options: Unpack[Run]
    ) -> Outcome:
        """As `jail.run`, with its options but `jail`."""
        return run(argv, jail=_In(self, code), **options)

    def start(
        self, argv: Sequence[str | bytes], *, code: str | bytes | None = None, **options: Unpack[Start]
    ) -> Process:
        """As `jail.start`, with its options but `jail`."""
        return start(argv, jail=_In(self, code), **options)

    async def run_async(
        self, argv: Sequence[str | bytes], *, code: str | bytes | None = None, **options: Unpack[RunAsync]
    ) -> Outcome:
        """As `jail.run_async`, with its options but `jail`."""
        from jail.aio import run_async

        return await run_async(argv, jail=_In(self, code), **options)

    async def start_async(
        self, argv: Sequence[str | bytes], *, code: str | bytes | None = None, **options: Unpack[StartAsync]
    ) -> AsyncProcess:
        """As `jail.start_async`, with its options but `jail`."""
        from jail.aio import start_async

        return await start_async(argv, jail=_In(self, code), **options)

    def close(self) -> None:
        """End the jails that wait; those that were taken go on. Later calls are refused."""
        self._closed = True
        self._keeper.close()

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_keeper") and not self._closed:
            told = f"{self!r} is closed: nobody has it any more"
            warnings.warn(told, ResourceWarning, source=self, stacklevel=2)
            self.close()

    def __repr__(self) -> str:
        what = f" of {self.runner.name}" if self.runner else ""
        return f"<Pool{what}: {'closed' if self._closed else f'{self.ready} ready'}>"

    def beginning(self, wanted: Wanted, code: str | bytes | None = None) -> Generator[Wait, None, Begun]:
        """See started.Place."""
        if self._closed:
            raise SpecError("the pool is closed", "pool")
        if self.runner is None:
            if code is not None:
                raise SpecError("without a runner a pool runs commands; make it with runner=…", "code")
            return begin_new(self.jail, wanted)
        check_env(tuple(wanted.env.items()))
        try:
            return (yield from self._beginning(wanted, Job(wanted.argv, wanted.env, code)))
        finally:
            self._keeper.refill()

    def _beginning(self, wanted: Wanted, job: Job) -> Generator[Wait, None, Begun]:
        more = all_passed(self.jail, wanted)
        if self._passes and not any(map(_is_terminal, range(3), wanted.streams)):
            ends = Ends(*wanted.streams)
            try:
                standby = yield from self._taking(job, _own(ends) | ends.theirs | more)
            except BaseException:
                ends.close_all()
                raise
            ends.close_theirs()
            return standby.running, ends
        if not self._passes and _are_pipes(wanted.streams) and not more:
            standby = yield from self._taking(job, {})
            if wanted.streams[0] != PIPE:
                os.close(standby.ends.ours.pop(0))
        else:
            standby = Standby(self._runner(), self.jail, wanted.streams, more)
            yield from _using(standby, job, {})
        return standby.running, standby.ends

    def _taking(self, job: Job, given: Mapping[int, int]) -> Generator[Wait, None, Standby]:
        """Hand the job to one of the kept ones, or else to one that is made for it."""
        key = self._key()
        for _ in range(TRIES):
            standby = self._keeper.take(key)
            if standby is None:
                break
            try:
                yield from _using(standby, job, given)
            except LaunchError:  # it waited, and what has befallen it is not the job's
                continue
            return standby
        standby = self._make()
        yield from _using(standby, job, given)
        return standby

    def _make(self) -> Standby:
        stream = DEVNULL if self._passes else PIPE
        return Standby(self._runner(), self._standby_jail, (stream, stream, stream), key=self._key())

    def _runner(self) -> Runner:
        assert self.runner is not None
        return self.runner

    def _key(self) -> object:
        """What a jail that is made now would be made of."""
        return (
            plan_text(self._standby_jail),
            *(os.environb.get(os.fsencode(name)) for name in self._env),
            *map(_identity, self._binds),
        )


class _In:
    """A pool and the text of the program that is to run in it."""

    def __init__(self, pool: Pool, code: str | bytes | None) -> None:
        self._pool, self._code = pool, code

    def beginning(self, wanted: Wanted) -> Generator[Wait, None, Begun]:
        return self._pool.beginning(wanted, self._code)


def _using(standby: Standby, job: Job, given: Mapping[int, int]) -> Generator[Wait, None, None]:
    """Hand the job over. Raises LaunchError, and nothing of the job was begun."""
    try:
        yield from standby.becoming_ready()
        yield from standby.giving(job, given)
    except BaseException:
        standby.kill()
        standby.close()
        raise


def _own(ends: Ends) -> dict[int, int]:
    """The caller's own of 0 to 2 where nothing else is asked for, as far as an exec would hand them on."""
    return {number: number for number in range(3) if number not in ends.theirs and _is_inherited(number)}


def _is_inherited(number: int) -> bool:
    try:
        return os.get_inheritable(number)
    except OSError:
        return False


def _is_terminal(number: int, stream: Stream) -> bool:
    """A terminal is more than a stream: a job that is to control it gets it at the start of its jail."""
    file = number if stream is None else stream
    try:
        return os.isatty(file if isinstance(file, int) else file.fileno())
    except (AttributeError, OSError, ValueError):  # not a terminal, whatever else it is
        return False


def _are_pipes(streams: tuple[Stream, Stream, Stream]) -> bool:
    """Whether pipes that were made ahead are as good as what is asked for."""
    stdin, stdout, stderr = streams
    return stdout == PIPE and stderr == PIPE and (stdin in (PIPE, DEVNULL) or (stdin is None and _is_null(0)))


def _is_null(number: int) -> bool:
    try:
        found = os.fstat(number)
        return stat.S_ISCHR(found.st_mode) and found.st_rdev == os.stat(os.devnull).st_rdev
    except OSError:
        return False


def _is_relayed(jail: Jail) -> bool:
    """Whether the supervisor stands between the jail and the caller: then its pipes are made at the start."""
    return any(limit not in (None, INFINITY) for limit in (jail.limits.idle_timeout, jail.limits.max_output))


def _has_clock(jail: Jail) -> bool:
    """Whether a time limit runs from the start of the jail: one that waits would use it up."""
    clocks = (jail.limits.timeout, jail.limits.idle_timeout, jail.limits.cpu_time)
    return any(clock not in (None, INFINITY) for clock in clocks)


def _identity(path: str) -> object:
    """A source as it is now: another one at its path is not in the jails that are there."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
