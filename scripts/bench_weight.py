"""What a running jail weighs: memory of the processes beside the payload, and the cost of a byte of stdio."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

STREAM_BYTES = 1 << 30
RUNS = 15


def children(pid: int) -> list[int]:
    """The processes whose parent this is."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                after_name = (entry / "stat").read_text().rpartition(")")[2]
            except OSError:  # ended meanwhile
                continue
            if int(after_name.split()[1]) == pid:
                found.append(int(entry.name))
    return found


def resident(pid: int) -> tuple[int, int]:
    """Bytes resident, and those with shared pages divided among their users."""
    values = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    )
    return int(values["Rss"].split()[0]) * 1024, int(values["Pss"].split()[0]) * 1024


def memory(jail: str) -> tuple[int, int]:
    """RSS and PSS of supervisor and init of a compiled jail whose payload writes a line and stays."""
    supervisor = subprocess.Popen([jail], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        assert supervisor.stdout
        supervisor.stdout.read(1)  # the payload runs
        parts = [resident(pid) for pid in (supervisor.pid, *children(supervisor.pid))]
        return sum(rss for rss, _ in parts), sum(pss for _, pss in parts)
    finally:
        supervisor.send_signal(signal.SIGKILL)
        supervisor.wait()


def started_on(
    cpu: int, command: Sequence[str], **streams: int | IO[bytes] | None
) -> subprocess.Popen[bytes]:
    """Start it on one CPU: where the two ends of a pipe run matters more than all else."""
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        return subprocess.Popen(command, **streams)  # type: ignore[call-overload, no-any-return]
    finally:
        os.sched_setaffinity(0, everywhere)


def stream(command: Sequence[str]) -> float:
    """Bytes a second of a filter that reads from a pipe.

    It has a session of its own, as a jail always has: the scheduler gives each session its share.
    """
    cpus = sorted(os.sched_getaffinity(0))
    begin = time.perf_counter()
    source = started_on(
        cpus[0], ["/usr/bin/head", "-c", str(STREAM_BYTES), "/dev/zero"], stdout=subprocess.PIPE
    )
    sink = started_on(
        cpus[-1], command, stdin=source.stdout, stdout=subprocess.DEVNULL, start_new_session=True
    )
    assert source.stdout
    source.stdout.close()
    if sink.wait() or source.wait():
        raise OSError(f"{command[0]} did not pass everything on")
    return STREAM_BYTES / (time.perf_counter() - begin)


def throughput(free: Sequence[str], jailed: Sequence[str]) -> tuple[float, float, float]:
    """Medians in bytes a second without and with the jail, and the median ratio of neighbouring runs."""
    pairs = [(stream(free), stream(jailed)) for _ in range(RUNS)]
    ratio = statistics.median(with_it / without for without, with_it in pairs)
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs), ratio
