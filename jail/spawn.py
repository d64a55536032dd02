"""The seam between `Process` and what executes plans: here a jailer for each run.

`posix_spawn` shares the caller's memory until the exec, so that a start costs the same from a caller of any
size. What ties the two together are a file in memory, a socket and a pidfd:

- the jailer writes the outcome to the file, which takes it however long a hostile program has made it: a
  jailer that waits for its caller, who waits for its end, would wait forever;
- when the caller's direction of the socket is shut down, the jailer kills the jail, removes what it made, and
  reports;
- the pidfd is the caller's own: it tells the jailer that the calling *process* has ended, however that came
  about. The end of the thread that started the jail is nothing, and a forked child that holds a copy of the
  socket keeps nothing alive.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from typing import Protocol

from jail.errors import LaunchError
from jail.launch import jailer_path, memory_file, not_started

PASSED_ON = frozenset(
    (
        signal.SIGTERM,
        signal.SIGINT,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGWINCH,
        signal.SIGCONT,
        signal.SIGTSTP,
    )
)


class Running(Protocol):
    """A jail that was started. Signals and `kill` to one that has ended do nothing."""

    pid: int
    pidfd: int
    """Readable when all of the jail, and its supervisor, has ended."""

    def send_signal(self, number: int) -> None:
        """Pass on one of PASSED_ON."""

    def kill(self) -> None:
        """End everything in the jail at once."""

    def finish(self) -> tuple[bytes, int | None]:
        """What was reported, and the supervisor's status as subprocess has it, once `pidfd` is readable."""

    def close(self) -> None:
        """Let go of what this process holds of it; a jail that still runs is killed."""


class Launcher(Protocol):
    """Executes plans."""

    def start(
        self,
        plan: bytes,
        words: Sequence[str | bytes],
        descriptors: Mapping[int, int],
    ) -> Running:
        """Start a plan with the words as its command. `descriptors`: what the jail gets, by its number there;
        of 0, 1 and 2 the caller's own where they are left out. Raises LaunchError."""


class OneShot:
    """A jailer for each run."""

    def start(
        self,
        plan: bytes,
        words: Sequence[str | bytes],
        descriptors: Mapping[int, int],
    ) -> Running:
        _reap_abandoned()
        path = jailer_path()
        numbers = _free_numbers(descriptors)
        report, *lives, text = numbers
        ours, theirs = socket.socketpair()
        opened: list[int] = []
        try:
            opened.append(os.memfd_create("pyjail-outcome"))
            opened.append(os.pidfd_open(os.getpid()))
            opened.append(memory_file(_with_ends(plan, report, lives)))
            wanted = dict(descriptors)
            outcome, caller, program = opened
            wanted.update(zip(numbers, (outcome, theirs.fileno(), caller, program), strict=True))
            actions = [
                (os.POSIX_SPAWN_DUP2, _clear_of(source, target, max(wanted) + 1, opened), target)
                for target, source in wanted.items()
            ]
            # Signals must not meet a jailer that has not begun to listen; and whatever the caller ignores, it
            # means its TERM.
            pid = os.posix_spawn(
                path,
                ["jailer", "run-fd", str(text), *words],
                os.environb,
                file_actions=actions,
                setsigmask=PASSED_ON,
                setsigdef=[signal.SIGTERM],
            )
            theirs.close()  # so that there is room for a descriptor that watches the end
            run = _OneRun(pid, ours, outcome)
            opened.remove(outcome)
            return run
        except OSError as error:
            ours.close()
            raise error if isinstance(error, LaunchError) else not_started(error) from None
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            for descriptor in opened:
                os.close(descriptor)


class _OneRun:
    """A run that has a jailer of its own."""

    def __init__(self, pid: int, life: socket.socket, outcome: int) -> None:
        self.pid = pid
        self._life = life
        self._outcome = outcome
        try:
            self.pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            raise LaunchError(
                f"the jailer with pid {pid} ended, and was reaped, before it could be watched",
                "jailer",
                hint="SIGCHLD must not be ignored by the calling process",
            ) from None

    def send_signal(self, number: int) -> None:
        if self.pidfd < 0:
            return
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            pass

    def kill(self) -> None:
        try:
            self._life.shutdown(socket.SHUT_WR)
        except OSError:  # the other end has gone
            return
        self.send_signal(signal.SIGCONT)  # a supervisor that was stopped would not see it

    def finish(self) -> tuple[bytes, int | None]:
        return os.pread(self._outcome, os.fstat(self._outcome).st_size, 0), _reap(self.pidfd)

    def close(self) -> None:
        if self.pidfd < 0:
            return
        self._life.close()
        os.close(self._outcome)
        if not _has_ended(self.pidfd):
            _abandoned.append(self.pidfd)  # it ends by itself now, and somebody has to reap it
        else:
            os.close(self.pidfd)
        self.pidfd = -1


_abandoned: list[int] = []


def _reap_abandoned() -> None:
    for pidfd in list(_abandoned):
        if _has_ended(pidfd):
            try:
                _abandoned.remove(pidfd)
            except ValueError:  # another thread does it
                continue
            _reap(pidfd)
            os.close(pidfd)


def _has_ended(pidfd: int) -> bool:
    import select

    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def _reap(pidfd: int) -> int | None:
    """The status as subprocess has it; None where somebody else has taken it."""
    try:
        found = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    except ChildProcessError:
        return None
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def _free_numbers(taken: Mapping[int, int]) -> list[int]:
    """Four descriptors that the payload does not get."""
    return [number for number in range(3, 7 + len(taken)) if number not in taken][:4]


def _with_ends(plan: bytes, report: int, lives: Sequence[int]) -> bytes:
    """The plan with where the outcome goes and what the run lives by."""
    ends = b"outcome fd %d\nlife-fd %d\nlife-fd %d\nend\n" % (report, *lives)
    return plan.removesuffix(b"end\n") + ends


def _clear_of(source: int, target: int, top: int, opened: list[int]) -> int:
    """The descriptor, or a copy of it out of the way of all the numbers that the jailer gets."""
    if source >= top or source == target:
        return source
    opened.append(fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, top))
    return opened[-1]


launcher: Launcher = OneShot()
