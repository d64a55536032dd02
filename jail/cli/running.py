"""Jails that run now: `pyjail ps`, `stats`, `kill`, `pause`, `resume` and `exec`. Each has a socket in its
user's runtime folder, on which its supervisor answers (docs/plan.md)."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import stat
import struct
import sys
from collections.abc import Iterator
from types import FrameType

from jail._record import record
from jail.cli.options import Command
from jail.cli.parse import Parsed
from jail.errors import JailError, LaunchError
from jail.further import ask_for, refusal
from jail.outcome import outcome_of
from jail.requests import Stats, answered, ask, pausing, send, stats_of, take
from jail.settings import UsageError
from jail.streams import Ends

PATIENCE = 5.0
"""Seconds that a supervisor has to answer: one that was stopped answers when it goes on."""
PEER_PIDFD = 77
"""SO_PEERPIDFD of unix(7)."""
CREDENTIALS = struct.Struct("=iII")
"""pid, uid and gid, as unix(7) has them."""
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


class NoSuchJailError(JailError):
    """No jail of that name runs now."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no jail of yours with the name {name!r} is found; `pyjail ps` lists them")


@record(frozen=True)
class Entry:
    """One jail that runs now; `argv` is as much of its command as was told."""

    name: str
    pid: int
    state: str
    """`running`, `pausing` or `paused`."""
    argv: tuple[str, ...]
    stats: Stats


def folders() -> Iterator[int]:
    """Descriptors of the runtime folders that are there and ours alone, as jailer/registry.c looks for
    them."""
    uid = os.geteuid()
    parents = [os.environ.get("XDG_RUNTIME_DIR", ""), f"/run/user/{uid}"]
    paths = [os.path.join(parent, "pyjail") for parent in parents if parent.startswith("/")]
    paths.append("/run/pyjail" if uid == 0 else f"/tmp/pyjail-{uid}")
    for path in dict.fromkeys(map(os.path.normpath, paths)):
        try:
            folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            found = os.fstat(folder)
            if found.st_uid == uid and not stat.S_IMODE(found.st_mode) & 0o077:
                yield folder
        finally:
            os.close(folder)


def connect(folder: int, name: str) -> socket.socket | None:
    """A connection to the jail's supervisor; None, and the entry is removed, where none listens any more."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(PATIENCE)
    try:
        connection.connect(f"/proc/self/fd/{folder}/{name}")
        if is_supervisor(connection):
            return connection
    except ConnectionRefusedError:
        remove_stale(folder, name)
    except OSError:
        pass
    connection.close()
    return None


def is_supervisor(connection: socket.socket) -> bool:
    """Whether who listens is of this user and its user namespace, as the supervisor asks of us: where a
    caller binds the folder, what is in a jail could put a socket there and wait for descriptors."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    pid, uid, _ = CREDENTIALS.unpack(found)
    own = os.readlink("/proc/self/ns/user")
    return (pid > 0 and uid == os.geteuid() and os.readlink(f"/proc/{pid}/ns/user") == own
            and is_still_there(connection))


def is_still_there(connection: socket.socket) -> bool:
    """Whether the process that began to listen still lives, so that nobody else can have had its id: since
    Linux 6.5 the kernel tells."""
    try:
        pidfd = connection.getsockopt(socket.SOL_SOCKET, PEER_PIDFD)
    except OSError as error:
        return error.errno == errno.ENOPROTOOPT
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    try:
        return not poll.poll(0)
    finally:
        os.close(pidfd)


def remove_stale(folder: int, name: str) -> None:
    """Under the lock under which entries are made: another may just have taken the name. Who has it has it
    not for long, or means harm: the entry can stay."""
    import fcntl

    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as again:
            again.connect(f"/proc/self/fd/{folder}/{name}")
    except ConnectionRefusedError:
        os.unlink(name, dir_fd=folder)
    except OSError:
        pass
    finally:
        fcntl.flock(folder, fcntl.LOCK_UN)


def find(name: str) -> socket.socket:
    """A connection to the jail of that name. Raises NoSuchJailError."""
    if name and "/" not in name and name not in (".", ".."):
        for folder in folders():
            connection = connect(folder, name)
            if connection is not None:
                return connection
    raise NoSuchJailError(name)


def entries() -> list[Entry]:
    """All jails of this user that run now, by name. One that ends meanwhile is not there."""
    found = []
    for folder in folders():
        for name in sorted(os.listdir(folder)):
            connection = connect(folder, name)
            if connection is None:
                continue
            with connection:
                try:
                    found.append(entry(connection))
                except (OSError, ValueError, KeyError):
                    continue
    return found


def entry(connection: socket.socket) -> Entry:
    """The jail at the other end. Raises OSError."""
    info = ask(connection, "info")
    stats = stats_of(ask(connection, "stats"))
    return Entry(info["name"], info["pid"], info["state"], tuple(info["argv"]), stats)


def as_json(one: Entry) -> dict[str, object]:
    """One entry, for programs."""
    usage: dict[str, object] = {name: getattr(one.stats, name) for name in Stats.__match_args__}
    return {"name": one.name, "pid": one.pid, "state": one.state, "argv": list(one.argv), **usage}


def perform(command: Command, parsed: Parsed) -> int:
    """Do what one of the commands does."""
    if command.name == "kill":
        return kill(parsed)
    if command.name in ("pause", "resume"):
        return to_each(command.name, parsed.words, command.name)
    if command.name == "exec":
        return execute(parsed)
    return show(parsed, usage=command.name == "stats")


def show(parsed: Parsed, usage: bool) -> int:
    """`pyjail ps`, and `pyjail stats` with usage: a table, or with --json one object a line."""
    found = entries()
    if usage and parsed.words:
        if len(parsed.words) > 1:
            raise UsageError("usage: pyjail stats [--json] [NAME]")
        with find(parsed.words[0]) as connection:
            found = [entry(connection)]
    elif parsed.words:
        raise UsageError("usage: pyjail ps [--json]")
    if parsed.last("names"):
        print("".join(f"{one.name}\n" for one in found), end="")
        return 0
    if parsed.last("json"):
        for one in found:
            print(json.dumps(as_json(one)))
        return 0
    rows = [USAGE if usage else COMMAND, *(usage_row(one) if usage else command_row(one) for one in found)]
    for row in rows:
        cells = [f"{text:<{width}} " for text, width in zip(row[:-1], WIDTHS, strict=False)]
        print("".join((*cells, row[-1])))
    return 0


COMMAND = ("NAME", "PID", "STATE", "TIME", "COMMAND")
USAGE = ("NAME", "TIME", "CPU", "MEMORY", "PEAK", "PIDS")
WIDTHS = (24, 10, 10, 10, 10)


def command_row(one: Entry) -> tuple[str, ...]:
    """What `ps` shows."""
    from jail.remote import printable

    words = printable(" ".join(one.argv)).replace("\n", " ")
    return one.name, str(one.pid), one.state, seconds(one.stats.wall_seconds), words


def usage_row(one: Entry) -> tuple[str, ...]:
    """What `stats` shows."""
    stats = one.stats
    cpu = None if stats.cpu_user_seconds is None else stats.cpu_user_seconds + (stats.cpu_system_seconds or 0)
    return (one.name, seconds(stats.wall_seconds), seconds(cpu), size(stats.memory_bytes),
            size(stats.peak_memory_bytes), "-" if stats.pids is None else str(stats.pids))


def seconds(value: float | None) -> str:
    """Seconds, minutes, hours, for people."""
    if value is None:
        return "-"
    if value < 60:
        return f"{value:.1f}s"
    minutes, rest = divmod(int(value), 60)
    return f"{minutes}m{rest:02}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02}m"


def size(value: int | None) -> str:
    """Bytes, for people."""
    if value is None:
        return "-"
    return f"{value / 1024:.0f}K" if value < 10 << 20 else f"{value / (1 << 20):.0f}M"


def kill(parsed: Parsed) -> int:
    """`pyjail kill [--signal S] NAME...`."""
    setting = parsed.last("signal")
    number = signal_number(setting.text) if setting else signal.SIGKILL
    return to_each("kill [--signal SIGNAL]", parsed.words, f"signal {int(number)}")


def to_each(usage: str, names: list[str], request: str) -> int:
    """Ask all of them, whatever becomes of one."""
    if not names:
        raise UsageError(f"usage: pyjail {usage} NAME...")
    missing = 0
    for name in names:
        try:
            with find(name) as connection:
                ask(connection, request)
        except OSError as error:
            why = pausing(error)
            text = getattr(why, "strerror", None) or why
            print(f"pyjail: {name}: {text}", file=sys.stderr)
            missing += 1
        except NoSuchJailError as error:
            print(f"pyjail: {error}", file=sys.stderr)
            missing += 1
    return 1 if missing else 0


def signal_number(text: str) -> int:
    """TERM, SIGTERM or 15. Raises UsageError."""
    if text.isascii() and text.isdigit() and 1 <= int(text) <= 64:
        return int(text)
    name = text.upper()
    found = getattr(signal, name if name.startswith("SIG") else f"SIG{name}", None)
    if not isinstance(found, signal.Signals):
        raise UsageError(f"--signal: {text!r} is no signal; write a name such as TERM, or a number up to 64")
    return found


def execute(parsed: Parsed) -> int:
    """`pyjail exec NAME [--] COMMAND...`: with the caller's own stdio, and the status of `pyjail run`."""
    name, *words = parsed.words or [""]
    words = words[1:] if words[:1] == ["--"] else words
    if not name or not words:
        raise UsageError("usage: pyjail exec [--env NAME=VALUE] NAME [--] COMMAND [ARG...]")
    env = {}
    for setting in parsed.settings:
        if setting.option.name == "env":
            variable, equals, value = setting.text.partition("=")
            env[variable] = value if equals else os.environ.get(variable, "")
    with find(name) as connection:
        signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)  # for the command, and so not before there is one
        ask_for(connection, words, env, Ends(None, None, None))
        try:
            answered(take(connection))
        except OSError as error:
            raise refusal(error) from None
        return wait(connection)


def wait(connection: socket.socket) -> int:
    """Pass signals on until the end; the status."""
    def forward(number: int, frame: FrameType | None) -> None:
        send(connection, f"signal {number}")

    connection.settimeout(None)
    for number in FORWARDED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, forward)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
    found = take(connection)
    if found is None:
        print("pyjail: the jail has ended, and the command with it", file=sys.stderr)
        return 128 + signal.SIGKILL
    try:
        outcome = outcome_of(json.dumps(found).encode())
    except LaunchError as error:
        print(f"pyjail: {error}", file=sys.stderr)
        return 125
    if outcome.error is not None:
        print(f"pyjail: {outcome.error.message}", file=sys.stderr)
    return outcome.returncode


