"""Arguments that say which of many things a call does (`ioctl`'s request, `socket`'s family), and the names
of numbers, for people.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import resource
import signal
import socket
import stat
import termios
from typing import NamedTuple

_INT = 0xFFFFFFFF


def _named(module: object, *prefixes: str) -> dict[str, int]:
    """A module's constants, those first that are to be preferred where two mean the same."""
    names = sorted((name for name in dir(module) if name.startswith(prefixes)), key=lambda n: ("64" in n, n))
    return {name: int(getattr(module, name)) & _INT for name in names}


_PRCTL = {  # <linux/prctl.h>
    "PR_SET_PDEATHSIG": 1, "PR_GET_PDEATHSIG": 2, "PR_GET_DUMPABLE": 3, "PR_SET_DUMPABLE": 4,
    "PR_GET_KEEPCAPS": 7, "PR_SET_KEEPCAPS": 8, "PR_SET_NAME": 15, "PR_GET_NAME": 16, "PR_GET_SECCOMP": 21,
    "PR_SET_SECCOMP": 22, "PR_CAPBSET_READ": 23, "PR_CAPBSET_DROP": 24, "PR_GET_SECUREBITS": 27,
    "PR_SET_SECUREBITS": 28, "PR_SET_TIMERSLACK": 29, "PR_GET_TIMERSLACK": 30, "PR_SET_MM": 35,
    "PR_SET_CHILD_SUBREAPER": 36, "PR_GET_CHILD_SUBREAPER": 37, "PR_SET_NO_NEW_PRIVS": 38,
    "PR_GET_NO_NEW_PRIVS": 39, "PR_GET_TID_ADDRESS": 40, "PR_SET_THP_DISABLE": 41, "PR_GET_THP_DISABLE": 42,
    "PR_CAP_AMBIENT": 47, "PR_GET_SPECULATION_CTRL": 52, "PR_SET_SPECULATION_CTRL": 53,
    "PR_SET_IO_FLUSHER": 57, "PR_GET_IO_FLUSHER": 58, "PR_SET_SYSCALL_USER_DISPATCH": 59,
    "PR_SCHED_CORE": 62, "PR_SET_MDWE": 65, "PR_GET_MDWE": 66, "PR_SET_VMA": 0x53564D41,
    "PR_SET_PTRACER": 0x59616D61,
}  # fmt: skip
_CLONE = {  # <linux/sched.h>
    "CLONE_VM": 0x100, "CLONE_FS": 0x200, "CLONE_FILES": 0x400, "CLONE_SIGHAND": 0x800, "CLONE_PIDFD": 0x1000,
    "CLONE_PTRACE": 0x2000, "CLONE_VFORK": 0x4000, "CLONE_PARENT": 0x8000, "CLONE_THREAD": 0x10000,
    "CLONE_NEWNS": 0x20000, "CLONE_SYSVSEM": 0x40000, "CLONE_SETTLS": 0x80000,
    "CLONE_PARENT_SETTID": 0x100000, "CLONE_CHILD_CLEARTID": 0x200000, "CLONE_UNTRACED": 0x800000,
    "CLONE_CHILD_SETTID": 0x1000000, "CLONE_NEWCGROUP": 0x2000000, "CLONE_NEWUTS": 0x4000000,
    "CLONE_NEWIPC": 0x8000000, "CLONE_NEWUSER": 0x10000000, "CLONE_NEWPID": 0x20000000,
    "CLONE_NEWNET": 0x40000000, "CLONE_IO": 0x80000000,
}  # fmt: skip
_FCNTL = {
    name: value
    for name, value in _named(fcntl, "F_").items()
    if not name.startswith("F_SEAL_") and name not in ("F_RDLCK", "F_WRLCK", "F_UNLCK", "F_EXLCK", "F_SHLCK")
}
_PERSONALITY = {"PER_LINUX": 0, "PER_LINUX32": 8, "UNAME26": 0x20000, "ADDR_NO_RANDOMIZE": 0x40000}


CLONE_THREAD = _CLONE["CLONE_THREAD"]


class Selector(NamedTuple):
    """An argument that selects, by which of its bits, and what its values are called."""

    arg: int
    mask: int
    names: dict[str, int]


_SOCKET = (
    Selector(0, _INT, _named(socket, "AF_")),
    Selector(1, 0xF, {n: v for n, v in _named(socket, "SOCK_").items() if v < 16}),  # the rest are flags
    Selector(2, _INT, {}),
)
SELECTORS: dict[str, tuple[Selector, ...]] = {
    "clone": (Selector(0, 0xFFFFFF00, {}),),  # without the signal at the child's end
    "fcntl": (Selector(1, _INT, _FCNTL),),
    "ioctl": (Selector(1, _INT, _named(termios, "TCG", "TCS", "TCX", "TCF", "TIOC", "FIO")),),
    "personality": (Selector(0, _INT, _PERSONALITY),),
    "prctl": (Selector(0, _INT, _PRCTL),),
    "socket": _SOCKET,
    "socketpair": _SOCKET,
}


def meanings(call: str, arg: int, values: tuple[int, ...], mask: int = _INT) -> str:
    """What these values of an argument, of which the bits of `mask` are looked at, are called: `AF_INET,
    AF_INET6`; "" where none has a name.
    """
    selector = next((each for each in SELECTORS.get(call, ()) if each.arg == arg), None)
    if selector is None or selector.mask & ~mask:
        return ""
    if call == "clone":
        return ", ".join(dict.fromkeys(map(_child, values)))
    known: dict[int, str] = {}
    for name, value in selector.names.items():
        known.setdefault(value, name)
    if not any(value in known for value in values):
        return ""
    return ", ".join(known.get(value, f"{value:#x}") for value in values)


def _child(flags: int) -> str:
    """What a clone makes, from its flags."""
    if flags & CLONE_THREAD:
        return "a thread"
    return "a process that shares memory (vfork)" if flags & _CLONE["CLONE_VM"] else "a process"


def number(text: str) -> int:
    """The number that a text stands for: `3`, `-1`, `0x5412`, `0o644`, a constant's name, or several of these
    with `|` between them.  ValueError if it is none.
    """
    value = 0
    for part in text.split("|"):
        value |= _one(part.strip())
    return value % 2**64


def _one(word: str) -> int:
    constants = {**_PRCTL, **_CLONE, **_PERSONALITY}
    if word in constants:
        return constants[word]
    if word.isidentifier() and word.isupper():
        for module in (os, socket, fcntl, termios, signal, mmap, stat, errno, resource):
            value = getattr(module, word, None)
            if isinstance(value, int):
                return int(value)
    try:
        return int(word, 0)
    except ValueError:
        raise ValueError(f"{word!r} is no number and no constant that is known here") from None
