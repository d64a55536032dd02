"""Further commands in a running jail: what `Process.exec` starts."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from jail._fields import encode, escape
from jail.errors import SpecError
from jail.launch import memory_file
from jail.requests import LONGEST, send
from jail.spawn import Running
from jail.started import check_argv
from jail.streams import Ends

KILLED = b'{"status":"killed"}'
"""How it ended where the jail did, and nobody was left to tell."""


class Further:
    """A command on a connection, as what spawn.py calls a Running: the end of either is the other's."""

    def __init__(self, jail: Running, connection: socket.socket) -> None:
        self.pid = jail.pid
        self.pidfd = connection.fileno()  # nothing comes on it but the end
        self.ended: tuple[int, ...] = (self.pidfd,)
        self._jail = jail
        self._connection = connection

    def send_signal(self, number: int) -> None:
        if self._connection.fileno() >= 0:  # the collector may have closed it before us
            send(self._connection, f"signal {int(number)}")

    def kill(self) -> None:
        if self._connection.fileno() >= 0:
            send(self._connection, "kill")

    def connect(self) -> socket.socket:
        return self._jail.connect()

    def finish(self) -> bytes:
        flags = socket.MSG_PEEK  # so that pidfd stays readable
        try:
            return self._connection.recv(LONGEST, flags) or KILLED
        except ConnectionResetError:  # told before what was said, and once
            return self._connection.recv(LONGEST, flags) or KILLED

    def close(self) -> None:
        self._connection.close()
        self.pidfd = -1


@contextmanager
def asking(
    jail: Running, argv: Sequence[str | bytes], env: Mapping[str, str] | None, ends: Ends
) -> Iterator[socket.socket]:
    """Ask a jail for the command. The answer is taken in the block; where that fails nothing stays open.
    Raises SpecError."""
    connection = None
    try:
        connection = jail.connect()
        ask_for(connection, argv, env or {}, ends)
        yield connection
    except BaseException as error:
        ends.close_all()
        if connection is not None:
            connection.close()
        raise refusal(error) if isinstance(error, OSError) else error from None
    ends.close_theirs()


def ask_for(
    connection: socket.socket, argv: Sequence[str | bytes], env: Mapping[str, str], ends: Ends
) -> None:
    """Ask for the command; the answer is still to be taken. Raises SpecError."""
    program = memory_file(command_text(argv, env))
    try:
        send(connection, "exec", [*(ends.theirs.get(number, number) for number in range(3)), program])
    finally:
        os.close(program)


def command_text(argv: Sequence[str | bytes], env: Mapping[str, str]) -> bytes:
    """The command in the form of a plan. Raises SpecError."""
    check_argv(argv)
    lines = [b"jailer 1"]
    for name, value in env.items():
        if not name or "=" in name or "\0" in name + value:
            raise SpecError(f"{name!r}: {value!r} cannot be a variable", "env")
        lines.append(b"env " + encode(f"{name}={value}"))
    lines += [b"argv " + (escape(word) if isinstance(word, bytes) else encode(word)) for word in argv]
    return b"\n".join((*lines, b"end", b""))


def refusal(error: OSError) -> Exception:
    """What an answer that is no yes means to who asked for a command."""
    return SpecError(str(error.strerror), "exec") if error.errno == errno.EOPNOTSUPP else error
