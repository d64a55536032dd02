"""Services and their streams: much, slowly, cut short; hostile words in requests and messages."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
from typing import Any

import pytest
from support.services import Services

from jail.services.request import variable_name

MUCH = 100 << 20
COPIES = {
    "copy.js": "module.exports = (req, res) => req.pipe(res);",
    "copy.mjs": "export default async function* (req) { for await (const part of req) yield part; }",
    "copy.py": "def handler(req, res):\n    yield from req",
}


@pytest.mark.parametrize("name", COPIES)
def test_100_mib_both_ways_in_bounded_memory(services: Services, name: str) -> None:
    words = ["service", "run", "--memory", "128M", "--allow-weaker", "memory", "--timeout", "60s"]
    words.append(services.write(name, COPIES[name]))
    piece = os.urandom(1 << 20)
    sent, received = hashlib.sha256(), hashlib.sha256()
    with services.pyjail.popen(*words, stdin=-1, stdout=-1) as running:
        assert running.stdin is not None and running.stdout is not None
        if os.fork() == 0:
            try:
                for _ in range(MUCH >> 20):
                    running.stdin.write(piece)
                running.stdin.flush()
            finally:
                os._exit(0)
        running.stdin.close()
        for _ in range(MUCH >> 20):
            sent.update(piece)
        while part := running.stdout.read(1 << 20):
            received.update(part)
        os.wait()
    assert running.returncode == 0
    assert received.digest() == sent.digest()


LARGE = 3 << 20  # more than any pipe holds
ENDINGS = {
    "end.js": f"module.exports = (req, res) => res.end('x'.repeat({LARGE}));",
    "returned.js": f"module.exports = () => Buffer.alloc({LARGE}, 120);",
    "two.js": f"module.exports = (req, res) => {{ res.write('x'.repeat({LARGE - 1})); res.end('x'); }};",
    "stdout.js": f"module.exports = (q, res) => {{ process.stdout.write('x'.repeat({LARGE})); res.end(); }};",
    "throws.js": f"module.exports = (req, res) => {{ res.write('x'.repeat({LARGE})); throw 1; }};",
    "end.py": f"def handler(req, res):\n    res.end('x' * {LARGE})",
    "exit.py": f"import sys\ndef handler(req, res):\n    res.end('x' * {LARGE})\n    sys.exit()",
}


@pytest.mark.parametrize("name", ENDINGS)
def test_all_of_the_body_leaves_before_the_end(ordinary_services: Services, name: str) -> None:
    """A reader that takes its time: nothing is read until the service cannot but wait."""
    words = ["service", "run", "--protocol", "json", ordinary_services.write(name, ENDINGS[name])]
    with ordinary_services.pyjail.popen(*words, stdout=-1, stderr=subprocess.DEVNULL) as running:
        assert running.stdout is not None
        first = running.stdout.read(1)
        body = first + running.stdout.read()
    assert body == b"x" * LARGE
    assert running.returncode == (100 if name == "throws.js" else 0)


@pytest.mark.parametrize("protocol", ["json", "stderr"])
def test_who_does_not_read_the_log_does_not_keep_the_end_away(services: Services, protocol: str) -> None:
    """A service that fills stderr, a reader that sleeps, and one TERM."""
    flood = services.write("flood.sh", "echo up\nwhile :; do echo words; echo '{}'; done >&2")
    words = ["service", "run", "--protocol", protocol, "--timeout", "1h", flood]
    reader, writer = os.pipe()
    with services.pyjail.popen(*words, stdout=-1, stderr=writer) as running:
        os.close(writer)
        assert running.stdout is not None
        assert running.stdout.readline() == b"up\n"
        running.terminate()
        assert running.wait(60) == 128 + signal.SIGTERM
    os.close(reader)


ENDLESS = {
    "endless.js": "module.exports = async function* () { for (;;) yield 'x'.repeat(65536); };",
    "endless.py": "def handler():\n    while True: yield b'x' * 65536",
    "endless.sh": "exec yes",
}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_reader_that_goes_away_ends_the_service(services: Services, name: str) -> None:
    words = ["service", "run", "--protocol", "json", "--timeout", "60s", services.write(name, ENDLESS[name])]
    with services.pyjail.popen(*words, stdout=-1, stderr=-1) as running:
        assert running.stdout is not None and running.stdout.read(1)
        running.stdout.close()
        assert running.stderr is not None
        told = json.loads(running.stderr.read().splitlines()[-1])
    assert running.returncode == 141
    assert told["kind"] == ("signal" if name.endswith(".sh") else "closed")


def test_a_body_that_nobody_reads_or_sends(services: Services) -> None:
    """A service that does not want the body ends while it still comes, or never comes."""
    for name, code in (("a.js", "module.exports = () => 'x';"), ("a.py", "def handler(): return 'x'")):
        words = ["service", "run", services.write(name, code)]
        with services.pyjail.popen(*words, stdin=-1, stdout=-1) as running:
            assert running.stdout is not None and running.stdout.read() == b"x"
            assert running.wait() == 0


HOSTILE = [
    "$(touch /tmp/hit)",
    "`touch /tmp/hit`",
    "; touch /tmp/hit",
    "' || touch /tmp/hit '",
    '"; touch /tmp/hit; "',
    "$((a[$(touch /tmp/hit)]))",
    "-e touch",
    "a\nb",
    "*",
    "${IFS}",
    "é\u2028\x1b[31m",
    "%n%s",
    "<?php x",
]
NAMES = [f"PYJAIL_PARAM_X{number}" for number in range(len(HOSTILE))]
SHELLS = {
    "a.sh": "".join(f"printf '%s\\0' \"${name}\"\n" for name in NAMES) + "[ ! -e /tmp/hit ]",
    "a.bash": "".join(f'printf "%s\\0" "${name}"\n' for name in NAMES) + "[[ ! -e /tmp/hit ]]",
    "a.tcl": "fconfigure stdout -encoding utf-8 -translation lf\n"
    + "".join(f'puts -nonewline "$env({name})\\0"\n' for name in NAMES)
    + "exit [file exists /tmp/hit]",
    "a.pl": "".join(f'print "$ENV{{{name}}}\\0";' for name in NAMES) + "exit !!-e '/tmp/hit';",
}


@pytest.mark.parametrize("name", SHELLS)
def test_hostile_parameters_are_data(ordinary_services: Services, name: str) -> None:
    if name == "a.tcl" and shutil.which("tclsh") is None:
        pytest.skip("tclsh is not installed")
    options = [word for number, value in enumerate(HOSTILE) for word in ("--param", f"x{number}={value}")]
    answer = ordinary_services.run(name, SHELLS[name], *options)
    assert answer.body.decode().split("\0") == [*HOSTILE, ""]
    assert answer.kind == ""


def test_hostile_names_of_parameters_are_data(services: Services) -> None:
    """No name makes a variable that means something to a program."""
    names = [
        "PATH",
        "LD_PRELOAD",
        "BASH_FUNC_x%%",
        "x() { :; }; touch /tmp/hit; y",
        "IFS",
        "BASH_ENV",
        "a\nb",
    ]
    options = [word for name in names for word in ("--param", f"{name}=v")]
    answer = services.run("a.sh", "env | sort", *options)
    found = dict(line.split("=", 1) for line in answer.body.decode().splitlines())
    usual = {"HOME", "LANG", "PATH", "PWD", "TERM", "SHLVL", "_"}
    assert {name for name in found if not name.startswith("PYJAIL_")} <= usual
    assert found["PYJAIL_PARAM_LD_PRELOAD"] == "v" and found["PATH"].startswith("/usr")
    given = {name for name in found if name.startswith("PYJAIL_PARAM_")}
    assert given == {"PYJAIL_PARAM_" + variable_name(name) for name in names}


FLOODS = {
    "lines.js": 'const l = \'{"type":"log","message":"\' + \'m\'.repeat(900) + \'"}\\n\';'
    "let n = 0; try { for (; n < 1e6; n++) require('fs').writeSync(3, l); } catch (e) { n = e.code; }"
    "module.exports = () => n;",
    "no_lines.js": "const l = Buffer.alloc(65536, 120); let n = 0;"
    "try { for (; n < 1e6; n++) require('fs').writeSync(3, l); } catch (e) { n = e.code; }"
    "module.exports = () => n;",
    "lines.py": "import os\ntry:\n    while True: os.write(3, b'\\n' * 60000)\n"
    "except OSError as error:\n    n = error.errno\ndef handler(): return {32: 'EPIPE'}[n]",
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_of_messages_is_cut_off(ordinary_services: Services, name: str) -> None:
    """The service gets EPIPE, its answer goes on, and no more is passed on than is allowed."""
    answer = ordinary_services.run(name, FLOODS[name])
    assert answer.body in (b"EPIPE", b'"EPIPE"') and answer.status == 0
    assert len(answer.told) <= 4097


def test_messages_are_made_whole_and_what_is_none_is_passed_over(services: Services) -> None:
    code = r"""
import os, time
for piece in (b'{"type":"log",', b'"message":"in pieces"}', b'\nnonsense\n\xff\n{"type":"head","status":1}\n',
              b'{"type":"log","message":"' + b'x' * 70000 + b'"}\n', b'{"type":"log","message":"last"}'):
    while piece:
        piece = piece[os.write(3, piece):]
print('body', end='')
"""
    answer = services.run("a", "#!/usr/bin/python3 -I" + code)
    assert [line.get("message") for line in answer.told] == ["in pieces", "last", None]
    assert (answer.body, answer.kind) == (b"body", "")


def test_messages_that_nobody_reads(services: Services) -> None:
    """Descriptor 3 leads nowhere where nobody asked for messages: writing there neither fails nor waits."""
    code = "import os\ndef handler():\n    for _ in range(1000): os.write(3, b'x' * 65536)\n    return 'x'"
    done = services.pyjail.run("service", "run", services.write("a.py", code))
    assert (done.returncode, done.stdout) == (0, b"x")


def test_a_service_that_closes_everything(services: Services) -> None:
    code = "import os\nos.closerange(0, 6)\ndef handler(req, res): return 'x'"
    answer = services.run("a.py", code)
    assert answer.status != 0 and answer.body == b""
    assert services.run("b.sh", "exec 0<&- 1>&- 2>&- 3>&- 4<&-; exit 4").kind == "exit"


def test_the_request_and_the_code_cannot_be_changed(services: Services) -> None:
    code = """
import errno, os
def answer(path, flags):
    try:
        return os.write(os.open(path, flags), b"x")
    except OSError as error:
        return errno.errorcode[error.errno]
def handler(req, res):
    paths = ["/proc/self/fd/5", __file__, "/run/pyjail/python/pyjail_call.py"]
    return [answer(path, os.O_WRONLY) for path in paths if os.path.exists(path)]
"""
    refused = {"EPERM", "EACCES", "EROFS", "ETXTBSY"}
    as_file = json.loads(services.run("a.py", code).body)
    as_text = json.loads(services.answer("-c", code, "--language", "python").body)
    assert len(as_file) == 2 and set(as_file) <= refused
    assert len(as_text) == 2 and set(as_text) <= refused
    request = services.run("a.sh", "echo x >/proc/self/fd/4; echo $?; exec 5</proc/self/fd/4; wc -c <&5")
    assert request.body.startswith(b"2\n") and int(request.body.split()[1]) > 100


ASYNC = """
import anyio
from jail.services import End, Error, Head, Log, Request, Service, open_exchange

async def main():
    service = Service.load(sys.argv[1])
    request = Request(method="POST", params={"x": "1"})
    async with await open_exchange(service, request) as exchange:
        async with anyio.create_task_group() as group:
            async def feed():
                await exchange.stdin.send(b"body" * 50_000)
                await exchange.stdin.aclose()
            log = []
            async def drain():
                async for part in exchange.stderr:
                    log.append(part.decode())
            group.start_soon(feed)
            group.start_soon(drain)
            head = await exchange.head()
            size = 0
            async for part in exchange.stdout:
                size += len(part)
        messages = [type(each).__name__ async for each in exchange.messages()]
        verdict = await exchange.verdict()
    answer(head=[head.status, dict(head.headers)], size=size, messages=messages, log="".join(log),
           verdict=verdict and verdict.kind, outcome=exchange.process.outcome.status)

anyio.run(main)
"""
EXCHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    "a.js": (
        "module.exports = (q, res) => { res.writeHead(201, {a: 'b'}); console.log('m'); q.pipe(res); };",
        {"head": [201, {"a": "b"}], "size": 200_000, "messages": ["End"], "log": "m\n", "verdict": None},
    ),
    "b.py": (
        "def handler(req, res):\n    yield req.read()\n    raise ValueError",
        {"head": [200, {}], "size": 200_000, "messages": ["Error"], "verdict": "throw"},
    ),
    "c.sh": (
        'echo \'{"type":"log","message":"m"}\' >&3; echo \'{"type":"head","status":404}\' >&3; cat',
        {"head": [404, {}], "size": 200_000, "messages": ["Log"], "log": "", "verdict": None},
    ),
    "d.sh": ("cat >/dev/null; exit 3", {"head": [200, {}], "size": 0, "messages": [], "verdict": "exit"}),
    "e.sh": (
        "exec 3>&-; cat >/dev/null; kill -9 $$",
        {"head": [200, {}], "size": 0, "messages": [], "verdict": "signal", "outcome": "signaled"},
    ),
}


@pytest.mark.parametrize("name", EXCHANGES)
def test_an_exchange(services: Services, scripts: Any, packages: Any, name: str) -> None:
    code, wanted = EXCHANGES[name]
    found = scripts.answer(ASYNC, services.write(name, code), env={"PYTHONPATH": os.fspath(packages)})
    assert {key: found[key] for key in wanted} == wanted


LEFT = """
import anyio
from jail.services import Request, Service, open_exchange

async def main():
    await jail.run_async(["/bin/true"])  # what starts jails stays open
    before = len(os.listdir("/proc/self/fd"))
    with anyio.move_on_after(0.5):
        async with await open_exchange(Service.load(sys.argv[1]), Request()) as exchange:
            await exchange.outcome()
    try:
        left = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        left = None
    answer(left=left, more=len(os.listdir("/proc/self/fd")) - before)

anyio.run(main)
"""


def test_an_exchange_that_is_cancelled_leaves_nothing(
    services: Services, scripts: Any, packages: Any
) -> None:
    path = services.write("a.sh", "trap '' TERM; setsid sleep 1000 & sleep 1000")
    found = scripts.answer(LEFT, path, env={"PYTHONPATH": os.fspath(packages)})
    assert found == {"left": None, "more": 0}
