"""Audits on older kernels, within jails, beside other listeners; policies that refuse calls of ours."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from jailed.test_audit import THREADS, denied
from support.launcher import Launcher
from support.plans import command_of, make_plan, run_plan

from seccomp import Policy, Rule


@pytest.fixture(autouse=True)
def _x86(require: Callable[[str], None]) -> None:
    require("seccomp")
    if os.uname().machine != "x86_64":
        pytest.skip("the numbers of this file are x86-64's")


STORM = """
import signal
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
answer(got=sorted({str(call(101, 0, 0, 0, 0)) for _ in range(2000)}))
"""


@pytest.mark.parametrize("lacks", ["", "wait_killable_recv"])
def test_kernels_that_interrupt_a_call_in_hand(
    pyjail: Launcher, faulty: Path, place: Path, lacks: str
) -> None:
    """Before Linux 5.19 a signal may; the call is refused all the same."""
    env = {"PYJAIL_FAULT_LACKS": lacks}
    command = command_of(pyjail.words(STORM))
    r = run_plan(pyjail, place, command, audit="refused", program=faulty, env=env)
    assert set(r.answer["got"]) <= {"EPERM", "EINTR"}
    assert "EPERM" in r.answer["got"]
    command = command_of(pyjail.words(THREADS))
    r = run_plan(pyjail, place, command, audit="refused", program=faulty, env=env)
    assert denied(r)["ptrace"] == 50 * (8 + 4 + 4)


WHERE = ("/usr/bin/python3", "-I", "-c")
LISTEN_AND_RUN = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
class Program(ctypes.Structure):
    _fields_ = [("count", ctypes.c_ushort), ("code", ctypes.c_char_p)]
allow = bytes.fromhex("060000000000ff7f")
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.syscall(317, 1, 8, ctypes.byref(Program(1, allow))) >= 0
child = os.fork()
if child == 0:
    os.execv(sys.argv[1], sys.argv[1:])
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize("audit", [(), ("--audit",)])
def test_where_somebody_listens_already(pyjail: Launcher, audit: tuple[str, ...]) -> None:
    """As around us a container's runtime may, or another audit."""
    words = [*WHERE, LISTEN_AND_RUN, str(pyjail.installation.pyjail), "run", *audit, "--", "/bin/true"]
    r = pyjail.run(*words[1:], program=words[0])
    if not audit:
        assert (r.returncode, r.stderr) == (0, b"")
        return
    assert r.returncode == 125
    assert b"cannot load the seccomp filter: " in r.stderr
    assert b"EBUSY" in r.stderr
    assert b"leave out the audit on the inside" in r.stderr


@pytest.mark.parametrize("outer", ["", "refused"])
@pytest.mark.parametrize("inner", ["", "--audit"])
def test_a_jail_in_a_jail(pyjail: Launcher, place: Path, outer: str, inner: str) -> None:
    """Where policy and mounts of the outer one let it be; the default ones do not."""
    shown = str(pyjail.installation.folder)
    command = [str(pyjail.installation.pyjail), "run", *inner.split(), "--no-proc", "--no-memory", "--"]
    options = ("--no-landlock", "--ro-bind", shown)
    plan = make_plan(
        pyjail, place, [*command, "/bin/echo", "inside"], audit=outer, policy=Policy((), default="allow"),
        options=options,
    )  # fmt: skip
    lines = Path(plan).read_bytes().replace(b"proc /proc ro,", b"proc /proc ").splitlines(keepends=True)
    Path(plan).write_bytes(b"".join(line for line in lines if not line.startswith(b"mask ")))
    r = pyjail.run("run", plan, program=pyjail.installation.jailer)
    if outer and inner:
        assert (r.returncode, r.stdout) == (125, b"")
        assert b"EBUSY" in r.stderr
    else:
        assert (r.returncode, r.stdout) == (0, b"inside\n"), r.stderr
    assert pyjail.run("run", *options, "--", *command, "/bin/true").returncode == 125


def test_a_policy_without_read_runs_nothing(pyjail: Launcher, place: Path) -> None:
    """The first call behind the filter is the jailer's own."""
    for action, status, told in (("EPERM", 125, "setup-failed"), ("kill", 128 + signal.SIGSYS, "signaled")):
        policy = Policy((Rule(("read",), action),), default="allow")
        for audit in ("", "refused", "all"):
            r = run_plan(pyjail, place, ["/bin/echo", "ran"], policy=policy, audit=audit)
            assert (r.returncode, r.stdout) == (status, b"")
            assert r.outcome is not None
            assert r.outcome["status"] == told
            assert r.outcome["denied"] == ({"read": 1} if audit else None)
