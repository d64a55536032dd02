"""Payloads that ignore TERM, stop themselves, double-fork daemons, trace or wait: the run still ends, all of
it."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable

import pytest
from support.launcher import Completed, Launcher
from support.processes import alive_after, descendants, hold

STUBBORN = """
import signal
for number in range(1, 65):
    if number not in (9, 19, 32, 33):
        signal.signal(number, signal.SIG_IGN)
def daemon():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while True:
                signal.pause()
        os._exit(0)
    attempt(os.wait)  # SIGCHLD is ignored: waits for the end of all children, and finds none
for _ in range(3):
    daemon()
"""
ENDS = {
    "waits": "while True: signal.pause()",
    "spins": "while True: pass",
    "stops": "os.kill(os.getpid(), signal.SIGSTOP)\nwhile True: signal.pause()",
    "stops-all": "os.kill(-1, 19)\nos.kill(os.getpid(), 19)\nwhile True: signal.pause()",
    "closes": "os.closerange(0, 100)\nwhile True: signal.pause()",
    "floods": "os.set_blocking(1, False)\nwhile True: attempt(os.write, 1, bytes(65536))",
    "vforks": "while True: attempt(os.posix_spawn, '/bin/true', ['true'], {})",
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_timeout_ends_everything(jailed: Callable[..., Completed], end: str) -> None:
    result = jailed(STUBBORN + end, options=["--timeout", "0.3s", "--grace", "0.1s", "--pids", "32"])
    assert result.returncode == 124
    assert result.outcome is not None
    assert result.outcome["status"] == "timed-out"


@pytest.mark.parametrize("end", [ENDS["waits"], ENDS["stops-all"]], ids=["waits", "stops-all"])
def test_nothing_of_it_is_left(pyjail: Launcher, end: str) -> None:
    words = pyjail.words(STUBBORN + "os.write(1, b'ready\\n')\n" + end, options=["--grace", "0.1s"])
    with pyjail.popen(*words, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        held = hold(descendants(process.pid))
        assert len(held) >= 5
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert alive_after(held, 0) == []


def test_a_payload_that_ends_while_its_daemons_live_ends_the_run(jailed: Callable[..., Completed]) -> None:
    assert jailed(STUBBORN + "os._exit(8)").returncode == 8


def test_output_nobody_reads_does_not_hold_the_end(pyjail: Launcher) -> None:
    """The payload blocks in a write to a full pipe; the timeout still ends it."""
    with pyjail.popen(
        "run", "--timeout", "0.3s", "--grace", "0.1s", "--", "/usr/bin/yes", stdout=subprocess.PIPE
    ) as process:
        assert process.wait(60) == 124


def test_an_init_that_the_payload_starves_ends_the_jail(jailed: Callable[..., Completed]) -> None:
    """prlimit(2) asks for the same ids alone, and poll(2) for a limit above what it waits for: init would
    neither sleep nor hear anything, outside of the jail's cgroup of version 1."""
    result = jailed("""
import resource, signal
resource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0))
def orphan():  # for which init wakes
    if os.fork() == 0:
        os.fork()
        os._exit(0)
while attempt(orphan) != "ok": pass  # where the machine has no room just now
while True: signal.pause()
""")
    assert result.returncode == 137, result.stderr
    assert result.outcome is not None
    assert result.outcome["status"] == "killed"


def test_an_init_without_a_share_of_the_processors_ends_the_jail(jailed: Callable[..., Completed]) -> None:
    """Where no policy forbids it, the payload leaves init what nobody else wants, and wants all there is:
    init would be minutes about its own end, and so about that of all others."""
    code = """
only = {min(os.sched_getaffinity(0))}
for process in (0, 1):
    os.sched_setaffinity(process, only)
os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0))
for _ in range(200):
    if os.fork() == 0:
        while True: pass
while True: pass
"""
    result = jailed(code, options=["--seccomp", "off", "--timeout", "0.3s", "--grace", "0.1s"])
    assert result.returncode == 124, result.stderr
    assert result.outcome is not None
    assert result.outcome["status"] == "timed-out"
