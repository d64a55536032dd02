"""`build_plan`: from what is wanted and what the host is to what will be done. Pure: no I/O, no state."""

from __future__ import annotations

import os

from jail import defaults
from jail.directives import (
    Argv,
    Audit,
    Cwd,
    Dir,
    Env,
    EnvPass,
    File,
    Hostname,
    Ids,
    Landlock,
    ListenFds,
    Mask,
    Mount,
    Name,
    Network,
    Notify,
    OutcomeTo,
    PassFd,
    Pty,
    Seccomp,
    Stats,
    Symlink,
    Umask,
)
from jail.errors import SpecError, UnsupportedError
from jail.host import LOCALTIME, TOP
from jail.plan import Plan
from jail.resources import resources, tmpfs_options
from jail.spec import Bind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jail.directives import Directive
    from jail.host import Host
    from jail.spec import Jail, Tmpfs
    from seccomp import Program

AUDITED_SINCE = (5, 5)
MOST_RULES = 64  # MAX_RULES of jailer/plan.h
READ_ONLY = ("ro", "nosuid", "nodev", "rec")
WRITABLE = ("nosuid", "nodev", "rec")
DEVICE = (
    "ro",
    "nosuid",
    "noexec",
    "device",
)  # ro: their mode and times; writing to a device is no write to its mount


def build_plan(
    jail: Jail,
    command: Sequence[str | bytes],
    host: Host,
    *,
    outcome: int | str | None = None,
    stats: bool = False,
    notify: bool = False,
    listen_fds: bool = False,
    program: Program | None = None,
    name: str = "",
) -> Plan:
    """The plan of a run.

    `command` may be empty where the jailer is given the words later. `outcome` is the descriptor or the
    absolute path of the file that the outcome line is written to; `stats` asks for a line about the run on
    stderr. `notify` has the jailer tell a service manager how things go (sd_notify(3)), `listen_fds` hands
    the payload the sockets that one has opened (sd_listen_fds(3)): both where the environment of the process
    that becomes the jailer says so. `program` is the filter that `jail.seccomp` names; `name` what others of
    the same user find the run by, its supervisor's pid if left out.

    Raises SpecError for what makes no sense, UnsupportedError for what this host cannot hold.
    """
    return Plan(
        (
            *(host.facts if jail.root == "host" else ()),
            _ids(jail, host),
            Network(jail.network == "none"),
            Hostname(jail.hostname),
            *_root(jail, host),
            *_devices(jail),
            *_terminals(jail),
            *_proc(jail),
            *_scratch(jail),
            *_mounts(jail, host),
            *resources(jail, host, listen_fds),
            *_landlock(jail),
            *_seccomp(jail, program),
            *_audit(jail, host),
            Umask(defaults.UMASK),
            Cwd(jail.cwd if jail.cwd is not None else _home(jail)),
            *_environment(jail),
            *(PassFd(number) for number in jail.pass_fds),
            *_outcome(outcome),
            *((Name(name),) if name else ()),
            *((Stats(),) if stats else ()),
            *((Notify(),) if notify else ()),
            *((ListenFds(),) if listen_fds else ()),
            *_words(command),
        )
    )


def _ids(jail: Jail, host: Host) -> Ids:
    return Ids(jail.uid, jail.gid, (*host.pool, defaults.ID_LOCK) if host.pool else None)


def _root(jail: Jail, host: Host) -> Iterator[Directive]:
    if jail.root != "host":
        yield Mount("bind", "/", READ_ONLY, jail.root)
        yield Mount("tmpfs", "/dev", ("ro", "nosuid", "nodev", "noexec"), "size=65536,nr_inodes=64,mode=755")
        return
    # Read-only for the payload; the caps are room for what is made below and for the targets of mounts.
    inodes = 256 + sum(mount.target.count("/") + 1 for mount in jail.mounts)
    yield Mount("tmpfs", "/", ("ro", "nosuid", "nodev"), f"size=1048576,nr_inodes={inodes},mode=755")
    yield Mount("bind", defaults.PROGRAMS, READ_ONLY, defaults.PROGRAMS)
    for path in TOP:
        yield from _top(path, host)
    yield from (Dir(path) for path in defaults.EMPTY_FOLDERS)
    if "etc" not in jail.without:
        yield from _etc(jail, host)


def _top(path: str, host: Host) -> Iterator[Directive]:
    """One of the folders beside /usr: a link where the host has one into /usr, else the folder."""
    kind, link = host.kind(path), host.link(path)
    if kind == "symlink" and _leads_into(defaults.PROGRAMS, path, link):
        yield Symlink(path, link)
    elif kind != "absent":
        yield Mount("bind", path, READ_ONLY, path)


def _leads_into(folder: str, path: str, link: str) -> bool:
    where = os.path.normpath(os.path.join(os.path.dirname(path), link))
    return bool(link) and (where == folder or where.startswith(folder + "/"))


def _etc(jail: Jail, host: Host) -> Iterator[Directive]:
    yield from (Mount("bind", path, ("ro", "nosuid", "nodev", "optional"), path) for path in defaults.ETC)
    link = host.link(LOCALTIME)
    if _leads_into(defaults.PROGRAMS, LOCALTIME, link):
        yield Symlink(LOCALTIME, link)
    elif host.kind(LOCALTIME) != "absent":
        yield Mount("bind", LOCALTIME, ("ro", "nosuid", "nodev", "optional"), LOCALTIME)
    for name, content in (
        ("passwd", defaults.passwd(jail.uid, jail.gid)),
        ("group", defaults.group(jail.gid)),
        ("hosts", defaults.hosts(jail.hostname)),
        ("nsswitch.conf", defaults.nsswitch(jail.network)),
        ("protocols", defaults.PROTOCOLS),
        ("services", defaults.SERVICES),
    ):
        yield File(f"/etc/{name}", 0o644, content)
    if jail.network == "host":
        yield from (
            Mount("bind", path, ("ro", "nosuid", "nodev", "optional"), path)
            for path in defaults.ETC_OF_NETWORK
        )


def _devices(jail: Jail) -> Iterator[Directive]:
    for name in defaults.DEVICES:
        yield Mount("bind", f"/dev/{name}", DEVICE, f"/dev/{name}")
    if "proc" not in jail.without:
        yield from (Symlink(path, target) for path, target in defaults.DEVICE_LINKS)


def _terminals(jail: Jail) -> Iterator[Directive]:
    """The jail's own: no terminal of the host's can be reached through them."""
    if not jail.pty:
        return
    place, options = defaults.PTY
    yield Mount("devpts", place, ("nosuid", "noexec"), options)
    yield Symlink(*defaults.PTMX)
    yield Mount("bind", f"/dev/{defaults.TTY}", DEVICE, f"/dev/{defaults.TTY}")
    yield Pty()


def _proc(jail: Jail) -> Iterator[Directive]:
    """After the devices: masks of files are made of /dev/null."""
    if "proc" not in jail.without:
        yield Mount("proc", "/proc", ("ro", "nosuid", "nodev", "noexec"), defaults.PROC_OPTIONS)
        yield from (Mask(f"/proc/{name}") for name in defaults.PROC_MASKS)


def _scratch(jail: Jail) -> Iterator[Directive]:
    """The private folders in memory, except where the caller mounts something of his own."""
    taken = {os.path.normpath(mount.target) for mount in jail.mounts}
    if "tmp" not in jail.without:
        if "/tmp" not in taken:
            yield Mount("tmpfs", "/tmp", ("nosuid", "nodev"), tmpfs_options(jail.limits))
        link = defaults.VAR_TMP[0]
        if jail.root == "host" and not any(place == link or place.startswith(link + "/") for place in taken):
            yield Symlink(*defaults.VAR_TMP)
    if "shm" not in jail.without and "/dev/shm" not in taken:
        yield Mount("tmpfs", "/dev/shm", ("nosuid", "nodev", "noexec"), tmpfs_options(jail.limits))


def _mounts(jail: Jail, host: Host) -> Iterator[Directive]:
    for mount in jail.mounts:
        yield _bind(mount, host) if isinstance(mount, Bind) else _tmpfs(mount, jail)


def _bind(mount: Bind, host: Host) -> Mount:
    flags = WRITABLE if mount.writable else READ_ONLY
    if mount.writable and host.pool:
        flags = (*flags, "owner")
    if mount.optional:
        flags = (*flags, "optional")
    return Mount("bind", mount.target, flags, mount.source)


def _tmpfs(mount: Tmpfs, jail: Jail) -> Mount:
    return Mount("tmpfs", mount.target, ("nosuid", "nodev"), tmpfs_options(jail.limits, mount.size))


def _landlock(jail: Jail) -> Iterator[Directive]:
    """Everything below the root may be read and executed, what is writable may be written: what the mounts
    say too. Beyond them this keeps out whatever is reached without a path below the root."""
    if "landlock" in jail.without:
        return
    yield Landlock(False, "/")
    places = ["/dev"] if "tmp" in jail.without else ["/dev", "/tmp"]
    for mount in jail.mounts:
        target = os.path.normpath(mount.target)
        below = any(target == place or target.startswith(place + "/") for place in places)
        if not below and (not isinstance(mount, Bind) or mount.writable):
            places.append(target)
    if len(places) >= MOST_RULES:
        raise SpecError(
            f"{len(places)} writable places are more than the {MOST_RULES - 1} that Landlock "
            "rules are kept for; mount fewer, or a folder that holds them all",
            "mounts",
        )
    yield from (Landlock(True, place) for place in places)


def _seccomp(jail: Jail, program: Program | None) -> Iterator[Directive]:
    if jail.seccomp == "off":
        return
    if program is None:
        raise SpecError(f"no program was given for {jail.seccomp!r}; seccomp.load makes one", "seccomp")
    yield Seccomp(program.name, program.bpf)


def _audit(jail: Jail, host: Host) -> Iterator[Directive]:
    if not jail.audit:
        return
    if host.kernel < AUDITED_SINCE:
        raise UnsupportedError(
            "audit",
            "notifications of system calls that can be let go on (Linux 5.5)",
            "run it on a newer kernel, or leave the audit out",
        )
    yield Audit(jail.audit)


def _home(jail: Jail) -> str:
    has_tmp = "tmp" not in jail.without or any(
        os.path.normpath(mount.target) == "/tmp" for mount in jail.mounts
    )
    return defaults.HOME if has_tmp else "/"


def _environment(jail: Jail) -> Iterator[Directive]:
    yield from (Env(name, value) for name, value in defaults.ENV)
    yield Env("HOME", _home(jail))
    yield from (EnvPass(name) for name in defaults.ENV_PASSED)
    for name, given in jail.env:
        yield EnvPass(name) if given is None else Env(name, given)


def _outcome(outcome: int | str | None) -> Iterator[Directive]:
    if outcome is None:
        return
    if isinstance(outcome, int) and not 3 <= outcome <= 65535:
        raise SpecError(
            f"expected a descriptor from 3 to 65535, got {outcome}; 0, 1 and 2 are the payload's", "outcome"
        )
    if isinstance(outcome, str) and not outcome.startswith("/"):
        raise SpecError(f"{outcome!r} is not an absolute path", "outcome")
    yield OutcomeTo(outcome)


def _words(command: Sequence[str | bytes]) -> Iterator[Directive]:
    if isinstance(command, (str, bytes)):
        raise SpecError(f"expected a list of words, got the text {command!r}", "command")
    for word in command:
        text = os.fsdecode(word)
        if "\0" in text:
            raise SpecError(f"{text!r} holds a NUL character, which no argument can have", "command")
        yield Argv(text)
