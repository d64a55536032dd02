"""`--cpu-time` over all processes together."""

from __future__ import annotations

import json

import pytest
from jailed.patience import SLOWNESS

SH = ("/bin/sh", "-c")
PYTHON = ("/usr/bin/python3", "-I", "-S", "-c")
# An emulated machine's init may have no time to tell how the payload ended.
KILLED = (9,) if SLOWNESS == 1 else (9, None)
BURN = "import os, sys, time\nwhile time.process_time() < float(sys.argv[1]): pass\nos._exit(0)"


def used(outcome) -> float:
    return outcome["cpu_user_seconds"] + outcome["cpu_system_seconds"]


@pytest.mark.parametrize(("part", "status"), [(0.9, "exited"), (1.1, "cpu-exceeded")])
def test_just_below_and_just_above(cgroup_pyjail, part, status):
    """The jail's own set-up is a part of it: more in a slow machine, which has a longer limit."""
    words = ("--cpu-time", str(SLOWNESS), "--", *PYTHON, BURN, str(part * SLOWNESS))
    r = cgroup_pyjail.run("run", *words)
    assert r.outcome["status"] == status, r.outcome
    assert r.returncode == (0 if status == "exited" else 124)
    assert r.outcome["enforced"]["cpu_time"].startswith("cgroup")
    assert r.outcome["limits_hit"] == ([] if status == "exited" else ["cpu_time"])


def test_parallel_processes_count_together(cgroup_pyjail):
    """Four processes of 0.4 s each stay below 1 s alone."""
    code = "for i in 1 2 3 4; do python3 -I -S -c '%s' 0.4 & done; wait" % BURN
    r = cgroup_pyjail.run("run", "--cpu-time", "1", "--", *SH, code)
    assert (r.returncode, r.outcome["status"]) == (124, "cpu-exceeded")


def test_it_is_reached_below_a_second(cgroup_pyjail):
    r = cgroup_pyjail.run("run", "--cpu-time", "100ms", "--", *SH, "while :; do :; done")
    assert r.outcome["status"] == "cpu-exceeded"
    assert r.outcome["signal"] in KILLED, "the rlimit behind it, of whole seconds, would have raised SIGXCPU"
    assert used(r.outcome) >= 0.1


def test_an_ordinary_user_is_told(ordinary_pyjail):
    """Unless there is a cgroup that counts."""
    r = ordinary_pyjail.run("run", "--cpu-time", "1", "--", "/bin/echo", "ran")
    if r.returncode == 0:
        assert r.outcome["enforced"]["cpu_time"].startswith("cgroup")
        return
    assert (r.returncode, r.stdout) == (125, b"")
    assert b"--allow-weaker cpu-time" in r.stderr
    words = ("--cpu-time", "1", "--allow-weaker", "cpu-time")
    r = ordinary_pyjail.run("run", *words, "--", *PYTHON, BURN, "5")
    assert (r.returncode, r.outcome["status"]) == (124, "cpu-exceeded")
    assert r.outcome["enforced"]["cpu_time"] == "rlimit"


def test_a_caller_with_hardly_any_descriptors_does_not_lift_it(cgroup_pyjail, place):
    """Those of the supervisor are as few: it holds the limit, or nothing runs."""
    file, seen = place / "outcome", {}
    command = 'ulimit -n "$1"; shift; exec "$@"'
    options = ("--outcome", file, "--cpu-time", "0.1s", "--timeout", "60s")
    words = (cgroup_pyjail.installation.pyjail, "run", *options)
    for most in range(12, 40):
        file.unlink(missing_ok=True)
        arguments = map(str, (most, *words, "--", *SH, "while :; do :; done"))
        r = cgroup_pyjail.run("-c", command, "sh", *arguments, program="/bin/sh")
        outcome = json.loads(file.read_text()) if file.exists() and file.stat().st_size else {"status": None}
        ran = outcome["status"] not in (None, "setup-failed")
        # The rlimit behind it, of whole seconds, would have raised SIGXCPU.
        seen[most] = (r.returncode, outcome["status"], ran and outcome["signal"] in KILLED)
    assert set(seen.values()) - {(125, None, False), (125, "setup-failed", False)} == {
        (124, "cpu-exceeded", True)
    }, seen
    assert len(set(seen.values())) > 1, seen  # the range has both
