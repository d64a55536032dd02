"""The seam between `Process` and what executes plans: a serving jailer (`jailer serve`), one a process.

It is small, so that a start costs the same from a caller of any size, and forks a supervisor for each run.
What ties a run and its caller together are a file in memory, a socket and two pidfds:

- the supervisor writes the outcome to the file, which takes it however long a hostile program has made it:
  one that waits for its caller, who waits for its end, would wait forever;
- the socket (SOCK_SEQPACKET) takes requests to the running jail (docs/plan.md), of which this module sends
  one, `connect`: each asker gets a connection of its own. When the caller's direction is shut down, the
  supervisor kills the jail, removes what it made, and reports;
- the pidfd of the caller tells serving jailer and supervisors that the calling *process* has ended, however
  that came about. The end of the thread that started the jail is nothing, and a forked child that holds
  copies of the sockets keeps nothing alive;
- the pidfd of the supervisor tells the caller that all of the jail has ended. What is left of it when the
  outcome is there, init that ends and the namespaces that go with it, takes as long as the rest of a start;
  so the end of the socket tells that already. (Only: a forked child may hold the other side open.)

The serving jailer is no child of this process, whose wait(2) never meets it. It starts with the first jail,
anew in a forked child, when it has ended, and when something has changed that jails take over from their
caller (`surroundings`).
"""

from __future__ import annotations

import errno
import functools
import os
import re
import signal
import socket
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from jail.errors import LaunchError
from jail.launch import JAILER, not_started
from jail.server import Server, Surroundings, surroundings
from jail.streams import NOTHING

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
    ended: tuple[int, ...]
    """One of them is readable when there is an outcome, which is a little earlier."""

    def send_signal(self, number: int) -> None:
        """Pass on one of PASSED_ON."""

    def kill(self) -> None:
        """End everything in the jail at once."""

    def connect(self) -> socket.socket:
        """A connection for requests. Raises ProcessLookupError where the jail has ended."""

    def finish(self) -> bytes:
        """What was reported, once one of `ended` is readable."""

    def close(self) -> None:
        """Let go of what this process holds of it; a jail that still runs is killed."""


TRIES = 3
RUN, KEEP, AS_EVER = 0, 1, 0xFFFFFFFF  # jail/jailer/request.h
HEAD, ANSWER = struct.Struct("=7I"), struct.Struct("=2i")


class OutdatedError(Exception):
    """The plan is not what would be made now; nothing was started."""


class Serving:
    """One serving jailer after the other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server: Server | None = None
        self._surroundings: Surroundings | None = None
        self._kept: dict[bytes, int] = {}
        os.register_at_fork(after_in_child=self._forked)

    def start(
        self,
        plan: bytes,
        words: Sequence[str | bytes],
        descriptors: Mapping[int, int],
        variables: Mapping[str, str],
        holds: Callable[[Surroundings], bool] = lambda _now: True,
    ) -> Running:
        """Start a plan with the words as its command. `descriptors`: what the jail gets, by its number there;
        of 0, 1 and 2 the caller's own where they are left out, and /dev/null for NOTHING. `variables`: what
        it has besides the plan's. `holds`: whether the plan is the right one in surroundings that are ours
        now. Raises LaunchError, and OutdatedError where it is not, or what it depends on has changed."""
        given = _own_streams(descriptors) | {n: fd for n, fd in descriptors.items() if fd != NOTHING}
        command = [os.fsencode(word) for word in words]
        own = [os.fsencode(f"{name}={value}") for name, value in variables.items()]
        names = (*_passed_on(plan), b"XDG_RUNTIME_DIR")  # the latter for the run's entry there
        values = [(name, os.environb.get(name)) for name in names]
        passed = [name + b"=" + value for name, value in values if value is not None]
        text = b"".join(part + b"\0" for part in (*command, *own, *passed))
        head = HEAD.pack(RUN, len(command), len(own), len(passed), len(text), AS_EVER, len(given))
        head += struct.pack(f"={len(given)}i", *given)
        try:
            outcome = os.memfd_create("pyjail-outcome")
            try:
                pid, pidfd, life = self._asked(head, text + plan, (outcome, *given.values()), holds)
                if pidfd < 0:  # there was no room for it here
                    life.close()
                    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            except BaseException:
                os.close(outcome)
                raise
        except OSError as error:
            raise error if isinstance(error, LaunchError) else not_started(error) from None
        return _Run(pid, pidfd, life, outcome)

    def keep(self, plan: bytes, count: int | None) -> int:
        """Have `count` jails stand ready for the plan, made up to the command's last steps, each for one run;
        0 for none ever; None for as it is by itself: one from the second use on, for a second after each.

        Returns when they are ready, how many there are: as many as were asked for, or fewer where the plan
        allows none (an audit, limits on output, what is mounted below a bind) or they cannot be made just
        now; jails are then made when they are asked for.

        Raises LaunchError.
        """
        with self._lock:
            self._kept.pop(plan, None)
            if count is not None:
                self._kept[plan] = count
        try:
            ready, _, life = self._asked(_keep_head(count), plan, ())
        except OSError as error:
            raise error if isinstance(error, LaunchError) else not_started(error) from None
        life.close()
        return ready

    def close(self) -> None:
        """Let go of the serving jailer, which ends. Jails that run go on; the next start makes another."""
        with self._lock:
            self._replace(None)

    def _asked(
        self,
        head: bytes,
        text: bytes,
        more: tuple[int, ...],
        holds: Callable[[Surroundings], bool] | None = None,
    ) -> tuple[int, int, socket.socket]:
        """The number and the descriptor (-1 for none) that the answer holds, and the socket on which it came.

        What needs a confirmation (`holds`) is first asked of the jailer that there is, which prepares it
        while we look at our surroundings and at the plan. A jailer that ends before it has answered has done
        nothing yet where it has not heard that; else it may have begun, and nobody else may begin again.
        """
        memory, begun = _memory(text + b"\0"), False
        try:
            for number in range(TRIES):
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                try:
                    with theirs:
                        descriptors = memory, theirs.fileno(), *more
                        looked = holds is None or number > 0
                        its = self._ask(head, descriptors, looked)
                    if looked or its == surroundings():
                        if holds is not None and not holds(its):
                            raise OutdatedError
                        told = holds is not None and _tell(ours)
                        answer, found, unread = _received(ours)
                        if answer:
                            number, error = ANSWER.unpack(answer)
                            if error == errno.ESTALE:
                                raise OutdatedError
                            if error:
                                raise OSError(error, os.strerror(error))
                            return number, found[0] if found else -1, ours
                        begun = told and not unread
                        if begun:
                            ours.close()
                            break
                except ConnectionError:
                    pass
                except BaseException:
                    ours.close()
                    raise
                ours.close()
        finally:
            os.close(memory)
        hint = "the command may have begun, and has ended: start it again if it may run twice" * begun
        why = "the jailer ended before it had told that the jail runs"
        raise LaunchError(why, "jailer", hint=hint, object=JAILER)

    def _ask(self, head: bytes, descriptors: tuple[int, ...], looking: bool) -> Surroundings:
        """The surroundings that the jailer has which was asked; `looking`: they are ours."""
        with self._lock:
            if looking or self._server is None:
                self._look()
            assert self._server is not None and self._surroundings is not None
            try:
                self._server.ask(head, descriptors)
            except ConnectionError:
                self._replace(None)
                raise
            return self._surroundings

    def _look(self) -> None:
        now = surroundings()
        if self._server is None or self._surroundings != now:
            server = Server()
            self._replace(server)
            self._surroundings = now
            self._remind(server)

    def _remind(self, server: Server) -> None:
        """Have another one keep what the last did; nobody waits for it."""
        for plan, count in self._kept.items():
            memory = _memory(plan + b"\0")
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                server.ask(_keep_head(count), (memory, theirs.fileno()))
            finally:
                ours.close()
                theirs.close()
                os.close(memory)

    def _replace(self, server: Server | None) -> None:
        if self._server is not None:
            self._server.close()
        self._server = server

    def _forked(self) -> None:
        """In the child, where the lock may be that of a thread which is not there."""
        self._lock = threading.Lock()
        self._kept = {}
        self._replace(None)


class _Run:
    """A jail with a supervisor of its own."""

    def __init__(self, pid: int, pidfd: int, control: socket.socket, outcome: int) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.ended: tuple[int, ...] = control.fileno(), pidfd
        self._control = control
        self._outcome = outcome

    def send_signal(self, number: int) -> None:
        if self.pidfd < 0:
            return
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            pass

    def kill(self) -> None:
        try:
            self._control.shutdown(socket.SHUT_WR)
        except OSError:  # the other end has gone
            return
        self.send_signal(signal.SIGCONT)  # a supervisor that was stopped would not see it

    def connect(self) -> socket.socket:
        return connection(self._control)

    def finish(self) -> bytes:
        return os.pread(self._outcome, os.fstat(self._outcome).st_size, 0)

    def close(self) -> None:
        if self.pidfd < 0:
            return
        self._control.close()
        os.close(self._outcome)
        os.close(self.pidfd)
        self.pidfd = -1


def _tell(connection: socket.socket) -> bool:
    """Have the jail begin; False where nobody is there: then there may be another answer."""
    try:
        return connection.send(b"y", socket.MSG_NOSIGNAL) == 1
    except ConnectionError:
        return False


def _received(connection: socket.socket) -> tuple[bytes, list[int], bool]:
    """An answer, its descriptor, and whether the other side has ended without reading what it was told. No
    other child of this process gets the descriptor: socket.recv_fds of Python 3.11 does not pass its flags
    on."""
    size = socket.CMSG_LEN(struct.calcsize("=i"))
    unread = False
    for _ in range(2):
        try:
            answer, given, _, _ = connection.recvmsg(ANSWER.size, size, socket.MSG_CMSG_CLOEXEC)
            break
        except ConnectionResetError:  # told before what was said, and once
            answer, given, unread = b"", [], True
    return answer, [struct.unpack_from("=i", data)[0] for _, _, data in given], unread


def _keep_head(count: int | None) -> bytes:
    return HEAD.pack(KEEP, 0, 0, 0, 0, AS_EVER if count is None else count, 0)


def connection(control: socket.socket) -> socket.socket:
    """A connection of its own, by way of the socket that a run has had from its start."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        socket.send_fds(control, [b"connect"], [theirs.fileno()], socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    except OSError as error:
        ours.close()
        if isinstance(error, BlockingIOError):  # a supervisor that was stopped, and many who ask
            raise
        raise ProcessLookupError(errno.ESRCH, "the jail has ended") from None
    finally:
        theirs.close()
    return ours


def _own_streams(given: Mapping[int, int]) -> dict[int, int]:
    """Those of 0, 1 and 2 that an exec would hand on. What it would close is no stream: a file or socket may
    have got the number of one that was closed."""
    return {number: number for number in range(3) if number not in given and _is_inherited(number)}


def _is_inherited(descriptor: int) -> bool:
    try:
        return os.get_inheritable(descriptor)
    except OSError:
        return False


@functools.lru_cache(64)
def _passed_on(plan: bytes) -> tuple[bytes, ...]:
    """The names of the variables whose values are the caller's."""
    return tuple(
        re.sub(rb"\\([0-7]{3})", lambda escape: bytes((int(escape[1], 8),)), name)
        for name in re.findall(rb"^env-pass (.*)$", plan, re.MULTILINE)
    )


def _memory(text: bytes) -> int:
    descriptor = os.memfd_create("pyjail-request")
    written = 0
    while written < len(text):
        written += os.write(descriptor, text[written:] if written else text)
    return descriptor


launcher = Serving()
