"""The typed lines of a plan, one record for each directive of docs/plan.md."""

from __future__ import annotations

from jail._record import record

TYPE_CHECKING = False


@record(frozen=True)
class Key:
    text: str


@record(frozen=True)
class Depends:
    """What lstat(2) said of a path: `kind` is absent, file, dir, symlink or other; None is what does not
    count."""

    kind: str
    path: str
    dev: int | None = None
    ino: int | None = None
    size: int | None = None
    mtime: int | None = None
    ctime: int | None = None


@record(frozen=True)
class Ids:
    """`pool` is None for the caller's own ids, else (first, count, lock file)."""

    uid: int
    gid: int
    pool: tuple[int, int, str] | None = None


@record(frozen=True)
class Network:
    own: bool


@record(frozen=True)
class Hostname:
    name: str


@record(frozen=True)
class Mount:
    type: str
    target: str
    flags: tuple[str, ...] = ()
    data: str = ""


@record(frozen=True)
class Mask:
    target: str


@record(frozen=True)
class Dir:
    path: str
    mode: int = 0o755


@record(frozen=True)
class File:
    path: str
    mode: int
    content: str


@record(frozen=True)
class Symlink:
    path: str
    target: str


@record(frozen=True)
class Rlimit:
    """`exact` fails where the caller's hard limit is lower; otherwise the lower one stays."""

    name: str
    soft: int
    hard: int
    exact: bool = False


@record(frozen=True)
class Cgroup:
    """`controllers` is a list with commas."""

    version: int
    controllers: str
    mountpoint: str
    mountroot: str


@record(frozen=True)
class CgroupSet:
    controller: str
    file: str
    value: str
    required: bool = True


@record(frozen=True)
class Freezer:
    """Version 1: where the run can have the cgroup that pauses it."""

    mountpoint: str
    mountroot: str


@record(frozen=True)
class Scope:
    """One word of the command."""

    word: str


@record(frozen=True)
class Capabilities:
    mask: int


@record(frozen=True)
class Landlock:
    writable: bool
    path: str


@record(frozen=True)
class LandlockNeed:
    required: bool


@record(frozen=True)
class Seccomp:
    """`program` is an array of struct sock_filter as in memory, little-endian."""

    name: str
    program: bytes


@record(frozen=True)
class Audit:
    """`calls` is `refused`, or `all` for those that the policy allows too."""

    calls: str


@record(frozen=True)
class Umask:
    mode: int


@record(frozen=True)
class Cwd:
    path: str


@record(frozen=True)
class Env:
    name: str
    value: str


@record(frozen=True)
class EnvPass:
    name: str


@record(frozen=True)
class PassFd:
    number: int


@record(frozen=True)
class LifeFd:
    """The jail is killed when the descriptor is readable or hung up."""

    number: int


@record(frozen=True)
class ControlFd:
    """A SOCK_SEQPACKET socket for requests; the jail is killed when it is hung up."""

    number: int


@record(frozen=True)
class Name:
    """By which others find the run."""

    name: str


@record(frozen=True)
class AwaitBegin:
    """The limits on time hold from the request `begin` on."""


@record(frozen=True)
class Timeout:
    milliseconds: int


@record(frozen=True)
class IdleTimeout:
    milliseconds: int


@record(frozen=True)
class CpuTime:
    milliseconds: int


@record(frozen=True)
class MaxOutput:
    """`of` is `both`, `stdout` or `stderr`."""

    of: str
    size: int


@record(frozen=True)
class Grace:
    milliseconds: int


@record(frozen=True)
class Pty:
    """The payload gets a terminal of its own, which the supervisor stands at the other side of."""


@record(frozen=True)
class OutcomeTo:
    """A descriptor or an absolute path."""

    place: int | str


@record(frozen=True)
class Stats:
    """One line about the run on stderr, for people."""


@record(frozen=True)
class Notify:
    """The service manager is told how things go, at the caller's NOTIFY_SOCKET (sd_notify(3))."""


@record(frozen=True)
class ListenFds:
    """The payload gets the sockets that a service manager hands over (sd_listen_fds(3))."""


@record(frozen=True)
class Enforced:
    limit: str
    mechanism: str


@record(frozen=True)
class Argv:
    word: str


if TYPE_CHECKING:
    Directive = (
        Key
        | Depends
        | Ids
        | Network
        | Hostname
        | Mount
        | Mask
        | Dir
        | File
        | Symlink
        | Rlimit
        | Cgroup
        | CgroupSet
        | Freezer
        | Scope
        | Capabilities
        | Landlock
        | LandlockNeed
        | Seccomp
        | Audit
        | Umask
        | Cwd
        | Env
        | EnvPass
        | PassFd
        | LifeFd
        | ControlFd
        | AwaitBegin
        | Name
        | Timeout
        | IdleTimeout
        | CpuTime
        | MaxOutput
        | Grace
        | Pty
        | OutcomeTo
        | Stats
        | Notify
        | ListenFds
        | Enforced
        | Argv
    )
