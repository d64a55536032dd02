"""libseccomp as Python objects: the names, signatures and errors of libseccomp's own Python binding.

Each method checks its values, makes the C ones, calls, and checks the result.  A filter belongs to one
object, is freed with it, and is locked during a call, because cffi lets other threads run meanwhile.  See
seccomp_init(3) and the pages around it.
"""

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING, Any, Protocol

from seccomp._checks import check, integer
from seccomp._library import ffi, lib
from seccomp.arch import Arch, c_name, token
from seccomp.notify import Notification, NotificationAddfd, NotificationResponse, add_descriptor

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
    return 0x00050000 | integer(errno, -(2**31), 2**31, "int") & 0xFFFF


def TRACE(value: int) -> int:  # noqa: N802  the binding's name
    """The action that hands the call and `value` to a tracer (ptrace(2), PTRACE_EVENT_SECCOMP)."""
    return 0x7FF00000 | integer(value, -(2**31), 2**31, "int") & 0xFFFF


def library_version() -> tuple[int, int, int]:
    """The version of the libseccomp in use, which may be newer than the one built against."""
    version = lib.seccomp_version()
    return version.major, version.minor, version.micro


__version__ = ".".join(map(str, library_version()))


def supports(feature: str) -> bool:
    """Whether the installed library and kernel have a feature: `notify` (2.5: the NOTIFY action), `addfd`
    (Linux 5.9), `precompute` and `transactions` (libseccomp 2.6).  ValueError for another word.

    The methods of a feature that is not there raise NotImplementedError.
    """
    if feature == "notify":
        return get_api() >= 5
    if feature == "addfd":
        release = os.uname().release.split(".")
        return (int(release[0]), int(release[1].partition("-")[0])) >= (5, 9) and get_api() >= 5
    if feature == "precompute":
        return bool(lib.has_precompute())
    if feature == "transactions":
        return bool(lib.has_transactions())
    raise ValueError(f"no such feature: {feature!r} (notify, addfd, precompute, transactions)")


def get_api() -> int:
    """The level of the library's and kernel's support, seccomp_api_get(3)."""
    return int(lib.seccomp_api_get())


def set_api(level: int) -> None:
    """Force that level; ValueError for one that does not exist."""
    check(lib.seccomp_api_set(integer(level, 0, 2**32, "unsigned int")), "Invalid level")


class Arg:
    """One comparison of a call's argument; with MASKED_EQ `datum_a` is the mask and `datum_b` the value."""

    __slots__ = ("_fields",)

    def __init__(self, arg: int, op: int, datum_a: int, datum_b: int = 0) -> None:
        self._fields = (
            integer(arg, 0, 2**32, "unsigned int"),
            integer(op, 0, 2**32, "unsigned int"),
            integer(datum_a, 0, 2**64, "uint64_t"),
            integer(datum_b, 0, 2**64, "uint64_t"),
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
        self._call(lib.seccomp_reset, action, invalid="Invalid action")
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
            check(lib.seccomp_merge(self._ctx, filter._ctx))
            ffi.gc(filter._ctx, None)  # the library owns it now as a part of ours
            filter._ctx = fresh

    def exist_arch(self, arch: int | Arch) -> bool:
        """Whether the filter covers `arch`."""
        with self._lock:
            result = int(lib.seccomp_arch_exist(self._ctx, token(arch)))
        if result != -errno.EEXIST:
            check(result, "Invalid architecture")
        return result == 0

    def add_arch(self, arch: int | Arch) -> None:
        """Cover `arch` too; rules added before do not apply to it."""
        self._call(lib.seccomp_arch_add, token(arch), invalid="Invalid architecture")

    def remove_arch(self, arch: int | Arch) -> None:
        """Cover `arch` no more; the last one cannot be removed."""
        self._call(lib.seccomp_arch_remove, token(arch), invalid="Invalid architecture")

    def load(self) -> None:
        """Put the calling thread under the filter, seccomp_load(3); there is no way back."""
        self._call(lib.seccomp_load)

    def get_attr(self, attr: int) -> int:
        """The value of an attribute (`Attr`), unsigned."""
        value = ffi.new("uint32_t *")
        self._call(lib.seccomp_attr_get, integer(attr, 0, 2**31, "int"), value, invalid="Invalid attribute")
        return int(value[0])

    def set_attr(self, attr: int, value: int) -> None:
        """Set an attribute (`Attr`)."""
        raw = integer(value, -(2**31), 2**31, "int") & 0xFFFFFFFF
        self._call(lib.seccomp_attr_set, integer(attr, 0, 2**31, "int"), raw, invalid="Invalid attribute")

    def syscall_priority(self, syscall: str | int, priority: int) -> None:
        """Test this call earlier (255) or later (0) in a linear program."""
        if integer(priority, -(2**31), 2**31, "int") not in range(256):
            raise ValueError("Syscall priority must be between 0 and 255")
        self._call(lib.seccomp_syscall_priority, _number(syscall), priority)

    def add_rule(self, action: int, syscall: str | int, *args: Arg) -> None:
        """`action` for this call when all `args` hold; rewritten where an architecture multiplexes the
        call.
        """
        self._add(lib.seccomp_rule_add_array, action, syscall, args)

    def add_rule_exactly(self, action: int, syscall: str | int, *args: Arg) -> None:
        """The same without rewriting; an error where it would be needed."""
        self._add(lib.seccomp_rule_add_exact_array, action, syscall, args)

    def export_pfc(self, file: _HasFileno) -> None:
        """Write the filter as readable pseudo code to `file`'s descriptor."""
        self._call(lib.seccomp_export_pfc, file.fileno())

    def export_bpf(self, file: _HasFileno) -> None:
        """Write the filter as the kernel takes it (struct sock_filter, the architecture's byte order)."""
        self._call(lib.seccomp_export_bpf, file.fileno())

    def export_bpf_mem(self) -> memoryview:
        """The same as bytes in memory."""
        fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
        with open(fd, "rb") as file:
            self.export_bpf(file)
            file.seek(0)
            return memoryview(file.read())

    def get_notify_fd(self) -> int:
        """The descriptor on which the calls of the NOTIFY action arrive, after `load()`.

        The library's own: it stays open as long as the process runs, or until it is closed.
        """
        with self._lock:
            result = int(lib.seccomp_notify_fd(self._ctx))
        if result < 0:
            raise RuntimeError("Notifications not enabled/active")
        return result

    def receive_notify(self, fd: int | None = None) -> Notification:
        """Wait for a call of the NOTIFY action; other threads run meanwhile.

        `fd`: a descriptor from another process's filter, instead of this one's.
        """
        listener = self.get_notify_fd() if fd is None else integer(fd, -(2**31), 2**31, "int")
        request = ffi.new("struct seccomp_notif **")
        check(lib.seccomp_notify_alloc(request, ffi.NULL))
        try:
            check(lib.seccomp_notify_receive(listener, request[0]))
            raw = request[0]
            return Notification(
                raw.id, raw.pid, raw.flags, raw.data.nr, raw.data.arch, raw.data.instruction_pointer,
                list(raw.data.args),
            )  # fmt: skip
        finally:
            lib.seccomp_notify_free(request[0], ffi.NULL)

    def respond_notify(self, response: NotificationResponse, fd: int | None = None) -> None:
        """Let the call that waits return what the response says."""
        listener = self.get_notify_fd() if fd is None else integer(fd, -(2**31), 2**31, "int")
        reply = ffi.new("struct seccomp_notif_resp **")
        check(lib.seccomp_notify_alloc(ffi.NULL, reply))
        try:
            raw = reply[0]
            raw.id, raw.val, raw.error, raw.flags = response.id, response.val, response.error, response.flags
            check(lib.seccomp_notify_respond(listener, raw))
        finally:
            lib.seccomp_notify_free(ffi.NULL, reply[0])

    def id_valid_notify(self, notify: Notification, fd: int | None = None) -> bool:
        """Whether the call of a notification still waits; ask after reading what is the process's own."""
        listener = self.get_notify_fd() if fd is None else integer(fd, -(2**31), 2**31, "int")
        return int(lib.seccomp_notify_id_valid(listener, notify.id)) == 0

    def notify_addfd(self, addfd: NotificationAddfd, fd: int | None = None) -> int:
        """Give the process that waits a descriptor of ours; its number there."""
        if not supports("addfd"):
            raise NotImplementedError("this kernel cannot add descriptors: Linux 5.9 or newer is needed")
        return add_descriptor(self.get_notify_fd() if fd is None else fd, addfd)

    def precompute(self) -> None:
        """Generate the program now instead of at `load()` or an export."""
        _need("precompute")
        self._call(lib.precompute)

    def start_transaction(self) -> None:
        """From here on rules are kept all or not at all."""
        _need("transactions")
        self._call(lib.transaction_start)

    def commit_transaction(self) -> None:
        """Keep the rules since `start_transaction()`."""
        _need("transactions")
        self._call(lib.transaction_commit)

    def reject_transaction(self) -> None:
        """Forget the rules since `start_transaction()`."""
        _need("transactions")
        with self._lock:
            lib.transaction_reject(self._ctx)

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
            function, raw, number, len(args), ffi.new("struct scmp_arg_cmp[]", [arg._fields for arg in args])
        )

    def _call(self, function: Callable[..., int], *values: Any, invalid: str | None = None) -> None:
        with self._lock:
            check(function(self._ctx, *values), invalid)


def _need(feature: str) -> None:
    if not supports(feature):
        version = ".".join(map(str, library_version()))
        raise NotImplementedError(f"libseccomp {version} has no {feature}: 2.6 or newer is needed")


def _new_context(action: int) -> Any:
    context = lib.seccomp_init(action)
    if context == ffi.NULL:
        raise RuntimeError("Library error")
    return ffi.gc(context, lib.seccomp_release)


def _action(value: int) -> int:
    return integer(value, -(2**31), 2**31, "int") & 0xFFFFFFFF


def _number(syscall: str | int) -> int:
    if isinstance(syscall, str):
        return int(lib.seccomp_syscall_resolve_name(c_name(syscall)))
    if not isinstance(syscall, int):
        raise TypeError("Syscall must either be an int or str type")
    return integer(syscall, -(2**31), 2**31, "int")
