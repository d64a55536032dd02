"""`call`: a Python function in a jail. In goes its source, with pickled arguments; out comes JSON, and
nothing that hostile code wrote is ever unpickled or evaluated."""

from __future__ import annotations

import builtins
import inspect
import json
import pickle
import textwrap
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

from jail.errors import RemoteError, SpecError
from jail.process import run
from jail.spec import Jail
from jail.started import Place
from jail.streams import PIPE, Stream

MAX_RESULT = 1 << 20
PYTHON = "python3"

INSIDE = """
import json, linecache, os, pickle, sys, traceback
out = os.dup(1)
os.dup2(2, 1)
try:
    source, name, arguments = pickle.load(sys.stdin.buffer)
    file = "<jailed " + name + ">"
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    space = {"__name__": "__jailed__"}
    exec(compile(source, file, "exec"), space)
    text = json.dumps({"result": space[name](*pickle.loads(arguments))})
except BaseException as error:
    text = json.dumps({"error": [type(error).__qualname__, str(error), traceback.format_exc()]})
with open(out, "w") as file:
    file.write(text)
"""


def call(
    func: Callable[..., Any],
    /,
    *args: Any,
    jail: Jail | Place | None = None,
    timeout: float | None = None,
    stderr: Stream = None,
    python: str = PYTHON,
    max_result: int = MAX_RESULT,
) -> Any:
    """Run a function in a jail and return what it returned, as JSON has it: tuples become lists.

    The function is sent as its source and must stand alone: written with `def` in a file, without variables
    of a function around it; of its module's names it may use imported modules, which are imported there anew.
    The arguments are pickled, by classes that `python`, an interpreter inside the jail (in a Pool with a
    runner, the one that waits there), can import. What it prints goes to `stderr`. `timeout` is as in `run`.

    Raises RemoteError where the function raised, or its result is no JSON; PayloadFailed where the jail did
    not come to an end of its own (limits, signals, more than `max_result` bytes); SpecError for a function or
    arguments that cannot be sent, and what `run` raises.
    """
    source, name = source_of(func)
    try:
        data = pickle.dumps((source, name, pickle.dumps(args)))
    except Exception as error:  # whatever the arguments' own code raises
        raise SpecError(f"the arguments cannot be pickled: {error}", "call") from error
    warm = runner_of(jail) is not None
    outcome = run(
        ["call"] if warm else [python, "-I", "-c", INSIDE],
        code=INSIDE if warm else None,
        jail=jail,
        input=data,
        stdout=PIPE,
        stderr=stderr,
        timeout=timeout,
        max_output=max_result,
    )
    return result_of(outcome.check().stdout)


def runner_of(jail: Jail | Place | None) -> object:
    """The pool's runner, if there is one: Python waits already. Raises SpecError for another."""
    runner = getattr(jail, "runner", None)
    if runner is not None and runner.name != "python":
        raise SpecError(f"a function needs jail.runners.python, not a pool of {runner.name!r}", "call")
    return runner


def source_of(func: Callable[..., Any]) -> tuple[str, str]:
    """The function's source, the imports that it needs before it, and its name. Raises SpecError."""
    what = getattr(func, "__qualname__", repr(func))
    if not isinstance(func, FunctionType):
        raise SpecError(f"{what} is no Python function; write a def around it", "call")
    if func.__name__ == "<lambda>":
        raise SpecError("a lambda has no source of its own; write a def", "call")
    if func.__closure__:
        names = ", ".join(func.__code__.co_freevars)
        raise SpecError(
            f"{what} uses variables of the function around it ({names}); pass them as arguments", "call"
        )
    try:
        source = textwrap.dedent(inspect.getsource(func))
    except (OSError, TypeError):
        raise SpecError(f"the source of {what} is not to be had; define it in a file", "call") from None
    return "".join(imports_of(func, what)) + source, func.__name__


def imports_of(func: FunctionType, what: str) -> list[str]:
    """Lines that import the modules which the function knows by its module's names."""
    lines = []
    for name, value in inspect.getclosurevars(func).globals.items():
        if isinstance(value, ModuleType):
            lines.append(
                f"import {value.__name__} as {name}\n"
                if "." in value.__name__ or value.__name__ != name
                else f"import {name}\n"
            )
        elif value is not func and getattr(builtins, name, None) is not value:
            raise SpecError(
                f"{what} uses {name} of its module; pass it as an argument, or define it inside", "call"
            )
    return lines


def result_of(text: bytes) -> Any:
    """The value in what the jail wrote. Raises RemoteError."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict) and found.keys() == {"result"}:
        return found["result"]
    error = found.get("error") if isinstance(found, dict) else None
    if isinstance(error, list) and len(error) == 3 and all(isinstance(part, str) for part in error):
        raise RemoteError(*map(printable, error))
    raise RemoteError("no result", "what the jail wrote is not what a function's result looks like")


def printable(text: str) -> str:
    """Without what a terminal would obey."""
    return "".join(char if char.isprintable() or char in "\n\t" else f"\\x{ord(char):02x}" for char in text)
