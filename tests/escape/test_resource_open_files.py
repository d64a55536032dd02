"""Open files of many processes: the kernel has no limit on those of a jail, but each is memory of it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from support.launcher import Launcher

PROCESSES, EACH = 10, 15000

# Every process holds as many as it may, all of them at once.
HOARD = f"""
import signal
for _ in range({PROCESSES}):
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(reader)
        for _ in range(int(sys.argv[1])): os.open("/dev/null", 0)
        os.write(writer, b"x")
        signal.pause()
    os.close(writer)
    if not os.read(reader, 1): os._exit(3)
answer(held="all")
"""


def open_files() -> int:
    return int(Path("/proc/sys/fs/file-nr").read_text().split()[0])


@pytest.mark.alone
def test_open_files_count_as_memory_and_are_given_back(cgroup_pyjail: Launcher) -> None:
    options = ["--memory", "28M", "--pids", str(PROCESSES + 1), "--nofile", str(EACH + 50), "--timeout", "60"]
    before = open_files()
    few = cgroup_pyjail.python(HOARD, "10", options=options)
    assert few.answer == {"held": "all"}, "the processes alone fit"
    many = cgroup_pyjail.python(HOARD, str(EACH), options=options)
    assert many.outcome is not None
    assert (many.outcome["status"], many.outcome["limits_hit"]) == ("out-of-memory", ["memory"])
    # Freed after a grace period of RCU; other programs of the host open files too.
    end = time.monotonic() + 60
    while (left := open_files() - before) > EACH // 4 and time.monotonic() < end:
        pass
    assert left <= EACH // 4


def test_their_number_is_at_most_processes_times_nofile(pyjail: Launcher) -> None:
    code = """
import signal
total = 0
try:
    for _ in range(100):
        reader, writer = os.pipe()
        if os.fork() == 0:
            held = 0
            try:
                while True: os.open("/dev/null", 0); held += 1
            except OSError: pass
            os.write(writer, b"%d" % held)
            signal.pause()
        os.close(writer)
        total += int(os.read(reader, 20))
        os.close(reader)
except BlockingIOError: pass
answer(total=total)
"""
    answer = pyjail.python(code, options=["--pids", "10", "--nofile", "100"]).answer
    assert 9 * 90 < answer["total"] < 10 * 100
