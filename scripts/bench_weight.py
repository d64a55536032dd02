"""What a running jail weighs: memory of the processes beside the payload, and the cost of a byte of stdio."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

STREAM_BYTES = 2 << 30
RUNS = 5


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


def stream(command: Sequence[str]) -> float:
    """Bytes a second of a filter that reads from a pipe."""
    begin = time.perf_counter()
    source = subprocess.Popen(["/usr/bin/head", "-c", str(STREAM_BYTES), "/dev/zero"], stdout=subprocess.PIPE)
    sink = os.open("/dev/null", os.O_WRONLY)
    subprocess.run(command, stdin=source.stdout, stdout=sink, check=True)
    spent = time.perf_counter() - begin
    os.close(sink)
    assert source.stdout
    source.stdout.close()
    source.wait()
    return STREAM_BYTES / spent


def throughput(commands: Sequence[Sequence[str]]) -> list[float]:
    """For each filter the best of some runs in turn: what else the machine does only ever slows them."""
    best = [0.0] * len(commands)
    for _ in range(RUNS):
        best = [max(known, stream(command)) for known, command in zip(best, commands, strict=True)]
    return best
