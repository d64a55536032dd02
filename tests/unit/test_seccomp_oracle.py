"""Our compiler against two others that know nothing of it: libseccomp's, and the kernel."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path

import pytest
from unit.test_seccomp_policy import DEFAULT, MACHINES, edges

import seccomp
from seccomp import Arch, Arg, Attr, Condition, Policy, PolicyError, Rule, SyscallFilter, evaluate

REPOSITORY = str(Path(seccomp.__file__).parent.parent)


def equalities(condition: Condition) -> list[Arg]:
    """One of which must hold: what is not a number differs from it in a bit."""
    parts = [condition.mask]
    if condition.op == "!=":
        parts = [1 << bit for bit in range(64) if condition.mask >> bit & 1]
    turned = condition.mask if condition.op == "!=" else 0
    return [
        Arg(condition.arg, seccomp.MASKED_EQ, part, (condition.value ^ turned) & part) for part in parts
    ]


def compile_by_libseccomp(policy: Policy, machine: str, tree: bool = True) -> bytes:
    """The same policy as libseccomp's rules.

    It refuses actions that are the default's, so each has a stand-in, replaced in the return instructions.
    A rule's `otherwise` becomes a comparison that is always true and that libseccomp happens to test last.
    """
    stand_ins: dict[str, int] = {}

    def stand_in(role: str) -> int:
        return stand_ins.setdefault(role, seccomp.TRACE(len(stand_ins)))

    built = SyscallFilter(stand_in("default " + policy.default))
    built.set_attr(Attr.ACT_BADARCH, stand_in(policy.foreign))
    built.set_attr(Attr.CTL_OPTIMIZE, 2 if tree else 1)
    if not built.exist_arch(Arch(machine)):
        built.add_arch(Arch(machine))
        built.remove_arch(Arch())
    for number, rule in policy.table(machine).items():
        try:
            call: str | int = seccomp.resolve_syscall(Arch(machine), number).decode()
        except ValueError:
            call = number  # newer than this libseccomp
        for alternative in rule.when or [()]:
            for args in product(*map(equalities, alternative)):
                built.add_rule_exactly(stand_in(rule.action), call, *args)
        if rule.when:
            built.add_rule_exactly(stand_in(rule.otherwise or policy.default), call, Arg(0, seccomp.GE, 0))
    with tempfile.TemporaryFile() as file:
        built.export_bpf(file)
        file.seek(0)
        program = file.read()
    real = {value: seccomp.action_number(role.split()[-1]) for role, value in stand_ins.items()}
    return b"".join(
        struct.pack("<HBBI", code, jt, jf, real[k] if code == 0x06 else k)
        for code, jt, jf, k in struct.iter_unpack("<HBBI", program)
    )


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("machine", MACHINES)
def test_libseccomp_makes_a_program_of_the_same_meaning_and_a_longer_one(machine: str, strict: bool) -> None:
    policy = DEFAULT.strict() if strict else DEFAULT
    theirs, ours = compile_by_libseccomp(policy, machine), policy.compile(machine)
    table, arch = policy.table(machine), MACHINES[machine]
    for number in (*range(601), 1000, 0x3FFFFFFF, 0x40000000, 0x40000001, 0x7FFFFFFF, 0xFFFFFFFF):
        for args in edges(table.get(number))[:500]:
            assert evaluate(ours, number, args, arch) == evaluate(theirs, number, args, arch), (number, args)
    assert len(ours) <= 210 * 8 < len(theirs)


# Puts itself under the default profile, calls what its arguments say, prints the errnos.
LOADER = f"""
import ctypes, os, sys
sys.path.insert(0, {REPOSITORY!r})
import seccomp
libc = ctypes.CDLL(None, use_errno=True)
class Program(ctypes.Structure):
    _fields_ = [("count", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]
bpf = seccomp.load("default", strict=sys.argv[1] == "strict").bpf
program = Program(len(bpf) // 8, bpf)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0
for words in sys.argv[2:]:
    if words.startswith("run "): os.execvp("/bin/sh", ["sh", "-c", words[4:]])
    args = [ctypes.c_ulong(int(word, 0)) for word in words.split()]
    ctypes.set_errno(0)
    print(ctypes.get_errno() if libc.syscall(*args) == -1 else 0, flush=True)
"""

KERNEL = [
    ("39", 0),  # getpid
    ("1000", errno.ENOSYS),
    ("435 0 0", errno.ENOSYS),  # clone3
    ("272 0x10000000", errno.EPERM),  # unshare
    ("56 0x10000011 0 0 0 0", errno.EPERM),  # clone
    ("16 0 0xdeadbeef00005412 0", errno.EPERM),  # ioctl TIOCSTI with the upper half set
    ("41 38 5 0", errno.EPERM),  # socket AF_ALG
    ("41 16 3 0", 0),  # NETLINK_ROUTE
    ("41 16 3 12", errno.EPERM),
    ("135 0xffffffff", 0),  # personality
    ("135 0x40000", errno.EPERM),
    ("425 1 0", errno.EPERM),  # io_uring_setup
]


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are x86-64's")
def test_the_kernel_decides_as_the_policy_says() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADER, "normal", *[call for call, _ in KERNEL]],
        capture_output=True,
        text=True,
        check=True,
    )
    assert [int(line) for line in done.stdout.split()] == [wanted for _, wanted in KERNEL]


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are x86-64's")
@pytest.mark.parametrize(
    ("mode", "call"),
    [("strict", "1000"), ("strict", "272 0x10000000"), ("normal", "0x40000027")],
    ids=["strict, unlisted", "strict, refused", "x32"],
)
def test_the_kernel_kills(mode: str, call: str) -> None:
    done = subprocess.run([sys.executable, "-c", LOADER, mode, call], capture_output=True, check=False)
    assert done.returncode == -31, done.stderr  # SIGSYS


@pytest.mark.parametrize("mode", ["normal", "strict"])
def test_programs_run_under_it(mode: str) -> None:
    script = f"""run set -e; echo a | cat; {sys.executable} -c '
import sqlite3, subprocess, threading, socket
subprocess.run(["true"], check=True)
thread = threading.Thread(target=print, args=("thread",)); thread.start(); thread.join()
socket.socketpair(); socket.getaddrinfo("127.0.0.1", 80)
print(sqlite3.connect(":memory:").execute("select 1").fetchone())'"""
    done = subprocess.run(
        [sys.executable, "-c", LOADER, mode, script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "a\nthread\n(1,)\n"), done.stderr


def test_the_kernel_takes_the_largest_program_that_the_compiler_makes() -> None:
    """A long program has jumps over more than 255 instructions, which the compiler must bridge."""
    names = ["read", "write", "close", "lseek", "mmap", "brk", "ioctl", "pipe", "select", "dup"]
    rules = []
    for index, name in enumerate(names):
        when = tuple((Condition(0, index * 1000 + i), Condition(1, i, 0xFFFF)) for i in range(60))
        rules.append(Rule((name,), "allow", when, "EPERM"))
    policy = Policy(tuple(rules), "ENOSYS")
    program = policy.compile("x86_64")
    assert 1000 < len(program) // 8 <= 4096
    table = policy.table("x86_64")
    for number in range(60):
        for args in [
            (index * 1000 + i, i + extra) for index in range(10) for i in (0, 30, 59) for extra in (0, 1)
        ]:
            wanted = policy.default if number not in table else table[number].decide(args, policy.default)
            assert evaluate(program, number, args) == seccomp.action_number(wanted)


def test_a_policy_that_is_too_large_is_an_error() -> None:
    names = [seccomp.resolve_syscall(Arch("x86_64"), number).decode() for number in range(60)]
    rules = [
        Rule((name,), "allow", tuple((Condition(0, 1000 * index + i),) for i in range(100)), "EPERM")
        for index, name in enumerate(names)
    ]
    with pytest.raises(PolicyError, match="4096"):
        Policy(tuple(rules)).compile("x86_64")
