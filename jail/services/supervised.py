"""A service under a supervisor that reads what it says: `pyjail service run --protocol`, and the old
`run-service`.

Stdin and stdout are the caller's own, untouched. Stderr carries lines of JSON that only the supervisor
writes; what the service itself writes there arrives as it is, unless somebody could take it for such a line.
Whether the answer is complete, and what became of it, the supervisor tells, last, from the outcome.
"""

from __future__ import annotations

import json
import os
import select
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, cast

from jail.capture import PIECE
from jail.cli.writing import write_whole
from jail.errors import LaunchError
from jail.outcome import Outcome
from jail.process import Process, start
from jail.services.messages import MAX_LINE, Error, Head, Log, Message, MessageReader, grouped
from jail.services.request import Request
from jail.services.service import CODE, MESSAGES, REQUEST, Service, sealed
from jail.services.verdict import verdict
from jail.streams import PIPE

FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT)  # the jailer gets these itself
ENDING = (signal.SIGTERM, signal.SIGHUP, *FROM_TERMINAL)
GLANCE = 200
"""Milliseconds between looks at whether somebody has asked for the end."""

Form = Callable[[Message | None], Mapping[str, Any] | None]
"""A message as the protocol has it, or None where it has none. None is the end."""


def as_json(message: Message | None) -> Mapping[str, Any] | None:
    """The convention's own messages."""
    if isinstance(message, Head):
        return {"type": "head", "status": message.status, "headers": grouped(message.headers)}
    if isinstance(message, Log):
        return {"type": "log", "level": message.level, "message": message.message}
    if isinstance(message, Error):
        texts = {"name": message.name, "message": message.message, "stack": message.stack}
        return {"type": "error", "kind": message.kind, **texts}
    return {"type": "end"} if message is None else None


def as_old(message: Message | None) -> Mapping[str, Any] | None:
    """The lines of the node module run-service."""
    if isinstance(message, Head):
        return {"type": "writeHead", "payload": {"code": message.status, "headers": grouped(message.headers)}}
    if isinstance(message, Log):
        return {"type": "log", "payload": {"level": message.level, "message": message.message}}
    if isinstance(message, Error):
        return {"type": "error", "payload": {"error": message.message}}
    return {"type": "end"} if message is None else None


FORMS: dict[str, Form] = {"json": as_json, "stderr": as_old}


def supervise(service: Service, request: Request, protocol: str, outcome: int | str | None = None) -> int:
    """Run the service with the caller's own stdin and stdout; the exit status. `outcome` is where its line of
    JSON goes."""
    teller = Teller(FORMS[protocol])
    try:
        ended = _run(service, request, teller)
    except LaunchError as error:
        teller.tell(Error("SetupError", str(error), kind="setup"))
        return 125
    if isinstance(outcome, int):
        with open(outcome, "w", closefd=False) as file:
            file.write(ended.to_json() + "\n")
    elif outcome is not None:
        write_whole(outcome, ended.to_json().encode() + b"\n")
    teller.tell(verdict(ended, teller.said))
    return ended.returncode


class Teller:
    """Writes stderr."""

    def __init__(self, form: Form) -> None:
        self.said: Error | None = None
        """The last error that the service told of."""
        self._form = form
        self._reader = MessageReader()
        self._part = b""
        self.hasty = False
        """Somebody has asked for the end: who does not read is not waited for any more."""
        self._mute = False

    def take_messages(self, data: bytes) -> bool:
        """What came on descriptor 3, b"" for its end; whether more is wanted. Errors wait for the outcome,
        and only that is the end."""
        for message in self._reader.feed(data) if data else self._reader.finish():
            if isinstance(message, Error):
                self.said = message
            elif isinstance(message, (Head, Log)):
                self.tell(message)
        return bool(data) and not self._reader.full

    def take_log(self, data: bytes) -> bool:
        """What came on the service's stderr, b"" for its end."""
        *lines, self._part = (self._part + data).split(b"\n")
        if self._part and (not data or len(self._part) > MAX_LINE):
            lines.append(self._part)
            self._part = b""
        for line in lines:
            if b"{" in line:  # only the supervisor writes JSON
                self.tell(Log(line.decode("utf-8", "replace"), "stderr"))
            else:
                self._write(line + b"\n")
        return bool(data)

    def tell(self, message: Message | None) -> None:
        """One line; None is the end."""
        told = self._form(message)
        if told is not None:
            self._write(json.dumps(told, separators=(",", ":")).encode() + b"\n")

    def _write(self, data: bytes) -> None:
        """To stderr. That nobody reads it does not end the service. No write is larger than what a pipe takes
        at once where it takes anything, so that only the poll waits."""
        room = select.poll()
        room.register(2, select.POLLOUT)
        while data and not self._mute:
            if room.poll(GLANCE):
                data = data[_written(data[: select.PIPE_BUF]) :]
            else:
                self._mute = self.hasty  # and nothing more, after half a line


def _written(data: bytes) -> int:
    try:
        return os.write(2, data)
    except BlockingIOError:
        return 0
    except OSError:  # nobody is there to read it
        return len(data)


def _run(service: Service, request: Request, teller: Teller) -> Outcome:
    """Start it, pass on what it says, wait for its end."""
    reader, theirs = os.pipe()
    descriptors = {MESSAGES: theirs}
    with open(reader, "rb", buffering=0) as messages:
        try:
            descriptors[REQUEST] = sealed(request.to_json(), "request")
            if service.code is not None:
                descriptors[CODE] = sealed(service.code, "code")
            env = {} if service.has_runner else request.variables()
            process = start(
                service.command, jail=service.jail, stderr=PIPE, descriptors=descriptors, env=env
            )
        finally:
            for descriptor in descriptors.values():
                os.close(descriptor)
        with process, passing_signals(process, teller):
            assert process.stderr is not None
            _pass_on({messages: teller.take_messages, process.stderr: teller.take_log}, process.pidfd)
            return process.wait()


def _pass_on(takers: dict[IO[bytes], Callable[[bytes], bool]], pidfd: int) -> None:
    """Until the jail has ended and all that it wrote has been taken. What got out of it and holds a
    descriptor open keeps nobody waiting."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    for file in takers:
        os.set_blocking(file.fileno(), False)
        poll.register(file.fileno(), select.POLLIN)
    ended = False
    while not ended:
        ready = {descriptor for descriptor, _ in poll.poll()}
        ended = pidfd in ready
        for file, take in list(takers.items()):
            if (ended or file.fileno() in ready) and not _take(file.fileno(), take, everything=ended):
                poll.unregister(file.fileno())
                file.close()  # who has said too much gets EPIPE
                del takers[file]


def _take(descriptor: int, take: Callable[[bytes], bool], *, everything: bool) -> bool:
    """Take a piece, or everything that is there; whether more may come."""
    while True:
        try:
            data = os.read(descriptor, PIECE)
        except BlockingIOError:
            return not everything or take(b"")
        if not take(data):
            return False
        if not everything:
            return True


@contextmanager
def passing_signals(process: Process, teller: Teller) -> Iterator[None]:
    """Meanwhile signals are for the service."""

    def forward(number: int, _frame: object) -> None:
        if number not in FROM_TERMINAL:
            process.send_signal(number)
        teller.hasty = teller.hasty or number in ENDING

    before = {number: signal.signal(number, forward) for number in (*FORWARDED, *FROM_TERMINAL)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, cast(Any, handler))

