"""Of which arguments the kernel uses 32 bits: the table against the kernel itself, and policies on it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from seccomp import Policy, PolicyError, evaluate
from seccomp import _calls as calls
from seccomp._widths import WIDTH_32
from seccomp.syscalls import system_call

HIGH = 1 << 32
ALLOW, EPERM = 0x7FFF0000, 0x00050001


def test_the_table_knows_every_call_of_this_kernel_s_time() -> None:
    old = {  # without a function for long, or never there
        *("afs_syscall", "create_module", "epoll_ctl_old", "epoll_wait_old", "get_kernel_syms", "getpmsg"),
        *("nfsservctl", "putpmsg", "query_module", "security", "tuxcall", "vserver", "_sysctl"),
        *("lookup_dcookie", "rt_sigreturn", "restart_syscall", "get_thread_area", "set_thread_area"),
    }
    for number in range(472):
        name = calls.name(number, "x86_64")
        assert name is None or name in WIDTH_32 or name in old, name


@pytest.mark.parametrize(
    ("call", "narrow"),
    {
        "socket": (0, 1, 2), "clone": (0,), "setuid": (0,), "finit_module": (0, 2), "quotactl": (0, 2),
        "bpf": (0, 2, 4), "semctl": (0, 1, 2), "mmap": (4,), "prctl": (0,), "ioctl": (0, 1), "fcntl": (0, 1),
        "unshare": (), "mount": (), "kexec_load": (), "mprotect": (), "personality": (0,), "futex": (1, 2, 5),
        "arch_prctl": (0,), "iopl": (0,), "ptrace": (1,), "landlock_restrict_self": (0, 1), "keyctl": (0,),
    }.items(),
)  # fmt: skip
def test_widths_as_the_kernel_declares_them(call: str, narrow: tuple[int, ...]) -> None:
    assert WIDTH_32[call] == narrow


def test_the_kernel_cuts_what_the_table_calls_narrow(tmp_path: Path) -> None:
    file = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    number = {
        name: calls.number(name, os.uname().machine) or -1 for name in ("lseek", "fchmod", "unshare", "fcntl")
    }
    try:
        assert system_call(number["lseek"], file | HIGH, 7, HIGH) == 7  # SEEK_SET with an upper bit
        assert system_call(number["fchmod"], file | HIGH, 0o640 | HIGH) == 0
        assert os.fstat(file).st_mode & 0o7777 == 0o640
        assert system_call(number["fcntl"], file | HIGH, 1 | HIGH) == 1  # F_GETFD
        # And does not cut what the table leaves out: an offset, the flags of unshare.
        assert system_call(number["lseek"], file, HIGH | 7, 0) == HIGH | 7
        with pytest.raises(OSError, match="Invalid argument"):
            system_call(number["unshare"], HIGH)
    finally:
        os.close(file)


def oci(call: str, index: int, value: int) -> Policy:
    entry = {
        "names": [call],
        "action": "SCMP_ACT_ERRNO",
        "args": [{"index": index, "value": value, "op": "SCMP_CMP_EQ"}],
    }
    return Policy.from_oci(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [entry]}))


@pytest.mark.parametrize(("call", "index"), [("setuid", 0), ("semctl", 2), ("finit_module", 2), ("clone", 0)])
def test_an_imported_denial_of_an_int_cannot_be_passed_by_with_upper_bits(call: str, index: int) -> None:
    program = oci(call, index, 5).compile("x86_64")
    number = calls.number(call, "x86_64") or -1
    values = {value: [0] * index + [value] for value in (5, 5 | HIGH, 5 | HIGH << 31, 6)}
    answers = [evaluate(program, number, args) for args in values.values()]
    assert answers == [EPERM, EPERM, EPERM, ALLOW]


def test_an_imported_condition_on_a_long_compares_all_of_it() -> None:
    program = oci("unshare", 0, 5).compile("x86_64")
    assert [evaluate(program, 272, (value,)) for value in (5, 5 | HIGH)] == [EPERM, ALLOW]


def policy(calls: str, condition: str, more: str = "") -> Policy:
    rule = f'[[rule]]\ncalls = {calls}\naction = "allow"\nwhen = [[{{ {condition} }}]]\n{more}'
    return Policy.from_toml(f'default = "EPERM"\n{rule}')


WIDE = {
    "a size": ('["mmap"]', "arg = 1, below = 4096", "", "rule[0].when[0][0].width"),
    "one of two calls": ('["fcntl", "lseek"]', "arg = 1, is = 1", "", "rule[0].when[0][0].width"),
    "a member of a group": ('["@io-event"]', "arg = 0, is = 1", "", "rule[0].when[0][0].width"),
    "in the next question": (
        '["prctl"]',
        "arg = 0, is = 4",
        'otherwise = { action = "log", when = [[{ arg = 1, is = 0 }]] }',
        "rule[0].otherwise.when[0][0].width",
    ),
}


@pytest.mark.parametrize("case", WIDE)
def test_an_argument_of_64_bits_is_not_cut_silently(case: str) -> None:
    calls, condition, more, key = WIDE[case]
    with pytest.raises(PolicyError, match="64 bits in argument") as caught:
        policy(calls, condition, more)
    assert caught.value.key == key


def test_an_unknown_group_is_told_as_such() -> None:
    with pytest.raises(PolicyError, match="no such group") as caught:
        policy('["@nosuch"]', "arg = 0, is = 1")
    assert caught.value.key == "rule[0].calls"


def test_it_is_compared_as_the_file_says() -> None:
    decide = {
        text: [policy('["mmap"]', f"arg = 1, {text}").decide("mmap", (0, value)) for value in (5, 5 | HIGH)]
        for text in ("width = 64, below = 9", "width = 32, below = 9", "mask = 0xff, below = 9")
    }
    assert list(decide.values()) == [["allow", "EPERM"], ["allow", "allow"], ["allow", "allow"]]


def test_sockets_of_powerpc_are_calls_of_their_own_and_not_socketcall() -> None:
    made = policy('["socket"]', "arg = 0, is = 1")  # Unix sockets
    program = made.compile("ppc64le")
    token = calls.arch_token("ppc64le")
    assert [evaluate(program, 326, (family,), token) for family in (1, 2)] == [ALLOW, EPERM]
    assert evaluate(program, 102, (1,), token) == EPERM  # socketcall, whose 1 is a socket of any family
    assert calls.name(326, "ppc64le") == "socket"
    assert [calls.number(name, "ppc64le") for name in ("semget", "shmat", "socketcall")] == [393, 397, 102]
