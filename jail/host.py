"""`Host`: the facts about this machine and caller that a plan is built from. Cheap reads, no trials."""

from __future__ import annotations

import os
import stat

from jail._record import record
from jail.directives import Depends
from jail.errors import LaunchError
from rlimits.cgroup import discover, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jail.spec import Jail
    from rlimits.cgroup import Controller

TOP = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
"""Where programs and libraries may be besides /usr: links into it on most hosts, folders on others."""

LOCALTIME = "/etc/localtime"
LOOKED_AT = (*TOP, LOCALTIME)

POOLS = (
    (1_879_048_192, 65_536),
    (1_878_982_656, 65_536),
    (500_000, 8_192),
    (100_000, 8_192),
    (57_344, 3_072),
)
"""Ranges of host ids for runs by root, by preference: the first that this user namespace maps is taken. They
avoid what distributions give to accounts, to subordinate ids where there is room, and to systemd's dynamic
users."""


@record(frozen=True)
class Host:
    """What `build_plan` needs to know. Tests make their own; `Host.probe()` looks at this one."""

    kernel: tuple[int, int]
    """The kernel's version, e.g. (6, 1)."""
    machine: str
    """As uname(2) says, e.g. `x86_64`."""
    euid: int
    egid: int
    pool: tuple[int, int] | None = None
    """First id and number of the host ids that runs may take theirs from; None: the caller's own id is
    used."""
    controllers: tuple[Controller, ...] = ()
    facts: tuple[Depends, ...] = ()
    """What lstat(2) said of everything that was looked at."""
    links: tuple[tuple[str, str], ...] = ()
    """The symbolic links among it, with what they hold."""
    weighers: tuple[str, ...] = ()
    """What weights on disks act through here, of `bfq` and `iocost`. Looked at only for a jail that has
    one."""

    @classmethod
    def probe(cls, jail: Jail | None = None) -> Host:
        """This host, as this process sees it, and what of it the jail asks for. Takes about a millisecond.
        Raises LaunchError where there are too few descriptors or too little memory to look."""
        uname = os.uname()
        euid = os.geteuid()
        facts = tuple(fact(path) for path in LOOKED_AT)
        try:
            controllers = discover()
            maps = (text_of("/proc/self/uid_map"), text_of("/proc/self/gid_map")) if euid == 0 else ("", "")
        except OSError as error:
            why = f"cannot look at {error.filename or 'this host'}: {error.strerror}"
            raise LaunchError(why, "host", error.errno or 0, object=error.filename or "") from None
        return cls(
            kernel_version(uname.release),
            uname.machine,
            euid,
            os.getegid(),
            find_pool(*maps) if euid == 0 else None,
            controllers,
            facts,
            tuple((known.path, _link(known.path)) for known in facts if known.kind == "symlink"),
            _weighers(controllers) if jail is not None and jail.limits.io_weight is not None else (),
        )

    def kind(self, path: str) -> str:
        """`absent`, `file`, `dir`, `symlink` or `other`; `absent` for what was not looked at."""
        return next((known.kind for known in self.facts if known.path == path), "absent")

    def link(self, path: str) -> str:
        """What the symbolic link at the path holds, or ""."""
        return next((target for known, target in self.links if known == path), "")

    def cgroup(self, name: str, asked: bool = False) -> Controller | None:
        """The controller, if this caller may make a cgroup with it: at little cost and wherever the run is
        started, or, if `asked` for, at the cost of a call to systemd or only while no other process is in the
        caller's own cgroup."""
        for known in self.controllers:
            if known.name == name and (known.writable or (asked and (known.delegated or known.scope))):
                return known
        return None


def fact(path: str) -> Depends:
    """What lstat(2) says of the path, for a `depends` line. What is in a folder does not count."""
    try:
        found = os.lstat(path)
    except OSError:
        return Depends("absent", path)
    if stat.S_ISDIR(found.st_mode):
        return Depends("dir", path, found.st_dev, found.st_ino)
    kind = "symlink" if stat.S_ISLNK(found.st_mode) else "file" if stat.S_ISREG(found.st_mode) else "other"
    return Depends(
        kind, path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
    )


def kernel_version(release: str) -> tuple[int, int]:
    """The first two numbers of a release such as `6.1.0-18-amd64`; (0, 0) if it has none."""
    major, _, rest = release.partition(".")
    minor = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    return (int(major), int(minor)) if major.isdigit() and minor else (0, 0)


def find_pool(uid_map: str, gid_map: str) -> tuple[int, int] | None:
    """The first of POOLS that both maps of a user namespace hold whole, or None. See user_namespaces(7)."""
    return next((pool for pool in POOLS if _holds(uid_map, *pool) and _holds(gid_map, *pool)), None)


def _holds(id_map: str, first: int, count: int) -> bool:
    for line in id_map.splitlines():
        start, _, length = map(int, line.split())
        if start <= first and first + count <= start + length:
            return True
    return False


def _weighers(controllers: tuple[Controller, ...]) -> tuple[str, ...]:
    from rlimits.io_weight import weighers

    return weighers(next((known.mountpoint for known in controllers if known.name == "io"), ""))


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:  # gone since it was looked at: the plan then depends on what no longer is
        return ""
