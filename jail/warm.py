"""The jails of a `Pool` with a runner: an interpreter waits in each."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import functools
import os
import stat
from collections.abc import Generator, Iterator, Mapping

from jail import landlock
from jail.directives import IdleTimeout, MaxOutput, Pty, Seccomp
from jail.errors import LaunchError
from jail.keeper import Keeper
from jail.mounts import changes
from jail.plan import Plan
from jail.plans import plan_text
from jail.runners import Runner
from jail.server import surroundings
from jail.spec import Bind, Jail, check_env
from jail.standby import Job, StaleError, Standby
from jail.started import Begun, Wait, Wanted, all_passed
from jail.streams import DEVNULL, PIPE, Ends, Stream
from seccomp import _calls
from seccomp.evaluator import ALLOW, LOG, evaluate

HEAD_START = 0.003
"""Seconds that a job has before another interpreter is started in the place of its own."""
TRIES = 3
"""Standbys that are tried before a jail is made for the job, and jails that are made for it while files that
the runner reads keep changing."""


Key = tuple[bytes, object, object, object, object]
"""What a jail that is made now would be made of: the plan, what it takes over from the caller, the variables
that are passed, the mounts of the host, the sources of binds."""


class Warm:
    """Makes, keeps and hands out `size` standbys."""

    def __init__(self, jail: Jail, size: int, runner: Runner, max_age: float) -> None:
        self._jail, self._runner = jail, runner
        # What the caller passes goes with the job, not to those that wait for one.
        self._receives = runner.receives
        """Whether what waits is given descriptors; or has pipes that are made ahead."""
        self._standby_jail = dataclasses.replace(jail, pass_fds=())
        self._env = [name for name, value in jail.env if value is None]
        self._binds = [mount.source for mount in jail.mounts if isinstance(mount, Bind)]
        self._keeper = Keeper(self._make, size, max_age=max_age)
        if size:
            self._keeper.refill()

    @property
    def ready(self) -> int:
        return self._keeper.ready

    def wait_ready(self, timeout: float | None) -> bool:
        return self._keeper.wait_full(timeout)

    def close(self) -> None:
        self._keeper.close()

    def beginning(self, wanted: Wanted) -> Generator[Wait, None, Begun]:
        """See started.Place."""
        check_env(tuple(wanted.env.items()))
        try:
            return (yield from self._beginning(wanted, Job(wanted.argv, wanted.env, wanted.code)))
        finally:
            self._keeper.refill(HEAD_START)

    def _beginning(self, wanted: Wanted, job: Job) -> Generator[Wait, None, Begun]:
        more = all_passed(self._jail, wanted)
        if not _suits(self._receives, wanted, more):
            standby = Standby(self._runner, self._jail, wanted.streams, more)
            yield from standby.taking(job, {})
            return standby.running, standby.ends
        if not self._receives:
            standby = yield from self._taking(job, {})
            if wanted.streams[0] != PIPE:
                os.close(standby.ends.ours.pop(0))
            return standby.running, standby.ends
        ends = Ends(*wanted.streams)
        try:
            standby = yield from self._taking(job, _own(ends) | ends.theirs | more)
        except BaseException:
            ends.close_all()
            raise
        ends.close_theirs()
        return standby.running, ends

    def _taking(self, job: Job, given: Mapping[int, int]) -> Generator[Wait, None, Standby]:
        """Hand the job to one of the kept ones, or else to one that is made for it. The first gets ready for
        it while we look whether it still is what it should be."""
        first = self._keeper.take()
        if first is not None:
            first.offer(job, given)
        key = self._key_or_drop(first)
        if first is not None and not first.fits(key):
            first.drop()
            first = None
        for _ in range(TRIES):
            standby = first or self._keeper.take(key)
            if standby is None:
                break
            first = None
            try:
                yield from standby.taking(job, given)
            except LaunchError:  # it waited, and what has befallen it is not the job's
                continue
            return standby
        for _ in range(TRIES):
            made = self._make()
            try:
                yield from made.taking(job, given)
                return made
            except StaleError as error:
                stale = error
        raise stale

    def _key_or_drop(self, first: Standby | None) -> Key:
        try:
            return self._key()
        except BaseException:
            if first is not None:
                first.drop()
            raise

    def _make(self) -> Standby:
        key = self._key()
        streams = (DEVNULL, DEVNULL, DEVNULL) if self._receives else (PIPE, PIPE, PIPE)
        return Standby(self._runner, self._standby_jail, streams, receives=self._receives, key=key)

    def _key(self) -> Key:
        now = surroundings()
        plan = plan_text(self._standby_jail, now)
        self._receives = self._runner.receives and _may_receive(plan)
        return (
            plan,
            now,
            tuple(os.environb.get(os.fsencode(name)) for name in self._env),
            changes.times() if self._binds else None,
            tuple(map(_identity, self._binds)),
        )


def _suits(receives: bool, wanted: Wanted, more: Mapping[int, int]) -> bool:
    """Whether what waits can have the streams that are wanted: it is given them, or has pipes that are as
    good."""
    if receives:
        return not any(map(_is_for_the_start, (*_named(wanted.streams), *more.values())))
    stdin, stdout, stderr = wanted.streams
    inputs = stdin in (PIPE, DEVNULL) or (stdin is None and _is_null(0))
    return stdout == PIPE and stderr == PIPE and inputs and not more


def _own(ends: Ends) -> dict[int, int]:
    """The caller's own of 0 to 2 where nothing else is asked for, as far as an exec would hand them on."""
    return {number: number for number in range(3) if number not in ends.theirs and _is_inherited(number)}


def _is_inherited(number: int) -> bool:
    try:
        return os.get_inheritable(number)
    except OSError:
        return False


def _named(streams: tuple[Stream, Stream, Stream]) -> Iterator[int]:
    """The descriptors of streams that the caller has already."""
    for number, stream in enumerate(streams):
        file = number if stream is None else stream
        with contextlib.suppress(AttributeError, OSError, ValueError):
            yield file if isinstance(file, int) else file.fileno()


def _is_for_the_start(descriptor: int) -> bool:
    """Whether only the jailer can judge it, or do what it asks for, when the jail starts: a terminal, which
    the job is to control; a folder, which would be a way out of the root; a file that could be emptied
    without being opened for that, where Landlock does not hold it yet (Linux 6.2) and a filter has to."""
    try:
        mode, flags = os.fstat(descriptor).st_mode, fcntl.fcntl(descriptor, fcntl.F_GETFL)
    except OSError:
        return False
    if stat.S_ISDIR(mode) or flags & os.O_PATH or os.isatty(descriptor):
        return True
    guarded = flags & os.O_ACCMODE == os.O_RDONLY or flags & os.O_APPEND
    return bool(stat.S_ISREG(mode) and guarded) and landlock.abi() < landlock.TRUNCATE_ABI


def _is_null(number: int) -> bool:
    try:
        found = os.fstat(number)
        return stat.S_ISCHR(found.st_mode) and found.st_rdev == os.stat(os.devnull).st_rdev
    except OSError:
        return False


@functools.lru_cache(64)
def _may_receive(text: bytes) -> bool:
    """Whether what waits in a jail of this plan can be given the caller's descriptors: the jail's streams are
    no pipes or terminal of its supervisor, and its policy allows the call."""
    plan = Plan.from_bytes(text)
    if any(plan.of(kind) for kind in (IdleTimeout, MaxOutput, Pty)):
        return False
    machine = _calls.machine_of(None)
    number = _calls.number("recvmsg", machine)
    return number is not None and all(
        evaluate(program.program, number, arch=_calls.arch_token(machine)) in (ALLOW, LOG)
        for program in plan.of(Seccomp)
    )


def _identity(path: str) -> object:
    """A source as it is now. Another one at its path is not in the jails that are there, and in one that was
    given away they still are its former owner."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_uid, found.st_gid
