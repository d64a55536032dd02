"""Run untrusted programs on Linux in a jail made of kernel primitives.

    >>> import jail
    >>> jail.run(["/bin/true"]).ok
    True

Names are imported when they are first used, so that what is not used costs nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jail import runners
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
    "jail.runners": (),
    "jail.spec": ("Bind", "Jail", "Tmpfs"),
    "jail.streams": ("DEVNULL", "PIPE", "STDOUT"),
    "jail.workdir": ("Workdir",),
    "rlimits": ("INFINITY", "Limits"),
}


def _importer(space: dict[str, Any], homes: dict[str, tuple[str, ...]]) -> Callable[[str], object]:
    """The `__getattr__` of the module with that namespace: a name is imported from its home when it is first
    used. Where nothing is used of a home, it is itself what is used."""

    def get(name: str) -> object:
        import importlib

        own = f"{space['__name__']}.{name}"
        if homes.get(own) == ():
            return importlib.import_module(own)  # this binds it
        home = next((home for home, names in homes.items() if name in names), None)
        if home is None:
            raise AttributeError(f"module {space['__name__']!r} has no attribute {name!r}")
        value = space[name] = getattr(importlib.import_module(home), name)
        return value

    return get


__getattr__ = _importer(globals(), _HOMES)


def __dir__() -> list[str]:
    return sorted((*globals(), *__all__))
