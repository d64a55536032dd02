"""How services fail: each way has an exit status and a kind of its own, told by the supervisor; what the
service says about it is only words."""

from __future__ import annotations

import json
import os

import pytest
from support.launcher import Launcher
from support.services import Services

# language, code: kind, exit status, what is in the message
ERRORS = {
    "syntax.js": ("const a = 1;\nlet b = ;", "syntax", 101, "(/srv/syntax.js:2)"),
    "syntax.mjs": ("import 'os';\n\nexport default 1 +;", "syntax", 101, "(/srv/syntax.mjs:3)"),
    "syntax_esm.js": ("import 'os';\n\nexport default 1 +;", "syntax", 101, "(/srv/syntax_esm.js:3)"),
    "not_syntax.js": ("JSON.parse('{'); module.exports = 1;", "throw", 100, "JSON"),
    "load.js": ("throw new RangeError('at once');", "throw", 100, "at once"),
    "missing.js": ("require('left-pad');", "throw", 100, "Cannot find module 'left-pad'"),
    "missing.mjs": ("import 'left-pad'; export default 1;", "throw", 100, "Cannot find module 'left-pad'"),
    "throw.js": ("module.exports = () => { throw new RangeError('boo'); };", "throw", 100, "boo"),
    "reject.js": ("module.exports = async () => { throw new RangeError('boo'); };", "throw", 100, "boo"),
    "next.js": ("module.exports = (q, s, next) => next(new RangeError('boo'));", "throw", 100, "boo"),
    "thing.js": ("module.exports = () => { throw {a: 1}; };", "throw", 100, "{ a: 1 }"),
    "odd.js": (
        "module.exports = () => { throw {get message() { throw 1; }}; };",
        "throw",
        100,
        "cannot be shown",
    ),
    "stream.js": (
        "module.exports = async function* () { yield 'a'; throw new Error('boo'); };",
        "throw",
        100,
        "boo",
    ),
    "async.js": (
        "module.exports = () => setTimeout(() => { throw new Error('boo'); }, 5);",
        "async-throw",
        102,
        "boo",
    ),
    "rejection.js": (
        "module.exports = () => { Promise.reject(new Error('boo')); };",
        "rejection",
        103,
        "boo",
    ),
    "nothing.js": ("module.exports = () => {};", "no-response", 104, "res.end()"),
    "pending.js": ("module.exports = () => new Promise(() => {});", "no-response", 104, "res.end()"),
    "pending.mjs": ("await new Promise(() => {});", "no-response", 104, "res.end()"),
    "exit0.js": ("module.exports = () => process.exit();", "exit", 105, "process.exit(0)"),
    "exit7.js": ("module.exports = () => process.exit(7);", "exit", 7, "process.exit(7)"),
    "load_kind.js": ("module.exports = {};", "load", 106, "exports no function"),
    "signal.js": ("module.exports = () => process.kill(process.pid, 'SIGSEGV');", "signal", 139, "signal 11"),
    "syntax.py": ("a = 1\ndef f(:\n", "syntax", 101, "(syntax.py, line 2)"),
    "bytes.py": (b"\xff = 1", "syntax", 101, "'utf-8' codec"),
    "load.py": ("1 / 0", "throw", 100, "division by zero"),
    "throw.py": ("def handler(req, res):\n    raise KeyError('boo')", "throw", 100, "boo"),
    "reject.py": ("async def handler(req, res):\n    raise KeyError('boo')", "throw", 100, "boo"),
    "generator.py": ("def handler():\n    yield 'a'\n    raise KeyError('boo')", "throw", 100, "boo"),
    "thread.py": (
        "import threading, time\ndef handler():\n    "
        "threading.Thread(target=lambda: 1 / 0).start()\n    time.sleep(60)",
        "async-throw",
        102,
        "division by zero",
    ),
    "callback.py": (
        "import asyncio\nasync def handler():\n    asyncio.get_running_loop().call_soon(lambda: 1 / 0)\n"
        "    await asyncio.sleep(60)",
        "async-throw",
        102,
        "division by zero",
    ),
    "task.py": (
        "import asyncio, gc\nasync def bad(): 1 / 0\nasync def handler():\n    asyncio.create_task(bad())\n"
        "    await asyncio.sleep(0)\n    await asyncio.sleep(0)\n    "
        "gc.collect()\n    await asyncio.sleep(60)",
        "rejection",
        103,
        "division by zero",
    ),
    "nothing.py": ("def handler(req, res): pass", "no-response", 104, "wrote nothing"),
    "exit0.py": ("import sys\ndef handler(): sys.exit()", "exit", 105, "sys.exit(None)"),
    "exit7.py": ("import sys\ndef handler(): sys.exit(7)", "exit", 7, "sys.exit(7)"),
    "exit_text.py": ("import sys\nsys.exit('words')", "exit", 1, "sys.exit('words')"),
    "load_kind.py": ("x = 1", "load", 106, "neither handler(req, res) nor"),
    "signal.py": ("import os\nos.kill(os.getpid(), 11)", "signal", 139, "signal 11"),
    "exit.sh": ("exit 3", "exit", 3, "exited with status 3"),
    "signal.sh": ("kill -SEGV $$", "signal", 139, "signal 11"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error(ordinary_services: Services, name: str) -> None:
    code, kind, status, words = ERRORS[name]
    answer = ordinary_services.answer(ordinary_services.write(name, code))
    assert (answer.kind, answer.status) == (kind, status), answer
    assert words in answer.last["message"]
    assert set(answer.types[:-1]) <= {"log"}
    assert (answer.outcome["exit_code"], answer.outcome["signal"]) == (
        (None, 11) if kind == "signal" else (status, None)
    )


@pytest.mark.parametrize("name", ["throw.js", "throw.py", "syntax.js", "syntax.py"])
def test_the_log_has_the_stack_and_the_message_too(ordinary_services: Services, name: str) -> None:
    answer = ordinary_services.answer(ordinary_services.write(name, ERRORS[name][0]))
    assert f"/srv/{name}" in answer.last["stack"] and f"/srv/{name}" in answer.log
    assert answer.last["name"] in ("RangeError", "KeyError", "SyntaxError")


LOOPS = {
    "loop.js": "module.exports = () => { for (;;); };",
    "later.js": "module.exports = () => setTimeout(() => { for (;;); }, 5);",
    "waits.js": "module.exports = () => setTimeout(() => {}, 1e6);",
    "stubborn.js": "process.on('SIGTERM', () => {}); module.exports = () => setInterval(() => {}, 1000);",
    "loop.py": "while True: pass",
    "loop.sh": "trap '' TERM; while :; do :; done",
}


@pytest.mark.parametrize("name", LOOPS)
def test_time(services: Services, name: str) -> None:
    answer = services.run(name, LOOPS[name], "--timeout", "0.3", "--grace", "0.1")
    assert (answer.kind, answer.status, answer.outcome["status"]) == ("timeout", 124, "timed-out")
    assert answer.last["name"] == "TimeoutError"


HOGS = {
    "hog.js": "const kept = []; module.exports = () => { for (;;) kept.push(Buffer.alloc(1 << 20, 1)); };",
    "hog.py": "kept = []\nwhile True: kept.append(b'x' * (1 << 20))",
}


@pytest.mark.parametrize("name", HOGS)
def test_memory(cgroup_pyjail: Launcher, services: Services, name: str) -> None:
    answer = services.run(name, HOGS[name], "--memory", "96M")
    assert (answer.kind, answer.status, answer.outcome["status"]) == ("memory", 137, "out-of-memory")


def test_too_much_output(services: Services) -> None:
    answer = services.run("a.sh", "yes", "--max-output", "1000")
    assert (answer.kind, answer.status, len(answer.body)) == ("output", 153, 1000)


def test_a_jail_that_cannot_be_made(services: Services) -> None:
    answer = services.run("a.sh", "true", "--ro-bind", "/nowhere/at/all:/x")
    assert (answer.kind, answer.status) == ("setup", 125)
    assert "/nowhere/at/all" in answer.last["message"]


FORGERIES = {
    "end": "{type: 'end'}",
    "error": "{type: 'error', kind: 'timeout', name: 'Forged', message: 'forged'}",
    "outcome": "{type: 'outcome', status: 'exited', exit_code: 0}",
}


@pytest.mark.parametrize("message", FORGERIES)
@pytest.mark.parametrize("descriptor", [2, 3])
def test_forged_messages_change_nothing(services: Services, message: str, descriptor: int) -> None:
    """A loop that says it has ended is a timeout, a failure that "
    "says so is a failure, a success stays one."""
    say = f"require('fs').writeSync({descriptor}, JSON.stringify({FORGERIES[message]}) + '\\n');"
    loops = services.run("a.js", f"{say} module.exports = () => {{ for (;;); }};", "--timeout", "0.3")
    assert (loops.kind, loops.status) == ("timeout", 124)
    exits = services.run("b.js", f"module.exports = () => {{ {say} process.reallyExit(9); }};")
    assert (exits.kind, exits.status) == ("exit", 9)
    fine = services.run("c.js", f"{say} module.exports = () => 'x';")
    assert (fine.kind, fine.status, fine.body) == ("", 0, b"x")
    assert fine.types == (["log", "end"] if descriptor == 2 else ["end"])


@pytest.mark.parametrize("start", [r"\n", r"\r", " ", "x\\r", "\\u2028"])
def test_a_line_of_the_services_is_never_taken_for_the_supervisors(
    ordinary_services: Services, start: str
) -> None:
    """Whatever a reader of stderr takes for the end of a line, and also in the middle of one."""
    say = f"process.stderr.write('{start}' + JSON.stringify({{type: 'end'}}))"
    for protocol in ("json", "stderr"):
        answer = ordinary_services.run(
            "a.js", f"module.exports = () => {{ {say}; return 'x'; }};", protocol=protocol
        )
        assert answer.types == ["log", "end"]
        assert answer.log.strip() == ""


def test_the_old_protocol_tells_the_same_in_the_old_words(ordinary_services: Services) -> None:
    code = "module.exports = (q, res) => { res.writeHead(404, {'X-A': 'b'}); %s };"
    fine = ordinary_services.run("a.js", code % "res.end('x')", protocol="stderr")
    head = {"type": "writeHead", "payload": {"code": 404, "headers": {"x-a": "b"}}}
    assert fine.told == [head, {"type": "end"}]
    broken = ordinary_services.run("b.js", code % "throw new Error('boo')", protocol="stderr")
    assert broken.told == [head, {"type": "error", "payload": {"error": "boo"}}]
    assert broken.status == 100


def test_a_service_leaves_nobody_behind(services: Services) -> None:
    """A child that went into a session of its own ends with the answer."""
    reader, writer = os.pipe()
    code = (
        "module.exports = () => { require('child_process').spawn('sleep', ['1000'],"
        " {detached: true, stdio: ['ignore', 'ignore', 'ignore', 7]}).unref(); return 'x'; };"
    )
    words = [
        "service",
        "run",
        "--pass-fd",
        str(writer),
        services.write("a.js", code.replace("7", str(writer))),
    ]
    done = services.pyjail.run(*words, pass_fds=(writer,))
    os.close(writer)
    with open(reader, "rb") as file:
        assert (done.returncode, done.stdout, file.read()) == (0, b"x", b"")


def test_services_at_once_share_nothing(services: Services) -> None:
    code = (
        "module.exports.count = (module.exports.count || 0) + 1; const n = module.exports.count;"
        "module.exports = (req) => String(n) + req.params.x + require('fs').readdirSync('/tmp').length +"
        " (require('fs').writeFileSync('/tmp/left', 'x'), '');"
    )
    path = services.write("a.js", code)
    running = [
        services.pyjail.popen("service", "run", path, "--param", f"x={n}", stdout=-1) for n in range(4)
    ]
    assert sorted(each.communicate()[0] for each in running) == [b"100", b"110", b"120", b"130"]


def test_the_outcome_of_a_signal_to_the_supervisor(services: Services) -> None:
    """TERM to whoever supervises is TERM to the service."""
    code = (
        "process.on('SIGTERM', () => { console.error('term'); process.exit(5); });"
        "module.exports = (req, res) => { res.write('x'); setInterval(() => {}, 1000); };"
    )
    words = ["service", "run", "--protocol", "json", services.write("a.js", code)]
    with services.pyjail.popen(*words, stdout=-1, stderr=-1) as running:
        assert running.stdout is not None and running.stdout.read(1) == b"x"
        running.terminate()
        _, told = running.communicate()
    lines = told.decode().splitlines()
    assert "term" in lines and json.loads(lines[-1])["kind"] == "exit" and running.returncode == 5
