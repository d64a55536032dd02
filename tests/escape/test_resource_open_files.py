"""Open files of many processes: each is memory of the jail, and a limit holds them all together."""

from __future__ import annotations

import os
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


def kernel() -> tuple[int, ...]:
    return tuple(int(part) for part in os.uname().release.split(".")[:2])


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


# As many processes as there can be; each fills its table and has a message full of descriptors on its way,
# which nobody receives. The kernel looks how many are on their way when a message is made, not when it has
# waited for room: so all wait, and then there is room for them.
EVERYWHERE = """
import fcntl, resource, signal, socket
LIMIT = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
receiver.bind("/tmp/receiver")
sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
ready, told = os.pipe(), os.pipe()

def held():
    return sum(attempt(fcntl.fcntl, descriptor, fcntl.F_GETFD) == "ok" for descriptor in range(LIMIT))

def fill():
    while attempt(os.open, "/dev/null", 0) == "ok": pass

def send(copies, flags=0):
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, bytes(4 * copies))
    done = attempt(sender.sendmsg, [b"x"], [rights], flags, "/tmp/receiver")
    return copies if done == "ok" else 0

def tell():
    fill()
    os.write(told[1], json.dumps([held(), sent]).ljust(30).encode())

def state(pid):
    return read(f"/proc/{pid}/stat").rpartition(")")[2].split()[0]

room, children = 0, []
while attempt(sender.sendto, b"", socket.MSG_DONTWAIT, "/tmp/receiver") == "ok": room += 1
receiver.recv(1)
sent = send(min(253, LIMIT), socket.MSG_DONTWAIT)
try:
    while (child := os.fork()) > 0: children.append(child)
    os.write(ready[1], b"x")
    sent = send(253)
    tell()
    signal.pause()
except BlockingIOError: pass
for _ in children: os.read(ready[0], 1)
while any(state(child) != "S" for child in children): pass
for _ in range(room - 1): receiver.recv(1)
counts = [json.loads(os.read(told[0], 30)) for _ in children]
tell()
counts.append(json.loads(os.read(told[0], 30)))
answer(counts=counts, limit=LIMIT)
"""


@pytest.mark.parametrize(("most", "each"), [(4000, 172), (20_000, 1024)])
def test_all_together_hold_no_more_than_the_limit(pyjail: Launcher, most: int, each: int) -> None:
    result = pyjail.python(EVERYWHERE, options=["--pids", "8", "--open-files", str(most)])
    assert result.outcome is not None
    assert result.outcome["enforced"]["open_files"] == "rlimit"
    counts, limit = result.answer["counts"], result.answer["limit"]
    assert each <= limit <= each + 63, "a cgroup has room for a ninth process"
    assert [held for held, _ in counts] == [limit] * 8
    assert sum(held + sent for held, sent in counts) <= most
    if kernel() >= (6, 10):
        assert sum(sent for _, sent in counts) == min(253, limit) + 7 * 253, "all that were on their way came"
