"""System calls that a jailed program has no use for and that kernel exploits start with; foreign ABIs that
would go round a filter which looks at numbers (CVE-2009-0835, CVE-2010-3301)."""

from __future__ import annotations

import platform
from collections.abc import Callable

import pytest
from support.launcher import Completed

CALLS = {
    "io_uring_setup": "call(425, 1, bytes(120))",
    "io_uring_enter": "call(426, 0, 0, 0, 0, None, 0)",
    "bpf": "call(321, 0, bytes(128), 48)",
    "perf_event_open": "call(298, bytes(128), 0, -1, -1, 0)",
    "userfaultfd": "call(323, 1)",
    "ptrace-traceme": "call(101, 0, 0, 0, 0)",
    "process_vm_writev": "call(311, os.getpid(), None, 0, None, 0, 0)",
    "kcmp": "call(312, os.getpid(), os.getpid(), 0, 0, 0)",
    "keyctl-join": "call(250, 1, b'x')",
    "keyctl-read": "call(250, 11, -4, None, 0)",
    "add_key": "call(248, b'user', b'name', b'x', 1, -3)",
    "request_key": "call(249, b'user', b'name', None, -3)",
    "personality-aslr": "call(135, 0x0040000)",
    "personality-compat": "call(135, 0x0400000)",
    "personality-high": "call(135, 0x0040000 | 1 << 32)",
    "modify_ldt": "call(154, 1, bytes(16), 16)",
    "iopl": "call(172, 3)",
    "ioperm": "call(173, 0x3f8, 1, 1)",
    "init_module": "call(175, None, 0, b'')",
    "finit_module": "call(313, -1, b'', 0)",
    "kexec_load": "call(246, 0, 0, None, 0xffff)",
    "reboot": "call(169, 0, 0, 0, 0)",
    "syslog": "call(103, 3, bytes(64), 64)",
    "acct": "call(163, b'/tmp/x')",
    "settimeofday": "call(164, bytes(16), None)",
    "clock_settime": "call(227, 0, bytes(16))",
    "adjtimex": "call(159, (1).to_bytes(4, 'little') + bytes(300))",
    "sethostname": "call(170, b'x', 1)",
    "vhangup": "call(153)",
    "mbind": "call(237, 0, 0, 0, 0, 0, 0)",
    "move_pages": "call(279, 1, 0, None, None, None, 0)",
    "lookup_dcookie": "call(212, 0, None, 0)",
    "pidfd_getfd": "call(438, call(434, os.getpid(), 0), 0, 0)",
    "process_madvise": "call(440, -1, None, 0, 0, 0)",
    "seccomp-listener": "call(317, 1, 8, (1).to_bytes(8, 'little') + bytes(8))",
    "nfsservctl": "call(180, 0, None, None)",
    "quotactl_fd": "call(443, 0, 0, 0, None)",
    "memfd_secret": "call(447, 0)",
    "setuid-0": "call(105, 0)",
    "setgroups": "call(116, 1, bytes(4))",
    "capset": "call(126, (0x20080522).to_bytes(4, 'little') + bytes(4), b'\\xff' * 24)",
    "cap-ambient": "call(157, 47, 2, 21, 0, 0)",
    "undo-no-new-privs": "call(157, 38, 0, 0, 0, 0)",
    "securebits": "call(157, 28, 0, 0, 0, 0)",
    "set-mm": "call(157, 35, 1, 4096, 0, 0)",
}


@pytest.mark.parametrize("attack", CALLS.values(), ids=CALLS)
def test_call_is_refused(jailed: Callable[..., Completed], attack: str) -> None:
    """In a child: a filter that kills is as good as one that refuses."""
    got = jailed(f"answer(got=in_child(lambda: {attack}))").answer["got"]
    assert got in {"EPERM", "EACCES", "ENOSYS", "EINVAL", "EFAULT", "signal 31"}
    if attack.split("(")[1].split(",")[0] in ("425", "426", "321", "298", "323", "248", "249", "250", "101"):
        assert got in {"EPERM", "ENOSYS", "signal 31"}, "the call reached the kernel"


def test_an_unknown_call_is_not_implemented(jailed: Callable[..., Completed]) -> None:
    """ENOSYS, so that libraries fall back; EPERM would break them."""
    assert jailed("answer(got=[call(n) for n in (1000, 470, 512 + 40)])").answer["got"] == ["ENOSYS"] * 3


FOREIGN = """
import mmap
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex(sys.argv[1]))
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
answer(got=in_child(lambda: ctypes.CFUNCTYPE(ctypes.c_int)(address)()))
"""
# mov $20, %eax (getpid of i386); int $0x80; ret  |  mov $0x40000027, %eax (getpid of x32); syscall; ret
ABIS = {"i386": "b814000000cd80c3", "x32": "b8270000400f05c3", "native": "b8270000000f05c3"}


@pytest.mark.parametrize("abi", ABIS)
def test_a_foreign_abi_kills(jailed: Callable[..., Completed], abi: str) -> None:
    assert platform.machine() == "x86_64", "the byte codes of this test are x86"
    got = jailed(FOREIGN, ABIS[abi]).answer["got"]
    if abi == "native":
        assert int(got) > 1  # the check of the check: the same page runs where the number is the filter's own
    else:
        assert got in ("signal 31", "-38", "signal 11")
        assert abi != "i386" or got != "-38"


def test_the_state_of_the_payload(jailed: Callable[..., Completed]) -> None:
    found = jailed(
        "answer(status=read('/proc/self/status'), groups=os.getgroups(), dump=libc.prctl(3, 0, 0, 0, 0))"
    ).answer
    status = dict(line.split(":\t", 1) for line in found["status"].splitlines() if ":\t" in line)
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert status["Seccomp_filters"] == "1"
