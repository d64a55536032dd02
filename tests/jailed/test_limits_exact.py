"""Each limit to the point: with 95 % of it a payload succeeds, with 105 % it fails with the right verdict."""

from __future__ import annotations

import os

import pytest
from support.features import missing

PYTHON = ("/usr/bin/python3", "-I", "-S", "-c")
MIB = 1 << 20
MEMORY = 128 * MIB

FILL = """
import mmap, sys
held = mmap.mmap(-1, int(sys.argv[1]))
for at in range(0, len(held), 4096): held[at] = 1
print('held')
"""
FORK = """
import os, signal, sys
made = 1
try:
    for _ in range(int(sys.argv[1]) - 1):
        if os.fork() == 0: signal.pause()
        made += 1
except BlockingIOError: pass
print(made)
sys.exit(made < int(sys.argv[1]))
"""
BURN = """
import os, sys, time
end = float(sys.argv[1])
while time.process_time() < end: pass
"""


def cpu(outcome) -> float:
    return outcome["cpu_user_seconds"] + outcome["cpu_system_seconds"]


def interpreter(launcher) -> int:
    """What the payload's own program takes of a memory limit."""
    peak = launcher.run("run", "--memory", str(MEMORY), "--", *PYTHON, FILL, "4096").outcome[
        "peak_memory_bytes"
    ]
    assert 0 < peak < MEMORY // 4
    return peak


def test_memory_to_the_point(cgroup_pyjail):
    own = interpreter(cgroup_pyjail)
    fits, over = MEMORY * 95 // 100 - own, MEMORY * 105 // 100 - own
    r = cgroup_pyjail.run("run", "--memory", str(MEMORY), "--", *PYTHON, FILL, str(fits))
    assert (r.returncode, r.stdout, r.outcome["status"]) == (0, b"held\n", "exited"), r.stderr
    assert r.outcome["oom_kills"] == 0
    r = cgroup_pyjail.run("run", "--memory", str(MEMORY), "--", *PYTHON, FILL, str(over))
    assert (r.returncode, r.stdout, r.outcome["status"]) == (137, b"", "out-of-memory")
    assert r.outcome["oom_kills"] >= 1


def test_processes_to_the_point(pyjail):
    for option in ([], ["--memory", "64M", "--allow-weaker", "memory"]):  # by a cgroup where there is one
        r = pyjail.run("run", "--pids", "20", *option, "--", *PYTHON, FORK, "20")
        assert (r.returncode, r.stdout) == (0, b"20\n"), r.stderr
        assert r.outcome["pids_peak"] in (20, None)
        r = pyjail.run("run", "--pids", "20", *option, "--", *PYTHON, FORK, "21")
        assert (r.returncode, r.stdout) == (1, b"20\n"), r.stderr


def test_one_process_is_possible(pyjail):
    r = pyjail.run("run", "--pids", "1", "--", *PYTHON, FORK, "1")
    assert (r.returncode, r.stdout) == (0, b"1\n"), r.stderr
    assert pyjail.run("run", "--pids", "1", "--", *PYTHON, FORK, "2").stdout == b"1\n"


THIRDS = """
import mmap, os, signal, sys
part = int(sys.argv[1])
def fill(size):
    held = mmap.mmap(-1, size)
    for at in range(0, size, 4096): held[at] = 1
    return held
for _ in range(2):
    reader, writer = os.pipe()
    if os.fork() == 0:
        held = fill(part)
        os.write(writer, b'x')
        signal.pause()
    os.close(writer)
    os.read(reader, 1)
with open('/tmp/file', 'wb') as file:
    for _ in range(part // 4096): file.write(bytes(4096))
"""


def test_peak_memory_is_that_of_the_whole_jail(cgroup_pyjail):
    """Three processes that hold a third each, of anonymous memory and of tmpfs."""

    def peak(part: int) -> int:
        r = cgroup_pyjail.run("run", "--memory", "512M", "--", *PYTHON, THIRDS, str(part))
        assert r.returncode == 0, r.stderr
        return r.outcome["peak_memory_bytes"]

    assert peak(32 * MIB) - peak(4096) == pytest.approx(3 * 32 * MIB, rel=0.05)


def test_cpu_time_is_that_of_the_whole_jail(cgroup_pyjail):
    """Four processes that each know their own, children of one that did not wait for them."""
    if missing("cgroup2"):
        return  # in version 1 another controller counts, which only a limit on CPU time asks for
    code = f"""
import os, signal, sys, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
reader, writer = os.pipe()
if os.fork() and os.fork() and os.fork() and os.fork():
    os.close(writer)
    with open(reader) as told:
        used = sum(map(float, told))
    print(used + time.process_time(), flush=True)
    os._exit(0)
{BURN}
os.write(writer, b'%f\\n' % time.process_time())
os._exit(0)"""
    r = cgroup_pyjail.run("run", "--memory", "256M", "--", *PYTHON, code, "3")
    assert r.returncode == 0, r.stderr
    assert float(r.stdout) > 12
    assert cpu(r.outcome) == pytest.approx(float(r.stdout), rel=0.05)


@pytest.mark.parametrize("cpus", [0.25, 0.5])
def test_cpus_are_a_share_of_the_wall_time(cgroup_pyjail, cpus):
    """Two processes that would use all they get, for a second of CPU time together."""
    code = "import os\nif os.fork() == 0:\n" + "".join(f" {line}\n" for line in BURN.strip().splitlines())
    code += " os._exit(0)\n" + BURN + "os.wait()"
    r = cgroup_pyjail.run("run", "--cpus", str(cpus), "--", *PYTHON, code, "0.5")
    assert r.returncode == 0, r.stderr
    assert r.outcome["enforced"]["cpus"].startswith("cgroup-")
    # As much as was used has taken about this long at least: the start is counted, and not held back.
    used = cpu(r.outcome)
    assert used >= 0.95
    assert r.outcome["wall_seconds"] >= used / cpus * 0.8


@pytest.mark.parametrize("policy", ["--fifo", "--rr"])
def test_a_share_holds_who_was_started_before_all_others(root_pyjail, policy):
    """The kernel counts those for no share, or takes none of them into a cgroup that has one."""
    code = "import os; print(os.sched_getscheduler(0), os.sched_getparam(0).sched_priority)"
    words = (policy, "1", str(root_pyjail.installation.pyjail), "run", "--cpus", "0.5", "--", *PYTHON, code)
    r = root_pyjail.run(*words, program="/usr/bin/chrt")
    assert r.stdout == b"0 0\n", r.stderr


def test_the_cpus_of_a_cpuset_are_all_there_are(root_pyjail, require):
    require("cgroup")
    last = max(os.sched_getaffinity(0))
    see = "print(os.sched_getaffinity(0))"
    code = f"import os; {see}; os.sched_setaffinity(0, range(64)); {see}"
    r = root_pyjail.run("run", "--cpuset", str(last), "--", *PYTHON, code)
    assert r.returncode == 0, r.stderr
    assert r.stdout.split() == [f"{{{last}}}".encode()] * 2
    r = root_pyjail.run("run", "--cpuset", "4095", "--", "/bin/echo", "ran")
    assert (r.returncode, r.stdout) == (125, b"")
    assert b"cpuset" in r.stderr


@pytest.mark.parametrize("option", ["--cpus", "--cpuset"])
def test_what_cannot_be_held_is_an_error(pyjail, option):
    """Nothing but a cgroup holds these."""
    r = pyjail.run("run", option, "0" if option == "--cpuset" else "0.5", "--", "/bin/echo", "ran")
    if r.returncode == 0:
        assert r.outcome["enforced"][option[2:]].startswith("cgroup-")
        return
    assert (r.returncode, r.stdout) == (125, b"")
    assert b"cgroup" in r.stderr
    assert option.encode() in r.stderr
