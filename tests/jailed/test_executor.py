"""`call` and `Executor`: functions and commands, each in a jail of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.scripts import Scripts

FUNCTIONS = (Path(__file__).with_name("functions.py")).read_text()
PRELUDE = """
sys.path.insert(0, sys.argv[1])
import functions as f
def attempt(*args, **options):
    try:
        return jail.call(*args, **options)
    except Exception as error:
        return [type(error).__name__, str(error)]
"""


@pytest.fixture
def found(scripts: Scripts, place: Path) -> Any:
    """What code that has the functions answers."""
    (place / "functions.py").write_text(FUNCTIONS)
    return lambda code, **options: scripts.answer(PRELUDE + code, str(place), **options)


def test_a_function_runs_in_a_jail(found: Any) -> None:
    assert found("""
answer(sum=jail.call(f.add, 2, 3), default=jail.call(f.add, 2), recursive=jail.call(f.factorial, 20),
       facts=jail.call(f.facts, (1, 2), "ü\\x00", None, stderr=DEVNULL))
""") == {
        "sum": 5,
        "default": 3,
        "recursive": 2432902008176640000,
        "facts": {
            "args": [[1, 2], "ü\0", None],
            "cwd": "/tmp",
            "root": 4.0,
            "base": "b",
            "home": False,
            "uid": 1000,
        },
    }


def test_exceptions_come_back_as_text(found: Any) -> None:
    answer = found("""
try:
    jail.call(f.fails, "it\\x1b[31m", stderr=DEVNULL)
except jail.RemoteError as error:
    answer(type=error.type, message=error.message, traceback=error.traceback, notes=error.__notes__,
           text=str(error), no_json=attempt(f.no_json), exits=attempt(f.exits))
""")
    assert (answer["type"], answer["message"]) == ("LookupError", "about it\\x1b[31m")
    assert 'raise LookupError(f"about {text}")' in answer["traceback"]
    assert "\x1b" not in "".join(answer["notes"]) + answer["traceback"]
    assert answer["text"] == "LookupError: about it\\x1b[31m"
    assert answer["no_json"] == ["RemoteError", "TypeError: Object of type set is not JSON serializable"]
    assert answer["exits"] == ["RemoteError", "SystemExit: 3"]


def test_what_cannot_be_sent(found: Any) -> None:
    answer = found("""
answer(told=[attempt(what)[1] for what in (lambda: 1, len, f.closure(), f.uses_constant, Jail)],
       argument=attempt(f.add, lambda: 1), foreign=attempt(f.add, Jail(), 1))
""")
    assert answer["told"] == [
        "call: a lambda has no source of its own; write a def",
        "call: len is no Python function; write a def around it",
        "call: closure.<locals>.inner uses variables of the function around it (secret); "
        "pass them as arguments",
        "call: uses_constant uses CONSTANT of its module; pass it as an argument, or define it inside",
        "call: Jail is no Python function; write a def around it",
    ]
    assert answer["argument"][0] == "SpecError"
    assert "the arguments cannot be pickled" in answer["argument"][1]
    assert answer["foreign"] == ["RemoteError", "ModuleNotFoundError: No module named 'jail'"]


def test_jails_that_do_not_end_by_themselves(found: Any) -> None:
    assert found("""
answer(sleeps=attempt(f.sleeps, jail=Jail().with_limits(timeout="1s")), quits=attempt(f.quits, 5),
       large=attempt(f.too_much), fits=len(attempt(f.too_much, max_result=4 << 20)),
       python=attempt(f.add, 1, python="/no/python", stderr=DEVNULL)[0])
""") == {
        "sleeps": ["PayloadFailed", "the payload ran out of its wall time (signal 15)"],
        "quits": ["PayloadFailed", "the payload exited with status 5"],
        "large": ["PayloadFailed", "the payload put out too much"],
        "fits": 3_000_000,
        "python": "PayloadFailed",
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "{",
        "[1]",
        '{"result": 1, "error": 2}',
        '{"error": ["a", "b"]}',
        '{"error": [1, 2, 3]}',
        "\\xff",
        "cos\\nsystem\\n(S'true'\\ntR.",
    ],
)
def test_a_forged_result_is_no_result(found: Any, text: str) -> None:
    assert found(f"answer(got=attempt(f.forged, {text!r}), deep=attempt(f.deep))") == {
        "got": ["RemoteError", "no result: what the jail wrote is not what a function's result looks like"],
        "deep": ["RemoteError", "no result: what the jail wrote is not what a function's result looks like"],
    }


def test_the_executor_runs_commands_and_functions(found: Any) -> None:
    assert found("""
from concurrent.futures import as_completed, wait
with jail.Executor(Jail().with_env(NAME="value"), max_workers=3) as executor:
    commands = [executor.submit(["/bin/sh", "-c", f"echo $NAME {n}; exit {n}"], text=True) for n in range(6)]
    sums = executor.map(f.add, range(4), range(4))
    failed = executor.submit(f.fails, "x")
    checked = executor.submit(["/bin/false"], check=True)
    outs = sorted(future.result().stdout for future in as_completed(commands))
    codes = [future.result().exit_code for future in commands]
    answer(outs=outs, codes=codes, sums=list(sums), failed=str(failed.exception()),
           checked=type(checked.exception()).__name__)
try:
    executor.submit(["true"])
except RuntimeError:
    pass
""") == {
        "outs": [f"value {n}\n" for n in range(6)],
        "codes": [0, 1, 2, 3, 4, 5],
        "sums": [0, 2, 4, 6],
        "failed": "LookupError: about x",
        "checked": "PayloadFailed",
    }


def test_the_executor_of_an_event_loop(found: Any) -> None:
    assert found("""
import asyncio
async def main():
    with jail.Executor(max_workers=2) as executor:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(executor, f.add, n, n) for n in range(3)))
answer(sums=asyncio.run(main()))
""") == {"sums": [0, 2, 4]}


def test_the_executor_is_stopped_with_what_runs(found: Any) -> None:
    assert found("""
executor = jail.Executor(max_workers=2)
reader, writer = os.pipe()
runs = executor.submit(["/bin/sh", "-c", "echo >&2; trap '' TERM; sleep 1000"], stdout=DEVNULL, stderr=writer)
call = executor.submit(f.sleeps)
waits = executor.submit(["/bin/true"])
os.read(reader, 1)
executor.shutdown(cancel_futures=True)
answer(runs=runs.result().status, call=type(call.exception()).__name__, waits=waits.cancelled())
""") == {"runs": "killed", "call": "PayloadFailed", "waits": True}


def test_an_executor_of_a_pool(found: Any) -> None:
    assert found("""
with jail.Pool(runner=jail.runners.python()) as pool, jail.Executor(pool) as executor:
    sums = list(executor.map(f.add, range(4), range(4)))
    program = executor.submit(["name", "a"], code="import sys; print(sys.argv)", text=True).result().stdout
with jail.Pool(runner=jail.runners.node()) as pool:
    node = attempt(f.add, 1, jail=pool)[0]
answer(sums=sums, program=program, node=node, jail=attempt(f.add, 1, jail=5)[0])
""") == {"sums": [0, 2, 4, 6], "program": "['name', 'a']\n", "node": "SpecError", "jail": "SpecError"}
