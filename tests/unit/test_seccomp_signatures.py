"""Every name of libseccomp's Python binding (2.5.4, 2.6.0) is here, with the same parameters."""

from __future__ import annotations

import inspect

import pytest

import seccomp

SINCE_2_5 = """
KILL_PROCESS KILL TRAP LOG ALLOW NOTIFY ERRNO(errno) TRACE(value) NE LT LE EQ GE GT MASKED_EQ
system_arch() resolve_syscall(arch,syscall) get_api() set_api(level) Arch(arch=0) Arch.__int__()
Arch.NATIVE Arch.X86 Arch.X86_64 Arch.X32 Arch.ARM Arch.AARCH64 Arch.MIPS Arch.MIPS64 Arch.MIPS64N32
Arch.MIPSEL Arch.MIPSEL64 Arch.MIPSEL64N32 Arch.PARISC Arch.PARISC64 Arch.PPC Arch.PPC64 Arch.PPC64LE
Arch.S390 Arch.S390X Arch.RISCV64 Attr.ACT_DEFAULT Attr.ACT_BADARCH Attr.CTL_NNP Attr.CTL_TSYNC
Attr.API_TSKIP Attr.CTL_LOG Attr.CTL_SSB Attr.CTL_OPTIMIZE Attr.API_SYSRAWRC
Arg(arg,op,datum_a,datum_b=0) Notification(id,pid,flags,syscall,arch,ip,args) Notification.id
Notification.pid Notification.flags Notification.syscall Notification.syscall_arch
Notification.syscall_ip Notification.syscall_args NotificationResponse(notify,val=0,error=0,flags=0)
NotificationResponse.id NotificationResponse.val NotificationResponse.error NotificationResponse.flags
SyscallFilter(defaction) SyscallFilter.reset(defaction=-1) SyscallFilter.merge(filter)
SyscallFilter.exist_arch(arch) SyscallFilter.add_arch(arch) SyscallFilter.remove_arch(arch)
SyscallFilter.load() SyscallFilter.get_attr(attr) SyscallFilter.set_attr(attr,value)
SyscallFilter.syscall_priority(syscall,priority) SyscallFilter.add_rule(action,syscall,*args)
SyscallFilter.add_rule_exactly(action,syscall,*args) SyscallFilter.receive_notify()
SyscallFilter.respond_notify(response) SyscallFilter.get_notify_fd() SyscallFilter.export_pfc(file)
SyscallFilter.export_bpf(file)
"""
SINCE_2_6 = """
SyscallFilter.export_bpf_mem() SyscallFilter.start_transaction() SyscallFilter.reject_transaction()
SyscallFilter.commit_transaction() SyscallFilter.precompute()
"""  # methods, which raise NotImplementedError where the library is older
CONSTANTS_OF_2_6 = ["Arch.LOONGARCH64", "Arch.M68K", "Attr.CTL_WAITKILL"]


def found(name: str) -> object:
    value: object = seccomp
    for part in name.split("."):
        value = getattr(value, part)
    return value


def parameters(function: object) -> str:
    assert callable(function)
    words = []
    for each in inspect.signature(function).parameters.values():
        default = "" if each.default is each.empty else f"={each.default}"
        words.append(f"{'*' if each.kind is each.VAR_POSITIONAL else ''}{each.name}{default}")
    return ",".join(word for word in words if word not in ("self", "fd=None"))  # `fd` is an addition of ours


@pytest.mark.parametrize("entry", [*SINCE_2_5.split(), *SINCE_2_6.split()])
def test_the_name_is_there_with_its_parameters(entry: str) -> None:
    name, bracket, wanted = entry.partition("(")
    value = found(name)
    if bracket:
        assert parameters(value) == wanted.removesuffix(")")
    else:
        assert isinstance(value, (int, property)) or inspect.isdatadescriptor(value)


def test_the_constants_of_a_newer_library_are_there_with_it() -> None:
    newer = seccomp.library_version() >= (2, 6, 0)
    for name in CONSTANTS_OF_2_6:
        kind, _, constant = name.partition(".")
        assert hasattr(found(kind), constant) == newer


def test_a_star_import_gives_them_all() -> None:
    names = {entry.partition("(")[0].partition(".")[0] for entry in SINCE_2_5.split()}
    assert names <= set(seccomp.__all__)


def test_exports_in_memory_are_those_to_a_file(tmp_path) -> None:
    made = seccomp.SyscallFilter(seccomp.ALLOW)
    made.add_rule(seccomp.KILL, "read")
    with open(tmp_path / "bpf", "w+b") as file:
        made.export_bpf(file)
        file.seek(0)
        written = file.read()
    assert bytes(made.export_bpf_mem()) == written
    assert seccomp.evaluate(written, 0) == seccomp.KILL
