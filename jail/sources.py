"""What a plan is made from, so that whoever keeps it can see that it still holds: the command's cache, the
library."""

from __future__ import annotations

import os
import time

from jail.directives import Depends
from jail.host import fact
from jail.plan import Plan
from jail.resources import CONTROLLERS
from rlimits.cgroup import bus_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jail.host import Host
    from jail.spec import Jail

SETTLED_NS = 2_000_000_000
MAX_LINKS = 40
CGROUPS = ("/sys/fs/cgroup", *(f"/sys/fs/cgroup/{name}" for name in CONTROLLERS))


class Sources:
    """The files that a plan is built from: `add` each one before it is read. `settle`: how many nanoseconds
    ago one must have changed for the plan to be kept."""

    def __init__(self, settle: int = SETTLED_NS) -> None:
        self.settle = settle
        self.facts: list[Depends] = []
        self.settled = True

    def add(self, path: str) -> None:
        """Note a file and the symbolic links on the way to it, as they are now. Only what has been as it is
        for a while can be told from what it becomes later."""
        for _ in range(MAX_LINKS):
            known = fact(path)
            self.facts.append(known)
            if known.kind != "symlink":
                self.settled &= known.kind == "file" and self.is_old(known)
                return
            self.settled &= self.is_old(known)
            try:
                path = os.path.join(os.path.dirname(path), os.readlink(path))
            except OSError:  # it has just changed
                break
        self.settled = False

    def add_cgroups(self, host: Host) -> None:
        """Note which cgroups there were: a plan that does without one must not outlive its coming. One that
        is not ours to divide counts with its ctime, which is that of the last chown or chmod. Where we are in
        the tree is part of the key."""
        self.facts += (fact(path) for path in CGROUPS)
        used = [known for known in host.controllers if known.name in CONTROLLERS]
        for path, ours in dict.fromkeys((known.path, known.writable) for known in used):
            self.add_cgroup(path, ours)
        if host.euid != 0 and any(known.version == 2 for known in used):
            self.facts.append(fact(bus_of(host.euid)))  # in version 2 the user's systemd may have to help
        self.facts = list(dict.fromkeys(self.facts))  # who is in the first of a hierarchy has met it already

    def add_schedulers(self, jail: Jail) -> None:
        """Note that disks were looked at, if they were: nothing shows later that one's scheduler changed, so
        that such a plan is not kept."""
        self.settled &= jail.limits.io_weight is None

    def add_cgroup(self, path: str, ours: bool) -> None:
        """Note the folder of one cgroup."""
        try:
            found = os.lstat(path)
        except OSError:  # it was there a moment ago
            self.settled = False
            return
        ctime = None if ours else found.st_ctime_ns
        self.facts.append(Depends("dir", path, found.st_dev, found.st_ino, ctime=ctime))

    def is_old(self, known: Depends) -> bool:
        """Whether it changed long enough ago for its next change to have another time."""
        return known.ctime is not None and known.ctime < time.time_ns() - self.settle


def policies_of(jail: Jail) -> list[str]:
    """The files that the jail's system call policy is read from: its own, and, for all but the default, the
    shipped ones, any of which it may be based on."""
    if jail.seccomp == "off":
        return []
    import seccomp

    folder = os.path.join(os.path.dirname(seccomp.__file__), "profiles")
    if jail.seccomp == "default":
        return [os.path.join(folder, "default.toml")]
    shipped = [os.path.join(folder, f"{name}.toml") for name in seccomp.profiles()]
    return [jail.seccomp, *shipped] if is_policy_file(jail.seccomp) else shipped


def is_policy_file(text: str) -> bool:
    """Whether `Jail.seccomp` means a file, not the name of a profile."""
    return "/" in text or text.endswith((".toml", ".json"))


def lasting(plan: Plan) -> Plan:
    """The plan without what only the cache asks for."""
    return Plan(tuple(each for each in plan.directives if not isinstance(each, Depends)))
