"""A payload that tells its own fate: writes to every descriptor, closes them, ends init, floods the control
channel.

The outcome comes from wait status and kernel counters, through descriptors that no process of the jail holds.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.launcher import Completed, Launcher
from support.scripts import Scripts

FORGED = '{"status":"exited","exit_code":0,"signal":null,"wall_seconds":0,"error":null}'


def test_writing_to_every_descriptor_changes_nothing(jailed: Callable[..., Completed]) -> None:
    result = jailed(
        """
for fd in range(3, 1024):
    for data in (sys.argv[1].encode() + b"\\n", bytes(64), b"\\x01\\0\\0\\0" * 16):
        attempt(os.write, fd, data)
    attempt(os.close, fd)
os._exit(42)
""",
        FORGED,
    )
    assert result.returncode == 42
    assert result.outcome is not None
    assert (result.outcome["status"], result.outcome["exit_code"]) == ("exited", 42)


def test_an_outcome_on_stdout_is_just_output(jailed: Callable[..., Completed]) -> None:
    result = jailed(
        "print(sys.argv[1]); sys.stderr.write(sys.argv[1]); sys.stdout.flush(); os.kill(os.getpid(), 9)",
        FORGED,
    )
    assert result.returncode == 128 + 9
    assert result.outcome is not None
    assert (result.outcome["status"], result.outcome["signal"]) == ("signaled", 9)


def test_the_outcome_file_is_not_the_payloads(pyjail: Launcher, place: Path) -> None:
    """Even where its folder is bound writable: it is opened before, and a link in its place is not followed
    later."""
    victim = place / "victim"
    victim.write_text("kept")
    pyjail.user.owns(victim)
    result = pyjail.run(
        "run",
        "--outcome",
        str(place / "outcome.json"),
        "--bind",
        f"{place}:/data",
        "--",
        "/bin/sh",
        "-c",
        "rm -f /data/outcome.json; ln -s victim /data/outcome.json; exit 3",
    )
    assert result.returncode == 3
    assert victim.read_text() == "kept"


@pytest.mark.parametrize("status", [0, 1, 124, 125, 126, 127, 137, 255])
def test_an_exit_status_of_ours_is_told_apart_by_the_outcome(pyjail: Launcher, status: int) -> None:
    result = pyjail.run("run", "--", "/bin/sh", "-c", f"exit {status}")
    assert result.returncode == status
    assert result.outcome is not None
    assert (result.outcome["status"], result.outcome["exit_code"], result.outcome["error"]) == (
        "exited",
        status,
        None,
    )


@pytest.mark.parametrize("number", [1, 2, 3, 4, 6, 8, 9, 11, 13, 14, 15, 31, 34, 64])
def test_every_deadly_signal_is_reported_as_what_it_was(
    jailed: Callable[..., Completed], number: int
) -> None:
    """SIGSYS by kill(2) is a signal like another; SIGKILL by its own hand is not an OOM kill."""
    result = jailed(
        """
import signal
number = int(sys.argv[1])
number == 9 or signal.signal(number, signal.SIG_DFL)
os.kill(os.getpid(), number)
signal.pause()
""",
        str(number),
    )
    assert result.returncode == 128 + number
    assert result.outcome is not None
    assert (result.outcome["status"], result.outcome["signal"], result.outcome["exit_code"]) == (
        "signaled",
        number,
        None,
    )


def test_a_child_that_outlives_the_payload_does_not_speak_for_it(jailed: Callable[..., Completed]) -> None:
    result = jailed("""
if os.fork() == 0:
    os.setsid()
    os.close(1), os.close(2)
    import time
    time.sleep(600)
    os._exit(9)
os._exit(5)
""")
    assert result.returncode == 5


def test_orphans_are_reaped_and_do_not_end_the_run(jailed: Callable[..., Completed]) -> None:
    result = jailed("""
for status in range(20):
    if os.fork() == 0:
        if os.fork() == 0:
            os._exit(status)
        os._exit(0)
    os.wait()
def others():
    return [name for name in os.listdir("/proc") if name.isdigit() and int(name) not in (1, os.getpid())]
for _ in range(100000):  # until init has reaped the last
    if not others():
        break
    os.sched_yield()
answer(left=others())
os._exit(6)
""")
    assert result.returncode == 6
    assert result.answer["left"] == []


def test_a_sibling_made_with_clone_parent_does_not_speak_for_the_payload(
    jailed: Callable[..., Completed],
) -> None:
    """CLONE_PARENT makes it a child of init, which waits for the payload."""
    result = jailed("""
for status in (0, 1, 9):
    if call(56, 0x8000 | 17, 0, 0, 0, 0) == 0:
        os._exit(status)
import time
time.sleep(0.2)  # let them end first; the verdict must not depend on it
os._exit(33)
""")
    assert result.returncode == 33
    assert result.outcome is not None
    assert result.outcome["exit_code"] == 33


BURNS = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    while time.process_time() < 0.3: pass
    os.write(1, b"up\\n")
signal.pause()
"""


@pytest.mark.parametrize("end", ["terminate", "kill", "send_signal(signal.SIGKILL)"])
def test_time_that_was_taken_counts_also_where_only_force_was_an_end(pyjail: Launcher, end: str) -> None:
    """Of several processes, none of which heeds what it is told."""
    assert Scripts(pyjail).answer(f"""
box = Jail().with_limits(grace="0.05")
with jail.start(["/usr/bin/python3", "-ISc", {BURNS!r}], jail=box, stdout=PIPE) as process:
    process.stdout.readline()
    process.{end if "(" in end else end + "()"}
    ended = process.wait()
answer(status=ended.status, taken=ended.cpu_user_seconds + ended.cpu_system_seconds >= 0.3)
""") == {"status": "killed", "taken": True}


def test_output_before_the_end_is_not_lost(jailed: Callable[..., Completed]) -> None:
    result = jailed("os.write(1, b'x' * 60000)\nos.kill(os.getpid(), 9)")
    assert len(result.stdout) == 60000


def test_locking_the_outcome_descriptor_out_is_impossible(pyjail: Launcher) -> None:
    """A pipe as the outcome's descriptor: its reader sees one line and then the end, so nothing inside holds
    it."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as lines:
        result = pyjail.run(
            "run", "--outcome-fd", str(writer), "--", "/bin/sh", "-c", "sleep 600 & exit 4", pass_fds=[writer]
        )
        os.close(writer)
        text = lines.read()
    assert result.returncode == 4
    assert text.count(b"\n") == 1
    assert text.endswith(b"\n")
