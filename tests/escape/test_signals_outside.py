"""kill(0), kill(-1), process groups, sessions and signal-driven I/O must not reach anything outside."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable

from support.launcher import Completed, Launcher
from support.processes import alive_after, hold


def test_signals_to_everything_stay_inside(pyjail: Launcher) -> None:
    """The caller and a bystander in the caller's own process group both live on."""
    script = 'sleep 1000 & "$@"; echo caller; kill $! && echo bystander'
    words = pyjail.words("""
for number in (1, 2, 15, 10, 9):
    if os.fork() == 0:
        signal = __import__("signal")
        signal.signal(number, signal.SIG_IGN) if number != 9 else None
        attempt(os.kill, -1, number)
        attempt(os.kill, 0, number)
        attempt(os.killpg, 1, number)
        os._exit(0)
""")
    with pyjail.popen(
        "-c",
        script,
        "sh",
        str(pyjail.installation.pyjail),
        *words,
        program="/bin/sh",
        start_new_session=True,
        stdout=subprocess.PIPE,
    ) as shell:
        out = shell.communicate(timeout=60)[0]
    assert out.endswith(b"caller\nbystander\n")


def test_session_and_group_are_the_jails_own(jailed: Callable[..., Completed]) -> None:
    """An id of 0 would mean: led by a process outside, which kill(0) reaches."""
    found = jailed(
        """
answer(session=os.getsid(0), group=os.getpgrp(), terminal=read("/proc/self/stat").split(") ")[1].split()[4])
"""
    )
    assert found.answer["session"] > 0
    assert found.answer["group"] > 0
    assert found.answer["terminal"] == "0"


def test_host_processes_cannot_be_named(pyjail: Launcher) -> None:
    victim = subprocess.Popen(["sleep", "1000"], **pyjail.user.identity())  # the jail's own user on the host
    try:
        held = hold([victim.pid])
        found = pyjail.python(
            """
import fcntl
pid = int(sys.argv[1])
reader, writer = os.pipe()
answer(kill=[attempt(os.kill, pid, n) for n in (0, 9)], group=attempt(os.killpg, pid, 9), pidfd=call(434,
       pid, 0),
       own=attempt(fcntl.fcntl, reader, fcntl.F_SETOWN, pid), seen=os.path.exists("/proc/%d" % pid),
       all=[p for p in os.listdir("/proc") if p.isdigit()],
       queue=call(129, pid, 9, b"\\0" * 128), prlimit=call(302, pid, 7, None, b"\\0" * 16),
              priority=attempt(os.setpriority, 0, pid, 5),
       affinity=attempt(os.sched_getaffinity, pid), vm=call(310, pid, None, 0, None, 0, 0))
""",
            str(victim.pid),
        ).answer
        assert found["kill"] == ["ESRCH", "ESRCH"]
        assert found["group"] == "ESRCH"
        assert found["seen"] is False
        assert len(found["all"]) <= 2
        for name in ("pidfd", "own", "queue", "prlimit", "priority", "affinity", "vm"):
            assert found[name] in ("ESRCH", "EPERM", "ENOSYS", "EINVAL"), name
        assert len(alive_after(held, 0)) == 1
    finally:
        victim.send_signal(signal.SIGKILL)
        victim.wait()


def test_the_bystander_check_can_fail() -> None:
    """The same eyes do see a kill that works."""
    victim = subprocess.Popen(["sleep", "1000"])
    held = hold([victim.pid])
    victim.kill()
    assert alive_after(held, 60) == []
    victim.wait()
