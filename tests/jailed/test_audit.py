"""`--audit`: refused system calls are named and counted, exactly, and nothing else changes."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from jailed.patience import SLOWNESS
from support.launcher import Completed, Launcher
from support.plans import run_plan

from seccomp import Policy, Rule

PTRACE, SOCKET, PERSONALITY = 101, 41, 135  # x86-64


@pytest.fixture(autouse=True)
def _x86(require: Any) -> None:
    require("seccomp")
    if os.uname().machine != "x86_64":
        pytest.skip("the numbers of this file are x86-64's")


def audited(pyjail: Launcher, code: str, *arguments: str, options: tuple[str, ...] = ()) -> Completed:
    return pyjail.python(code, *arguments, options=["--audit", *options])


def denied(r: Completed) -> dict[str, int]:
    assert r.outcome is not None, r.stderr
    found: dict[str, int] = r.outcome["denied"]
    return found


def full_audit(pyjail: Launcher, place: Path, *command: str) -> dict[str, Any]:
    """Run with every call heard; the outcome."""
    r = run_plan(pyjail, place, command, audit="all")
    assert r.outcome is not None
    return r.outcome


def test_each_refused_call_is_counted(pyjail: Launcher) -> None:
    r = audited(
        pyjail,
        "answer(got=[call(101, 16, 0, 0, 0), call(101, 16, 0, 0, 0), call(101, 0, 0, 0, 0),"
        "            call(41, 17, 3, 0), call(135, 0x0040000), call(1000, 1, 2)])",
    )
    assert r.answer["got"] == ["EPERM"] * 5 + ["ENOSYS"]
    assert denied(r) == {"ptrace": 3, "socket": 1, "personality": 1, "syscall_1000": 1}
    assert r.outcome is not None
    none = [None] * 3
    assert r.outcome["calls"] == [
        _call("ptrace", PTRACE, [16, None, None, *none], 1, 2),
        _call("ptrace", PTRACE, [0, None, None, *none], 1, 1),
        _call("socket", SOCKET, [17, 3, 0, *none], 1, 1),
        _call("personality", PERSONALITY, [0x0040000, None, None, *none], 1, 1),
        _call("syscall_1000", 1000, None, 38, 1),
    ]
    assert r.outcome["calls_lost"] == 0


def _call(name: str, number: int, args: list[int | None] | None, errno: int, count: int) -> dict[str, Any]:
    return {"name": name, "number": number, "args": args, "action": "errno", "errno": errno, "count": count}


def test_without_an_audit_nothing_is_said_of_calls(pyjail: Launcher) -> None:
    r = pyjail.python("answer(got=call(101, 0, 0, 0, 0))")
    assert r.answer["got"] == "EPERM"
    assert r.outcome is not None
    assert (r.outcome["denied"], r.outcome["calls"], r.outcome["calls_lost"]) == (None, None, None)


def test_a_run_without_refusals_has_none(pyjail: Launcher) -> None:
    r = pyjail.run("run", "--audit", "--", "/bin/true")
    assert r.returncode == 0
    assert r.outcome is not None
    assert (r.outcome["denied"], r.outcome["calls"], r.outcome["calls_lost"]) == ({}, [], 0)
    assert r.stderr == b""


THREADS = """
import threading
def refuse():
    for _ in range(50):
        assert call(101, 0, 0, 0, 0) == "EPERM"
threads = [threading.Thread(target=refuse) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
for _ in range(4):
    if os.fork() == 0:
        if os.fork() == 0:
            refuse()
            os._exit(0)
        os.wait()
        refuse()
        os._exit(0)
while True:
    try:
        assert os.wait()[1] == 0
    except ChildProcessError:
        break
"""


def test_threads_and_forks_count_too(pyjail: Launcher) -> None:
    r = audited(pyjail, THREADS)
    assert r.returncode == 0, r.stderr
    assert denied(r)["ptrace"] == 50 * (8 + 4 + 4)


def test_a_c_program_is_counted_as_well(pyjail: Launcher) -> None:
    """unshare(1) asks for a user namespace once, and says what the policy answered."""
    r = pyjail.run("run", "--audit", "--", "/usr/bin/unshare", "--user", "/bin/true")
    assert r.returncode == 1
    assert b"Operation not permitted" in r.stderr
    assert denied(r) == {"unshare": 1}
    assert r.outcome is not None
    assert r.outcome["calls"][0]["args"][0] == 0x10000000


KILLS = {
    "itself": "call(101, 0, 0, 0, 0)",
    "thread": "import threading\n"
    "t = threading.Thread(target=call, args=(101, 0, 0, 0, 0)); t.start(); t.join()",
    "of many": "import threading\n"
    "busy = lambda: [call(39) for _ in iter(int, 1)]\n"
    "for _ in range(8): threading.Thread(target=busy, daemon=True).start()\n"
    "call(101, 0, 0, 0, 0)",
}


@pytest.mark.parametrize("code", KILLS.values(), ids=KILLS)
def test_strict_kills_as_it_does_without(pyjail: Launcher, code: str) -> None:
    for audit in ([], ["--audit"]):
        r = pyjail.python(f"{code}\nprint('survived')", options=["--strict", *audit])
        assert r.stdout == b""
        assert r.returncode == 128 + signal.SIGSYS
        assert r.outcome is not None
        assert (r.outcome["status"], r.outcome["signal"]) == ("signaled", signal.SIGSYS)
    assert denied(r)["ptrace"] == 1
    assert [call["action"] for call in r.outcome["calls"] if call["name"] == "ptrace"] == ["kill"]


def test_strict_kills_the_process_that_asked_and_no_other(pyjail: Launcher) -> None:
    r = audited(pyjail, "answer(got=in_child(call, 101, 0, 0, 0, 0))", options=("--strict",))
    assert r.answer["got"] == "signal 9"
    assert r.returncode == 0
    assert denied(r)["ptrace"] == 1


def test_a_payload_that_kills_itself_is_not_the_policys(pyjail: Launcher) -> None:
    code = "in_child(call, 101, 0, 0, 0, 0)\nos.kill(os.getpid(), 9)"
    r = audited(pyjail, code, options=("--strict",))
    assert r.outcome is not None
    assert (r.returncode, r.outcome["signal"]) == (137, signal.SIGKILL)


FLOOD = "print('flood', flush=True)\nwhile True: call(101, 0, 0, 0, 0)"


def test_a_flood_of_refused_calls_ends_at_its_timeout(pyjail: Launcher) -> None:
    r = audited(pyjail, FLOOD, options=("--timeout", str(SLOWNESS)))
    assert r.outcome is not None
    assert (r.returncode, r.outcome["status"]) == (124, "timed-out")
    assert denied(r)["ptrace"] > 100


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_flood_does_not_keep_signals_away(pyjail: Launcher, number: int) -> None:
    words = pyjail.words(FLOOD, options=["--audit"])
    with pyjail.popen(*words, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"flood\n"
        process.send_signal(number)
        assert process.wait() in (128 + number, 1 if number == signal.SIGINT else 128 + number)


def test_the_line_on_a_terminal(pyjail: Launcher) -> None:
    code = "call(101, 0, 0, 0, 0); call(101, 0, 0, 0, 0); call(165, 0, 0, 0, 0, 0)"
    assert _on_terminal(pyjail, pyjail.words(code, options=["--audit"])) == (
        "pyjail: refused: ptrace ×2, mount ×1 (policy default)\r\n"
    )
    assert _on_terminal(pyjail, pyjail.words("pass", options=["--audit"])) == ""
    assert _on_terminal(pyjail, pyjail.words(code)) == ""


def test_many_names_on_a_terminal_are_cut(pyjail: Launcher) -> None:
    words = pyjail.words("[call(n, 0, 0, 0) for n in range(1000, 1012)]", options=["--audit"])
    said = _on_terminal(pyjail, words)
    assert said.startswith("pyjail: refused: syscall_1000 ×1, syscall_1001 ×1")
    assert said.endswith("syscall_1007 ×1 and 4 more (policy default)\r\n")


def test_elsewhere_there_is_no_line(pyjail: Launcher) -> None:
    assert audited(pyjail, "call(101, 0, 0, 0, 0)").stderr == b""


def _on_terminal(pyjail: Launcher, words: list[str]) -> str:
    """What shows up on a terminal that is the run's stderr alone."""
    master, slave = pty.openpty()
    os.fchown(slave, pyjail.user.uid, -1)
    with pyjail.popen(*words, stderr=slave) as process:
        os.close(slave)
        process.wait()
    said = b""
    while select.select([master], [], [], 0)[0]:
        try:
            piece = os.read(master, 65536)
        except OSError:  # EIO: nobody has the other end any more
            break
        said += piece
    os.close(master)
    return said.decode()


def test_a_full_audit_hears_what_is_allowed(pyjail: Launcher, place: Path) -> None:
    outcome = full_audit(pyjail, place, "/usr/bin/python3", "-I", "-S", "-c", "import os; os.umask(0o27)")
    assert outcome["status"] == "exited"
    assert outcome["exit_code"] == 0
    allowed = {call["name"] for call in outcome["calls"] if call["action"] == "allow"}
    assert {"execve", "read", "mmap", "openat", "umask", "exit_group"} <= allowed
    assert [call["args"][0] for call in outcome["calls"] if call["name"] == "umask"] == [0o27]
    assert outcome["denied"] == {}
    assert outcome["calls_lost"] == 0


def test_behind_the_filter_the_jailer_makes_two_calls(pyjail: Launcher, place: Path) -> None:
    """A policy has to allow these, so there must not be others."""
    calls = full_audit(pyjail, place, "/bin/true")["calls"]
    assert [call["name"] for call in calls][:2] == ["read", "execve"]


def test_a_full_audit_refuses_what_is_refused(pyjail: Launcher, place: Path) -> None:
    code = "import ctypes; libc = ctypes.CDLL(None); exit(libc.ptrace(0, 0, 0, 0) != -1)"
    outcome = full_audit(pyjail, place, "/usr/bin/python3", "-I", "-c", code)
    assert outcome["exit_code"] == 0
    assert outcome["denied"]["ptrace"] == 1


def test_a_full_audit_of_processes_and_threads(pyjail: Launcher, place: Path) -> None:
    code = (
        "import os, threading\n"
        "ts = [threading.Thread(target=lambda: [os.getpgid(0) for _ in range(20)]) for _ in range(5)]\n"
        "[t.start() for t in ts]; [t.join() for t in ts]\n"
        "for _ in range(5):\n"
        "    if os.fork() == 0: [os.getpgid(0) for _ in range(20)]; os._exit(0)\n"
        "[os.wait() for _ in range(5)]\n"
    )
    outcome = full_audit(pyjail, place, "/usr/bin/python3", "-I", "-c", code)
    assert outcome["exit_code"] == 0
    assert sum(call["count"] for call in outcome["calls"] if call["name"] == "getpgid") == 200


def test_too_many_arguments_become_one_record(pyjail: Launcher) -> None:
    r = audited(pyjail, "for n in range(100): call(101, n + 1000, 0, 0, 0)")
    assert denied(r) == {"ptrace": 100}
    assert r.outcome is not None
    counts = [(call["args"] is None, call["count"]) for call in r.outcome["calls"]]
    assert counts == [(False, 1)] * 32 + [(True, 68)]
    assert r.outcome["calls_lost"] == 0


def test_made_up_numbers_are_counted_as_lost_in_the_end(pyjail: Launcher) -> None:
    r = audited(pyjail, "for n in range(200): call(5000 + n)\ncall(101, 0, 0, 0, 0)")
    assert r.outcome is not None
    assert r.outcome["calls_lost"] == 200 - 64
    assert len(denied(r)) == 64 + 1
    assert denied(r)["ptrace"] == 1


def test_an_outcome_longer_than_any_buffer(pyjail: Launcher) -> None:
    """Hundreds of records, each kept: the line is written while it grows."""
    code = "for n in (41, 53, 101, 135, 272): [call(n, 99 + a, 99, 99) for a in range(32)]"
    r = audited(pyjail, code + "\nfor n in range(340, 420): call(n)")
    assert r.outcome is not None
    assert len(json.dumps(r.outcome)) > 20_000
    assert [call["count"] for call in r.outcome["calls"]] == [1] * (5 * 32 + 80)
    assert sorted(denied(r).values()) == [1] * 80 + [32] * 5
    assert r.outcome["error"] is None


def test_an_audit_needs_a_policy(pyjail: Launcher) -> None:
    r = pyjail.run("run", "--audit", "--seccomp", "off", "--", "/bin/true")
    assert r.returncode == 125
    assert b"audit" in r.stderr


@pytest.mark.parametrize("action", ["trap", "kill-thread"])
def test_what_only_the_kernel_can_do_cannot_be_audited(pyjail: Launcher, place: Path, action: str) -> None:
    policy = Policy((Rule(("ptrace",), action),), default="allow")
    assert run_plan(pyjail, place, ["/bin/true"], policy=policy).returncode == 0
    r = run_plan(pyjail, place, ["/bin/true"], policy=policy, audit="refused")
    assert r.returncode == 125
    assert b"cannot audit the system calls of 'test'" in r.stderr
    assert b"leave out the audit" in r.stderr


def test_an_audited_jail_with_one_process(pyjail: Launcher) -> None:
    """What hands the listener over is gone before the payload counts."""
    r = audited(
        pyjail,
        "answer(got=[attempt(os.fork), call(101, 0, 0, 0, 0)])",
        options=("--pids", "1"),
    )
    assert r.answer["got"] == ["EAGAIN", "EPERM"]
    assert denied(r) == {"ptrace": 1}


def test_the_helper_is_no_child_of_the_payload(pyjail: Launcher) -> None:
    r = audited(pyjail, "answer(got=attempt(os.wait), seen=[n for n in os.listdir('/proc') if n.isdigit()])")
    assert r.answer["got"] == "ECHILD"
    assert len(r.answer["seen"]) == 1


def test_a_compiled_jail_is_audited(pyjail: Launcher, place: Path) -> None:
    file = place / "jailed"
    made = pyjail.run(
        "compile", "-o", str(file), "--audit", "--outcome", str(place / "o"), "--",
        "/usr/bin/unshare", "--user", "/bin/true",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert pyjail.run(program=file).returncode == 1
    assert json.loads((place / "o").read_text())["denied"] == {"unshare": 1}


def test_a_command_that_is_not_there(pyjail: Launcher) -> None:
    r = pyjail.run("run", "--audit", "--", "/nowhere")
    assert r.returncode == 127
    assert r.outcome is not None
    assert r.outcome["error"]["step"] == "exec"
