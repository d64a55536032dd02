"""Run untrusted programs on Linux in a jail made of kernel primitives.

    >>> import jail
    >>> jail.run(["/bin/true"]).ok
    True

Names are imported when they are first used, so that what is not used costs nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jail.aio import AsyncExec, AsyncProcess, run_async, start_async
    from jail.build import build_plan
    from jail.confinement import confine
    from jail.errors import (
        ConfineError,
        CopyError,
        JailError,
        LaunchError,
        PayloadFailed,
        RemoteError,
        SpecError,
        UnsupportedError,
    )
    from jail.executor import Executor
    from jail.host import Host
    from jail.outcome import Outcome
    from jail.plan import Plan
    from jail.pool import Pool
    from jail.process import Exec, Process, TimeoutExpired, run, start
    from jail.remote import call
    from jail.requests import Event, Stats
    from jail.spec import Bind, Jail, Tmpfs
    from jail.streams import DEVNULL, PIPE, STDOUT
    from jail.workdir import Workdir
    from rlimits import INFINITY, Limits

__version__ = "0.1.0"

__all__ = [
    "DEVNULL",
    "INFINITY",
    "PIPE",
    "STDOUT",
    "AsyncExec",
    "AsyncProcess",
    "Bind",
    "ConfineError",
    "CopyError",
    "Event",
    "Exec",
    "Executor",
    "Host",
    "Jail",
    "JailError",
    "LaunchError",
    "Limits",
    "Outcome",
    "PayloadFailed",
    "Plan",
    "Pool",
    "Process",
    "RemoteError",
    "SpecError",
    "Stats",
    "TimeoutExpired",
    "Tmpfs",
    "UnsupportedError",
    "Workdir",
    "build_plan",
    "call",
    "confine",
    "run",
    "run_async",
    "runners",
    "start",
    "start_async",
]

_HOMES = {
    "jail.aio": ("AsyncExec", "AsyncProcess", "run_async", "start_async"),
    "jail.build": ("build_plan",),
    "jail.confinement": ("confine",),
    "jail.errors": (
        "ConfineError",
        "CopyError",
        "JailError",
        "LaunchError",
        "PayloadFailed",
        "RemoteError",
        "SpecError",
        "UnsupportedError",
    ),
    "jail.executor": ("Executor",),
    "jail.host": ("Host",),
    "jail.outcome": ("Outcome",),
    "jail.plan": ("Plan",),
    "jail.pool": ("Pool",),
    "jail.process": ("Exec", "Process", "TimeoutExpired", "run", "start"),
    "jail.remote": ("call",),
    "jail.requests": ("Event", "Stats"),
    "jail.spec": ("Bind", "Jail", "Tmpfs"),
    "jail.streams": ("DEVNULL", "PIPE", "STDOUT"),
    "jail.workdir": ("Workdir",),
    "rlimits": ("INFINITY", "Limits"),
}


def __getattr__(name: str) -> object:
    import importlib

    if name == "runners":  # a module of its own: this binds it
        return importlib.import_module("jail.runners")
    home = next((home for home, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module 'jail' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted((*globals(), *__all__))
