"""Jails under asyncio and trio: streams with back-pressure, cancellation after which nothing is left."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from jailed.patience import SLOWNESS
from support.features import no_memory_cgroup
from support.launcher import Launcher
from support.scripts import Scripts

PRELUDE = """
import anyio
def left_over():
    try:
        return os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
"""


@pytest.fixture(params=["asyncio", "trio"])
def found(request: pytest.FixtureRequest, scripts: Scripts, packages: Path) -> Any:
    """Runs the body of an async function under an event loop; what it answers."""

    def run(body: str, *arguments: str) -> dict[str, Any]:
        code = PRELUDE + "async def main():\n" + "".join(f"    {line}\n" for line in body.splitlines())
        code += f"anyio.run(main, backend={request.param!r})\n"
        return scripts.answer(code, *arguments, env={"PYTHONPATH": os.fspath(packages)})

    return run


def test_run_async_is_run(found: Any) -> None:
    assert found("""
words = ["/bin/sh", "-c", "cat; echo err >&2; exit 3"]
done = await jail.run_async(words, input="ü", capture_output=True, text=True)
none = await jail.run_async(words, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)
try:
    await jail.run_async(["/bin/false"], check=True)
except jail.PayloadFailed as error:
    answer(done=[done.stdout, done.stderr, done.exit_code], none=none.stdout, failed=error.outcome.exit_code)
""") == {"done": ["ü", "err\n", 3], "none": None, "failed": 1}


def test_much_goes_both_ways_at_once(found: Any) -> None:
    assert found("""
data = os.urandom(1 << 20) * 3
done = await jail.run_async(["/bin/cat"], input=data, capture_output=True)
answer(same=done.stdout == data)
""") == {"same": True}


def test_more_output_than_allowed_ends_the_jail(found: Any) -> None:
    assert found("""
done = await jail.run_async(["/usr/bin/yes"], capture_output=True, max_output=1000)
answer(status=done.status, length=len(done.stdout))
""") == {"status": "output-exceeded", "length": 1000}


def test_streams(found: Any) -> None:
    assert found("""
async with await jail.start_async(["/bin/cat"], stdin=PIPE, stdout=PIPE) as process:
    await process.stdin.send(b"one")
    one = await process.stdout.receive()
    await process.stdin.aclose()
    try:
        await process.stdout.receive()
    except anyio.EndOfStream:
        end = True
    waited = await process.wait()
try:
    await process.stdout.receive()
except anyio.ClosedResourceError:
    closed = True
same = waited is process.outcome
answer(one=one.decode(), end=end, closed=closed, status=waited.status, same=same)
""") == {"one": "one", "end": True, "closed": True, "status": "exited", "same": True}


def test_sending_waits_until_it_is_taken(found: Any) -> None:
    """A jail that does not read does not fill the caller's memory, and one that has gone is told of."""
    assert found("""
sent = 0
async with await jail.start_async(["/bin/sleep", "1000"], stdin=PIPE) as process:
    with anyio.move_on_after(1) as scope:
        while True:
            await process.stdin.send(bytes(1 << 16))
            sent += 1 << 16
    process.kill()
    await process.wait()
    try:
        await process.stdin.send(b"x")
    except anyio.BrokenResourceError:
        broken = True
answer(cancelled=scope.cancelled_caught, held=sent <= 1 << 17, broken=broken)
""") == {"cancelled": True, "held": True, "broken": True}


@pytest.mark.parametrize(
    "act",
    [
        "await jail.run_async(words)",
        "await jail.run_async(words, capture_output=True)",
        "await jail.run_async(words, input=bytes(1 << 20))",
        "async with await jail.start_async(words) as process: await anyio.sleep_forever()",
        "async with await jail.start_async(words, stdout=PIPE) as process: await process.stdout.receive()",
        "async with await jail.start_async(words) as process: pass",
    ],
)
def test_a_cancelled_call_comes_back_when_the_jail_is_gone(found: Any, act: str) -> None:
    """Gone and reaped, though the command would not end by itself nor by TERM."""
    assert found(f"""
words = ["/bin/sh", "-c", "trap '' TERM; setsid sleep 1000 & sleep 1000"]
await jail.run_async(["/bin/true"])  # which leaves the serving jailer
before = len(os.listdir("/proc/self/fd"))
with anyio.move_on_after(0.5) as scope:
    {act}
answer(cancelled=scope.cancelled_caught, left=left_over(), more=len(os.listdir("/proc/self/fd")) - before)
""") == {"cancelled": True, "left": None, "more": 0}


def test_a_block_that_fails_kills_the_jail(found: Any) -> None:
    assert found("""
try:
    async with await jail.start_async(["/bin/sleep", "1000"]) as process:
        raise KeyError
except KeyError:
    answer(status=process.outcome.status, left=left_over())
""") == {"status": "killed", "left": None}


def test_many_at_once_and_many_that_wait_for_one(found: Any) -> None:
    assert found("""
seen, waited = [], []
async def work(number):
    done = await jail.run_async(["/bin/echo", str(number)], capture_output=True, text=True)
    seen.append(int(done.stdout))
async with anyio.create_task_group() as group:
    for number in range(20):
        group.start_soon(work, number)
async with await jail.start_async(["/bin/cat"], stdin=PIPE) as process:
    async with anyio.create_task_group() as group:
        async def wait():
            waited.append((await process.wait()).status)
        for _ in range(3):
            group.start_soon(wait)
        await process.stdin.aclose()
answer(seen=sorted(seen) == list(range(20)), waited=waited)
""") == {"seen": True, "waited": ["exited"] * 3}


def test_what_cannot_start(found: Any) -> None:
    assert found("""
box = Jail().with_bind("/no/such/source", "/x")
steps = []
try:
    await jail.run_async(["true"], jail=box, stderr=DEVNULL)
except jail.LaunchError as error:
    steps.append(error.step)
try:
    async with await jail.start_async(["true"], jail=box, stderr=DEVNULL) as process:
        await process.wait()
except jail.LaunchError as error:
    steps.append(error.step)
answer(steps=steps, left=left_over())
""") == {"steps": ["source", "source"], "left": None}


def test_asyncio_alone(scripts: Scripts, packages: Path) -> None:
    """asyncio's own means end jails too: a time limit, a cancelled task, the end of the loop."""
    assert scripts.answer(PRELUDE + """
import asyncio
async def main():
    seen = []
    try:
        async with asyncio.timeout(0.3):
            await jail.run_async(["/bin/sleep", "1000"])
    except TimeoutError:
        seen.append(left_over())
    task = asyncio.create_task(jail.run_async(["/bin/sleep", "1000"]))
    await asyncio.sleep(0.2)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        seen.append(left_over())
    both = await asyncio.gather(*(jail.run_async(["/bin/echo", "x"], capture_output=True) for _ in range(4)))
    global left_running
    left_running = asyncio.create_task(jail.run_async(["/bin/sleep", "1000"]))
    await asyncio.sleep(0.2)
    return seen, [done.stdout.decode() for done in both]
seen, both = asyncio.run(main())
answer(seen=[*seen, left_over()], both=both)
""", env={"PYTHONPATH": os.fspath(packages)}) == {"seen": [None, None, None], "both": ["x\n"] * 4}


def test_without_anyio_the_remedy_is_named(scripts: Scripts) -> None:
    assert scripts.answer("""
try:
    jail.start_async
except jail.UnsupportedError as error:
    answer(needs=error.needs, remedy=error.remedy, sync=jail.run(["/bin/true"]).ok)
""") == {
        "needs": "the package anyio (No module named 'anyio')",
        "remedy": "pip install 'pyjail-linux[anyio]'",
        "sync": True,
    }


@pytest.mark.parametrize("runner", ["python", "node"])
def test_pools(found: Any, runner: str) -> None:
    """Jails that wait for their one job, also more than wait, and a job that is cancelled."""
    if runner == "node" and SLOWNESS > 1:
        pytest.skip("node takes longer to start here than a pool waits")
    code = {"python": "import sys; sys.stdout.write(input())", "node": "process.stdin.pipe(process.stdout)"}
    assert found(f"""
code = {code[runner]!r}
outs = []
with jail.Pool(Jail(), 2, runner=jail.runners.{runner}()) as pool:
    async def one():
        done = await pool.run_async(["a"], code=code, input="x", capture_output=True, text=True)
        outs.append(done.stdout)
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(one)
    async with await pool.start_async(["a"], code=code, stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
        await process.stdin.send(b"y\\n")
        out = await process.stdout.receive()
        process.kill()
    with anyio.move_on_after(0.3) as scope:
        await pool.run_async(["a"], code="while (1) 0" if {runner!r} == "node" else "while 1: 0", input=b"",
                             capture_output=True)
answer(outs=outs, out=out.decode().strip(), cancelled=scope.cancelled_caught, left=left_over())
""") == {"outs": ["x"] * 5, "out": "y", "cancelled": True, "left": None}


def test_usage_and_events(found: Any) -> None:
    assert found("""
words = ["/bin/sh", "-c", "echo ready; read line; exit 3"]
async with await jail.start_async(words, stdin=PIPE, stdout=PIPE) as process:
    await process.stdout.receive()
    stats, codes = [], []
    async def ask():
        stats.append(await process.stats())
    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        group.start_soon(ask)
    async for event in process.events():
        await process.stdin.aclose()
        codes.append([event.kind, event.exit_code])
try:
    await process.stats()
except ProcessLookupError:
    gone = True
answer(stats=[one.wall_seconds > 0 for one in stats], codes=codes, gone=gone)
""") == {"stats": [True, True], "codes": [["started", None], ["exited", 3]], "gone": True}


def test_pause_and_resume(found: Any, pyjail: Launcher) -> None:
    """Where there is no cgroup it is refused, as Process.pause is."""
    can = no_memory_cgroup(pyjail.user.uid) is None
    told = ["paused", "resumed"] if can else ["pausing a jail"]
    assert found("""
box = Jail().with_limits(memory="64M") if sys.argv[1] == "True" else Jail()
async with await jail.start_async(["/bin/cat"], jail=box, stdin=PIPE, stdout=PIPE) as process:
    events = process.events()
    kinds = [(await anext(events)).kind]
    try:
        await process.pause()
    except jail.UnsupportedError as error:
        kinds.append(error.feature)
    await process.stdin.send(b"line")
    if len(kinds) == 1:
        with anyio.move_on_after(0.01):
            kinds.append((await process.stdout.receive()).decode())
        await process.resume()
        kinds += [(await anext(events)).kind, (await anext(events)).kind]
    answer(kinds=kinds, line=(await process.stdout.receive()).decode())
""", str(can)) == {"line": "line", "kinds": ["started", *told]}
