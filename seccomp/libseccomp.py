"""libseccomp as Python objects: the names, signatures and errors of libseccomp's own Python binding.

Each method checks its values, makes the C ones, calls, and checks the result.  A filter belongs to one
object, is freed with it, and is locked during a call, because cffi lets other threads run meanwhile.  See
seccomp_init(3) and the pages around it.
"""

from __future__ import annotations

import errno
import threading
from typing import TYPE_CHECKING, Any, Protocol, overload

from seccomp._errors import LibraryMissingError

try:
    from seccomp._libseccomp import ffi as _ffi
    from seccomp._libseccomp import lib as _lib
except ImportError as error:
    if "libseccomp.so" in str(error):
        raise LibraryMissingError(
            "seccomp: the library libseccomp is not installed: apt-get install libseccomp2"
        ) from error
    raise LibraryMissingError(
        f"seccomp: its extension module cannot be loaded ({error}): "
        "apt-get install gcc libseccomp-dev, then install again"
    ) from error

if TYPE_CHECKING:
    from collections.abc import Callable

    class _HasFileno(Protocol):
        def fileno(self) -> int: ...


KILL_PROCESS = -0x80000000
KILL = 0x00000000
TRAP = 0x00030000
NOTIFY = 0x7FC00000
LOG = 0x7FFC0000
ALLOW = 0x7FFF0000

NE, LT, LE, EQ, GE, GT, MASKED_EQ = range(1, 8)


def ERRNO(errno: int) -> int:  # noqa: N802  the binding's name
    """The action that makes the call fail with `errno` (0–65535, the kernel caps it at 4095)."""
    return 0x00050000 | _integer(errno, -(2**31), 2**31, "int") & 0xFFFF


def TRACE(value: int) -> int:  # noqa: N802  the binding's name
    """The action that hands the call and `value` to a tracer (ptrace(2), PTRACE_EVENT_SECCOMP)."""
    return 0x7FF00000 | _integer(value, -(2**31), 2**31, "int") & 0xFFFF


def system_arch() -> int:
    """The token of the machine's own architecture, unsigned."""
    return int(_lib.seccomp_arch_native())


def library_version() -> tuple[int, int, int]:
    """The version of the libseccomp in use, which may be newer than the one built against."""
    version = _lib.seccomp_version()
    return version.major, version.minor, version.micro


@overload
def resolve_syscall(arch: int | Arch, syscall: str) -> int: ...
@overload
def resolve_syscall(arch: int | Arch, syscall: int) -> bytes: ...
def resolve_syscall(arch: int | Arch, syscall: str | int) -> int | bytes:
    """The number of a call's name on `arch` (negative: not there, -1: unknown), or the name (bytes) of a
    number.

    Raises ValueError for a number that has no name.
    """
    token = _token(arch)
    if isinstance(syscall, str):
        return int(_lib.seccomp_syscall_resolve_name_rewrite(token, _c_name(syscall)))
    if not isinstance(syscall, int):
        raise TypeError("Syscall must either be an int or str type")
    name = _lib.seccomp_syscall_resolve_num_arch(token, _integer(syscall, -(2**31), 2**31, "int"))
    if name == _ffi.NULL:
        raise ValueError(f"Unknown syscall {syscall} on arch {int(arch)}")
    try:
        return bytes(_ffi.string(name))
    finally:
        _lib.free(name)


def get_api() -> int:
    """The level of the library's and kernel's support, seccomp_api_get(3)."""
    return int(_lib.seccomp_api_get())


def set_api(level: int) -> None:
    """Force that level; ValueError for one that does not exist."""
    _check(_lib.seccomp_api_set(_integer(level, 0, 2**32, "unsigned int")), "Invalid level")


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
            token = int(_lib.seccomp_arch_resolve_name(_c_name(arch)))
        elif isinstance(arch, int):
            token = (system_arch() if arch == 0 else arch) & 0xFFFFFFFF
            token = token if _signed(token) in _ARCHS else 0
        else:
            raise TypeError("Architecture must be an int or str type")
        if token == 0:
            raise ValueError("Invalid architecture")
        self._value = _signed(token)

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


class Arg:
    """One comparison of a call's argument; with MASKED_EQ `datum_a` is the mask and `datum_b` the value."""

    __slots__ = ("_fields",)

    def __init__(self, arg: int, op: int, datum_a: int, datum_b: int = 0) -> None:
        self._fields = (
            _integer(arg, 0, 2**32, "unsigned int"),
            _integer(op, 0, 2**32, "unsigned int"),
            _integer(datum_a, 0, 2**64, "uint64_t"),
            _integer(datum_b, 0, 2**64, "uint64_t"),
        )


class SyscallFilter:
    """A filter under construction, seccomp_init(3); what it does to a call that no rule names is
    `defaction`.
    """

    def __init__(self, defaction: int) -> None:
        self._lock = threading.Lock()
        self._defaction = _action(defaction)
        self._ctx = _new_context(self._defaction)

    def reset(self, defaction: int = -1) -> None:
        """Empty the filter; without `defaction` the default action stays."""
        action = self._defaction if defaction == -1 else _action(defaction)
        self._call(_lib.seccomp_reset, action, invalid="Invalid action")
        self._defaction = action

    def merge(self, filter: SyscallFilter) -> None:  # noqa: A002  the binding's name
        """Take over the rules of `filter` (other architectures, same attributes), which is emptied."""
        given: object = filter
        if not isinstance(given, SyscallFilter):
            kind = type(given).__name__
            raise TypeError(
                f"Argument 'filter' has incorrect type (expected seccomp.SyscallFilter, got {kind})"
            )
        if filter is self:
            raise RuntimeError("Library error (errno = -22)")
        fresh = _new_context(filter._defaction)
        first, second = sorted((self._lock, filter._lock), key=id)
        with first, second:
            _check(_lib.seccomp_merge(self._ctx, filter._ctx))
            _ffi.gc(filter._ctx, None)  # the library owns it now as a part of ours
            filter._ctx = fresh

    def exist_arch(self, arch: int | Arch) -> bool:
        """Whether the filter covers `arch`."""
        with self._lock:
            result = int(_lib.seccomp_arch_exist(self._ctx, _token(arch)))
        if result != -errno.EEXIST:
            _check(result, "Invalid architecture")
        return result == 0

    def add_arch(self, arch: int | Arch) -> None:
        """Cover `arch` too; rules added before do not apply to it."""
        self._call(_lib.seccomp_arch_add, _token(arch), invalid="Invalid architecture")

    def remove_arch(self, arch: int | Arch) -> None:
        """Cover `arch` no more; the last one cannot be removed."""
        self._call(_lib.seccomp_arch_remove, _token(arch), invalid="Invalid architecture")

    def load(self) -> None:
        """Put the calling thread under the filter, seccomp_load(3); there is no way back."""
        self._call(_lib.seccomp_load)

    def get_attr(self, attr: int) -> int:
        """The value of an attribute (`Attr`), unsigned."""
        value = _ffi.new("uint32_t *")
        self._call(_lib.seccomp_attr_get, _integer(attr, 0, 2**31, "int"), value, invalid="Invalid attribute")
        return int(value[0])

    def set_attr(self, attr: int, value: int) -> None:
        """Set an attribute (`Attr`)."""
        raw = _integer(value, -(2**31), 2**31, "int") & 0xFFFFFFFF
        self._call(_lib.seccomp_attr_set, _integer(attr, 0, 2**31, "int"), raw, invalid="Invalid attribute")

    def syscall_priority(self, syscall: str | int, priority: int) -> None:
        """Test this call earlier (255) or later (0) in a linear program."""
        if _integer(priority, -(2**31), 2**31, "int") not in range(256):
            raise ValueError("Syscall priority must be between 0 and 255")
        self._call(_lib.seccomp_syscall_priority, _number(syscall), priority)

    def add_rule(self, action: int, syscall: str | int, *args: Arg) -> None:
        """`action` for this call when all `args` hold; rewritten where an architecture multiplexes the
        call.
        """
        self._add(_lib.seccomp_rule_add_array, action, syscall, args)

    def add_rule_exactly(self, action: int, syscall: str | int, *args: Arg) -> None:
        """The same without rewriting; an error where it would be needed."""
        self._add(_lib.seccomp_rule_add_exact_array, action, syscall, args)

    def export_pfc(self, file: _HasFileno) -> None:
        """Write the filter as readable pseudo code to `file`'s descriptor."""
        self._call(_lib.seccomp_export_pfc, file.fileno())

    def export_bpf(self, file: _HasFileno) -> None:
        """Write the filter as the kernel takes it (struct sock_filter, the architecture's byte order)."""
        self._call(_lib.seccomp_export_bpf, file.fileno())

    def _add(
        self, function: Callable[..., int], action: int, syscall: str | int, args: tuple[Arg, ...]
    ) -> None:
        raw, number = _action(action), _number(syscall)
        if len(args) > 6:
            raise RuntimeError("Maximum number of arguments exceeded")
        for arg in args:
            if not isinstance(arg, Arg):
                raise TypeError(f"Cannot convert {type(arg).__name__} to seccomp.Arg")
        self._call(
            function, raw, number, len(args), _ffi.new("struct scmp_arg_cmp[]", [arg._fields for arg in args])
        )

    def _call(self, function: Callable[..., int], *values: Any, invalid: str | None = None) -> None:
        with self._lock:
            _check(function(self._ctx, *values), invalid)


_ARCHS = frozenset(
    value for name, value in vars(Arch).items() if isinstance(value, int) and name.isupper() and value
)


def _new_context(action: int) -> Any:
    context = _lib.seccomp_init(action)
    if context == _ffi.NULL:
        raise RuntimeError("Library error")
    return _ffi.gc(context, _lib.seccomp_release)


def _check(result: int, invalid: str | None = None) -> None:
    if result == -errno.EINVAL and invalid is not None:
        raise ValueError(invalid)
    if result != 0:
        raise RuntimeError(f"Library error (errno = {result})")


def _integer(value: Any, low: int, high: int, kind: str) -> int:
    if isinstance(value, (str, bytes)) or not hasattr(value, "__int__"):
        raise TypeError("an integer is required")
    number = int(value)
    if number < 0 <= low:
        raise OverflowError(f"can't convert negative value to {kind}")
    if number >= high == 2**64:
        raise OverflowError("Python int too large to convert to C unsigned long")
    if not low <= number < high:
        raise OverflowError(f"value too large to convert to {kind}")
    return number


def _action(value: int) -> int:
    return _integer(value, -(2**31), 2**31, "int") & 0xFFFFFFFF


def _token(arch: int | Arch) -> int:
    return _integer(arch, -(2**31), 2**32, "int") & 0xFFFFFFFF


def _signed(value: int) -> int:
    return value - 2**32 if value >= 2**31 else value


def _c_name(name: str) -> bytes:
    raw = name.encode("ascii")
    if b"\0" in raw:
        raise ValueError("embedded null byte")
    return raw


def _number(syscall: str | int) -> int:
    if isinstance(syscall, str):
        return int(_lib.seccomp_syscall_resolve_name(_c_name(syscall)))
    if not isinstance(syscall, int):
        raise TypeError("Syscall must either be an int or str type")
    return _integer(syscall, -(2**31), 2**31, "int")
