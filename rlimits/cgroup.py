"""Which cgroups this process may make cgroups in: from a few files of /proc and /sys; see cgroups(7)."""

from __future__ import annotations

import errno
import os

from rlimits._record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BUSCTL = "/usr/bin/busctl"
SYSTEMD = "org.freedesktop.systemd1"
SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Errors that say nothing of a file."""


@record(frozen=True)
class Controller:
    """One cgroup controller as this process finds it, in version 1 in a hierarchy of its own, in version 2 in
    the one tree."""

    version: int
    name: str
    mountpoint: str
    mountroot: str
    """The part of the hierarchy that the mount shows; "/" is all of it."""
    path: str
    """The folder of this process' own cgroup."""
    writable: bool
    """Whether this process may make a cgroup with it: below its own, or, in version 2, at the top of the
    mount, wherever in the tree it is itself."""
    delegated: bool = False
    """Version 2: whether it may divide its own cgroup. That works while no other process is in it."""
    scope: tuple[str, ...] = ()
    """Version 2: the command by which systemd moves a process of this user into a cgroup that may be divided;
    %p stands for its pid, %n for a name."""
    cpus: str = ""
    """Of `cpuset`: the CPUs that are to be had, as `0-3,8`."""
    mems: str = ""
    """Of `cpuset`: the memory nodes."""


def discover() -> tuple[Controller, ...]:
    """The controllers of this process. Empty where /proc or cgroups are missing. Raises OSError as `text_of`
    does."""
    cgroup, mountinfo = text_of("/proc/self/cgroup"), text_of("/proc/self/mountinfo")
    uid = os.geteuid()
    bus = bus_of(uid)
    systemd = uid != 0 and os.access(bus, os.W_OK) and os.access(BUSCTL, os.X_OK)
    return controllers(
        cgroup,
        mountinfo,
        lambda path: os.access(path, os.W_OK),
        text_of,
        f"/user.slice/user-{uid}.slice/user@{uid}.service" if systemd else "",
        scope_command(bus),
    )


def bus_of(uid: int) -> str:
    """The socket of the user's session bus, through which the user's systemd is asked."""
    return f"/run/user/{uid}/bus"


def scope_command(bus: str) -> tuple[str, ...]:
    """The call that makes a transient scope unit, delegated to its user, of the process %p; see
    org.freedesktop.systemd1(5) and systemd.scope(5)."""
    unit = ("Delegate", "b", "true", "CollectMode", "s", "inactive-or-failed", "PIDs", "au", "1", "%p")
    return (
        BUSCTL,
        f"--address=unix:path={bus}",
        "--quiet",
        "call",
        SYSTEMD,
        "/" + SYSTEMD.replace(".", "/"),
        f"{SYSTEMD}.Manager",
        "StartTransientUnit",
        "ssa(sv)a(sa(sv))",
        "%n.scope",
        "fail",
        "3",
        *unit,
        "0",
    )


def controllers(
    cgroup: str,
    mountinfo: str,
    writable: Callable[[str], bool],
    read: Callable[[str], str],
    manager: str = "",
    scope: tuple[str, ...] = (),
) -> tuple[Controller, ...]:
    """The controllers that the texts of /proc/self/cgroup and /proc/self/mountinfo tell of. One that is not
    mounted, or whose mount does not show the process' own cgroup, is left out. `read` gives a file's text, or
    "". `manager` is the cgroup path of the user's systemd, if it can be asked, which `scope` does."""
    mounts = [_mount(line) for line in mountinfo.splitlines() if " - cgroup" in line]
    found: list[Controller] = []
    for line in cgroup.splitlines():
        number, _, rest = line.partition(":")
        names, _, own = rest.partition(":")
        if number == "0" and not names:
            for mount in mounts:
                if mount[0] == 2 and _beneath(own, mount[3]):
                    found += _version_2(mount[2], mount[3], own, writable, read, manager, scope)
                    break
            continue
        for name in names.split(","):
            for version, options, mountpoint, mountroot in mounts:
                if version == 1 and name in options and "=" not in name and _beneath(own, mountroot):
                    path = _path(mountpoint, mountroot, own)
                    cpus, mems = _cpuset(path, name, ("cpuset.effective_cpus", "cpuset.mems"), read)
                    may = writable(path)
                    found.append(Controller(1, name, mountpoint, mountroot, path, may, cpus=cpus, mems=mems))
                    break
    return tuple(found)


def _version_2(
    mountpoint: str,
    mountroot: str,
    own: str,
    writable: Callable[[str], bool],
    read: Callable[[str], str],
    manager: str,
    scope: tuple[str, ...],
) -> Iterator[Controller]:
    """A cgroup hands controllers down only while no process is in it, the top of the whole tree excepted, the
    only one without a file cgroup.type."""

    def names(folder: str, file: str = "cgroup.controllers") -> list[str]:
        return read(f"{folder}/{file}").split()

    def ours(folder: str) -> bool:
        return writable(folder) and writable(f"{folder}/cgroup.subtree_control")

    top = names(mountpoint)
    if not top:
        return  # all controllers are in version 1
    path = _path(mountpoint, mountroot, own)
    given = names(mountpoint, "cgroup.subtree_control") if read(f"{mountpoint}/cgroup.type") else top
    at_top = given if ours(mountpoint) else []
    divisible = names(path) if ours(path) and read(f"{path}/cgroup.type").strip() in ("", "domain") else []
    asked = names(mountpoint + manager) if manager and mountroot == "/" else []
    for name in top:
        files = ("cpuset.cpus.effective", "cpuset.mems.effective")
        cpus, mems = _cpuset(path, name, files, read)
        if not cpus:  # not handed down to us
            cpus, mems = _cpuset(mountpoint, name, files, read)
        yield Controller(
            2,
            name,
            mountpoint,
            mountroot,
            path,
            name in at_top,
            name in divisible,
            scope if name in asked else (),
            cpus,
            mems,
        )


def _cpuset(path: str, name: str, files: tuple[str, str], read: Callable[[str], str]) -> tuple[str, str]:
    if name != "cpuset":
        return "", ""
    return read(f"{path}/{files[0]}").strip(), read(f"{path}/{files[1]}").strip()


def _path(mountpoint: str, mountroot: str, own: str) -> str:
    path = mountpoint + (own if mountroot == "/" else own[len(mountroot) :])
    return path.rstrip("/") or "/"


def _mount(line: str) -> tuple[int, list[str], str, str]:
    """The version, controllers (among the options of the file system), mountpoint and root of a mount."""
    before, _, after = line.partition(" - ")
    fields, kind = before.split(" "), after.split(" ")
    return (
        2 if kind[0] == "cgroup2" else 1,
        kind[2].split(",") if len(kind) > 2 else [],
        _unescape(fields[4]),
        _unescape(fields[3]),
    )


def _beneath(path: str, root: str) -> bool:
    """Paths that leave a cgroup namespace's root begin with /.. and are nowhere in the mount."""
    return "/.." not in path and (root == "/" or path == root or path.startswith(root + "/"))


def _unescape(text: str) -> str:
    """Undo the kernel's `\\040` for space, tab, newline and backslash."""
    for escape, plain in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(escape, plain)
    return text


def text_of(path: str) -> str:
    """A file's text, "" where it cannot be read. Raises OSError where a shortage keeps it from that: a jail
    must not be made without what is there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            parts = []
            while part := os.read(descriptor, 1 << 16):
                parts.append(part)
            return os.fsdecode(b"".join(parts))
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in SHORTAGES:
            raise
        return ""
