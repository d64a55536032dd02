"""`start` and `run`: commands in jails, with the conventions of `subprocess`. See docs/library.md."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
import warnings
from collections.abc import Sequence
from types import TracebackType
from typing import IO, Any, cast

from jail import spawn
from jail.capture import MAX_OUTPUT, Capture, Feed, exchange
from jail.errors import LaunchError, SpecError
from jail.launch import outcome_of
from jail.outcome import Outcome
from jail.plans import plan_text
from jail.spec import Jail
from jail.streams import PIPE, Ends, Stream

TimeoutExpired = subprocess.TimeoutExpired
DEFAULT = Jail()
HOSTILE = "replace"  # what is not in the encoding must not raise by itself


class Process:
    """A command that runs in a jail; `start` makes it.

    As a context manager it is `subprocess.Popen`'s: at the end of the block the pipes are closed and the
    jail is waited for. Other than there, a block that ends by an exception kills the jail first.
    """

    args: tuple[str | bytes, ...]
    stdin: IO[Any] | None
    stdout: IO[Any] | None
    stderr: IO[Any] | None

    def __init__(self) -> None:
        raise TypeError("a Process is made by jail.start")

    _running: spawn.Running
    _owner: int
    _lock: threading.Lock
    _outcome: Outcome | LaunchError | None
    _exchange: tuple[Feed | None, dict[int, Capture]] | None
    _text: tuple[str, str] | None

    @classmethod
    def _made(cls, argv: Sequence[str | bytes], running: spawn.Running) -> Process:
        self = cls.__new__(cls)
        self.args = tuple(argv)
        self.stdin = self.stdout = self.stderr = None
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._outcome = self._exchange = self._text = None
        self._running = running
        return self

    @property
    def pid(self) -> int:
        """The supervisor's: a small process outside, alive as long as anything of the jail is."""
        return self._running.pid

    @property
    def pidfd(self) -> int:
        """Readable when the jail has ended, for poll(2) and event loops; -1 when this process is closed."""
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

    def wait(self, timeout: float | None = None) -> Outcome:
        """Wait for the end of the jail. With pipes it may wait for you to read them; `communicate` does.

        Raises TimeoutExpired after `timeout` seconds, and the jail runs on; LaunchError where the jail could
        not be set up.
        """
        if not self._wait(timeout):
            raise TimeoutExpired(self.args, cast(float, timeout))
        return cast(Outcome, self.outcome)

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
        if not exchange(self.pidfd, feed, tuple(captures.values()), deadline, self.kill):
            found = [self._decoded(captures.get(number)) for number in (1, 2)]
            raise TimeoutExpired(self.args, cast(float, timeout), *found)
        self._collect(exceeded=any(capture.exceeded for capture in captures.values()))
        if isinstance(self._outcome, LaunchError):
            raise self._outcome
        return self._decoded(captures.get(1)), self._decoded(captures.get(2))

    def _begin_exchange(self, data: Any, most: int) -> tuple[Feed | None, dict[int, Capture]]:
        feed = None
        if self.stdin is not None and not self.stdin.closed:
            feed = Feed(self.stdin, _encoded(data, self._text))
        elif data:
            raise SpecError("there is no pipe to write it to: start with stdin=PIPE", "input")
        outs = {number: file for number, file in ((1, self.stdout), (2, self.stderr)) if file is not None}
        return feed, {
            number: Capture(file.fileno(), most) for number, file in outs.items() if not file.closed
        }

    def _decoded(self, capture: Capture | None) -> Any:
        return None if capture is None else decoded(bytes(capture.data), self._text)

    def _wait(self, timeout: float | None) -> bool:
        """Whether it has ended in time."""
        if self._outcome is None:
            poll = select.poll()
            poll.register(self.pidfd, select.POLLIN)
            if not poll.poll(None if timeout is None else max(0, timeout * 1000)):
                return False
            self._collect()
        return True

    def _collect(self, exceeded: bool = False) -> None:
        """Read what became of it, once: `pidfd` is readable."""
        if os.getpid() != self._owner:
            raise ChildProcessError(f"only process {self._owner}, which started the jail, can wait for it")
        with self._lock:
            if self._outcome is None:
                self._outcome = found(self._running, exceeded)

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
        return f"<jail.Process {self.pid} {list(self.args)!r}: {ended or 'running'}>"


def start(
    argv: Sequence[str | bytes],
    *,
    jail: Jail | None = None,
    stdin: Stream = None,
    stdout: Stream = None,
    stderr: Stream = None,
    text: bool = False,
    encoding: str | None = None,
    errors: str | None = None,
) -> Process:
    """Start a command in a jail and return at once.

    `argv` is the command, looked up in the jail's PATH, and its arguments. `jail` is the default jail if left
    out. The streams are None for the caller's own, PIPE, DEVNULL, a descriptor or an open file or socket;
    STDOUT as stderr. With `text`, `encoding` (UTF-8) or `errors` (`replace`) the pipes are text.

    The jail ends with this process, however that ends.

    Raises SpecError or UnsupportedError for the jail, LaunchError where the jailer cannot be started. That
    the jail could not be set up is a LaunchError of `wait`, `poll` and `communicate`; a command that cannot
    be executed is an outcome with exit code 126 or 127.
    """
    running, ends = begin(argv, jail, stdin, stdout, stderr)
    process = Process._made(argv, running)
    process._text = text_form(text, encoding, errors)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if number in ends.ours:
            setattr(process, name, _as_file(ends.ours[number], "rb" if number else "wb", process._text))
    return process


def run(
    argv: Sequence[str | bytes],
    *,
    jail: Jail | None = None,
    stdin: Stream = None,
    input: Any = None,  # noqa: A002 - as in subprocess.run
    stdout: Stream = None,
    stderr: Stream = None,
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
    with start(
        argv,
        jail=jail,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        text=text,
        encoding=encoding,
        errors=errors,
    ) as process:
        out, err = process.communicate(input, timeout, max_output=max_output)
        outcome = outcome_with(cast(Outcome, process.outcome), stdout=out, stderr=err)
    return outcome.check() if check else outcome


def begin(
    argv: Sequence[str | bytes], jail: Jail | None, stdin: Stream, stdout: Stream, stderr: Stream
) -> tuple[spawn.Running, Ends]:
    """Start a jail; the caller's ends of its pipes."""
    check_argv(argv)
    jail = jail if jail is not None else DEFAULT
    if not isinstance(jail, Jail):
        raise SpecError(f"expected a Jail, got {jail!r}", "jail")
    plan = plan_text(jail)
    check_open(jail.pass_fds)
    ends = Ends(stdin, stdout, stderr)
    try:
        running = spawn.launcher.start(plan, argv, ends.theirs, jail.pass_fds)
    except BaseException:
        ends.close_all()
        raise
    ends.close_theirs()
    return running, ends


def found(running: spawn.Running, exceeded: bool) -> Outcome | LaunchError:
    """What became of a jail that has ended; `exceeded`: it was killed for what it wrote."""
    try:
        outcome = outcome_of(*running.finish())
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


def check_open(descriptors: tuple[int, ...]) -> None:
    """Refuse descriptors that are not there. Raises SpecError."""
    for number in descriptors:
        try:
            os.fstat(number)
        except OSError as error:
            raise SpecError(f"descriptor {number}: {error.strerror}", "pass_fds") from None


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


def _encoded(data: Any, form: tuple[str, str] | None) -> bytes:
    if isinstance(data, str) and form is not None:
        return data.encode(form[0], form[1] or "strict")
    if isinstance(data, str) or (form is not None and data is not None):
        wanted = "text" if form is not None else "bytes (or say text=True)"
        raise SpecError(f"expected {wanted}, got {type(data).__name__}", "input")
    return b"" if data is None else bytes(data)


def _as_file(descriptor: int, mode: str, form: tuple[str, str] | None) -> IO[Any]:
    if form is None:
        return open(descriptor, mode)
    errors = form[1] or (HOSTILE if mode == "rb" else "strict")
    return open(descriptor, mode[0], encoding=form[0], errors=errors)
