"""Independent black-box probes of containment, run inside a jail and around it (see support/features.py for
where they are looked for). Nothing may be unsafe, and whatever does not apply must be on the list, with its
reason."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import pytest
from support.features import no_memory_cgroup, probes_file
from support.installation import SYSTEM_PYTHON
from support.launcher import Launcher

MEMORY, PIDS, TMP, INODES = 256 << 20, 128, 64 << 20, 65536
LIMITS = ["--pids-limit", str(PIDS), "--disk-limit", str(TMP), "--inode-limit", str(INODES)]

NO_HARNESS = "needs the harness around it; its own test runs that"
INSIDE_NULL = dict.fromkeys(
    ("canary_fd", "canary_files", "canary_pid_unreachable", "canary_tcp_unreachable", "canary_hostname"),
    NO_HARNESS,
) | {"peer_artifacts_invisible": "one jail alone; h_two_jails_isolated of the harness runs a pair"}
HARNESS_NULL = {
    "peer_artifacts_invisible": INSIDE_NULL["peer_artifacts_invisible"],
    "h_output_cap": "a cap on output is not offered yet",
}
WITHOUT_CGROUP_NULL = dict.fromkeys(
    ("d_mem_single", "d_mem_tmpfs_shm_memfd"),
    "no cgroup: the whole jail's memory is not limited, nor said to be",
)


def options(pyjail: Launcher) -> list[str]:
    memory = ["--memory", str(MEMORY)] if no_memory_cgroup(pyjail.user.uid) is None else []
    return ["--pids", str(PIDS), "--tmp-size", str(TMP), *memory]


def limits(pyjail: Launcher) -> list[str]:
    """What the probes overshoot: the jail's own limits; memory only where it is held over the whole jail."""
    memory = ["--mem-limit", str(MEMORY)] if no_memory_cgroup(pyjail.user.uid) is None else []
    return ["--destructive", *LIMITS, *memory]


def check(text: bytes, undecided: dict[str, str]) -> None:
    """No probe is unsafe, and the undecided are exactly those that have a reason."""
    found = [json.loads(line) for line in text.splitlines() if line.startswith(b"{")]
    assert len(found) > 10, text
    assert {probe["name"]: probe["detail"] for probe in found if probe["safe"] is False} == {}
    assert {probe["name"] for probe in found if probe["safe"] is None} == set(undecided)


# A jail whose memory cannot be freed by killing the guilty process (memfd, tmpfs) is killed as a whole, the
# probes
# with it: right, but then nobody is left to say so. The harness outside copes, so these run there.
KILLS_ALL = ["--skip", "d_mem_*"]


def test_inside(pyjail: Launcher, require: Callable[[str], None]) -> None:
    require("probes")
    result = pyjail.run(
        "run",
        *options(pyjail),
        "--",
        SYSTEM_PYTHON,
        "-",
        *KILLS_ALL,
        *limits(pyjail),
        input=probes_file().read_bytes(),
    )
    assert result.returncode == 0, result.stderr
    check(result.stdout, INSIDE_NULL)


@pytest.mark.slow
def test_around(pyjail: Launcher, require: Callable[[str], None]) -> None:
    """The same file drives the launcher from the host: life cycle, canaries, terminals, two jails at once."""
    require("probes")
    script = pyjail.user.home / "probes.py"
    script.write_bytes(probes_file().read_bytes())
    # Others use this machine too: only what this launcher makes is a leftover.
    others = [
        "--ignore-leftover",
        "file /tmp/*",
        "--ignore-leftover",
        "file /run/*",
        "--ignore-leftover",
        "file /var/*",
        "--ignore-leftover",
        "cgroup *",
        "--ignore-leftover",
        "mount *",
    ]
    with pyjail.popen(
        "-I",
        str(script),
        "harness",
        *limits(pyjail),
        *others,
        "--expect-wall",
        "20",
        "--",
        str(pyjail.installation.pyjail),
        "run",
        *options(pyjail),
        "--timeout",
        "20s",
        "--grace",
        "1s",
        "--",
        program=SYSTEM_PYTHON,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        out, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    held = no_memory_cgroup(pyjail.user.uid) is None
    check(out, HARNESS_NULL if held else HARNESS_NULL | WITHOUT_CGROUP_NULL)
