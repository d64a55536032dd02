"""Which cgroups this process may make cgroups in: from two files of /proc; see cgroups(7)."""

from __future__ import annotations

import os

from rlimits._record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


@record(frozen=True)
class Controller:
    """One cgroup controller as this process finds it. In version 2, where one tree has all, `name` is
    empty."""

    version: int
    name: str
    mountpoint: str
    mountroot: str
    """The part of the hierarchy that the mount shows; "/" is all of it."""
    path: str
    """The folder of this process' own cgroup."""
    writable: bool
    """Whether this process may make a cgroup below its own."""


def discover() -> tuple[Controller, ...]:
    """The controllers of this process. Empty where /proc or cgroups are missing."""
    try:
        return controllers(
            _read("/proc/self/cgroup"),
            _read("/proc/self/mountinfo"),
            lambda path: os.access(path, os.W_OK | os.X_OK),
        )
    except OSError:
        return ()


def controllers(cgroup: str, mountinfo: str, writable: Callable[[str], bool]) -> tuple[Controller, ...]:
    """The controllers that the texts of /proc/self/cgroup and /proc/self/mountinfo tell of. One that is not
    mounted, or whose mount does not show the process' own cgroup, is left out."""
    mounts = [_mount(line) for line in mountinfo.splitlines() if " - cgroup" in line]
    found = []
    for line in cgroup.splitlines():
        number, _, rest = line.partition(":")
        names, _, own = rest.partition(":")
        for name in names.split(","):
            if name.startswith("name="):
                continue
            version = 2 if number == "0" and not name else 1
            place = next(
                (
                    place
                    for place in mounts
                    if place[0] == version and (version == 2 or name in place[1]) and _beneath(own, place[3])
                ),
                None,
            )
            if place:
                _, _, mountpoint, mountroot = place
                path = mountpoint + (own if mountroot == "/" else own[len(mountroot) :])
                path = path.rstrip("/") or "/"
                found.append(Controller(version, name, mountpoint, mountroot, path, writable(path)))
    return tuple(found)


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


def _read(path: str) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(descriptor, 1 << 16):
            parts.append(part)
        return os.fsdecode(b"".join(parts))
    finally:
        os.close(descriptor)
