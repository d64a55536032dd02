"""Architectures, attributes and system call names as libseccomp's own Python binding has them."""

from __future__ import annotations

from typing import overload

from seccomp._checks import integer
from seccomp._library import ffi, lib


def system_arch() -> int:
    """The token of the machine's own architecture, unsigned."""
    return int(lib.seccomp_arch_native())


@overload
def resolve_syscall(arch: int | Arch, syscall: str) -> int: ...
@overload
def resolve_syscall(arch: int | Arch, syscall: int) -> bytes: ...
def resolve_syscall(arch: int | Arch, syscall: str | int) -> int | bytes:
    """The number of a call's name on `arch` (negative: not there, -1: unknown), or the name (bytes) of a
    number.

    Raises ValueError for a number that has no name.
    """
    machine = token(arch)
    if isinstance(syscall, str):
        return int(lib.seccomp_syscall_resolve_name_rewrite(machine, c_name(syscall)))
    if not isinstance(syscall, int):
        raise TypeError("Syscall must either be an int or str type")
    name = lib.seccomp_syscall_resolve_num_arch(machine, integer(syscall, -(2**31), 2**31, "int"))
    if name == ffi.NULL:
        raise ValueError(f"Unknown syscall {syscall} on arch {int(arch)}")
    try:
        return bytes(ffi.string(name))
    finally:
        lib.free(name)


def own_number(arch: str, syscall: str) -> int:
    """The number that the architecture itself has for a call: negative where it has none, -1 if unknown."""
    return int(lib.seccomp_syscall_resolve_name_arch(token(Arch(arch)), c_name(syscall)))


class Arch:
    """An architecture by name or token; `int()` of it is the token."""

    NATIVE = 0
    X86 = 0x40000003
    X86_64 = 0xC000003E - 2**32
    X32 = 0x4000003E
    ARM = 0x40000028
    AARCH64 = 0xC00000B7 - 2**32
    MIPS = 0x00000008
    MIPS64 = 0x80000008 - 2**32
    MIPS64N32 = 0xA0000008 - 2**32
    MIPSEL = 0x40000008
    MIPSEL64 = 0xC0000008 - 2**32
    MIPSEL64N32 = 0xE0000008 - 2**32
    PARISC = 0x0000000F
    PARISC64 = 0x8000000F - 2**32
    PPC = 0x00000014
    PPC64 = 0x80000015 - 2**32
    PPC64LE = 0xC0000015 - 2**32
    S390 = 0x00000016
    S390X = 0x80000016 - 2**32
    RISCV64 = 0xC00000F3 - 2**32

    __slots__ = ("_value",)

    def __init__(self, arch: int | str = 0) -> None:
        if isinstance(arch, str):
            token = int(lib.seccomp_arch_resolve_name(c_name(arch)))
        elif isinstance(arch, int):
            token = (system_arch() if arch == 0 else arch) & 0xFFFFFFFF
            token = token if signed(token) in _ARCHS else 0
        else:
            raise TypeError("Architecture must be an int or str type")
        if token == 0:
            raise ValueError("Invalid architecture")
        self._value = signed(token)

    def __int__(self) -> int:
        return self._value


class Attr:
    """The attributes of a filter, seccomp_attr_get(3)."""

    ACT_DEFAULT = 1
    ACT_BADARCH = 2
    CTL_NNP = 3
    CTL_TSYNC = 4
    API_TSKIP = 5
    CTL_LOG = 6
    CTL_SSB = 7
    CTL_OPTIMIZE = 8
    API_SYSRAWRC = 9


if lib.seccomp_version().major > 2 or lib.seccomp_version().minor >= 6:
    _newer = {"LOONGARCH64": 0xC0000102 - 2**32, "M68K": 4}
    for _name, _value in _newer.items():
        setattr(Arch, _name, _value)
    setattr(Attr, "CTL_WAITKILL", 10)  # noqa: B010
_ARCHS = frozenset(
    value for name, value in vars(Arch).items() if isinstance(value, int) and name.isupper() and value
)


def token(arch: int | Arch) -> int:
    return integer(arch, -(2**31), 2**32, "int") & 0xFFFFFFFF


def signed(value: int) -> int:
    return value - 2**32 if value >= 2**31 else value


def c_name(name: str) -> bytes:
    raw = name.encode("ascii")
    if b"\0" in raw:
        raise ValueError("embedded null byte")
    return raw
