"""Output at full speed: the caller's memory does not grow, nobody deadlocks, every limit still works."""

from __future__ import annotations

import os
import select
import subprocess
from pathlib import Path

import pytest
from support.launcher import Launcher

MIB = 1 << 20
FLOOD = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
chunk = b"x" * (1 << 20)
if os.fork() == 0:
    while True:
        os.write(2, chunk)
while True:
    os.write(1, chunk)
"""


def most_memory_until_the_end(process: subprocess.Popen[bytes]) -> int:
    """Bytes, from the kernel's high-water mark, which a later look tells as well as an earlier one. (That of
    wait4(2) includes what the test runner had when it forked.)"""
    status = Path(f"/proc/{process.pid}/status")
    end = select.poll()
    pidfd = os.pidfd_open(process.pid)
    end.register(pidfd, select.POLLIN)
    peak = 0
    while not end.poll(500):
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        peak = int(fields.get("VmHWM", "0 kB").split()[0]) * 1024
    os.close(pidfd)
    return peak


@pytest.mark.slow
def test_a_flood_that_nobody_reads_costs_nothing(pyjail: Launcher) -> None:
    """10 s of it, both streams, with a payload that ignores the polite end."""
    reader, writer = os.pipe()
    words = pyjail.words(FLOOD, options=["--max-output", "1T", "--timeout", "10", "--grace", "0.1"])
    process = pyjail.popen(*words, stdout=writer, stderr=writer)
    os.close(writer)
    peak = most_memory_until_the_end(process)
    assert process.wait() == 124
    assert 0 < peak < 64 * MIB
    with open(reader, "rb") as left:
        assert len(left.read()) <= 2 * 65536, "what fits into the caller's pipe"


def test_a_flood_is_cut_off_at_the_limit(pyjail: Launcher) -> None:
    result = pyjail.python(FLOOD, options=["--max-output", "5M"])
    assert result.outcome is not None
    assert (result.returncode, result.outcome["status"]) == (153, "output-exceeded")
    assert len(result.stdout) + len(result.stderr) == 5 * MIB


def test_a_stream_that_nobody_reads_does_not_hold_up_the_other(pyjail: Launcher) -> None:
    code = """
if os.fork() == 0:
    while True:
        os.write(2, b"x" * 65536)
os.write(1, b"passed\\n")
os.read(0, 1)
"""
    words = pyjail.words(code, options=["--idle-timeout", "1000"])
    with pyjail.popen(*words, stdin=-1, stdout=-1, stderr=-1) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"passed\n"
        process.stdin.close()
        assert process.stderr is not None
        while process.stderr.read(65536):
            pass
    assert process.returncode == 0


def test_stealing_ones_own_output_does_not_make_it_count_less(pyjail: Launcher) -> None:
    """The payload can open the pipe that it writes to, and read it: what it takes is its own loss."""
    code = """
out = os.open("/proc/self/fd/1", os.O_RDONLY | os.O_NONBLOCK)
while True:
    os.write(1, b"x" * 4096)
    try:
        os.read(out, 4096)
    except BlockingIOError:
        pass
"""
    result = pyjail.python(code, options=["--max-output", "100000", "--timeout", "3"])
    assert result.outcome is not None
    assert result.outcome["status"] in ("output-exceeded", "timed-out")
    assert len(result.stdout) <= 100000


def test_emptying_the_pipe_before_the_supervisor_is_idle(pyjail: Launcher) -> None:
    code = """
out = os.open("/proc/self/fd/1", os.O_RDONLY | os.O_NONBLOCK)
import signal
os.write(1, b"x")
try:
    os.read(out, 1)
except BlockingIOError:
    pass
signal.pause()
"""
    result = pyjail.python(code, options=["--idle-timeout", "0.5"])
    assert result.outcome is not None
    assert result.outcome["status"] == "idle-timed-out"


def test_a_pipe_made_huge_or_tiny_by_the_payload(pyjail: Launcher) -> None:
    code = """
import fcntl
for size in (4096, 1 << 20):
    fcntl.fcntl(1, 1031, size)
os.write(1, b"x" * (1 << 20))
os.set_blocking(1, False)
sent = 0
while sent < 3 << 20:
    try:
        sent += os.write(1, b"y" * 100000)
    except BlockingIOError:
        pass
"""
    result = pyjail.python(code, options=["--max-output", "100M"], stderr=subprocess.DEVNULL)
    assert result.returncode == 0
    assert result.stdout.count(b"x") == 1 << 20
    assert result.stdout.count(b"y") >= 3 << 20
