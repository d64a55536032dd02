"""The sockets that the gateway listens on: made here, or passed by whoever started it."""

from __future__ import annotations

import os
import socket
import stat

from jail.errors import LaunchError
from jail.settings import UsageError

DEFAULT = "127.0.0.1:8080"
FIRST_PASSED = 3  # sd_listen_fds(3)
BACKLOG = 1024


def listeners(addresses: tuple[str, ...]) -> list[socket.socket]:
    """Sockets for the addresses; for none, those that systemd passes, else one at DEFAULT. Raises UsageError
    and LaunchError."""
    passed = _passed()
    if not addresses and passed:
        return [_opened(number, f"LISTEN_FDS: descriptor {number}") for number in passed]
    found: list[socket.socket] = []
    try:
        for address in addresses or (DEFAULT,):
            found.append(_listener(address))  # noqa: PERF401 - what was opened is closed
    except BaseException:
        for each in found:
            each.close()
        raise
    return found


def described(listener: socket.socket) -> str:
    """As --listen has it; a URL for TCP."""
    if listener.family == socket.AF_UNIX:
        return f"unix:{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _passed() -> range:
    """The descriptors that systemd passes to this process, which no child is to take for its own."""
    pid, number = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not number.isdigit():
        return range(0)
    return range(FIRST_PASSED, FIRST_PASSED + int(number))


def _listener(address: str) -> socket.socket:
    kind, _, rest = address.partition(":")
    if kind == "unix":
        return _at_path(rest)
    if kind == "fd":
        if not (rest.isascii() and rest.isdigit()):
            raise UsageError(f"--listen {address}: expected a number of a descriptor, such as fd:3")
        return _opened(int(rest), f"--listen {address}")
    return _at_port(address)


def _opened(number: int, where: str) -> socket.socket:
    """A socket that is open already, and must listen."""
    try:
        found = socket.socket(fileno=number)
        found.set_inheritable(False)
        listening = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise UsageError(f"{where}: no socket: {error.strerror}") from None
    if not listening or found.type != socket.SOCK_STREAM:
        raise UsageError(
            f"{where}: not a listening stream socket; a socket unit has ListenStream= and Accept=no"
        )
    return found


def _at_port(address: str) -> socket.socket:
    host, colon, port = address.rpartition(":")
    if not (colon and port.isascii() and port.isdigit() and int(port) < 1 << 16):
        raise UsageError(
            f"--listen {address}: expected HOST:PORT, unix:PATH or fd:N, such as 127.0.0.1:8080 or [::1]:8080"
        )
    host = host.removeprefix("[").removesuffix("]")
    try:
        family, kind, _, _, where = socket.getaddrinfo(
            host or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(where)
            made.listen(BACKLOG)
        except BaseException:
            made.close()
            raise
    except OSError as error:
        raise LaunchError(f"cannot listen on {address}: {error.strerror or error}", "listen") from None
    return made


def _at_path(path: str) -> socket.socket:
    """A socket in the file system, in the place of one on which nobody listens any more. Whoever may enter
    its folder may connect."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if os.path.lexists(path) and stat.S_ISSOCK(os.lstat(path).st_mode):
            try:
                made.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)
            else:
                raise LaunchError(f"cannot listen on unix:{path}: another program does", "listen")
            finally:
                made.close()
            made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.bind(path)
        os.chmod(path, 0o666)
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        if isinstance(error, LaunchError):
            raise
        raise LaunchError(f"cannot listen on unix:{path}: {error.strerror or error}", "listen") from None
    return made
