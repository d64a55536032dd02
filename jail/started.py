"""What a jail that was started is to its caller, whichever way the caller waits for it."""

from __future__ import annotations

import dataclasses
import os
import select
import signal
import threading
import time
import warnings
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Self, cast

from jail import spawn
from jail.errors import LaunchError, SpecError
from jail.outcome import Outcome, outcome_of
from jail.plans import awaiting_begin, likely_plan, plan_text, unguarded
from jail.requests import ask
from jail.spec import Jail, check_env
from jail.streams import PIPE, Ends, HasFileno, Stream, passed

DEFAULT = Jail()
HOSTILE = "replace"  # what is not in the encoding must not raise by itself


class Started:
    """What `Process` and `AsyncProcess` have in common; neither is made but by `start` and `start_async`."""

    args: tuple[str | bytes, ...]
    _running: spawn.Running
    _owner: int
    _lock: threading.Lock
    _outcome: Outcome | LaunchError | None

    def __init__(self) -> None:
        raise TypeError(f"a {type(self).__name__} is made by jail.start or jail.start_async")

    @classmethod
    def _of(cls, argv: Sequence[str | bytes], running: spawn.Running) -> Self:
        self = cls.__new__(cls)
        self.args = tuple(argv)
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._outcome = None
        self._running = running
        return self

    @property
    def pid(self) -> int:
        """The supervisor's: a small process outside, alive as long as anything of the jail is."""
        return self._running.pid

    @property
    def pidfd(self) -> int:
        """Readable when the jail has ended, for poll(2) and event loops; -1 when this process is closed.
        `wait` and the like return a moment earlier, when only its init and its supervisor are left to end."""
        return self._running.pidfd

    @property
    def outcome(self) -> Outcome | None:
        """How it ended, if `poll`, `wait` or `communicate` has found that; without looking. Raises
        LaunchError as they do."""
        if isinstance(self._outcome, LaunchError):
            raise self._outcome
        return self._outcome

    @property
    def returncode(self) -> int | None:
        """`outcome.returncode`, or None."""
        return None if self.outcome is None else self.outcome.returncode

    def poll(self) -> Outcome | None:
        """The outcome if the jail has ended, else None; at once. Raises LaunchError where the jail could not
        be set up."""
        return self.outcome if self._wait(0) else None

    def send_signal(self, number: int) -> None:
        """Send the command SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2 or SIGWINCH; SIGTSTP stops and
        SIGCONT continues all of the jail, SIGKILL ends it. Nothing if it has ended. Raises SpecError for
        others.

        SIGTERM is followed by SIGKILL after the jail's grace, whatever the command makes of it.
        """
        if number == signal.SIGKILL:
            self.kill()
        elif number in spawn.PASSED_ON:
            self._running.send_signal(number)
        else:
            names = ", ".join(sorted(known.name for known in (*spawn.PASSED_ON, signal.SIGKILL)))
            raise SpecError(f"{number!r} cannot be sent into a jail; what can: {names}", "signal")

    def terminate(self) -> None:
        """SIGTERM, and SIGKILL after the jail's grace."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End everything in the jail at once."""
        self._running.kill()

    def _begin(self) -> None:
        """Restart the jail's clocks, once: limits on time, and the time and CPU time of the outcome. Raises
        ProcessLookupError where it has ended."""
        with self._running.connect() as connection:
            ask(connection, "begin")

    def _wait(self, timeout: float | None) -> bool:
        """Whether it has ended in time."""
        if self._outcome is None:
            poll = select.poll()
            for descriptor in self._running.ended:
                poll.register(descriptor, select.POLLIN)
            if not poll.poll(None if timeout is None else max(0, timeout * 1000)):
                return False
            self._collect()
        return True

    def _collect(self, exceeded: bool = False) -> None:
        """Read what became of it, once it has ended."""
        if os.getpid() != self._owner:
            raise ChildProcessError(f"only process {self._owner}, which started the jail, can wait for it")
        with self._lock:
            if self._outcome is None:
                self._outcome = found(self._running, exceeded)

    def __del__(self) -> None:
        if not hasattr(self, "_running") or self._running.pidfd < 0:
            return
        if self._outcome is None and os.getpid() == self._owner:
            warnings.warn(
                f"{self!r} is killed: nobody waits for it", ResourceWarning, source=self, stacklevel=2
            )
            self.kill()
        self._running.close()

    def __repr__(self) -> str:
        ended = self._outcome.status if isinstance(self._outcome, Outcome) else self._outcome
        return f"<{type(self).__name__} {self.pid} {list(self.args)!r}: {ended or 'running'}>"


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a command is to have, besides its jail: its words, streams, descriptors by their number there,
    variables, and the text of a program where the words are a program's."""

    argv: Sequence[str | bytes]
    streams: tuple[Stream, Stream, Stream]
    descriptors: Mapping[int, int | HasFileno]
    env: Mapping[str, str]
    code: str | bytes | None = None


Begun = tuple[spawn.Running, Ends]
Wait = tuple[int, int, float]
"""A descriptor, what is waited for there (POLLIN or POLLOUT), and until when at most (time.monotonic)."""


class Place:
    """What can stand where a Jail is expected: jails that were made ahead."""

    def beginning(self, wanted: Wanted) -> Generator[Wait, None, Begun]:
        """Start a command; says what it has to wait for, so that threads and event loops can do it alike."""
        raise NotImplementedError


def begin(jail: Jail | Place | None, wanted: Wanted) -> Begun:
    """Start a jail, or take one; the caller's ends of its pipes."""
    steps = beginning(jail, wanted)
    try:
        while True:
            descriptor, events, deadline = next(steps)
            poll = select.poll()
            poll.register(descriptor, events)
            poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
    except StopIteration as stop:
        return cast(Begun, stop.value)
    finally:
        steps.close()


def beginning(jail: Jail | Place | None, wanted: Wanted) -> Generator[Wait, None, Begun]:
    """The steps of `begin`."""
    check_argv(wanted.argv)
    if jail is None or isinstance(jail, Jail):
        return begin_new(jail or DEFAULT, wanted)
    if isinstance(jail, Place):
        return (yield from jail.beginning(wanted))
    raise SpecError(f"expected a Jail or a Pool, got {jail!r}", "jail")


def begin_new(jail: Jail, wanted: Wanted, *, ahead: bool = False) -> Begun:
    """Start a jail that is made for it. `ahead`: its clocks stand still until the request `begin`."""
    if wanted.code is not None:
        raise SpecError("only a Pool with a runner runs the text of a program; others run commands", "code")
    more = all_passed(jail, wanted)
    if len(more) > len(jail.pass_fds):
        jail = dataclasses.replace(jail, pass_fds=tuple(more))
    check_env(tuple(wanted.env.items()))
    form = awaiting_begin if ahead else bytes
    plan = likely_plan(jail)
    ends = Ends(*wanted.streams, null=False)
    what = wanted.argv, ends.theirs | more, wanted.env
    try:
        try:
            running = spawn.launcher.start(form(plan.text), *what, plan.holds_in)
        except spawn.OutdatedError:
            running = spawn.launcher.start(form(unguarded(plan_text(jail))), *what)
    except BaseException:
        ends.close_all()
        raise
    ends.close_theirs()
    return running, ends


def all_passed(jail: Jail, wanted: Wanted) -> dict[int, int]:
    """The descriptors from 3 on, by their number in the jail. Raises SpecError."""
    more = passed(wanted.descriptors, "descriptors")
    return more | passed({number: number for number in jail.pass_fds if number not in more}, "pass_fds")


def found(running: spawn.Running, exceeded: bool) -> Outcome | LaunchError:
    """What became of a jail that has ended; `exceeded`: it was killed for what it wrote."""
    try:
        outcome = outcome_of(running.finish())
    except LaunchError as error:
        return error
    return outcome_with(outcome, status="output-exceeded") if exceeded else outcome


def outcome_with(outcome: Outcome, **changes: Any) -> Outcome:
    """The outcome with other values in some fields."""
    now: dict[str, Any] = {name: getattr(outcome, name) for name in Outcome.__match_args__}
    return Outcome(**{**now, **changes})


def checked_streams(
    stdin: Stream, data: Any, stdout: Stream, stderr: Stream, capture: bool
) -> tuple[Stream, Stream, Stream]:
    """The streams of `run`, which makes pipes for what it feeds and captures."""
    if data is not None and stdin is not None:
        raise SpecError("stdin and input exclude one another", "input")
    if capture and (stdout is not None or stderr is not None):
        raise SpecError("stdout and stderr exclude capture_output", "capture_output")
    return PIPE if data is not None else stdin, PIPE if capture else stdout, PIPE if capture else stderr


def check_argv(argv: Sequence[str | bytes]) -> None:
    """Refuse what is no command. Raises SpecError."""
    if isinstance(argv, (str, bytes)):
        raise SpecError(f"expected a list of words, got the text {argv!r}", "argv")
    if not argv or not argv[0]:
        raise SpecError("there is no command: the list, or its first word, is empty", "argv")
    for word in argv:
        if not isinstance(word, (str, bytes)):
            raise SpecError(f"expected text or bytes, got {word!r}", "argv")
        if (b"\0" if isinstance(word, bytes) else "\0") in word:  # type: ignore[operator]
            raise SpecError(f"{word!r} holds a NUL character, which no argument can have", "argv")


def text_form(text: bool, encoding: str | None, errors: str | None) -> tuple[str, str] | None:
    """Encoding and error handling, "" for the usual one; None for bytes."""
    if not (text or encoding or errors):
        return None
    return encoding or "utf-8", errors or ""


def decoded(data: bytes, form: tuple[str, str] | None) -> Any:
    """What was captured, as bytes, or as text with one kind of newline."""
    if form is None:
        return data
    return data.decode(form[0], form[1] or HOSTILE).replace("\r\n", "\n").replace("\r", "\n")


def encoded(data: Any, form: tuple[str, str] | None) -> bytes:
    """What is fed to a jail. Raises SpecError where it is of the other kind."""
    if isinstance(data, str) and form is not None:
        return data.encode(form[0], form[1] or "strict")
    if isinstance(data, str) or (form is not None and data is not None):
        wanted = "text" if form is not None else "bytes (or say text=True)"
        raise SpecError(f"expected {wanted}, got {type(data).__name__}", "input")
    return b"" if data is None else bytes(data)
