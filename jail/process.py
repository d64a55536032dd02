"""`start` and `run`: commands in jails, with the conventions of `subprocess`. See docs/library.md."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import IO, Any, Self, cast

from jail.capture import MAX_OUTPUT, Capture, Feed, exchange
from jail.errors import LaunchError, SpecError
from jail.further import Further, asking
from jail.outcome import Outcome
from jail.requests import Event, Stats, answered, ask, events_of, pausing, send, stats_of, take
from jail.spawn import Running
from jail.spec import Jail
from jail.started import (
    HOSTILE,
    Place,
    Started,
    Wanted,
    begin,
    checked_streams,
    decoded,
    encoded,
    outcome_with,
    text_form,
)
from jail.streams import Ends, HasFileno, Stream

TimeoutExpired = subprocess.TimeoutExpired


class Process(Started):
    """A command that runs in a jail; `start` makes it.

    As a context manager it is `subprocess.Popen`'s: at the end of the block the pipes are closed and the
    jail is waited for. Other than there, a block that ends by an exception kills the jail first.
    """

    stdin: IO[Any] | None
    stdout: IO[Any] | None
    stderr: IO[Any] | None
    _exchange: tuple[Feed | None, dict[int, Capture]] | None
    _text: tuple[str, str] | None

    @classmethod
    def _with(
        cls, argv: Sequence[str | bytes], running: Running, ends: Ends, form: tuple[str, str] | None
    ) -> Self:
        process = cls._of(argv, running)
        process._exchange = None
        process._text = form
        process.stdin = process.stdout = process.stderr = None
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            if number in ends.ours:
                setattr(process, name, _as_file(ends.ours[number], "rb" if number else "wb", form))
        return process

    def wait(self, timeout: float | None = None) -> Outcome:
        """Wait for the end of the jail. With pipes it may wait for you to read them; `communicate` does.

        Raises TimeoutExpired after `timeout` seconds, and the jail runs on; LaunchError where the jail could
        not be set up.
        """
        if not self._wait(timeout):
            raise TimeoutExpired(self.args, cast(float, timeout))
        return cast(Outcome, self.outcome)

    def stats(self) -> Stats:
        """What the jail uses now; waits while it is being made. Raises ProcessLookupError where it has
        ended."""
        with self._running.connect() as connection:
            return stats_of(ask(connection, "stats"))

    def pause(self) -> None:
        """Freeze all of the jail; comes back when nothing in it runs any more. Nothing if it is paused.

        What holds over the jail stays held, memory above all, and its clocks run on: a limit on time, on time
        without output too, may end it, as `kill` and the end of this process do. What is asked for meanwhile,
        signals and further commands, takes effect when it goes on; SIGTERM resumes it. By the clock the jail
        can tell that it was paused.

        Raises UnsupportedError where the jail has no cgroup that could do it, ProcessLookupError where it has
        ended, TimeoutError where after 4 seconds some process still could not be frozen (it sleeps in the
        kernel), OSError (ECANCELED) where it was resumed meanwhile; the jail runs on then. See cgroups(7)
        and, for version 1, the kernel's freezer subsystem.
        """
        with self._running.connect() as connection:
            try:
                ask(connection, "pause")
            except OSError as error:
                raise pausing(error) from None

    def resume(self) -> None:
        """Have a paused jail go on. Nothing if it is not paused. Raises ProcessLookupError where it has
        ended."""
        with self._running.connect() as connection:
            ask(connection, "resume")

    def events(self) -> Iterator[Event]:
        """What happens to the jail from now on, until its end. Whoever does not read loses events, and is
        told how many (`Event.lost`). Raises ProcessLookupError where the jail has ended."""
        connection = self._running.connect()
        send(connection, "events")
        return events_of(connection)

    def exec(
        self,
        argv: Sequence[str | bytes],
        *,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        env: Mapping[str, str] | None = None,
        text: bool = False,
        encoding: str | None = None,
        errors: str | None = None,
    ) -> Exec:
        """Start another command in this jail, which must be running: waits while it is being made.

        It is confined as the first command is, in the same limits of the jail as a whole, and starts in the
        same folder with the same variables; `env` are more, or others. The streams are as in `start`. What
        it writes is no output of the jail's: neither `max_output` nor `idle_timeout` holds for it. The jail
        does not end with it, but it ends with the jail, with this process, and when nobody keeps the Exec.

        Raises ProcessLookupError where the jail has ended, SpecError where it takes no other command (an
        audited one) or for what `start` refuses. A command that cannot be executed is an outcome with exit
        code 126 or 127.
        """
        form = text_form(text, encoding, errors)
        ends = Ends(stdin, stdout, stderr)
        with asking(self._running, argv, env, ends) as connection:
            answered(take(connection))
        return Exec._with(argv, Further(self._running, connection), ends, form)

    def communicate(
        self,
        input: Any = None,  # noqa: A002 - as in Popen.communicate
        timeout: float | None = None,
        *,
        max_output: int = MAX_OUTPUT,
    ) -> tuple[Any, Any]:
        """Write `input` to stdin, read stdout and stderr, wait for the end; what was read, None for what is
        no pipe.

        More than `max_output` bytes on a stream end the jail; what fits is returned and the outcome is
        `output-exceeded`. Raises TimeoutExpired after `timeout` seconds, and the jail runs on: the call can
        be repeated, without input, and nothing is lost. Raises LaunchError where the jail could not be set
        up.
        """
        if self._exchange is None:
            self._exchange = self._begin_exchange(input, max_output)
        elif input:
            raise SpecError("the input was given to the first call already", "input")
        feed, captures = self._exchange
        deadline = None if timeout is None else time.monotonic() + timeout
        if not exchange(self._running.ended, feed, tuple(captures.values()), deadline, self.kill):
            found = [self._decoded(captures.get(number)) for number in (1, 2)]
            raise TimeoutExpired(self.args, cast(float, timeout), *found)
        self._collect(exceeded=any(capture.exceeded for capture in captures.values()))
        if isinstance(self._outcome, LaunchError):
            raise self._outcome
        return self._decoded(captures.get(1)), self._decoded(captures.get(2))

    def _begin_exchange(self, data: Any, most: int) -> tuple[Feed | None, dict[int, Capture]]:
        feed = None
        if self.stdin is not None and not self.stdin.closed:
            feed = Feed(self.stdin, encoded(data, self._text))
        elif data:
            raise SpecError("there is no pipe to write it to: start with stdin=PIPE", "input")
        outs = {number: file for number, file in ((1, self.stdout), (2, self.stderr)) if file is not None}
        return feed, {
            number: Capture(file.fileno(), most) for number, file in outs.items() if not file.closed
        }

    def _decoded(self, capture: Capture | None) -> Any:
        return None if capture is None else decoded(bytes(capture.data), self._text)

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if os.getpid() == self._owner:
            if kind is not None:
                self.kill()
            self._close_pipes()
            try:
                self._wait(None)
            except BaseException:  # KeyboardInterrupt above all: no jail outlives its block
                self.kill()
                self._wait(None)
                raise
        self._running.close()

    def _close_pipes(self) -> None:
        for file in (self.stdout, self.stderr, self.stdin):
            if file is not None:
                try:
                    file.close()
                except BrokenPipeError:  # nobody is left to read what was still to be written
                    pass


class Exec(Process):
    """A further command in a running jail; `Process.exec` makes it.

    It is waited for, read and written as a Process. `outcome` is that of the command alone; where the jail
    ends first it is `killed`. `send_signal`, `terminate` and `kill` are for the command, `kill` for its
    whole process group; `stats`, `events`, `exec`, `pause` and `resume` for the jail.
    """


def start(
    argv: Sequence[str | bytes],
    *,
    jail: Jail | Place | None = None,
    stdin: Stream = None,
    stdout: Stream = None,
    stderr: Stream = None,
    descriptors: Mapping[int, int | HasFileno] | None = None,
    env: Mapping[str, str] | None = None,
    code: str | bytes | None = None,
    text: bool = False,
    encoding: str | None = None,
    errors: str | None = None,
) -> Process:
    """Start a command in a jail and return at once.

    `argv` is the command, looked up in the jail's PATH, and its arguments. `jail` is a Jail or a Pool, the
    default jail if left out. The streams are None for the caller's own, PIPE, DEVNULL, a descriptor or an
    open file or socket; STDOUT as stderr. `descriptors` are files, sockets or descriptors that the command
    gets besides, by their number there, from 3 on; `env` are variables of this run besides the jail's. `code`
    is the text of a program, for a Pool that has a runner. With `text`, `encoding` (UTF-8) or `errors`
    (`replace`) the pipes are text.

    The jail ends with this process, however that ends.

    Raises SpecError or UnsupportedError for the jail, LaunchError where the jailer cannot be started. That
    the jail could not be set up is a LaunchError of `wait`, `poll` and `communicate`; a command that cannot
    be executed is an outcome with exit code 126 or 127.
    """
    form = text_form(text, encoding, errors)
    running, ends = begin(jail, Wanted(argv, (stdin, stdout, stderr), descriptors or {}, env or {}, code))
    return Process._with(argv, running, ends, form)


def run(
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
    timeout: float | None = None,
    max_output: int = MAX_OUTPUT,
) -> Outcome:
    """Run a command in a jail and wait for its end; what is captured is in the outcome's `stdout` and
    `stderr`.

    As subprocess.run; what differs is in docs/library.md. More than `max_output` bytes on a captured stream
    end the jail, with the outcome `output-exceeded`. `timeout` is the caller's patience in seconds: after it
    the jail is killed and TimeoutExpired raised, with what was captured; a limit of the jail is
    `Limits.timeout`, whose end is an outcome.

    Raises PayloadFailed with `check` where the outcome is not ok, and what `start` and `Process.wait` raise.
    """
    stdin, stdout, stderr = checked_streams(stdin, input, stdout, stderr, capture_output)
    encoded(input, text_form(text, encoding, errors))  # what cannot be fed is refused before the start
    with start(
        argv,
        jail=jail,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        descriptors=descriptors,
        env=env,
        code=code,
        text=text,
        encoding=encoding,
        errors=errors,
    ) as process:
        out, err = process.communicate(input, timeout, max_output=max_output)
        outcome = cast(Outcome, process.outcome)
        if out is not None or err is not None:
            outcome = outcome_with(outcome, stdout=out, stderr=err)
    return outcome.check() if check else outcome


def _as_file(descriptor: int, mode: str, form: tuple[str, str] | None) -> IO[Any]:
    if form is None:
        return open(descriptor, mode)
    errors = form[1] or (HOSTILE if mode == "rb" else "strict")
    return open(descriptor, mode[0], encoding=form[0], errors=errors)
