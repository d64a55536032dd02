"""Pausing a jail: nothing in it runs until it is resumed, and it ends by all the ways by which any ends."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from jailed.patience import SLOWNESS
from support.features import no_memory_cgroup
from support.launcher import Launcher
from support.processes import alive_after, cgroup_folders, children, descendants, hold, supervisor
from support.scripts import Scripts

BOX = """
box = Jail().with_limits(memory="96M", pids=40, cpu_time=1000.0)

def use(process):
    stats = process.stats()
    return stats.cpu_user_seconds + stats.cpu_system_seconds, stats.pids

def cpu(process):
    return use(process)[0]

def makes_progress(process):
    before = cpu(process)
    while cpu(process) == before: pass
    return True

def stands_still(process):
    return len({use(process) for _ in range(50)}) == 1
"""
PAUSED = BOX + """
with jail.start(["/bin/sh", "-c", "sleep 1000 & while :; do :; done"], jail=box) as process:
    makes_progress(process)
    process.pause()
    answer(pid=process.pid)
    sys.stdin.read()
"""
CALL = "import ctypes, os\nx86 = os.uname().machine == 'x86_64'\ncall = ctypes.CDLL(None).syscall\n"
SPIN = """
import os, threading
def spin():
    while True: pass
for _ in range(4): threading.Thread(target=spin).start()
"""
BUSY = {
    "threads": SPIN,
    "threads whose process has ended": SPIN + CALL + "call(60 if x86 else 93, 0)",
    "executed beside threads": SPIN + "os.execv('/proc/self/exe', "
                               "open('/proc/self/cmdline').read().split('\\0')[:-1])",
    "a vfork": CALL + "call(56 if x86 else 220, 0x4000 | 17, 0, 0, 0, 0)\nwhile True: pass",
    "sessions": "import os\nfor _ in range(4): os.fork() or os.setsid()\nwhile True: pass",
    "ignores signals": "import signal\nfor n in (1, 2, 15, 18, 20): signal.signal(n, signal.SIG_IGN)\n"
                       "while True: pass",
    "a bomb": "import os\nwhile True:\n try: os.fork()\n except OSError: pass",
    "come and go": "import os\nwhile True: os.fork() or os._exit(0); os.waitpid(-1, 0)",
    "programs": "import subprocess\nwhile True: subprocess.run(['/bin/true'])",
    "a chain": "import os, signal\nif os.fork(): signal.pause()\nwhile True:\n if os.fork(): os._exit(0)",
}


@pytest.fixture
def paused_by(cgroup_pyjail: Launcher) -> Scripts:
    """For users whose jails can be paused."""
    return Scripts(cgroup_pyjail)


@pytest.mark.parametrize("code", BUSY.values(), ids=BUSY)
def test_nothing_runs_until_it_is_resumed(paused_by: Scripts, code: str) -> None:
    found = paused_by.answer(BOX + """
words = ["/usr/bin/python3", "-I", "-S", "-c", sys.argv[1]]
still = []
with jail.start(words, jail=box, stdin=DEVNULL, stderr=DEVNULL) as process:
    for _ in range(2):
        makes_progress(process)
        process.pause()
        still.append(stands_still(process))
        process.resume()
    makes_progress(process)
    process.kill()
answer(still=still, status=process.outcome.status)
""", code)
    assert found == {"still": [True] * 2, "status": "killed"}


CHAINS = "c() { c & }; for i in $(seq 60); do c; done; echo; exec sleep 1000"


def test_those_who_come_and_go_are_caught(paused_by: Scripts) -> None:
    """In version 1 each is moved on its own, which takes longer than one of them lives."""
    found = paused_by.answer(BOX + """
box = box.with_limits(memory="512M", pids=2000)
with jail.start(["/bin/sh", "-c", sys.argv[1]], jail=box, stdout=PIPE, stderr=DEVNULL) as process:
    process.stdout.readline()
    process.pause()
    still = stands_still(process)
    process.kill()
answer(still=still, status=process.outcome.status)
""", CHAINS)
    assert found == {"still": True, "status": "killed"}


def test_what_is_asked_for_meanwhile_comes_when_it_goes_on(paused_by: Scripts) -> None:
    """A signal, a further command; one that runs already is paused with the jail. Both requests may be made
    twice."""
    found = paused_by.answer(BOX + """
code = '''
import os, signal, sys, threading
def hear(asked): os.write(1, b"usr%d\\\\n" % (signal.sigwait(asked) == signal.SIGUSR1))
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])  # or it might come just before a read
threading.Thread(target=hear, args=[[signal.SIGUSR1]], daemon=True).start()
print("up", flush=True)
for line in sys.stdin: print(line, end="", flush=True)
sys.exit(3)
'''
words = ["/usr/bin/python3", "-I", "-S", "-c", code]
def silent(stream):
    return not select.select([stream], [], [], 0)[0]
with jail.start(words, jail=box, stdin=PIPE, stdout=PIPE) as process:
    process.stdout.readline()
    beats = process.exec(["/bin/sh", "-c", "while :; do echo beat; done"], stdout=PIPE)
    beats.stdout.readline()
    process.pause()
    process.pause()
    while not silent(beats.stdout): os.read(beats.stdout.fileno(), 1 << 20)
    process.stdin.write(b"line\\n")
    process.stdin.flush()
    process.send_signal(signal.SIGUSR1)
    more = process.exec(["/bin/echo", "more"], stdout=PIPE)
    process.stats()
    quiet = [silent(stream) for _ in range(100) for stream in (process.stdout, beats.stdout, more.stdout)]
    process.resume()
    process.resume()
    lines = sorted([process.stdout.readline(), process.stdout.readline()])
    beat = os.read(beats.stdout.fileno(), 1)
    output = more.communicate()[0]
    beats.kill(), beats.wait()
    process.stdin.close()
answer(quiet=set(quiet) == {True}, lines=[line.decode() for line in lines], beat=len(beat),
       more=[output.decode(), more.returncode], code=process.outcome.exit_code)
""")
    assert found.pop("more") == ["more\n", 0]
    assert found == {"quiet": True, "lines": ["line\n", "usr1\n"], "beat": 1, "code": 3}


def test_a_stopped_jail_is_paused_and_stays_stopped(paused_by: Scripts) -> None:
    found = paused_by.answer(BOX + """
from jail.requests import ask
def send(process, number):
    with process._running.connect() as connection: ask(connection, f"signal {number}")

with jail.start(["/bin/sh", "-c", "echo up; while :; do :; done"], jail=box, stdout=PIPE) as process:
    process.stdout.readline()
    events = process.events()
    kinds = [next(events).kind]
    send(process, int(signal.SIGSTOP))
    kinds.append(next(events).kind)
    process.pause()
    process.resume()
    kinds += [next(events).kind, next(events).kind]
    still = any(stands_still(process) for _ in range(20))  # when init, which counts in version 2, has gone on
    send(process, int(signal.SIGCONT))
    moves = makes_progress(process)
    process.kill()
answer(still=still, moves=moves, kinds=kinds)
""")
    assert found == {"still": True, "moves": True, "kinds": ["started", "stopped", "paused", "resumed"]}


ENDS = {
    "kill": "process.kill()",
    "its time": "",
    "TERM": "process.terminate()",
    "the end of the block": "process.__exit__(ValueError, None, None)",
    "the supervisor killed": "os.kill(process.pid, signal.SIGKILL)",
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_paused_jail_ends(paused_by: Scripts, end: str) -> None:
    """With all that is in it, whatever it makes of signals."""
    found = paused_by.answer(BOX + f"""
code = 'trap "exit 5" TERM; (trap "" TERM; while :; do :; done) & echo up; while :; do :; done'
limits = dict(timeout={2 * SLOWNESS}.0, grace=1000.0) if not {end!r} else {{}}
def inside(pid):
    found = [int(word) for word in open(f"/proc/{{pid}}/task/{{pid}}/children").read().split()]
    return found + [deeper for child in found for deeper in inside(child)]
process = jail.start(["/bin/sh", "-c", code], jail=box.with_limits(**limits), stdout=PIPE)
process.stdout.readline()
process.pause()
held = [os.pidfd_open(pid) for pid in inside(process.pid)]
""" + end + """
lost = False
try:
    outcome = process.wait()
except jail.LaunchError:
    lost = True
ended = [has_ended(pidfd) for pidfd in held]
answer(number=len(held), ended=all(ended), status=None if lost else [outcome.status, outcome.exit_code])
process.__exit__(None, None, None)
""")
    number = found.pop("number")
    assert number >= 3
    status = {"kill": ["killed", None], "its time": ["timed-out", 5], "TERM": ["exited", 5],
              "the end of the block": ["killed", None]}
    assert found == {"ended": True, "status": status.get(next(name for name in ENDS if ENDS[name] == end))}


def test_the_callers_death_ends_it(paused_by: Scripts) -> None:
    caller, line = paused_by.started(PAUSED)
    with caller:
        pid = int(line.split(b":")[1].strip(b" }\n"))
        held = hold((pid, *descendants(pid)))
        assert len(held) >= 3
        caller.kill()
        caller.wait()
        assert alive_after(held, 20) == []


@pytest.fixture
def runtime(pyjail: Launcher) -> Iterator[dict[str, str]]:
    """A runtime folder of the test's own."""
    with tempfile.TemporaryDirectory(prefix="pyjail-runtime-") as name:
        Path(name).chmod(0o700)
        pyjail.user.owns(Path(name))
        yield {"XDG_RUNTIME_DIR": name}


def test_the_commands(cgroup_pyjail: Launcher, runtime: dict[str, str]) -> None:
    options = ("--memory", "64M", "--name", "one")
    code = "echo up; while read line; do echo $line; done"
    with cgroup_pyjail.popen("run", *options, "--", "/bin/sh", "-c", code, env=runtime, stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE) as running:
        assert running.stdin is not None and running.stdout is not None
        assert running.stdout.readline() == b"up\n"
        for command in ("pause", "resume", "pause"):
            done = cgroup_pyjail.run(command, "one", env=runtime)
            assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        lines = [line.split() for line in cgroup_pyjail.run("ps", env=runtime).stdout.decode().splitlines()]
        assert ["one", str(running.pid), "paused"] in [line[:3] for line in lines]
        for command in ("pause", "resume"):
            done = cgroup_pyjail.run(command, "nobody", env=runtime)
            assert (done.returncode, b"pyjail ps" in done.stderr) == (1, True)
            assert cgroup_pyjail.run(command, env=runtime).returncode == 2
        cgroup_pyjail.run("resume", "one", env=runtime)
        assert running.communicate(b"end\n", 60)[0] == b"end\n"
        assert running.returncode == 0


def test_without_a_cgroup_it_is_refused(pyjail: Launcher) -> None:
    """And nothing weaker is done: the jail runs on."""
    limits = "memory=-1, pids=-1" if no_memory_cgroup(pyjail.user.uid) is None else ""
    found = Scripts(pyjail).answer(f"box = Jail().with_limits({limits})" + """
with jail.start(["/bin/cat"], jail=box, stdin=PIPE, stdout=PIPE) as process:
    try:
        process.pause()
    except jail.UnsupportedError as error:
        refused = error.remedy
    process.stdin.write(b"on\\n")
    process.stdin.flush()
    line = process.stdout.readline().decode()
    process.stdin.close()
try:
    process.pause()
except ProcessLookupError as error:
    ended = error.errno
answer(refused="--memory" in refused, line=line, ended=ended)
""")
    assert found == {"refused": True, "line": "on\n", "ended": errno.ESRCH}


def test_what_was_left_frozen_ends_at_the_next_start(cgroup_pyjail: Launcher) -> None:
    """Where both the supervisor and what would have thawed the jail in its place were killed."""
    runs = Scripts(cgroup_pyjail)
    caller, line = runs.started(PAUSED)
    with caller:
        pid = int(line.split(b":")[1].strip(b" }\n"))
        held = hold(descendants(pid))
        _, *guard = children(pid)  # the first is the jail's init
        for one in (*guard, pid):
            os.kill(one, signal.SIGKILL)
        caller.kill()
        caller.wait()
    words = ("run", "--memory", "64M", "--cpu-time", "1h", "--", "/bin/true")
    assert cgroup_pyjail.run(*words).returncode == 0
    assert alive_after(held, 20) == []
    assert cgroup_pyjail.run(*words).returncode == 0
    assert not [folder for folder in cgroup_folders() if supervisor(folder) == str(pid)]


def test_nothing_of_a_pause_is_left(paused_by: Scripts) -> None:
    """Neither cgroup nor process, nor descriptors of the caller."""
    before = cgroup_folders()
    found = paused_by.answer(BOX + """
jail.run(["true"], jail=box)
before, pids = len(os.listdir("/proc/self/fd")), []
for _ in range(20):
    with jail.start(["/bin/cat"], jail=box, stdin=PIPE) as process:
        process.pause()
        pids.append(process.pid)
        process.resume()
        process.stdin.close()
answer(open=len(os.listdir("/proc/self/fd")) - before, pids=pids)
""")
    assert found["open"] == 0
    pids = set(map(str, found["pids"]))
    assert not [folder for folder in cgroup_folders() - before if supervisor(folder) in pids]
