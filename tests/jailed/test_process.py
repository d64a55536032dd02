"""`jail.run` and `jail.start`: streams, signals, waiting, limits of what is captured."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.scripts import Scripts


def test_output_is_captured_apart_and_together(scripts: Scripts) -> None:
    assert scripts.answer("""
words = ["/bin/sh", "-c", "echo out; echo err >&2; exit 3"]
apart = jail.run(words, capture_output=True)
one = jail.run(words, stdout=PIPE, stderr=STDOUT, text=True)
none = jail.run(words, stdout=DEVNULL, stderr=DEVNULL)
answer(apart=[apart.stdout.decode(), apart.stderr.decode(), apart.status, apart.exit_code, apart.returncode],
       one=[one.stdout, one.stderr], none=[none.stdout, none.stderr])
""") == {"apart": ["out\n", "err\n", "exited", 3, 3], "one": ["out\nerr\n", None], "none": [None, None]}


def test_streams_may_be_files_sockets_and_descriptors(scripts: Scripts, place: Path) -> None:
    found = scripts.answer("""
ours, theirs = socket.socketpair()
name = sys.argv[1] + "/out"
with open("/etc/hostname", "rb") as source, open(name, "wb") as out:
    done = jail.run(["/bin/sh", "-c", "cat; echo err >&2; echo more >&0"],
                    stdin=theirs, stdout=out.fileno(), stderr=theirs) if ours.send(b"in\\n") and not \
        ours.shutdown(socket.SHUT_WR) else None
theirs.close()
answer(out=open(name).read(), socket=ours.recv(99).decode(), status=done.returncode)
""", str(place))
    assert found == {"out": "in\n", "socket": "err\nmore\n", "status": 0}


def test_any_descriptor_may_be_any_stream(scripts: Scripts, place: Path) -> None:
    """Descriptors that are low numbers themselves, crossed over, are not mixed up."""
    found = scripts.answer("""
reader, writer = os.pipe()
os.write(writer, b"in")
os.close(writer)
saved = os.dup(1)
out, err = (os.open(sys.argv[1] + "/" + name, os.O_RDWR | os.O_CREAT, 0o600) for name in ("out", "err"))
os.dup2(out, 0), os.dup2(reader, 1), os.dup2(err, 3)
done = jail.run(["/bin/sh", "-c", "cat; echo err >&2"], stdin=1, stdout=0, stderr=3,
                jail=Jail(pass_fds=(5, 900)) if not (os.dup2(2, 5) and os.dup2(2, 900)) else Jail())
os.dup2(saved, 1)
read = lambda name: open(sys.argv[1] + "/" + name).read()
answer(out=read("out"), err=read("err"), status=done.returncode)
""", str(place))
    assert found == {"out": "in", "err": "err\n", "status": 0}


def test_a_closed_stdout_is_never_a_descriptor_of_ours(scripts: Scripts) -> None:
    """What we open gets the numbers of what the caller closed; the jail must not find it as its stderr."""
    assert scripts.answer("""
os.dup2(1, 90)
os.close(0), os.close(1)
try:
    found = jail.run(["/bin/sh", "-c", "echo '{}' >&2; exit 3"], stderr=STDOUT)
except jail.SpecError as error:
    found = str(error)
os.dup2(90, 1)
answer(found=str(found))
""") == {"found": "stdout: descriptor 1: Bad file descriptor"}


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


def test_a_caller_without_standard_streams(scripts: Scripts, place: Path) -> None:
    found = scripts.answer("""
saved = os.dup2(1, 90)
os.close(0), os.close(1), os.close(2)
done = jail.run(["/bin/sh", "-c", "echo out; echo err >&2"], stdout=PIPE, stderr=PIPE, text=True)
os.dup2(90, 1)
answer(found=[done.stdout, done.stderr, done.returncode])
""")
    assert found == {"found": ["out\n", "err\n", 0]}


def test_much_goes_both_ways_at_once(scripts: Scripts) -> None:
    """More than pipes hold, in and out: neither side waits for the other."""
    assert scripts.answer("""
data = os.urandom(1 << 20) * 5
done = jail.run(["/bin/cat"], input=data, capture_output=True)
answer(same=done.stdout == data, status=done.status, err=done.stderr.decode())
""") == {"same": True, "status": "exited", "err": ""}


def test_input_that_nobody_reads_is_no_error(scripts: Scripts) -> None:
    assert scripts.answer("""
answer(status=jail.run(["/bin/true"], input=bytes(1 << 20)).status)
""") == {"status": "exited"}


def test_text_is_text(scripts: Scripts) -> None:
    assert scripts.answer("""
words = ["/bin/sh", "-c", "cat; printf '\\\\377\\\\r\\\\n'"]
done = jail.run(words, input="ü", capture_output=True, text=True)
with jail.start(["/bin/cat"], stdin=PIPE, stdout=PIPE, text=True) as process:
    process.stdin.write("one\\n")
    process.stdin.flush()
    line = process.stdout.readline()
answer(out=done.stdout, line=line, ended=process.outcome.status)
""") == {"out": "ü�\n", "line": "one\n", "ended": "exited"}


def test_more_output_than_allowed_ends_the_jail(scripts: Scripts) -> None:
    found = scripts.answer("""
results = []
for words, most in ((["/bin/sh", "-c", "yes >&2"], 1000), (["/bin/sh", "-c", "yes"], 100_000),
                    (["/bin/echo", "1234"], 5), (["/bin/echo", "12345"], 5)):
    done = jail.run(words, capture_output=True, max_output=most)
    results.append([done.status, done.ok, len(done.stdout), len(done.stderr)])
try:
    jail.run(["yes"], capture_output=True, max_output=9, check=True)
except jail.PayloadFailed as error:
    answer(results=results, error=str(error), kept=error.outcome.stdout.decode())
""")
    assert found["results"] == [
        ["output-exceeded", False, 0, 1000],
        ["output-exceeded", False, 100_000, 0],
        ["exited", True, 5, 0],
        ["output-exceeded", False, 5, 0],
    ]
    assert "put out too much" in found["error"]
    assert found["kept"] == "y\ny\ny\ny\ny"


def test_limits_of_the_jail_on_its_output(scripts: Scripts) -> None:
    """Held by the supervisor, which then stands between the jail and the caller's pipes."""
    assert scripts.answer("""
box = Jail().with_limits(max_output=100)
much = jail.run(["/usr/bin/yes"], jail=box, capture_output=True)
box = Jail().with_limits(idle_timeout="300ms", grace=0)
idle = jail.run(["/bin/sh", "-c", "echo x; sleep 1000"], jail=box, capture_output=True)
data = os.urandom(1 << 20)
fits = jail.run(["/bin/cat"], jail=Jail().with_limits(max_output="1M"), input=data, capture_output=True)
with jail.start(["/usr/bin/yes"], jail=Jail().with_limits(max_output="1G"), stdout=PIPE) as process:
    process.stdout.read(10)
    process.kill()
    process.wait()  # or the pipe, when it is closed, may be faster
answer(much=[much.status, len(much.stdout)], idle=[idle.status, idle.stdout.decode()],
       fits=[fits.status, fits.stdout == data], killed=process.outcome.status)
""") == {
        "much": ["output-exceeded", 100],
        "idle": ["idle-timed-out", "x\n"],
        "fits": ["exited", True],
        "killed": "killed",
    }


def test_a_timeout_kills_and_tells_what_was_read(scripts: Scripts) -> None:
    assert scripts.answer("""
try:
    jail.run(["/bin/sh", "-c", "trap '' TERM; echo begun; while :; do sleep 1000; done"], capture_output=True,
             timeout=2, text=True)
except jail.TimeoutExpired as error:
    answer(output=error.output, err=error.stderr, timeout=error.timeout, children=os.waitpid.__name__)
    try:
        os.waitpid(-1, 0)
    except ChildProcessError:
        answer(output=error.output, timeout=error.timeout, reaped=True)
""") == {"output": "begun\n", "timeout": 2, "reaped": True}


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
code = '''import os, signal, sys
for name in ("SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGQUIT"):
    signal.signal(getattr(signal, name), lambda number, frame: os.write(1, b"%d\\\\n" % number))
os.write(1, b"ready\\\\n")
while True: signal.pause()
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


def test_only_what_is_passed_is_open_inside(scripts: Scripts) -> None:
    """Nothing of the caller's, inheritable or not, and none of the descriptors that the supervisor has."""
    found = scripts.answer("""
stray = os.open("/", os.O_RDONLY)
os.set_inheritable(stray, True)
passed = os.dup2(os.open("/dev/null", os.O_RDONLY), 9)
code = "import os; print(sorted(map(int, os.listdir('/proc/self/fd'))))"
box = Jail(pass_fds=(passed,))
done = jail.run(["/usr/bin/python3", "-ISc", code], capture_output=True, text=True, jail=box)
answer(open=json.loads(done.stdout))
""")
    assert found["open"] == [0, 1, 2, 3, 9]  # 3 is the listing itself


def test_descriptors_get_the_numbers_that_are_asked_for(scripts: Scripts) -> None:
    """Whatever has these numbers in the caller, and from several threads at once."""
    assert scripts.answer("""
import concurrent.futures
def ask(number):
    (read, write), (theirs, ours) = os.pipe(), os.pipe()
    words = ["/bin/sh", "-c", "cat <&3 >&8; ls /proc/self/fd >&8"]
    with os.fdopen(read) as answers, os.fdopen(ours, "w") as question:
        with jail.start(words, descriptors={3: theirs, 8: write}):
            os.close(write), os.close(theirs)
            print(number, file=question, flush=True)
            question.close()
            return answers.read().split()
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    found = list(pool.map(ask, range(20)))
answer(right=[words[0] == str(n) for n, words in enumerate(found)], open=found[0][1:])
""") == {"right": [True] * 20, "open": ["0", "1", "2", "3", "4", "8"]}


def test_output_that_left_the_jail_keeps_nobody_waiting(scripts: Scripts) -> None:
    """The command gives its stdout to somebody outside, who keeps it open: the end of the jail is the end."""
    assert scripts.answer("""
ours, theirs = socket.socketpair()
os.dup2(theirs.fileno(), 50)
code = '''import socket, array
with socket.socket(fileno=50) as way:
    socket.send_fds(way, [b"x"], [1, 2])
print("printed", flush=True)
'''
done = jail.run(["/usr/bin/python3", "-c", code], capture_output=True, text=True, jail=Jail(pass_fds=(50,)))
kept = socket.recv_fds(ours, 10, 2)[1]
answer(out=done.stdout, err=done.stderr, status=done.returncode, kept=len(kept))
""") == {"out": "printed\n", "err": "", "status": 0, "kept": 2}


def test_a_caller_without_descriptors_left_loses_none(scripts: Scripts) -> None:
    """Whichever of the descriptors of a start is one too many, the others are closed again."""
    assert scripts.answer("""
import errno, resource
jail.run(["/bin/true"], capture_output=True)  # all is imported
before = os.listdir("/proc/self/fd")
errors, runs = set(), 0
for more in range(24):
    resource.setrlimit(resource.RLIMIT_NOFILE, (3 + more, 4096))
    try:
        runs += jail.run(["/bin/true"], input=b"x", capture_output=True).ok
    except OSError as error:
        errors.add(error.errno)
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 4096))
runs += jail.run(["/bin/true"]).ok  # by a serving jailer again
after = os.listdir("/proc/self/fd")
known = {errno.EMFILE, errno.EINVAL}  # the second where F_DUPFD may not go as high
answer(same=len(before) == len(after), errors=bool(errors) and errors <= known, some=1 < runs < 25)
""") == {"same": True, "errors": True, "some": True}


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
""", timeout=170)
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
