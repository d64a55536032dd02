"""What passes between a process whose calls wait for a decision and the one that decides; see
seccomp_unotify(2).

A decision must not rest on memory that a call's arguments point to: the process may change it meanwhile.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from seccomp._checks import integer

if TYPE_CHECKING:
    from collections.abc import Sequence

_ADDFD = struct.Struct("=QIIII")  # struct seccomp_notif_addfd
_IOCTL_ADDFD = 0x40182103  # SECCOMP_IOCTL_NOTIF_ADDFD


class Notification:
    """A call that waits: `id`, `pid`, `flags`, `syscall` (its number), `syscall_arch`, `syscall_ip`,
    `syscall_args` (six numbers).
    """

    __slots__ = ("_fields",)

    def __init__(
        self, id: int, pid: int, flags: int, syscall: int, arch: int, ip: int, args: Sequence[int]  # noqa: A002
    ) -> None:
        self._fields = (
            integer(id, 0, 2**64, "uint64_t"),
            integer(pid, 0, 2**32, "uint32_t"),
            integer(flags, 0, 2**32, "uint32_t"),
            integer(syscall, -(2**31), 2**31, "int"),
            integer(arch, 0, 2**32, "uint32_t"),
            integer(ip, 0, 2**64, "uint64_t"),
            tuple(integer(args[index], 0, 2**64, "uint64_t") for index in range(6)),
        )

    @property
    def id(self) -> int:
        """The kernel's number for this wait."""
        return self._fields[0]

    @property
    def pid(self) -> int:
        """The thread, as the listener's pid namespace sees it (0: not at all)."""
        return self._fields[1]

    @property
    def flags(self) -> int:
        return self._fields[2]

    @property
    def syscall(self) -> int:
        return self._fields[3]

    @property
    def syscall_arch(self) -> int:
        return self._fields[4]

    @property
    def syscall_ip(self) -> int:
        return self._fields[5]

    @property
    def syscall_args(self) -> list[int]:
        return list(self._fields[6])


class NotificationResponse:
    """What the call of `notify` returns: `val`, or `-error` if `error` (negative) is not 0; with `flags` 1
    (SECCOMP_USER_NOTIF_FLAG_CONTINUE) it runs as if there were no filter.
    """

    __slots__ = ("_error", "_flags", "_id", "_val")

    def __init__(self, notify: Notification, val: int = 0, error: int = 0, flags: int = 0) -> None:
        self.id = notify.id
        self.val, self.error, self.flags = val, error, flags

    @property
    def id(self) -> int:
        return self._id

    @id.setter  # noqa: A003
    def id(self, value: int) -> None:
        self._id = integer(value, 0, 2**64, "uint64_t")

    @property
    def val(self) -> int:
        return self._val

    @val.setter
    def val(self, value: int) -> None:
        self._val = integer(value, -(2**63), 2**63, "int64_t")

    @property
    def error(self) -> int:
        return self._error

    @error.setter
    def error(self, value: int) -> None:
        self._error = integer(value, -(2**31), 2**31, "int32_t")

    @property
    def flags(self) -> int:
        return self._flags

    @flags.setter
    def flags(self, value: int) -> None:
        self._flags = integer(value, 0, 2**32, "uint32_t")


class NotificationAddfd:
    """A descriptor for the process of `notify`: ours is `srcfd`; `flags` 1 (SECCOMP_ADDFD_FLAG_SETFD) makes
    it `newfd` there, 2 (SECCOMP_ADDFD_FLAG_SEND) also ends the wait with its number; `newfd_flags` 0 or
    O_CLOEXEC.
    """

    __slots__ = ("flags", "id", "newfd", "newfd_flags", "srcfd")

    def __init__(
        self, notify: Notification, flags: int, srcfd: int, newfd: int = 0, newfd_flags: int = 0
    ) -> None:
        self.id = notify.id
        self.flags = integer(flags, 0, 2**32, "uint32_t")
        self.srcfd = integer(srcfd, 0, 2**32, "uint32_t")
        self.newfd = integer(newfd, 0, 2**32, "uint32_t")
        self.newfd_flags = integer(newfd_flags, 0, 2**32, "uint32_t")


def add_descriptor(listener: int, addfd: NotificationAddfd) -> int:
    """Ask the kernel itself: libseccomp 2.5 and 2.6 have no function for it.  RuntimeError as the binding."""
    import fcntl

    request = _ADDFD.pack(addfd.id, addfd.flags, addfd.srcfd, addfd.newfd, addfd.newfd_flags)
    try:
        return int(fcntl.ioctl(listener, _IOCTL_ADDFD, bytearray(request)))  # a mutable one: gives the result
    except OSError as error:
        raise RuntimeError(f"Library error (errno = {-(error.errno or 0)})") from error
