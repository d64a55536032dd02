"""What this host offers, asked for by name: `require` is the only place in the tests that may skip."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

_LANDLOCK_CREATE_RULESET = 444
# With a mount, as AppArmor may let the namespace be made and deny all that follows. Never as root, who may.
_UNSHARE = """
import ctypes, os, sys
os.geteuid() == 0 and os.setresuid(65534, 65534, 65534)
libc = ctypes.CDLL(None)
sys.exit(libc.unshare(0x10020000) != 0 or libc.mount(b"none", b"/", None, 0x44000, None) != 0)
"""
PROJECT = Path(__file__).resolve().parents[2]


def wanted() -> frozenset[str]:
    """The features that PYJAIL_REQUIRE names: their absence is a failure, not a skip."""
    return frozenset(word for word in os.environ.get("PYJAIL_REQUIRE", "").split(",") if word)


def _root() -> str | None:
    return None if os.geteuid() == 0 else "needs to be run as root"


def _userns() -> str | None:
    ended = subprocess.run([sys.executable, "-I", "-S", "-c", _UNSHARE], check=False)
    return "user namespaces are not to be had here" if ended.returncode else None


def no_memory_cgroup(uid: int) -> str | None:
    """Why jails of the user can have no memory cgroup, or None. In version 1, and at the top of version 2, it
    takes root; in version 2 an ordinary user's systemd can be asked for one."""
    tree = Path("/sys/fs/cgroup")
    if "memory" in _controllers(tree):
        manager = tree / f"user.slice/user-{uid}.slice/user@{uid}.service"
        if uid != 0 and not ("memory" in _controllers(manager) and os.path.exists(f"/run/user/{uid}/bus")):
            return "an ordinary user without a systemd session has no memory cgroup"
        return None if uid or os.access(tree, os.W_OK) else "the cgroups are read-only"
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            if uid != 0:
                return "an ordinary user has no memory cgroup in version 1"
            # Seen from a container the path may lie outside of the mount: its top is then ours.
            for folder in ("/sys/fs/cgroup/memory" + path, "/sys/fs/cgroup/memory"):
                if os.access(folder, os.W_OK):
                    return None
    return "no writable memory cgroup"


def _controllers(folder: Path) -> list[str]:
    try:
        return (folder / "cgroup.controllers").read_text().split()
    except OSError:
        return []


def _cgroup() -> str | None:
    return no_memory_cgroup(os.geteuid())


def _cgroup2() -> str | None:
    """Version 2 with its controllers, not only beside version 1."""
    return None if _controllers(Path("/sys/fs/cgroup")) else "no cgroup v2 with controllers"


def _seccomp() -> str | None:
    return None if os.path.exists("/proc/sys/kernel/seccomp/actions_avail") else "the kernel has no seccomp"


def _landlock() -> str | None:
    libc = ctypes.CDLL(None, use_errno=True)
    return None if libc.syscall(_LANDLOCK_CREATE_RULESET, None, 0, 1) > 0 else "the kernel has no Landlock"


def probes_file() -> Path:
    """The black-box containment probes: $PYJAIL_PROBES, or beside the project."""
    return Path(os.environ.get("PYJAIL_PROBES") or PROJECT.parent / "shared" / "probes.py")


def _probes() -> str | None:
    return (
        None
        if probes_file().is_file()
        else f"no containment probes at {probes_file()} (PYJAIL_PROBES names them)"
    )


_CHECKS = {
    "root": _root,
    "userns": _userns,
    "cgroup": _cgroup,
    "cgroup2": _cgroup2,
    "seccomp": _seccomp,
    "landlock": _landlock,
    "probes": _probes,
}


@cache
def missing(feature: str) -> str | None:
    """Why `feature` is not to be had here, or None."""
    return _CHECKS[feature]()


def require(feature: str) -> None:
    """Skip the test where the host lacks `feature`; fail it where PYJAIL_REQUIRE says that it must be
    there."""
    why = missing(feature)
    if why is None:
        return
    if feature in wanted():
        pytest.fail(f"PYJAIL_REQUIRE names {feature}, but: {why}")
    pytest.skip(why)
