"""The host's view of a jail's processes: found through their parents, held by pidfd."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterable
from pathlib import Path


def children(pid: int) -> list[int]:
    """The child processes of `pid` that live now, of all its threads."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
    except OSError:
        pass  # ended meanwhile
    return found


def descendants(pid: int) -> list[int]:
    """Children, theirs, and so on, parents first."""
    found = children(pid)
    for child in found:  # grows while it is walked
        found += children(child)
    return found


def hold(pids: Iterable[int]) -> list[int]:
    """One pidfd for each of `pids` that still lives."""
    held = []
    for pid in pids:
        try:
            held.append(os.pidfd_open(pid))
        except ProcessLookupError:
            pass
    return held


def alive_after(pidfds: Iterable[int], seconds: float) -> list[int]:
    """Wait until all the held processes have ended or `seconds` have gone; the living. Closes the pidfds."""
    held = list(pidfds)
    waiting = set(held)
    poll = select.poll()
    for pidfd in waiting:
        poll.register(pidfd, select.POLLIN)
    end = time.monotonic() + seconds
    while waiting:
        left = max(0.0, end - time.monotonic())
        ended = poll.poll(left * 1000)
        for pidfd, _ in ended:
            poll.unregister(pidfd)
            waiting.discard(pidfd)
        if not ended and not left:
            break
    for pidfd in held:
        os.close(pidfd)
    return sorted(waiting)


def status(pid: int | str) -> dict[str, str]:
    """/proc/PID/status as fields."""
    lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def cgroup_folders() -> set[str]:
    """Every folder of every cgroup hierarchy."""
    return {folder for folder, _, _ in os.walk("/sys/fs/cgroup")}


def supervisor(folder: str) -> str | None:
    """Of a run's cgroup (pyjail-PID-…) the supervisor's pid."""
    name = Path(folder).name.split("-")
    return name[1] if name[0] == "pyjail" and name[1:] and name[1].isdigit() else None


def lives(folder: str) -> bool:
    """Whether a run's cgroup has its supervisor: other runs of this machine have theirs."""
    pid = supervisor(folder)
    return pid is not None and Path("/proc", pid).exists()


def abandoned(folder: str) -> bool:
    """A run's cgroup without its supervisor. A scope is none: systemd removes what it made when it can."""
    return supervisor(folder) is not None and not lives(folder) and not folder.endswith(".scope")
