"""Services whose runners wait for their requests: the same answers, "
"sooner, and nothing left from one to the next."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.scripts import Scripts
from support.services import Services

PRELUDE = """
import anyio
from jail.services import Request, Service
from jail.services.ahead import Ahead, can_wait

async def ready(ahead, service):
    ahead._keepers[service].refill()
    while ahead.ready(service) < service.settings.pool:
        await anyio.sleep(0.01)

async def ask(ahead, service, body=b"", **fields):
    async with await ahead.open(service, Request(**fields)) as exchange:
        async with anyio.create_task_group() as group:
            async def feed():
                try:
                    await exchange.stdin.send(body)
                except anyio.BrokenResourceError:
                    pass
                await exchange.stdin.aclose()
            group.start_soon(feed)
            head = await exchange.head()
            found = b"".join([part async for part in exchange.stdout])
        outcome = await exchange.outcome()
        async for _ in exchange.messages():
            pass
        wrong = await exchange.verdict()
        return [head.status, found.decode(), wrong.kind if wrong else "", outcome.wall_seconds]

async def main():
    ahead = Ahead()
    try:
        await body(ahead, *map(Service.load, sys.argv[1:]))
    finally:
        await anyio.to_thread.run_sync(ahead.close)
    try:
        assert os.waitpid(-1, os.WNOHANG) == 0, "somebody is left"
    except ChildProcessError:
        pass
"""
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def found(scripts: Scripts, packages: Path) -> Run:
    """Runs the body of an async function of `ahead` and services; what it answers. Root has asyncio, the
    ordinary user trio."""

    def run(body: str, *paths: str, names: str = "service") -> dict[str, Any]:
        lines = "".join(f"    {line}\n" for line in body.splitlines())
        code = f"{PRELUDE}\nasync def body(ahead, {names}):\n{lines}\n"
        backend = "asyncio" if scripts.launcher.user.is_root else "trio"
        code += f"anyio.run(main, backend={backend!r})\n"
        return scripts.answer(code, *paths, env={"PYTHONPATH": os.fspath(packages)})

    return run


ECHOES = {
    "a.js": (
        "let n = 0; module.exports = (q, s) => { s.statusCode = 201; "
        "s.write(q.params.x + process.env.PYJAIL_PARAM_X + (++n)); q.pipe(s); };"
    ),
    "a.py": "import os\nn = 0\ndef handler(q, s):\n    global n\n    n += 1\n    s.status = 201\n"
    "    yield q.params['x'] + os.environ['PYJAIL_PARAM_X'] + str(n)\n    yield q.read()",
}


@pytest.mark.parametrize("name", ECHOES)
def test_the_same_answers(found: Run, services: Services, name: str) -> None:
    services.write("a.toml", 'pool = 2\ntimeout = "20s"')
    path = services.write(name, ECHOES[name])
    answer = found(
        """
cold = await ask(ahead, service, b"body", params={"x": "c"})
seen = []
for round in range(3):
    await ready(ahead, service)
    waiting = ahead.ready(service)
    seen.append((await ask(ahead, service, b"body", params={"x": str(round)}))[:3])
many = []
async def one(number):
    many.append((await ask(ahead, service, params={"x": str(number)}))[1][:2])
async with anyio.create_task_group() as group:
    for number in range(5):
        group.start_soon(one, number)
answer(cold=cold[:3], seen=seen, waiting=waiting, many=sorted(many))
""",
        path,
    )
    assert answer["cold"] == [201, "cc1body", ""]
    assert answer["seen"] == [[201, f"{n}{n}1body", ""] for n in range(3)]
    assert answer["waiting"] == 2
    assert answer["many"] == [f"{n}{n}" for n in range(5)]


def test_the_time_limit_begins_with_the_request(found: Run, services: Services) -> None:
    services.write("a.toml", 'pool = 1\ntimeout = "400ms"\ngrace = "100ms"')
    code = (
        "module.exports = (q) => { if (q.params.loop) for (;;); return 'x'; };"
        "process.on('SIGTERM', () => {});"
    )
    answer = found(
        """
await ask(ahead, service)
await ready(ahead, service)
await anyio.sleep(0.6)
fine = await ask(ahead, service)
await ready(ahead, service)
loops = await ask(ahead, service, params={"loop": "1"})
answer(fine=fine[1:3], quick=fine[3] < 0.5, loops=loops[2], held=0.4 <= loops[3] < 5)
""",
        services.write("a.js", code),
    )
    assert answer == {"fine": ["x", ""], "quick": True, "loops": "timeout", "held": True}


def test_an_idle_limit_begins_with_the_request(found: Run, services: Services) -> None:
    services.write("a.toml", 'pool = 1\nidle-timeout = "300ms"\ntimeout = "20s"\ngrace = "100ms"')
    code = "module.exports = (q, s) => { if (q.params.idle) setInterval(() => {}, 99); else s.end('x'); };"
    answer = found(
        """
await ask(ahead, service)
await ready(ahead, service)
await anyio.sleep(0.5)
waits = ahead.ready(service)
fine = await ask(ahead, service)
await ready(ahead, service)
async with await ahead.open(service, Request(params={"idle": "1"})) as exchange:
    idle = (await exchange.outcome()).status
answer(waits=waits, fine=fine[1:3], idle=idle)
""",
        services.write("a.js", code),
    )
    assert answer == {"waits": 1, "fine": ["x", ""], "idle": "idle-timed-out"}


def test_a_file_that_changes(found: Run, services: Services) -> None:
    """In its place, or another one under its name."""
    services.write("a.toml", "pool = 1")
    path = services.write("a.js", "module.exports = () => 'one';")
    answer = found(
        """
path = str(service.path)
seen = [await ask(ahead, service)]
await ready(ahead, service)
open(path, "w").write("module.exports = () => 'two!';")
seen.append(await ask(ahead, service))
await ready(ahead, service)
open(path + ".new", "w").write("module.exports = () => 'three';")
os.rename(path + ".new", path)
seen.append(await ask(ahead, service))
await ready(ahead, service)
seen.append(await ask(ahead, service))
answer(seen=[each[1] for each in seen])
""",
        path,
    )
    assert answer == {"seen": ["one", "two!", "three", "three"]}


def test_settings_that_change(found: Run, services: Services) -> None:
    services.write("a.toml", "pool = 3")
    path = services.write("a.js", "module.exports = () => 'x';")
    answer = found(
        """
await ask(ahead, service)
await ready(ahead, service)
open(sys.argv[1][:-3] + ".toml", "w").write('pool = 1\\nenv = ["A=b"]')
other = Service.load(sys.argv[1])
one = await ask(ahead, other)
await ready(ahead, other)
answer(one=one[1], old=ahead.ready(service), new=ahead.ready(other), kept=len(ahead._keepers))
""",
        path,
    )
    assert answer == {"one": "x", "old": 0, "new": 1, "kept": 1}


def test_what_waited_and_was_killed_is_passed_over(found: Run, services: Services) -> None:
    services.write("a.toml", "pool = 2")
    answer = found(
        """
await ask(ahead, service)
await ready(ahead, service)
for each in list(ahead._keepers[service]._ready):
    each.kill()
    assert has_ended(each.pidfd)
answer(one=(await ask(ahead, service))[1:3])
""",
        services.write("a.js", "module.exports = () => 'x';"),
    )
    assert answer == {"one": ["x", ""]}


def test_what_cannot_wait(found: Run, services: Services) -> None:
    """No runner, or no pool: a jail made for the request, and the same answer."""
    paths = []
    for name, pool in (("a.sh", 1), ("b.py", 0)):
        services.write(f"{name[0]}.toml", f"pool = {pool}")
        code = "printf x" if name.endswith("sh") else "def handler(): return 'x'"
        paths.append(services.write(name, code))
    answer = found(
        """
services = (a, b)
answers = [(await ask(ahead, each))[1] for each in services]
answer(answers=answers, wait=[can_wait(each) for each in services], kept=len(ahead._keepers))
""",
        *paths,
        names="a, b",
    )
    assert answer == {"answers": ["x"] * 2, "wait": [False] * 2, "kept": 0}


def test_a_request_that_is_cancelled_ends_its_jail(found: Run, services: Services) -> None:
    services.write("a.toml", "pool = 1")
    answer = found(
        """
await ask(ahead, service, params={"end": "1"})
await ready(ahead, service)
with anyio.move_on_after(0.3) as scope:
    await ask(ahead, service)
answer(cancelled=scope.cancelled_caught)
""",
        services.write(
            "a.js",
            "module.exports = (q, s) => { if (q.params.end) s.end(); else setInterval(() => {}, 99); };",
        ),
    )
    assert answer == {"cancelled": True}


def test_what_waits_knows_nothing_of_the_request_before(found: Run, services: Services) -> None:
    services.write("a.toml", "pool = 1")
    code = """
const fs = require('fs');
module.exports = (q, s) => {
  const seen = [fs.readdirSync('/tmp').length, fs.readdirSync('/dev/shm').length, typeof globalThis.kept];
  globalThis.kept = 1; fs.writeFileSync('/tmp/x', 'x'); fs.writeFileSync('/dev/shm/x', 'x');
  return seen.join();
};
"""
    answer = found(
        """
seen = []
for _ in range(3):
    seen.append((await ask(ahead, service))[1])
    await ready(ahead, service)
answer(seen=seen)
""",
        services.write("a.js", code),
    )
    assert answer == {"seen": ["0,0,undefined"] * 3}
