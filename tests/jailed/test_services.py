"""Services in each language and style: the request goes in, the response comes out."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from support.services import Services

JAVASCRIPT = {
    "commonjs.js": "module.exports = (req, res, next) => { res.write('a'); res.end(req.params.x); };",
    "hook.js": "module['exports'] = function (hook) { hook.res.write('a'); hook.res.end(hook.params.x); };",
    "hook_req.js": "module.exports = (hook) => hook.res.end('a' + hook.req.params.x);",
    "default.js": "exports.default = async (req, res) => { res.end('a' + req.params.x); };",
    "babel.js": (
        "Object.defineProperty(exports, '__esModule', {value: true}); "
        "exports.default = (r) => 'a' + r.params.x;"
    ),
    "esm.mjs": (
        "import path from 'node:path'; export default async (req, res) => "
        "{ res.end('a' + path.basename(req.params.x)); };"
    ),
    "esm.js": "import { basename } from 'path';\nexport default (req) => 'a' + basename(req.params.x);",
    "tla.mjs": "const x = await Promise.resolve('a'); export default (req) => x + req.params.x;",
    "returned.js": "module.exports = (req) => 'a' + req.params.x;",
    "promise.js": "module.exports = async (req) => Buffer.from('a' + req.params.x);",
    "stream.js": "module.exports = (req) => require('stream').Readable.from(['a', req.params.x]);",
    "generator.js": "module.exports = async function* (req) { yield 'a'; yield req.params.x; };",
    "web.js": "module.exports = (req) => new Response('a' + req.params.x);",
    "next.js": "module.exports = (req, res, next) => setTimeout(next, 5, null, 'a' + req.params.x);",
    "late.js": "module.exports = (req, res) => setTimeout(() => res.end('a' + req.params.x), 5);",
    "env.js": "module.exports = (req) => 'a' + process.env.PYJAIL_PARAM_X;",
    "callback_number.js": (
        "const l = []; module.exports = (req, res) => { res.end('a' + req.params.x); return l.push(1); };"
    ),
}
PYTHON = {
    "handler.py": "def handler(req, res):\n    res.write('a')\n    res.end(req.params['x'])",
    "returned.py": "def handler(req):\n    return 'a' + req.params['x']",
    "written.py": "def handler(req, res):\n    res.write(b'ab')",
    "async.py": "async def handler(req, res):\n    return ('a' + req.params['x']).encode()",
    "generator.py": "def handler(req, res):\n    yield 'a'\n    yield req.params['x'].encode()",
    "async_generator.py": "async def handler(req, res):\n    yield 'a'\n    yield req.params['x']",
    "environment.py": "import os\ndef handler():\n    return 'a' + os.environ['PYJAIL_PARAM_X']",
    "callable.py": "class App:\n    def __call__(self, req, res):\n        return 'ab'\nhandler = App()",
    "wsgi.py": (
        "def application(environ, start):\n    start('200 OK', [])\n    "
        "return [b'a', environ['PYJAIL_PARAM_X'].encode()]"
    ),
    "asgi.py": """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        assert (await receive())["type"] == "lifespan.startup"
        scope["state"]["a"] = b"a"
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["state"]["a"], "more_body": True})
    await send({"type": "http.response.body", "body": b"b"})
""",
}
OTHERS = {
    "sh": ("a.sh", "printf 'a%s' \"$PYJAIL_PARAM_X\""),
    "bash": ("a.bash", 'printf a; [[ -v PYJAIL_PARAM_X ]] && printf %s "$PYJAIL_PARAM_X"'),
    "perl": ("a.pl", "print 'a' . $ENV{PYJAIL_PARAM_X};"),
    "ruby": ("a.rb", "print 'a' + ENV['PYJAIL_PARAM_X']"),
    "php": ("a.php", "a<?php echo getenv('PYJAIL_PARAM_X');"),
    "lua": ("a.lua", "io.write('a' .. os.getenv('PYJAIL_PARAM_X'))"),
    "tclsh": ("a.tcl", "puts -nonewline a$env(PYJAIL_PARAM_X)"),
    "python3": ("a", "#!/usr/bin/python3 -I\nimport os\nprint('a' + os.environ['PYJAIL_PARAM_X'], end='')"),
}


@pytest.mark.parametrize("name", [*JAVASCRIPT, *PYTHON])
def test_a_style(ordinary_services: Services, name: str) -> None:
    answer = ordinary_services.run(name, {**JAVASCRIPT, **PYTHON}[name], "--param", "x=b")
    assert (answer.body, answer.kind, answer.log) == (b"ab", "", ""), answer


@pytest.mark.parametrize("program", OTHERS)
def test_a_language(ordinary_services: Services, program: str) -> None:
    name, text = OTHERS[program]
    answer = ordinary_services.run(name, text, "--param", "x=b")
    if shutil.which(program, path="/usr/local/bin:/usr/bin:/bin") is None:
        assert (
            answer.status == 125
            and f"the program {program}" in answer.log
            and "apt-get install" in answer.log
        )
        pytest.skip(f"{program} is not installed")
    assert (answer.body, answer.kind, answer.log) == (b"ab", "", "")


HEAD = {
    "head.js": (
        "module.exports = (req, res) => { res.writeHead(203, {'X-A': "
        "'b', 'Set-Cookie': ['c', 'd']}); res.end(); };"
    ),
    "implicit.js": "module.exports = (req, res) => { res.statusCode = 203; res.setHeader('X-A', 'b');"
    " res.appendHeader('set-cookie', 'c'); res.appendHeader('Set-Cookie', 'd'); res.end(); };",
    "web.js": (
        "module.exports = () => new Response(null, {status: 203, "
        "headers: [['x-a', 'b'], ['set-cookie', 'c'], ['set-cookie', 'd']]});"
    ),
    "head.py": "def handler(req, res):\n    res.write_head(203, {'X-A': 'b', 'Set-Cookie': ['c', 'd']})",
    "implicit.py": "def handler(req, res):\n    res.status = 203\n    res.set_header('X-A', 'b')\n"
    "    res.set_header('Set-Cookie', ['c', 'd'])\n    res.end()",
    "wsgi.py": (
        "def app(environ, start):\n    start('203 X', [('X-A', 'b'), "
        "('Set-Cookie', 'c'), ('Set-Cookie', 'd')])\n    return []"
    ),
}


def node_separates_cookies() -> bool:
    code = "process.exit('getSetCookie' in Headers.prototype ? 0 : 1)"
    return subprocess.run(["node", "-e", code]).returncode == 0


@pytest.mark.parametrize("name", HEAD)
def test_the_head(ordinary_services: Services, name: str) -> None:
    if name == "web.js" and not node_separates_cookies():
        pytest.skip("this Node joins the cookies of a Response: it has no Headers.getSetCookie")
    answer = ordinary_services.run(name, HEAD[name])
    headers = {"x-a": "b", "set-cookie": ["c", "d"]}
    assert answer.told == [{"type": "head", "status": 203, "headers": headers}, {"type": "end"}]


JSON = {
    "json.js": "module.exports = (req, res) => res.status(201).json({a: [1]});",
    "object.js": "module.exports = async () => ({a: [1]});",
    "json.py": "def handler(req, res):\n    res.status = 201\n    res.json({'a': [1]})",
    "dict.py": "def handler(req, res):\n    return {'a': [1]}",
}


@pytest.mark.parametrize("name", JSON)
def test_json(ordinary_services: Services, name: str) -> None:
    answer = ordinary_services.run(name, JSON[name])
    assert json.loads(answer.body) == {"a": [1]}
    assert answer.told[0]["headers"] == {"content-type": "application/json; charset=utf-8"}
    assert answer.told[0]["status"] == (201 if "json" in name else 200)


BODIES = {
    "text.js": (
        "module.exports = async (req) => { let s = ''; for await (const "
        "c of req) s += c; return s + req.method; };"
    ),
    "events.js": "module.exports = (req, res) => { let n = ''; req.on('data', (c) => { n += c; });"
    " req.on('end', () => res.end(n + req.method)); };",
    "read.py": "def handler(req, res):\n    return req.text() + req.method",
    "iter.py": (
        "async def handler(req, res):\n    async for part in req:\n     "
        "   res.write(part)\n    res.end(req.method)"
    ),
    "wsgi.py": "def app(environ, start):\n    start('200 OK', [])\n"
    "    return [environ['wsgi.input'].read(), environ['REQUEST_METHOD'].encode()]",
    "asgi.py": "async def app(scope, receive, send):\n    assert scope['type'] == 'http'\n"
    "    await send({'type': 'http.response.start', 'status': 200})\n"
    "    while (part := await receive())['more_body']:\n"
    "        await send({'type': 'http.response.body', 'body': part['body'], 'more_body': True})\n"
    "    await send({'type': 'http.response.body', 'body': scope['method'].encode()})",
    "cat.sh": "cat; printf $PYJAIL_METHOD",
}


@pytest.mark.parametrize("name", BODIES)
def test_the_requests_body(ordinary_services: Services, name: str) -> None:
    answer = ordinary_services.run(name, BODIES[name], "--method", "PUT", body=b"body ")
    assert (answer.body, answer.kind) == (b"body PUT", "")


def test_what_a_javascript_service_finds(ordinary_services: Services) -> None:
    """Everything that node has, under its own name, and nothing of who runs it."""
    answer = ordinary_services.run(
        "it.js",
        """
const assert = require('node:assert');
console.log('logged %d', 1);
module.exports = async (req) => ({
  globals: ['fetch', 'URL', 'Buffer', 'setTimeout', 'structuredClone', 'AbortController', 'WebAssembly']
    .filter((name) => typeof globalThis[name] === 'undefined'),
  file: [__filename, __dirname, require('fs').existsSync(__filename), require.main === module],
  argv: process.argv.slice(1), exec: process.execArgv, imported: typeof (await import('node:os')).cpus,
  peer: req.socket.remoteAddress, hook: req.req === req, time: req.deadline,
  line: new Error('x').stack.split('\\n')[1],
});
""",
    )
    assert answer.log == "logged 1\n"
    found = json.loads(answer.body)
    line = found.pop("line")
    assert "/srv/it.js:10:" in line
    assert found == {
        "globals": [],
        "file": ["/srv/it.js", "/srv", True, True],
        "argv": ["/srv/it.js"],
        "exec": [],
        "imported": "function",
        "peer": "",
        "hook": True,
        "time": 10_000,
    }


def test_modules_beside_a_service(services: Services) -> None:
    """What the settings file shows beside it can be required and imported; nothing else of its folder is
    there."""
    (services.place / "lib").mkdir()
    services.write("lib/it.js", "module.exports = 'js';")
    services.write("lib/mod.mjs", "export const b = 'mjs';")
    services.write("lib/__init__.py", "c = 'py'")
    services.write("secret.txt", "secret")
    for name in ("a", "b", "c"):
        services.write(f"{name}.toml", 'ro-bind = ["lib:/srv/lib"]')
    listed = "require('fs').readdirSync('/srv').join()"
    answer = services.run("a.js", f"module.exports = () => require('./lib/it.js') + {listed};")
    assert answer.body == b"jsa.js,lib"
    answer = services.run(
        "b.mjs",
        "import { b } from './lib/mod.mjs'; export default async () => b +"
        " (await import('./lib/it.js')).default;",
    )
    assert answer.body == b"mjsjs"
    assert services.run("c.py", "import lib\ndef handler(): return lib.c").body == b"py"


def test_what_is_written_for_the_author_is_log(ordinary_services: Services) -> None:
    answer = ordinary_services.run("a.py", "def handler(req, res):\n    print('logged')\n    return 'body'")
    assert (answer.body, answer.log) == (b"body", "logged\n")


@pytest.mark.parametrize("language", ["javascript", "python", "shell", "executable"])
def test_code_as_text(ordinary_services: Services, language: str) -> None:
    """From an option or from stdin, as much of it as there is, and in nobody's command line."""
    pad = "x" * (1 << 20)
    code = {
        "javascript": "module.exports = () => require('fs').readdirSync('/proc').filter((n) => +n)"
        ".map((n) => require('fs').readFileSync(`/proc/${n}/cmdline`, 'latin1')).join(' ');//",
        "python": (
            "import glob\ndef handler(): return ' '.join(open(f).read() "
            "for f in glob.glob('/proc/[0-9]*/cmdline'))#"
        ),
        "shell": "cat /proc/[0-9]*/cmdline #",
        "executable": "#!/bin/sh\ncat /proc/[0-9]*/cmdline #",
    }[language]
    for answer in (
        ordinary_services.answer("-c", code + "needle", "--language", language),
        ordinary_services.answer("-", "--language", language, body=(code + "needle" + pad).encode()),
    ):
        assert answer.kind == "" and answer.body
        assert b"needle" not in answer.body and b"xxxx" not in answer.body


def test_the_process_is_the_jailer_where_nobody_listens(services: Services) -> None:
    """Without a protocol no Python stays, and nothing that anybody can see holds the code."""
    words = ["service", "run", "-c", "module.exports = (q, res) => { res.write('x'); q.resume(); };//needle"]
    with services.pyjail.popen(*words, stdin=-1, stdout=-1) as running:
        assert running.stdout is not None and running.stdout.read(1) == b"x"
        with open(f"/proc/{running.pid}/cmdline", "rb") as file:
            words_now = file.read().split(b"\0")
        assert words_now[0] == b"jailer" and not any(b"needle" in word for word in words_now)
        running.kill()


def test_without_a_protocol_only_the_log_is_on_stderr(services: Services) -> None:
    path = services.write(
        "a.js", "module.exports = (req, res) => { res.writeHead(201); console.log('m'); res.end('b'); };"
    )
    done = services.pyjail.run("service", "run", path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"b", b"m\n")
    broken = services.pyjail.run(
        "service", "run", services.write("b.js", "module.exports = () => { null.x; };")
    )
    assert broken.returncode == 100 and broken.stderr.startswith(b"TypeError: Cannot read")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "usage: pyjail service run"),
        (["a.js", "b.js"], "usage: pyjail service run"),
        (["-c", "x", "a.js"], "usage: pyjail service run"),
        (["/nowhere.js"], "cannot read /nowhere.js"),
        (["-c", "x", "--language", "cobol"], "'cobol' is none of"),
        (["-c", "x", "--param", "a"], "--param: expected NAME=VALUE"),
        (["-c", "x", "--param", "a-b=1", "--param", "a_b=2"], "params.a_b: another parameter"),
        (["-c", "x", "--protocol", "xml"], "--protocol: expected none or json or stderr"),
        (["-c", "x", "--outcome-fd", "4"], "descriptor 4 is the service's own"),
        (["-c", "x", "--pass-fd", "5"], "descriptor 5 is the service's own"),
        (["-c", "x", "--no-proc"], "leave --no-proc out"),
    ],
)
def test_words_that_make_no_sense(ordinary_services: Services, words: list[str], message: str) -> None:
    done = ordinary_services.pyjail.run("service", "run", *words)
    assert done.returncode == 125 and message.encode() in done.stderr
