"""A jail ends with the process that started it, however that ends, and with nothing less: not with a thread,
not with a forked child."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path

import pytest
from jailed.test_kill import ORPHANS
from support.processes import alive_after, descendants, hold
from support.scripts import Scripts

STARTED = """
words = ["/bin/sh", "-c", "setsid sleep 1000 & trap '' TERM; echo ready; sleep 1000"]
process = jail.start(words, jail=box, stdout=PIPE)
process.stdout.readline()
"""
ENDINGS = {
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "os._exit": "os._exit(0)",
    "end of the program": "",
    "sys.exit": "sys.exit(3)",
    "exception": "raise KeyError",
    "abort": "os.abort()",
    "exec": "os.execv('/bin/true', ['true'])",
    "inside a block": "with process: sys.exit(1)",
    "while waiting": "signal.alarm(1)\nprocess.wait()",
}


@pytest.mark.parametrize("ending", [*ENDINGS, "killed, with a relay"])
def test_the_jail_ends_with_its_caller(scripts: Scripts, ending: str) -> None:
    code = "box = Jail().with_limits(max_output='1G')\n" if "relay" in ending else "box = Jail()\n"
    code += STARTED + "print(process.pid, flush=True)\nsys.stdin.readline()\n"
    code += ENDINGS[ending.partition(",")[0]]
    caller, line = scripts.started(code)
    with caller:
        jailed = hold((int(line), *descendants(int(line))))
        assert len(jailed) >= 4  # the supervisor, init, the shell, its children
        assert caller.stdin is not None
        caller.stdin.write(b"go\n")
        caller.stdin.flush()
        caller.wait()
        assert alive_after(jailed, 20) == []


def test_a_forked_child_keeps_no_jail_alive(scripts: Scripts) -> None:
    """It has copies of all descriptors that its parent had."""
    code = "box = None\n" + STARTED + """
child = os.fork()
if child == 0:
    signal.pause()
print(child, process.pid, flush=True)
signal.pause()
"""
    caller, line = scripts.started(code)
    with caller:
        child, supervisor = map(int, line.split())
        held = os.pidfd_open(child)
        jailed = hold((supervisor, *descendants(supervisor)))
        assert len(jailed) >= 4
        caller.kill()
        caller.wait()
        assert alive_after(jailed, 20) == []
        signal.pidfd_send_signal(held, signal.SIGKILL)  # it was alive all the time
        assert alive_after([held], 20) == []


def test_a_forked_child_ends_no_jail(scripts: Scripts) -> None:
    """Neither by leaving the block, nor by its end, nor by collecting what it has copies of."""
    assert scripts.answer("""
with jail.start(["/bin/cat"], stdin=PIPE, stdout=PIPE) as process:
    for leave in ("block", "end"):
        child = os.fork()
        if child == 0:
            try:
                if leave == "block":
                    process.__exit__(None, None, None)
                try:
                    process.wait(0)
                except (ChildProcessError, jail.TimeoutExpired) as error:
                    os._exit(7)
            finally:
                os._exit(8)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    process.stdin.write(b"alive")
    process.stdin.close()
    out = process.stdout.read().decode()
answer(out=out, status=process.outcome.status, child=status)
""") == {"out": "alive", "status": "exited", "child": 7}


def test_a_child_starts_jails_of_its_own(scripts: Scripts) -> None:
    found = scripts.answer("""
import multiprocessing
def work(number):
    return jail.run(["/bin/echo", str(number)], capture_output=True, text=True).stdout
with jail.start(["/bin/cat"], stdin=PIPE) as process:
    context = multiprocessing.get_context("fork")
    with context.Pool(2) as pool:
        seen = pool.map(work, range(4))
    process.stdin.close()
answer(seen=seen, own=process.outcome.status)
""")
    assert found == {"seen": ["0\n", "1\n", "2\n", "3\n"], "own": "exited"}


def test_a_thread_that_ends_takes_no_jail_with_it(scripts: Scripts) -> None:
    assert scripts.answer("""
started = []
def work():
    started.append(jail.start(["/bin/sh", "-c", "echo ready; cat"], stdin=PIPE, stdout=PIPE))
    started[0].stdout.readline()
thread = threading.Thread(target=work)
thread.start()
thread.join()
while len(os.listdir("/proc/self/task")) > 1:
    pass  # the kernel has buried it
with started[0] as process:
    out = process.communicate(b"alive")[0].decode()
answer(out=out, status=process.outcome.status)
""") == {"out": "alive", "status": "exited"}


def test_jails_from_many_threads(scripts: Scripts) -> None:
    assert scripts.answer("""
from concurrent.futures import ThreadPoolExecutor
def work(number):
    return jail.run(["/bin/cat"], input=str(number).encode(), capture_output=True).stdout.decode()
with ThreadPoolExecutor(8) as pool:
    seen = list(pool.map(work, range(60)))
answer(right=seen == list(map(str, range(60))), descriptors=len(os.listdir("/proc/self/fd")))
""", timeout=170)["right"]


def test_an_interrupt_ends_the_jail_too(scripts: Scripts) -> None:
    assert scripts.answer("""
thread = threading.Thread(target=lambda: (reader.recv(1), os.kill(os.getpid(), signal.SIGINT)))
reader, writer = socket.socketpair()
os.dup2(writer.fileno(), 9)
thread.start()
try:
    jail.run(["/bin/sh", "-c", "trap '' INT TERM; echo >&9; sleep 1000"], jail=Jail(pass_fds=(9,)))
except KeyboardInterrupt:
    try:
        os.waitpid(-1, 0)
    except ChildProcessError:
        answer(gone=True)
""") == {"gone": True}


def watching(scripts: Scripts, *lines: str) -> bytes:
    """The plan of a payload that would not end, with more lines."""
    words = ["plan", "--pass-fd", "1000", "--", "/bin/sleep", "1000"]
    plan = scripts.launcher.run(*words).stdout
    return plan.replace(b"\nend\n", "".join(f"\n{line}" for line in lines).encode() + b"\nend\n")


def test_any_of_two_signs_ends_the_jail(scripts: Scripts, place: Path) -> None:
    """A pipe that is closed, or written to; a socket for requests that is closed."""
    for act in ("close", "write", "hang up"):
        ends = [os.pipe(), os.pipe()]
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        readers = [os.dup2(theirs.fileno(), 1001), os.dup2(ends[1][0], 1002)]
        theirs.close()
        passed = os.dup2(ends[0][0], 1000)
        (place / "plan").write_bytes(watching(scripts, "control-fd 1001", "life-fd 1002"))
        given = [passed, *readers]
        with scripts.launcher.popen(
            "run", str(place / "plan"), program=scripts.launcher.installation.jailer, pass_fds=given
        ) as jailer:
            os.close(1001)
            if act == "hang up":
                ours.close()
            else:
                os.close(ends[1][1]) if act == "close" else os.write(ends[1][1], b"x")
            assert jailer.wait() == 137
        ours.close()
        for number in {readers[1], passed, ends[0][0], ends[0][1], ends[1][0]}:
            os.close(number)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("life-fd 1003", b"cannot watch descriptor 1003: bad file descriptor"),
        ("life-fd 1000", b"cannot watch descriptor 1000: invalid argument"),
        ("control-fd 1000", b"cannot take requests from descriptor 1000: invalid argument"),
    ],
)
def test_signs_that_cannot_be_watched(scripts: Scripts, place: Path, line: str, words: bytes) -> None:
    (place / "plan").write_bytes(watching(scripts, line))
    passed = os.dup2(os.open(os.devnull, os.O_RDONLY), 1000)
    done = scripts.launcher.run(
        "run", str(place / "plan"), program=scripts.launcher.installation.jailer, pass_fds=[passed]
    )
    os.close(passed)
    assert done.returncode == 125
    assert words in done.stderr


@pytest.mark.slow
def test_sigkill_of_the_caller_at_any_moment_leaves_nothing(scripts: Scripts) -> None:
    """From Python's own start to the middle of many runs."""
    code = "while True: jail.run(['/bin/sh', '-c', 'setsid cat & cat'], stdin=0, stdout=DEVNULL)"
    words = [str(scripts.launcher.installation.python), *scripts.words(code)]
    done = scripts.launcher.run(
        "-I", "-S", "-c", ORPHANS.read_text(), "5", "400000", "40", "--", *words,
        program="/usr/bin/python3", timeout=170,
    )
    assert json.loads(done.stdout) == {"survived": [], "runs": 40}
