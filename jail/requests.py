"""Requests to a running jail: words out, lines of JSON back, each conversation on a connection of its own.
The supervisor answers; nothing of it comes from the payload. See docs/plan.md."""

from __future__ import annotations

import errno
import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jail._record import record
from jail.errors import UnsupportedError

LONGEST = 1 << 16
"""Bytes of an answer, at most."""


@record(frozen=True)
class Stats:
    """What a jail uses now and has used, as its cgroup tells, and for CPU time and processes, where it has
    none, /proc; None for what nothing measures on this host. Time counts from the start, or from where a pool
    has handed the jail to its job."""

    wall_seconds: float
    cpu_user_seconds: float | None
    """Of all processes that the jail ever had; from /proc, of those that live and that were waited for."""
    cpu_system_seconds: float | None
    memory_bytes: int | None
    """Now, with the kernel's memory for the jail and its files in memory."""
    peak_memory_bytes: int | None
    pids: int | None
    """Processes and threads now."""
    pids_peak: int | None
    io_read_bytes: int | None
    """From block devices, where the jail has a limit on that."""
    io_write_bytes: int | None


@record(frozen=True)
class Event:
    """Something that has happened to a jail.

    `kind`: `started` (first, also where it was long ago), `denied` (`call`: a system call that the policy
    has refused; with an audit only), `stopped`, `continued`, `paused`, `resumed`, `exited` (the command, with
    `exit_code` or `signal`), `oom` (memory ran out)."""

    kind: str
    wall_seconds: float
    lost: int = 0
    """Events before this one that there was no room for, because nobody read them."""
    call: str | None = None
    exit_code: int | None = None
    signal: int | None = None


def pausing(error: OSError) -> Exception:
    """What the refusal of `pause` means."""
    if error.errno != errno.ENODEV:
        return error
    return UnsupportedError(
        "pausing a jail",
        "a cgroup of its own, in version 1 with the freezer",
        "start it as root, or with a limit that takes a cgroup, such as --memory 512M",
    )


def ended() -> ProcessLookupError:
    """The error of a request to a jail that is gone."""
    return ProcessLookupError(errno.ESRCH, "the jail has ended")


def send(connection: socket.socket, text: str, descriptors: Sequence[int] = ()) -> None:
    """Send a request. That nobody hears it is seen when the answer is taken, and why."""
    try:
        socket.send_fds(connection, [text.encode()], descriptors, socket.MSG_NOSIGNAL)
    except (BrokenPipeError, ConnectionResetError):
        pass


def take(connection: socket.socket) -> dict[str, Any] | None:
    """The next line, None at the end of the jail. Raises OSError as the supervisor refuses."""
    try:
        data = connection.recv(LONGEST)
    except ConnectionResetError:  # told before what was said, and once
        data = connection.recv(LONGEST)
    if not data:
        return None
    found: dict[str, Any] = json.loads(data)
    error = found.get("error")
    if error and error.get("step") is None:
        raise OSError(error["errno"], error["message"])
    return found


def answered(found: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The answer, which must have come. Raises ProcessLookupError."""
    if found is None:
        raise ended()
    return found


def ask(connection: socket.socket, text: str, descriptors: Sequence[int] = ()) -> Mapping[str, Any]:
    """Request and answer. Raises ProcessLookupError where the jail has ended, OSError where it refuses."""
    send(connection, text, descriptors)
    return answered(take(connection))


def stats_of(found: Mapping[str, Any]) -> Stats:
    """An answer to `stats`; fields of later versions are passed over."""
    return Stats(**{name: found[name] for name in Stats.__match_args__})


def events_of(connection: socket.socket) -> Iterator[Event]:
    """The events that come on a connection, which is closed afterwards."""
    with connection:
        while (found := take(connection)) is not None:
            yield event_of(found)


def event_of(found: Mapping[str, Any]) -> Event:
    """A line of `events`."""
    known = {name: found[name] for name in Event.__match_args__ if name in found}
    return Event(kind=found["event"], **known)
