"""`jail.run` and `jail.start`: signals, waiting, what is left of a run."""

from __future__ import annotations

import os

import pytest
from jailed.patience import SLOWNESS
from support.scripts import Scripts


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="calls by their numbers there")
def test_no_outcome_is_too_long(scripts: Scripts) -> None:
    """A hostile program makes its audit as long as it can, longer than any socket or pipe holds."""
    assert scripts.answer("""
code = '''import ctypes
call = ctypes.CDLL(None).syscall
for number in {*range(335)} - {15, 34, 56, 57, 58, 60, 61, 130, 219, 231}:  # with what ends or waits
    for i in range(33):
        call(number, *[ctypes.c_long(-(i << 40) - 4096)] * 6)
'''
done = jail.run(["/usr/bin/python3", "-c", code], jail=Jail(audit="all").with_limits(timeout=60))
answer(status=done.status, many=len(done.calls) > 3000)
""") == {"status": "exited", "many": True}


def test_a_timeout_kills_and_tells_what_was_read(scripts: Scripts) -> None:
    assert scripts.answer("""
try:
    jail.run(["/bin/sh", "-c", "trap '' TERM; echo begun; while :; do sleep 1000; done"], capture_output=True,
             timeout=1, text=True)
except jail.TimeoutExpired as error:
    answer(output=error.output, err=error.stderr, timeout=error.timeout, children=os.waitpid.__name__)
    try:
        os.waitpid(-1, 0)
    except ChildProcessError:
        answer(output=error.output, timeout=error.timeout, reaped=True)
""") == {"output": "begun\n", "timeout": 1, "reaped": True}


def test_communicate_can_be_repeated(scripts: Scripts) -> None:
    assert scripts.answer("""
words = ["/bin/sh", "-c", "echo one; read line; echo $line; read end"]
with jail.start(words, stdin=PIPE, stdout=PIPE) as process:
    process.stdin.write(b"two\\n")
    try:
        process.communicate(timeout=0)
    except jail.TimeoutExpired:
        out, err = process.communicate()
answer(out=out.decode(), err=err, ended=process.outcome.exit_code)
""") == {"out": "one\ntwo\n", "err": None, "ended": 1}


def test_signals_reach_the_command(scripts: Scripts) -> None:
    found = scripts.answer("""
code = '''import os, signal
asked = [getattr(signal, name) for name in ("SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGQUIT")]
signal.pthread_sigmask(signal.SIG_BLOCK, asked)
os.write(1, b"ready\\\\n")
while True: os.write(1, b"%d\\\\n" % signal.sigwait(asked))
'''
seen = []
with jail.start(["/usr/bin/python3", "-IS", "-c", code], stdout=PIPE) as process:
    process.stdout.readline()
    for name in ("SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGQUIT"):
        process.send_signal(getattr(signal, name))
        seen.append(signal.Signals(int(process.stdout.readline())).name)
    try:
        process.send_signal(signal.SIGALRM)
    except jail.SpecError as error:
        refused = str(error)
    process.terminate()
    ended = process.wait()
process.kill()
process.terminate()
answer(seen=seen, refused=refused, status=ended.status, signal=ended.signal, returncode=process.returncode)
""")
    assert found["seen"] == ["SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGQUIT"]
    assert "cannot be sent into a jail; what can: SIGCONT, SIGHUP" in found["refused"]
    assert (found["status"], found["signal"], found["returncode"]) == ("signaled", 15, 143)


def test_a_signal_right_after_the_start_is_not_lost(scripts: Scripts) -> None:
    """The supervisor may not yet have begun to listen."""
    assert scripts.answer("""
ended = []
for _ in range(30):
    with jail.start(["/bin/sleep", "1000"]) as process:
        process.terminate()
        ended.append(process.wait().status)
answer(ended=sorted(set(ended)))
""")["ended"] in (["signaled"], ["killed"], ["killed", "signaled"])


def test_a_caller_that_ignores_signals_can_still_terminate(scripts: Scripts) -> None:
    assert scripts.answer("""
for number in (signal.SIGTERM, signal.SIGPIPE):
    signal.signal(number, signal.SIG_IGN)
with jail.start(["/bin/sleep", "1000"]) as process:
    process.terminate()
    answer(signal=process.wait().signal)
""") == {"signal": 15}


def test_a_caller_that_does_not_reap_or_blocks_signals(scripts: Scripts) -> None:
    """SIGCHLD ignored or not, jails are no children, which a wait for any of them would meet."""
    assert scripts.answer("""
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
ignored = jail.run(["/bin/sh", "-c", "exit 3"]).exit_code
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
with jail.start(["/bin/sh", "-c", "exit 4"]) as process:
    try:
        taken = os.waitpid(-1, 0)
    except ChildProcessError:
        taken = process.wait().exit_code
with jail.start(["/bin/sleep", "1000"]) as process:
    process.terminate()
    ended = process.wait().signal
answer(ignored=ignored, taken=taken, ended=ended)
""") == {"ignored": 3, "taken": 4, "ended": 15}


def test_a_stopped_jail_can_be_killed(scripts: Scripts) -> None:
    assert scripts.answer("""
with jail.start(["/bin/sh", "-c", "echo ready; exec sleep 1000"], stdout=PIPE) as process:
    process.stdout.readline()
    process.send_signal(signal.SIGTSTP)
    while open(f"/proc/{process.pid}/stat").read().split(")")[1].split()[0] != "T":
        os.sched_yield()
    process.kill()
    answer(status=process.wait().status, code=process.returncode)
""") == {"status": "killed", "code": 137}


def test_waiting(scripts: Scripts) -> None:
    assert scripts.answer("""
with jail.start(["/bin/cat"], stdin=PIPE) as process:
    first = [process.poll(), process.outcome, process.returncode, process.pidfd >= 0, process.pid > 0]
    try:
        process.wait(0.01)
    except jail.TimeoutExpired as error:
        expired = error.cmd
    process.stdin.close()
    has_ended(process.pidfd)
    ended = process.poll()
    same = ended is process.wait() is process.outcome
answer(first=first, expired=list(expired), same=same, status=ended.status, pidfd=process.pidfd)
""") == {
        "first": [None, None, None, True, True],
        "expired": ["/bin/cat"],
        "same": True,
        "status": "exited",
        "pidfd": -1,
    }


def test_many_threads_wait_for_one_jail(scripts: Scripts) -> None:
    assert scripts.answer("""
with jail.start(["/bin/cat"], stdin=PIPE) as process:
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(process.wait())) for _ in range(8)]
    for thread in threads: thread.start()
    process.stdin.close()
    for thread in threads: thread.join()
answer(number=len(seen), different=len({id(outcome) for outcome in seen}))
""") == {"number": 8, "different": 1}


def test_what_cannot_start(scripts: Scripts) -> None:
    found = scripts.answer("""
missing = jail.run(["/no/such/program"], stderr=DEVNULL)
refused = jail.run(["/etc/passwd"], stderr=DEVNULL)
with jail.start(["true"], jail=Jail().with_bind("/no/such/source", "/x"), stderr=DEVNULL) as process:
    errors = []
    for act in (process.wait, process.poll, process.communicate, lambda: process.outcome):
        try:
            act()
        except jail.LaunchError as error:
            errors.append([error.step, error.errno])
answer(status=[missing.returncode, refused.returncode], errors=errors)
""")
    assert found == {"status": [127, 126], "errors": [["source", 2]] * 4}


def test_a_block_that_fails_kills_the_jail(scripts: Scripts) -> None:
    assert scripts.answer("""
try:
    with jail.start(["/bin/sleep", "1000"]) as process:
        raise KeyError
except KeyError:
    answer(status=process.outcome.status)
""") == {"status": "killed"}


def test_a_process_that_nobody_keeps_is_killed(scripts: Scripts) -> None:
    found = scripts.answer("""
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    process = jail.start(["/bin/sleep", "1000"])
    pidfd = os.pidfd_open(process.pid)
    del process
answer(warned=[warning.category.__name__ for warning in caught], ended=has_ended(pidfd))
""")
    assert found == {"warned": ["ResourceWarning"], "ended": True}


@pytest.mark.slow
def test_a_thousand_runs_leave_nothing_in_the_caller(scripts: Scripts) -> None:
    found = scripts.answer("""
def size():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1])
def runs(number):
    for _ in range(number):
        assert jail.run(["/bin/echo", "x"], capture_output=True).ok
runs(100)
before = [len(os.listdir("/proc/self/fd")), threading.active_count()], size()
runs(1000)
after = [len(os.listdir("/proc/self/fd")), threading.active_count()], size()
answer(before=before[0], after=after[0], grown=after[1] - before[1])
""", timeout=170 * SLOWNESS)
    assert found["before"] == found["after"]
    assert found["grown"] < 1024  # KiB


def test_other_children_get_nothing_of_it(scripts: Scripts) -> None:
    """Neither the ends of its pipes nor what it is watched by."""
    assert scripts.answer("""
def inherited():
    numbers = map(int, os.listdir("/proc/self/fd"))
    return [n for n in numbers if os.path.exists(f"/proc/self/fd/{n}") and os.get_inheritable(n)]
before = inherited()
with jail.start(["/bin/cat"], stdin=PIPE, stdout=PIPE) as process:
    answer(same=inherited() == before, watched=os.get_inheritable(process.pidfd))
""") == {"same": True, "watched": False}
