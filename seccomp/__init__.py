"""Seccomp for Python: libseccomp's own Python interface, and policies above it.

`load()` gives the program of a shipped profile or a policy file.  Names are imported when they are first
used, so that loading a shipped profile costs nothing more than reading a file.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from seccomp._errors import LibraryMissingError, PolicyError, ThreadError
    from seccomp.arch import Arch, Attr, resolve_syscall, system_arch
    from seccomp.combine import Difference, diff
    from seccomp.disassembler import disassemble
    from seccomp.evaluator import BadProgramError, evaluate
    from seccomp.explanation import Explanation, explain
    from seccomp.grouping import groups, members
    from seccomp.installer import install
    from seccomp.libseccomp import (
        ALLOW,
        EQ,
        ERRNO,
        GE,
        GT,
        KILL,
        KILL_PROCESS,
        LE,
        LOG,
        LT,
        MASKED_EQ,
        NE,
        NOTIFY,
        TRACE,
        TRAP,
        Arg,
        SyscallFilter,
        __version__,
        get_api,
        library_version,
        set_api,
        supports,
    )
    from seccomp.notify import Notification, NotificationAddfd, NotificationResponse
    from seccomp.policy import Case, Condition, Policy, Rule, action_name, action_number
    from seccomp.program import Program, load, profiles

_HOME = {
    "_errors": ("LibraryMissingError", "PolicyError", "ThreadError"),
    "arch": ("Arch", "Attr", "resolve_syscall", "system_arch"),
    "combine": ("Difference", "diff"),
    "disassembler": ("disassemble",),
    "evaluator": ("BadProgramError", "evaluate"),
    "explanation": ("Explanation", "explain"),
    "grouping": ("groups", "members"),
    "installer": ("install",),
    "libseccomp": (
        "ALLOW", "EQ", "ERRNO", "GE", "GT", "KILL", "KILL_PROCESS", "LE", "LOG", "LT", "MASKED_EQ",
        "NE", "NOTIFY", "TRACE", "TRAP", "Arg", "SyscallFilter", "__version__",
        "get_api", "library_version", "set_api", "supports",
    ),
    "notify": ("Notification", "NotificationAddfd", "NotificationResponse"),
    "policy": ("Case", "Condition", "Policy", "Rule", "action_name", "action_number"),
    "program": ("Program", "load", "profiles"),
}  # fmt: skip

__all__ = [
    "ALLOW",
    "EQ",
    "ERRNO",
    "GE",
    "GT",
    "KILL",
    "KILL_PROCESS",
    "LE",
    "LOG",
    "LT",
    "MASKED_EQ",
    "NE",
    "NOTIFY",
    "TRACE",
    "TRAP",
    "Arch",
    "Arg",
    "Attr",
    "BadProgramError",
    "Case",
    "Condition",
    "Difference",
    "Explanation",
    "LibraryMissingError",
    "Notification",
    "NotificationAddfd",
    "NotificationResponse",
    "Policy",
    "PolicyError",
    "Program",
    "Rule",
    "SyscallFilter",
    "ThreadError",
    "__version__",
    "action_name",
    "action_number",
    "diff",
    "disassemble",
    "evaluate",
    "explain",
    "get_api",
    "groups",
    "install",
    "library_version",
    "load",
    "members",
    "profiles",
    "resolve_syscall",
    "set_api",
    "supports",
    "system_arch",
]


def __getattr__(name: str) -> object:
    for module, names in _HOME.items():
        if name in names:
            # Not importlib.import_module(): it would load `warnings` for it.
            value: object = getattr(__import__(f"seccomp.{module}", fromlist=[name]), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'seccomp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
