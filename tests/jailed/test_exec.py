"""Further commands in a running jail: as confined as the first, with streams and an end of their own."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
from pathlib import Path

import pytest
from jailed.test_fault_injection import steps
from support.features import missing
from support.launcher import Launcher
from support.processes import alive_after, descendants, hold
from support.scripts import Scripts

STARTED = """
process = jail.start(["/bin/sh", "-c", "echo ready; read line"], stdin=PIPE, stdout=PIPE, jail=box)
process.stdout.readline()
"""
CONFINEMENT = r'''
import os, sys
status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
kept = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp",
        "Seccomp_filters", "Umask", "SigBlk", "SigIgn", "SigCgt", "NSsid", "Cpus_allowed")
print([status.get(name) for name in kept])
print(open("/proc/self/limits").read())
print([os.readlink("/proc/self/ns/" + name) for name in sorted(os.listdir("/proc/self/ns"))])
print(open("/proc/self/cgroup").read(), open("/proc/self/mountinfo").read(), os.getcwd())
print(sorted(os.environ.items()), open("/proc/self/oom_score_adj").read())
print(os.getpgid(0) == os.getpid(), os.getsid(0), os.listdir("/proc/self/fd"))
'''


@pytest.mark.parametrize("box", ["Jail()", "Jail(seccomp='off')", "Jail().with_limits(nofile=64)"])
def test_it_is_confined_as_the_first_command(scripts: Scripts, box: str) -> None:
    found = scripts.answer(f"box = {box}\nCONFINEMENT = {CONFINEMENT!r}" + """
words = ["/usr/bin/python3", "-I", "-c", CONFINEMENT]
shell = ["/bin/sh", "-c", "read line; unset PWD; exec \\"$@\\"", "sh", *words]
with jail.start(shell, stdin=PIPE, stdout=PIPE, text=True, jail=box) as process:
    with process.exec(words, stdin=DEVNULL, stdout=PIPE, text=True) as more:
        second = more.communicate()[0]
    first = process.communicate("\\n")[0]
answer(first=first, second=second)
""")
    assert found["first"].count("\n") > 20
    assert found["second"] == found["first"]


def test_streams_environment_and_end_are_its_own(scripts: Scripts) -> None:
    assert scripts.answer("box = Jail().with_env(A='a', B='b')" + STARTED + """
with process:
    words = ["/bin/sh", "-c", "echo $A $B $C $1; cat; echo err >&2; exit 7", "sh", "x y"]
    streams = dict(stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True)
    with process.exec(words, env={"B": "2\\n3", "C": "ü"}, **streams) as more:
        out, err = more.communicate("in")
    together = process.exec(["/bin/sh", "-c", "echo out; echo err >&2"], stdout=PIPE, stderr=STDOUT)
    both = together.communicate()[0].decode()
    running = process.poll()
    process.stdin.close()
answer(out=out, err=err, code=more.returncode, both=both, running=running, jail=process.outcome.status)
""") == {"out": "a 2 3 ü x y\nin", "err": "err\n", "code": 7, "both": "out\nerr\n", "running": None,
           "jail": "exited"}


def test_ends_are_told_as_those_of_a_jail(scripts: Scripts) -> None:
    found = scripts.answer("box = None" + STARTED + """
def end(words, act=None, **options):
    with process.exec(words, **options) as more:
        if act:
            act(more)
        outcome = more.wait()
    return [outcome.status, outcome.exit_code, outcome.signal, outcome.returncode]
with process:
    found = dict(
        missing=end(["nothing"]), folder=end(["/usr"]),
        signal=end(["/bin/sh", "-c", "kill -USR1 $$"]),
        killed=end(["/bin/sleep", "1000"], lambda more: more.kill()),
        terminated=end(["/bin/sleep", "1000"], lambda more: more.terminate()))
    try:
        process.exec(["/bin/true"], stdin=os.open("/", os.O_RDONLY)).wait()
    except jail.LaunchError as error:
        found["stdin"] = [error.step, error.errno]
    try:
        process.exec(["/bin/sleep", "1000"]).wait(0.01)
    except jail.TimeoutExpired:
        found["patience"] = True
    more = process.exec(["/bin/sleep", "1000"])
    process.kill()
    found["jail"] = more.wait().status
answer(**found)
""")
    assert found == {
        "missing": ["exited", 127, None, 127], "folder": ["exited", 126, None, 126],
        "signal": ["signaled", None, 10, 138], "killed": ["signaled", None, 9, 137],
        "terminated": ["signaled", None, 15, 143], "stdin": ["stdio", 21], "patience": True, "jail": "killed",
    }


def test_many_at_once(scripts: Scripts) -> None:
    assert scripts.answer("box = None" + STARTED + """
from concurrent.futures import ThreadPoolExecutor
def one(number):
    with process.exec(["/bin/sh", "-c", f"echo {number}; exit {number}"], stdout=PIPE) as more:
        return [int(more.communicate()[0]), more.returncode]
with process:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(one, range(60)))
    process.stdin.close()
answer(right=found == [[number, number] for number in range(60)], status=process.outcome.status)
""") == {"right": True, "status": "exited"}


def test_the_jails_end_is_that_of_all_its_commands(scripts: Scripts) -> None:
    """Also of what has left its group, and where the caller is killed."""
    code = "box = None" + STARTED + """
more = process.exec(["/bin/sh", "-c", "setsid sleep 1000 & sleep 1000 & echo ready; sleep 1000"], stdout=PIPE)
more.stdout.readline()
os.write(1, b"%d\\n" % process.pid)
sys.stdin.readline()
process.stdin.close()
process.wait(), more.wait()
"""
    for how in ("end", "kill"):
        caller, line = scripts.started(code)
        with caller:
            jailed = hold((int(line), *descendants(int(line))))
            assert len(jailed) >= 6
            if how == "kill":
                caller.kill()
            else:
                assert caller.stdin is not None
                caller.stdin.close()
            assert caller.wait() == (-9 if how == "kill" else 0)
            assert alive_after(jailed, 20) == []


def test_a_command_that_nobody_keeps_is_killed(scripts: Scripts) -> None:
    assert scripts.answer("box = None" + STARTED + """
import warnings
with process:
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        more = process.exec(["/bin/sleep", "1000"], stdout=writer)
        del more
    os.close(writer)
    end = os.read(reader, 1)
    process.stdin.close()
answer(end=end.decode(), status=process.outcome.status)
""") == {"end": "", "status": "exited"}


def test_what_cannot_be_had_is_refused(scripts: Scripts) -> None:
    found = scripts.answer("box = Jail(audit='refused')" + STARTED + """
def refused(act):
    try:
        act()
    except (jail.SpecError, ProcessLookupError) as error:
        return [type(error).__name__, getattr(error, "field", None)]
found = {}
with process:
    found["audit"] = refused(lambda: process.exec(["/bin/true"]))
    found["nothing"] = refused(lambda: process.exec([]))
    found["variable"] = refused(lambda: process.exec(["x"], env={"A=B": "c"}))
    process.stdin.close()
found["ended"] = refused(lambda: process.exec(["/bin/true"]))
answer(**found)
""")
    assert found == {"audit": ["SpecError", "exec"], "nothing": ["SpecError", "argv"],
                     "variable": ["SpecError", "env"], "ended": ["ProcessLookupError", None]}


STEPS = ("stdio", "descriptors", "cgroup-join", "cwd", "landlock", "rlimit", "seccomp", "exec")


def test_every_step_that_fails_keeps_the_command_from_running(
    pyjail: Launcher, faulty: Path, place: Path
) -> None:
    wrong = {}
    assert set(STEPS) < set(steps(faulty))
    for step in ("", *STEPS):
        if step == "cgroup-join" and not (pyjail.user.is_root and missing("cgroup2")):
            continue  # only those of version 1, which are root's, are joined
        words = ["/bin/sh", "-c", "echo; exec sleep 1000"]
        plan = pyjail.run("plan", "--bind", f"{place}:/data", "--", *words).stdout
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        (place / "plan").write_bytes(plan.replace(b"\nend\n", b"\ncontrol-fd %d\nend\n" % theirs.fileno()))
        fault = {"PYJAIL_FAULT_COMMAND_STEP": step}
        with pyjail.popen("run", str(place / "plan"), program=faulty, env=fault, pass_fds=[theirs.fileno()],
                          stdout=subprocess.PIPE) as jailer:
            theirs.close()
            assert jailer.stdout is not None and jailer.stdout.readline()
            line = ask_for(ours, b"jailer 1\nargv /usr/bin/touch\nargv /data/marker\nend\n")
            ours.close()
            assert jailer.wait() == 137
        told = (line["error"] or {}).get("step")
        ran = (place / "marker").exists()
        (place / "marker").unlink(missing_ok=True)
        if (told, ran) != ((step or None), not step):
            wrong[step] = line, ran
    assert wrong == {}


def ask_for(control: socket.socket, text: bytes) -> dict[str, dict[str, str]]:
    """Ask for a command as docs/plan.md has it; how it ended."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    memory = os.memfd_create("command")
    null = os.open(os.devnull, os.O_RDWR)
    os.pwrite(memory, text, 0)
    socket.send_fds(control, [b"connect"], [theirs.fileno()])
    socket.send_fds(ours, [b"exec"], [null, null, null, memory])
    os.close(memory), os.close(null), theirs.close()
    with ours:
        assert json.loads(ours.recv(4096)) == {}
        found: dict[str, dict[str, str]] = json.loads(ours.recv(4096))
    return found


def test_many_at_once_at_the_end_of_the_jail(scripts: Scripts) -> None:
    """More than there is room for, from as many threads: each gets an end or an error, and nothing stays."""
    found = scripts.answer("""
def descriptors(): return len(os.listdir("/proc/self/fd"))

def ask(process, barrier, told):
    barrier.wait()
    try:
        with process.exec(["/bin/sh", "-c", "exit 3"], stdin=DEVNULL, stderr=DEVNULL) as more:
            told.append(more.wait().status)
    except OSError as error:
        told.append(error.errno)

told, left, held = [], [], []
jail.run(["true"])
before = descriptors()
for end in (lambda process: process.kill(), lambda process: process.stdin.close()):
    with jail.start(["/bin/sh", "-c", "echo up; read x"], stdin=PIPE, stdout=PIPE) as process:
        process.stdout.readline()
        init = open(f"/proc/{process.pid}/task/{process.pid}/children").read()
        held.append(os.pidfd_open(int(init)))
        barrier = threading.Barrier(51)
        threads = [threading.Thread(target=ask, args=(process, barrier, told)) for _ in range(50)]
        for thread in threads: thread.start()
        barrier.wait()
        end(process)
        for thread in threads: thread.join()
        left.append(process.wait().status)
ended = [has_ended(pidfd) for pidfd in held]
for pidfd in held: os.close(pidfd)
answer(told=list(set(told)), number=len(told), left=left, ended=ended, open=descriptors() - before)
""")
    assert set(found.pop("told")) <= {"exited", "killed", "signaled", errno.ESRCH, errno.EUSERS, errno.EAGAIN}
    assert found == {"number": 100, "left": ["killed", "exited"], "ended": [True, True], "open": 0}


def test_memory_that_runs_out_in_a_command_ends_the_jail(cgroup_pyjail: Launcher) -> None:
    """As where the first one uses it up; its outcome says so, whoever else asks at that moment."""
    found = Scripts(cgroup_pyjail).answer("""
fill = "x = []\\nwhile True: x.append(bytearray(1 << 20))"
box = Jail().with_limits(memory="24M")
with jail.start(["/bin/sh", "-c", "echo up; read x; exit 4"], stdin=PIPE, stdout=PIPE, jail=box) as process:
    process.stdout.readline()
    words = ["/usr/bin/python3", "-I", "-S", "-c", fill]
    commands = [process.exec(words, stderr=DEVNULL)]
    try:
        commands.append(process.exec(words, stderr=DEVNULL))
    except ProcessLookupError:
        pass  # it was fast
    ends = [command.wait().status for command in commands]
    outcome = process.wait()
answer(ends=sorted(set(ends)), status=outcome.status, hit=outcome.limits_hit)
""")
    assert set(found.pop("ends")) <= {"signaled", "killed"}
    assert found == {"status": "out-of-memory", "hit": ["memory"]}


def test_one_that_nobody_keeps_is_killed_without_a_complaint_but_that(scripts: Scripts) -> None:
    """Of an object in a cycle the collector may take the connection first."""
    done = scripts.run("""
import gc
with jail.start(["/bin/cat"], stdin=PIPE) as process:
    more = process.exec(["/bin/sh", "-c", "echo up; exec sleep 1000"], stdout=PIPE)
    more.stdout.readline()
    more.me = more
    init, = [int(pid) for pid in open(f"/proc/{process.pid}/task/{process.pid}/children").read().split()]
    held = [os.pidfd_open(int(pid)) for pid in open(f"/proc/{init}/task/{init}/children").read().split()]
    del more
    gc.collect()
    answer(number=len(held), ended=any(has_ended(pidfd) for pidfd in held[1:]))
""")
    assert done.answer == {"number": 2, "ended": True}
    assert b"is killed: nobody waits for it" in done.stderr
    assert b"Exception ignored" not in done.stderr
