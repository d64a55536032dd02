"""Runners: interpreters that a `Pool` starts ahead, each in a jail of its own, where it waits for its one
job.

A runner is a command that runs in the jail, with the number of a descriptor, its channel, as a further word.
On the channel it says that it is ready, takes one job, says that it has, and closes the channel before
anything of the job runs: whatever the job does to the interpreter that it shares with the runner, there is
nobody left to tell. See jail/standby.py for the other side.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from jail._record import record
from jail.errors import SpecError

FOLDER = os.path.dirname(os.path.abspath(__file__))


@record(frozen=True)
class Runner:
    """What a `Pool` keeps warm; made by `python` and `node`.

    `command` is run in the jail, the channel's number, `receive` or `pipes`, and `imports` added. `receives`:
    it can be given descriptors on the channel, so that a job gets the very streams that the caller names;
    otherwise the streams are pipes that are made ahead.
    """

    name: str
    command: tuple[str, ...]
    imports: tuple[str, ...] = ()
    receives: bool = False


def python(imports: Iterable[str] = (), *, python: str = "python3") -> Runner:
    """CPython (3.9 or later, looked up in the jail), started as `python3 -I`, with these modules imported.

    A job runs as `__main__`, as if it were a script's. What it does not get: the script's folder on
    `sys.path` (`-I`), and a start of its own: `sys.orig_argv` and the command line in /proc are the runner's.
    """
    return Runner("python", (python, "-I", "-c", _text("host.py")), _names(imports), receives=True)


def node(imports: Iterable[str] = (), *, node: str = "node") -> Runner:
    """Node (18 or later, looked up in the jail), with these modules required.

    A job's text is a CommonJS module. Node cannot receive descriptors: a job gets its streams from the pool
    where they are pipes (`input`, `PIPE`, `capture_output`) and stdin may be DEVNULL or empty; otherwise an
    interpreter is started for it, which takes as long as that takes.
    """
    return Runner("node", (node, "-e", _text("host.js")), _names(imports))


def _text(name: str) -> str:
    with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
        return file.read()


def _names(imports: Iterable[str]) -> tuple[str, ...]:
    if isinstance(imports, str):
        raise SpecError(f"expected a list of names, got the text {imports!r}", "imports")
    names = tuple(imports)
    for name in names:
        if not name or "\0" in name:
            raise SpecError(f"expected the name of a module, got {name!r}", "imports")
    return names
