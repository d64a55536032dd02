"""What weights of cgroups on block devices act through; see "IO" in the kernel's cgroup-v2, and
bfq-iosched."""

from __future__ import annotations

import os

BFQ = "bfq"
"""The I/O scheduler, of each disk on its own."""

IOCOST = "iocost"
"""The cost model, in version 2 alone."""

FILES = {(1, BFQ): "blkio.bfq.weight", (2, BFQ): "io.bfq.weight", (2, IOCOST): "io.weight"}
"""Each has a file of its own."""

MOST = {BFQ: 1000, IOCOST: 10_000}
"""The greatest weight that each takes."""

BLOCK = "/sys/block"


def weighers(tree: str, block: str = BLOCK) -> tuple[str, ...]:
    """Which of BFQ and IOCOST schedule at least one disk now. `tree` is where version 2 is mounted, or "". In
    a container that does not see the top of the tree nothing tells of IOCOST."""
    try:
        disks = os.listdir(block)
    except OSError:  # no /sys
        disks = []
    found = []
    if any("[bfq]" in _words(f"{block}/{disk}/queue/scheduler") for disk in disks):
        found.append(BFQ)
    if tree and "enable=1" in _words(f"{tree}/io.cost.qos"):
        found.append(IOCOST)
    return tuple(found)


def _words(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().split()
    except OSError:  # gone, or nothing that is scheduled
        return []
