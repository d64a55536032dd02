"""Attacks on the audit of system calls: what is refused must stay refused in the same way, whoever floods,
dies, loads filters or goes after the listener. seccomp_unotify(2) has the traps."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from escape.test_kernel_surface import ABIS, CALLS, FOREIGN
from support.launcher import Completed, Launcher
from support.plans import command_of, make_plan, run_plan
from support.processes import alive_after, descendants, hold

from seccomp import Policy, Rule

ODD = {
    "no-number": "call(-1)",
    "beyond-31-bits": "call(2 ** 31)",
    "beyond-32-bits": "call(2 ** 40 + 101, 0, 0, 0, 0)",
    "allowed": "call(110) >= 0",
    "allowed-with-arguments": "call(41, 1, 1, 0) > 2",
    "refused-by-the-upper-half": "call(41, 2 ** 32 + 17, 3, 0)",
    "allowed-whatever-the-upper-half": "call(41, 2 ** 32 + 1, 1, 0) > 2",
}
TABLE = {**CALLS, **ODD}


@pytest.fixture(autouse=True)
def _x86(require: Callable[[str], None]) -> None:
    require("seccomp")
    if os.uname().machine != "x86_64":
        pytest.skip("the numbers of this file are x86-64's")


def every_call(pyjail: Launcher, place: Path, audit: str, *options: str) -> dict[str, str]:
    """What the calls of the table come to, each in a process of its own."""
    lines = "".join(f"found[{name!r}] = in_child(lambda: {code})\n" for name, code in TABLE.items())
    words = pyjail.words(f"found = {{}}\n{lines}answer(**found)")
    return run_plan(pyjail, place, command_of(words), audit=audit, options=options).answer


@pytest.mark.parametrize("audit", ["refused", "all"])
@pytest.mark.parametrize("options", [(), ("--strict",)])
def test_each_call_comes_to_the_same(
    pyjail: Launcher, place: Path, audit: str, options: tuple[str, ...]
) -> None:
    """But that who is killed by the policy dies of another signal."""
    without = every_call(pyjail, place, "", *options)
    assert "signal 31" in without.values()
    expected = {name: "signal 9" if got == "signal 31" else got for name, got in without.items()}
    assert every_call(pyjail, place, audit, *options) == expected


@pytest.mark.parametrize("abi", ABIS)
def test_another_abi_still_kills(jailed: Callable[..., Completed], abi: str) -> None:
    r = jailed(FOREIGN, ABIS[abi], options=["--audit"])
    assert r.outcome is not None
    if abi == "native":
        assert int(r.answer["got"]) > 1
    else:
        assert r.answer["got"] in ("signal 9", "signal 11")  # 11: a kernel without that ABI
    if r.answer["got"] == "signal 9":
        assert r.outcome["denied"] == {"i386": {"foreign_20": 1}, "x32": {"syscall_1073741863": 1}}[abi]


def test_the_payload_does_not_inherit_the_listener(jailed: Callable[..., Completed]) -> None:
    code = """
def descriptors():
    return [number for number in range(3, 1000) if attempt(os.fstat, number) == "ok"]
answer(own=descriptors(), child=in_child(descriptors))
"""
    found = jailed(code, options=["--audit"]).answer
    assert found == {"own": [], "child": "[4]"}  # in_child's own pipe


def test_init_gives_nothing_away(pyjail: Launcher, place: Path) -> None:
    """Whatever it has: not even under a policy that would let it be taken."""
    code = "answer(listed=attempt(os.listdir, '/proc/1/fd'), taken=call(438, call(434, 1, 0), 3, 0))"
    assert in_the_open(pyjail, place, code).answer == {"listed": "ENOENT", "taken": "EPERM"}


# A policy that lets a program do everything but trace: filters, namespaces, the descriptors of others.
OPEN = Policy((Rule(("ptrace",), "EPERM"),), default="allow")
FILTERS = """
class Program(ctypes.Structure):
    _fields_ = [("count", ctypes.c_ushort), ("code", ctypes.c_char_p)]
def load(result, flags=0):
    "A filter with one result for every call of ptrace and none for others."
    import struct
    code = struct.pack("<HBBIHBBI", 0x20, 0, 0, 0, 0x15, 0, 1, 101)
    code += struct.pack("<HBBIHBBI", 6, 0, 0, result, 6, 0, 0, 0x7fff0000)
    return call(317, 1, flags, Program(4, code))
NEW_LISTENER, ASK, ALLOW = 8, 0x7fc00000, 0x7fff0000
trace = lambda: call(101, 0, 0, 0, 0)
assert libc.prctl(38, 1, 0, 0, 0) == 0
"""


def in_the_open(pyjail: Launcher, place: Path, code: str, audit: str = "refused") -> Completed:
    words = pyjail.words(FILTERS + code)
    return run_plan(pyjail, place, command_of(words), policy=OPEN, audit=audit)


@pytest.mark.parametrize("audit", ["refused", "all"])
def test_there_is_no_listener_besides_ours(pyjail: Launcher, place: Path, audit: str) -> None:
    """It would be asked first, and could let go on what we refuse."""
    code = "answer(made=load(ASK, NEW_LISTENER), got=trace())"
    found = in_the_open(pyjail, place, code, audit)
    assert found.answer == {"made": "EBUSY", "got": "EPERM"}
    assert found.outcome is not None
    assert found.outcome["denied"] == {"seccomp": 1, "ptrace": 1}
    assert isinstance(in_the_open(pyjail, place, code.replace("trace()", "0"), "").answer["made"], int)


def test_a_filter_of_the_payloads_own_takes_away_only(pyjail: Launcher, place: Path) -> None:
    """One that allows changes nothing; one that asks nobody makes the call fail in another way."""
    found = in_the_open(pyjail, place, "answer(loaded=load(ALLOW), got=trace())")
    assert found.answer == {"loaded": 0, "got": "EPERM"}
    found = in_the_open(pyjail, place, "answer(loaded=load(ASK), got=trace())")
    assert found.answer == {"loaded": 0, "got": "ENOSYS"}


LISTEN = """
import threading
marker = sys.argv[1]
print("ready", flush=True)
while True:
    if isinstance(load(ASK, NEW_LISTENER), int):
        open(marker, "w").close()
"""


def test_no_listener_even_when_the_supervisor_dies(pyjail: Launcher, place: Path) -> None:
    """Between the end of its listener and the end of the jail there is a moment with no listener at all."""
    words = pyjail.words(FILTERS + LISTEN, "/data/marker")
    options = ("--bind", f"{place}:/data")
    plan = make_plan(pyjail, place, command_of(words), audit="refused", policy=OPEN, options=options)
    for _ in range(20):
        with pyjail.popen("run", plan, program=pyjail.installation.jailer, stdout=subprocess.PIPE) as run:
            assert run.stdout is not None
            assert run.stdout.readline() == b"ready\n"
            held = hold(descendants(run.pid))
            run.kill()
        assert alive_after(held, 10) == []
        assert not (place / "marker").exists()


FLOOD = """
import signal, threading
def flood():
    while True:
        call(101, 0, 0, 0, 0)
"""


def test_callers_that_are_killed_while_they_wait(jailed: Callable[..., Completed]) -> None:
    """Each at another moment of its call: the supervisor neither hangs nor answers another's."""
    code = """
reader, writer = os.pipe()
for n in range(200):
    child = os.fork()
    if child == 0:
        call(101, 0, 0, 0, 0)
        os.write(writer, b"x")
        flood()
    os.read(reader, 1)
    for _ in range(n * 20):
        pass
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == 9
answer(got=call(101, 0, 0, 0, 0))
"""
    r = jailed(FLOOD + code, options=["--audit"])
    assert r.answer["got"] == "EPERM"
    assert r.returncode == 0
    assert r.outcome is not None
    assert r.outcome["denied"]["ptrace"] > 200


def test_threads_that_end_in_the_middle_of_a_call(jailed: Callable[..., Completed]) -> None:
    """exit_group and execve kill all threads but one."""
    code = """
for end in (lambda: os._exit(7), lambda: os.execv("/bin/sh", ["sh", "-c", "exit 7"])):
    for _ in range(10):
        child = os.fork()
        if child == 0:
            for _ in range(6):
                threading.Thread(target=flood, daemon=True).start()
            call(101, 0, 0, 0, 0)
            end()
        assert os.waitpid(child, 0)[1] == 7 << 8
answer(got=call(101, 0, 0, 0, 0))
"""
    assert jailed(FLOOD + code, options=["--audit"]).answer["got"] == "EPERM"


def test_signals_do_not_get_a_refused_call_through(jailed: Callable[..., Completed]) -> None:
    """They interrupt it before it is heard; then it is made again, or fails."""
    code = """
signal.signal(signal.SIGALRM, lambda *_: None)
signal.siginterrupt(signal.SIGALRM, False)
signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
answer(got=sorted({call(101, 0, 0, 0, 0) for _ in range(3000)}))
"""
    found = jailed(FLOOD + code, options=["--audit"]).answer["got"]
    assert "EPERM" in found
    assert set(found) <= {"EPERM", "EINTR"}


def test_signals_may_only_put_off_the_policys_kill(jailed: Callable[..., Completed]) -> None:
    """A call that a signal interrupts before it is heard fails; one that is heard is the end."""
    code = """
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
while True:
    got = call(101, 0, 0, 0, 0)
    if got != "EINTR":
        answer(got=got)
"""
    r = jailed(FLOOD + code, options=["--audit", "--strict", "--timeout", "60"])
    assert (r.returncode, r.stdout) == (128 + signal.SIGSYS, b"")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_end_comes_in_a_flood_of_threads(pyjail: Launcher, number: int) -> None:
    """Whoever ends the supervisor ends the jail, whatever waits for an answer."""
    code = (
        FLOOD
        + """
for _ in range(50):
    threading.Thread(target=flood).start()
print("ready", flush=True)
"""
    )
    words = pyjail.words(code, options=["--audit", "--grace", "1s"])
    with pyjail.popen(*words, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"ready\n"
        held = hold(descendants(run.pid))
        assert len(held) >= 2
        run.send_signal(number)
        run.wait()
    assert alive_after(held, 10) == []


DEFIANT = """
import signal, threading
def defy():
    for n in range(1, 65):
        try: signal.signal(n, signal.SIG_IGN)
        except (OSError, ValueError): pass
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
    threads = [threading.Thread(target=last) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
def last():
    call(101, 0, 0, 0, 0)
    os.write(1, b"survived")
found = []
for _ in range(20):
    if os.fork() == 0:
        os.setsid()
        defy()
        os._exit(0)
for _ in range(20):
    found.append(os.wait()[1])
answer(found=found)
"""


def test_nobody_survives_the_policys_kill(jailed: Callable[..., Completed]) -> None:
    """Many at once, with every signal ignored and blocked, from threads, in sessions of their own."""
    r = jailed(DEFIANT, options=["--audit", "--strict"])
    assert b"survived" not in r.stdout
    assert r.answer["found"] == [9] * 20
    assert r.outcome is not None
    assert r.outcome["denied"]["ptrace"] >= 20


def test_made_up_calls_do_not_push_out_the_others(jailed: Callable[..., Completed]) -> None:
    code = """
for n in range(2000):
    call(1000 + n, n)
for n in range(500):
    call(41, n + 100, n, n)
    call(101, n + 100, 0, 0, 0)
answer(got=[call(165, 0, 0, 0, 0, 0), call(310)])
"""
    r = jailed(code, options=["--audit"])
    assert r.answer["got"] == ["EPERM", "EPERM"]
    assert r.outcome is not None
    denied = r.outcome["denied"]
    names = ("socket", "ptrace", "mount", "process_vm_readv")
    assert [denied[name] for name in names] == [500, 500, 1, 1]
    assert r.outcome["calls_lost"] == 2000 - 64
    assert r.outcome["peak_memory_bytes"] is None or r.outcome["peak_memory_bytes"] < 64 << 20
