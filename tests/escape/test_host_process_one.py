"""CVE-2019-5736 and its kin: /proc/1 (our init) as a door to the program outside or to what its parent
knew."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.launcher import Completed, Launcher

LOOK = """
found = {}
for name in ("exe", "root", "cwd", "fd", "map_files", "ns/mnt", "ns/user"):
    path = "/proc/1/" + name
    found[name] = attempt(os.readlink if name not in ("fd", "map_files") else os.listdir, path)
for name in ("mem", "environ", "maps", "auxv", "stack", "syscall", "io", "cmdline", "comm", "clear_refs",
       "oom_score_adj",
             "timerslack_ns", "attr/current", "setgroups", "uid_map"):
    found["write " + name] = attempt(os.open, "/proc/1/" + name, os.O_WRONLY)
for name in ("mem", "environ", "maps", "auxv", "stack", "syscall", "io"):
    found["read " + name] = read("/proc/1/" + name, 64)
found["cmdline"] = read("/proc/1/cmdline")
found["exe write"] = attempt(os.open, "/proc/1/exe", os.O_WRONLY)
found["exe self"] = [attempt(os.open, "/proc/self/exe", os.O_WRONLY), attempt(os.open,
       "/proc/%d/exe" % os.getppid(), os.O_RDWR)]
found["root list"] = attempt(os.listdir, "/proc/1/root/")
found["ptrace"] = [call(101, request, 1, 0, 0) for request in (16, 0x4206)]  # ATTACH, SEIZE
found["vm_read"] = call(310, 1, None, 0, None, 0, 0)
found["pidfd_getfd"] = call(438, call(434, 1, 0), 0, 0)
found["kcmp"] = call(312, os.getpid(), 1, 0, 0, 0)
found["kill"] = [attempt(os.kill, 1, number) for number in (9, 19, 15, 11)]
found["alive"] = os.getppid()
answer(**found)
"""
REFUSED = {
    "EPERM",
    "EACCES",
    "ESRCH",
    "ENOSYS",
    "ENOENT",
    "EINVAL",
    "EBADF",
    "ETXTBSY",
    "EROFS",
    "PermissionError",
}


def test_nothing_of_init_is_readable_or_writable(jailed: Callable[..., Completed]) -> None:
    found = jailed(LOOK).answer
    readable = {
        name: value
        for name, value in found.items()
        if name in ("exe", "root", "cwd", "fd", "map_files", "root list", "exe write")
        or name.startswith(("read ", "write "))
    }
    assert {name: value for name, value in readable.items() if value not in REFUSED and value != ""} == {}
    assert not set(found["exe self"]) - REFUSED
    assert not set(found["ptrace"]) - REFUSED
    for name in ("vm_read", "pidfd_getfd", "kcmp"):
        assert found[name] in REFUSED, name


def test_init_outlives_every_signal_from_within(jailed: Callable[..., Completed]) -> None:
    result = jailed(LOOK)
    assert result.returncode == 0
    assert result.answer["alive"] == 1


TAMPER = """
for resource in range(16):
    call(302, 1, resource, bytes(16), None)
attempt(os.sched_setaffinity, 1, [0])
attempt(os.sched_setscheduler, 1, os.SCHED_IDLE, os.sched_param(0))
attempt(os.setpriority, 0, 1, 19)
call(251, 1, 1, 3 << 13)
attempt(os.setpgid, 1, 0)
os._exit(7)
"""


def test_starving_init_does_not_change_the_verdict(jailed: Callable[..., Completed]) -> None:
    """Init has the payload's uid, so without a filter prlimit(2) and the scheduler's calls reach it. Without
    CPU time the kernel kills it if a clock tick finds it at work, and with it the jail: that is all."""
    result = jailed(TAMPER, options=["--seccomp", "off"])
    assert result.outcome is not None
    assert (result.returncode, result.outcome["status"]) in [(7, "exited"), (137, "killed")]


REACH = """
attempt(os.setpgid, 0, 1)  # init's group
idle = b"\\x30\\0\\0\\0\\5" + bytes(43)
answer(own=[call(144, 0, 3, bytes(4)), call(314, 0, idle, 0), call(141, 0, 0, 19)],
       scheduler=call(144, 1, 5, bytes(4)), attributes=call(314, 1, idle, 0),
       priority=[call(141, which, who, 19) for which, who in ((0, 1), (1, 1), (1, 0), (2, 0))])
"""


def test_init_keeps_its_share_of_the_processors(jailed: Callable[..., Completed]) -> None:
    """With none it could end nobody; and it is who does when the supervisor is killed."""
    found = jailed(REACH).answer
    assert found["own"] == [0, 0, 0]
    assert (found["scheduler"], found["attributes"]) == ("EPERM", "EPERM")
    assert found["priority"] == ["EPERM"] * 4


def test_inits_command_line_tells_nothing_of_the_caller(pyjail: Launcher, place: Path) -> None:
    secret = f"secret{os.getpid()}"
    result = pyjail.python(
        """
shown = {pid: read("/proc/%s/cmdline" % pid) + read("/proc/%s/environ" % pid) + read("/proc/%s/comm" % pid)
         for pid in os.listdir("/proc") if pid.isdigit() and int(pid) != os.getpid()}
answer(shown=shown)
""",
        env={"SECRET_TOKEN": secret},
        options=["--env", f"PASSED={secret}", "--bind", f"{place}:/data"],
    )
    for text in result.answer["shown"].values():
        assert secret not in text
        assert str(place) not in text


def test_the_payload_is_not_process_one(jailed: Callable[..., Completed]) -> None:
    found = jailed("answer(pid=os.getpid(), parent=os.getppid())").answer
    assert found["parent"] == 1
    assert found["pid"] > 1


@pytest.mark.parametrize(
    "knob",
    [
        "/proc/sys/kernel/core_pattern",
        "/proc/sysrq-trigger",
        "/proc/sys/kernel/hostname",
        "/proc/sys/kernel/ns_last_pid",
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/irq",
        "/proc/sys/vm/drop_caches",
        "/proc/sys/fs/binfmt_misc/register",
    ],
)
def test_the_kernels_knobs_cannot_be_turned(jailed: Callable[..., Completed], knob: str) -> None:
    """CVE-2025-31133, CVE-2025-52881: a writable knob is root on the host."""
    found = jailed(
        "answer(got=attempt(os.open, sys.argv[1], os.O_WRONLY), access=os.access(sys.argv[1], os.W_OK))", knob
    )
    assert found.answer["got"] in REFUSED | {"EISDIR"}
    assert found.answer["access"] is False


@pytest.mark.parametrize(
    "secret",
    [
        "/proc/kcore",
        "/proc/keys",
        "/proc/timer_list",
        "/proc/kmsg",
        "/proc/kallsyms",
        "/proc/interrupts",
        "/proc/key-users",
        "/proc/vmallocinfo",
        "/proc/slabinfo",
        "/proc/sched_debug",
        "/proc/1/mountinfo",
        "/proc/kpageflags",
    ],
)
def test_the_kernels_secrets_cannot_be_read(jailed: Callable[..., Completed], secret: str) -> None:
    text = jailed("answer(got=read(sys.argv[1], 64))", secret).answer["got"]
    assert text in REFUSED | {""} or set(text.split()[0]) == {"0"}  # kallsyms without its addresses
