"""In the place of the node module run-service: its own services and tests, and a table of its behaviours,
each with what it did, shown by running it where it can be had, and what we do.

The module (version 3.0.1, MIT) is fetched by npm; $PYJAIL_RUN_SERVICE may name a folder where `npm install`
has put it already. Its example services and its expectations are short and stand here as well.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.launcher import Launcher
from support.run_service import MAIN, Ran, Run

EXAMPLES = {
    "hello": "module['exports'] = function hello (req, res, next) { res.write('Hello!'); res.end(); };",
    "echoString": "module['exports'] = function echoString (service) {"
    " service.res.write(service.params); service.res.end(); };",
    "test-service": "module.exports = function testService (req, res, next) {"
    " res.write('hello i am a service ' + req.params); res.end(); };",
}


def flags(code: str, params: object = "p", **input: object) -> list[str]:  # noqa: A002 - the name of the field
    return ["-c", code, "-e", json.dumps({"input": {"headers": {}, **input}, "params": params})]


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("params", ["testing", "testing 123"])
def test_its_services_side_by_side(theirs: Run, ours: Run, package: Path, name: str, params: str) -> None:
    folder = "examples" if name == "test-service" else "examples/services"
    code = (package / folder / f"{name}.js").read_text()
    assert ours(*flags(code, params)) == theirs(*flags(code, params))


@pytest.mark.parametrize("name", EXAMPLES)
def test_its_services(ours: Run, name: str) -> None:
    """The same without the module."""
    body = {
        "hello": "Hello!",
        "echoString": "testing 123",
        "test-service": "hello i am a service testing 123",
    }[name]
    assert ours(*flags(EXAMPLES[name], "testing 123")) == Ran(body.encode(), [{"type": "end"}], "", 0)


ADAPTER = """
const { spawn } = require('node:child_process');
module.exports = (config) => () => {
  const env = JSON.stringify({ input: { headers: {} }, params: config.env.params });
  const child = spawn(process.env.PYTHON, ['-c', process.env.MAIN, '-c', config.service, '-e', env],
    { stdio: ['ignore', 'pipe', 'inherit'] });
  child.stdout.pipe(config.env.res);
  child.on('exit', (status) => console.log('status', status));
};
"""
TAP = """
exports.test = (name, body) => body({
  equal(found, wanted) { console.log(found === wanted ? 'equal' : 'different', found); },
  end() { console.log('end', name); },
});
"""


@pytest.mark.parametrize("whose", ["theirs", "ours"])
def test_its_tests(package: Path, pyjail: Launcher, place: Path, whose: str) -> None:
    """Its own test file, as it is, with their module and with a module that starts our command."""
    for part in ("test", "examples"):
        shutil.copytree(package / part, place / part)
    (place / "index.js").write_text(ADAPTER if whose == "ours" else f"module.exports = require('{package}');")
    (place / "node_modules/tap").mkdir(parents=True)
    (place / "node_modules/tap/index.js").write_text(TAP)
    env = {"PYTHON": str(pyjail.installation.python), "MAIN": MAIN}
    done = pyjail.run(str(place / "test/basic-test.js"), program="/usr/bin/node", env=env)
    lines = sorted(line for line in done.stdout.decode().splitlines() if not line.startswith("status 0"))
    assert lines == [
        "end attempt to load run-service module",
        "end attempt to run echoString service",
        "end attempt to run hello service",
        "equal Hello!",
        "equal testing 123",
    ]


@dataclass(frozen=True)
class Behaviour:
    """What one service makes the two do: (body, error or None, exit status)."""

    code: str
    did: tuple[bytes, str | None, int]
    do: tuple[bytes, str | None, int]
    params: object = "p"
    input: dict[str, object] = field(default_factory=dict)
    body: bytes = b""


F = "module.exports = (h, res, next) => "
TABLE = {
    # The same.
    "parameters": Behaviour(
        F + "{ res.write(h.params.a); res.end(); }", (b"b", None, 0), (b"b", None, 0), {"a": "b"}
    ),
    "hook style": Behaviour(F + "{ h.res.write(h.params); h.res.end(); }", (b"p", None, 0), (b"p", None, 0)),
    "stdin is the request": Behaviour(
        F + "h.req.pipe(h.res)", (b"in", None, 0), (b"in", None, 0), body=b"in"
    ),
    "headers, url, host, connection": Behaviour(
        F + "{ const r = h.req; res.write(r.headers.x + r.url + r.host + r.connection.remoteAddress);"
        " res.end(); }",
        (b"y/uh9.9.9.9", None, 0),
        (b"y/uh9.9.9.9", None, 0),
        input={"headers": {"x": "y"}, "url": "/u", "host": "h", "connection": {"remoteAddress": "9.9.9.9"}},
    ),
    "require": Behaviour(
        F + "{ res.write(require('path').join('a', 'b')); res.end(); }", (b"a/b", None, 0), (b"a/b", None, 0)
    ),
    # An error ended with status 0.
    "a thrown error": Behaviour(F + "{ throw new Error('boo'); }", (b"", "boo", 0), (b"", "boo", 100)),
    "an error handed on": Behaviour(F + "next(new Error('boo'))", (b"", "boo", 0), (b"", "boo", 100)),
    "an error of syntax": Behaviour(
        "module.exports = (",
        (b"", "Unexpected end of input", 0),
        (b"", "Unexpected end of input (/srv/service.js:1)", 101),
    ),
    # An error outside of the function had no line of its own.
    "an error later": Behaviour(
        F + "require('timers').setTimeout(() => { throw new Error('boo'); }, 5)",
        (b"", None, 1),
        (b"", "boo", 102),
    ),
    "a promise that is rejected": Behaviour(
        F + "{ Promise.reject(new Error('boo')); }", (b"", None, 1), (b"", "boo", 103)
    ),
    "an asynchronous function that fails": Behaviour(
        "module.exports = async () => { throw new Error('boo'); };", (b"", None, 1), (b"", "boo", 100)
    ),
    "an end of its own": Behaviour(
        F + "require('process').exit(0)",
        (b"", None, 0),
        (b"", "the service called process.exit(0) before its response had ended", 105),
    ),
    # res.end(data) was printed as by console.log.
    "a body given to the end": Behaviour(F + "res.end('x')", (b"x\n", None, 0), (b"x", None, 0)),
    "bytes given to the end": Behaviour(
        F + "res.end(require('buffer').Buffer.from('x'))", (b"<Buffer 78>\n", None, 0), (b"x", None, 0)
    ),
    # A service had no globals of node's, and what it printed became body.
    "globals": Behaviour(
        F + "setTimeout(() => { res.write(Buffer.from('x')); res.end(); }, 1)",
        (b"", "setTimeout is not defined", 0),
        (b"x", None, 0),
    ),
    "printing": Behaviour(F + "{ console.log('x'); res.end(); }", (b"x\n", None, 0), (b"", None, 0)),
}


@pytest.mark.parametrize("name", TABLE)
def test_what_it_did(theirs: Run, name: str) -> None:
    case = TABLE[name]
    found = theirs(*flags(case.code, case.params, **case.input), stdin=None, input=case.body)
    assert (found.body, found.error, found.status) == case.did


@pytest.mark.parametrize("name", TABLE)
def test_what_we_do(ours: Run, name: str) -> None:
    case = TABLE[name]
    found = ours(*flags(case.code, case.params, **case.input), input=case.body)
    assert (found.body, found.error, found.status) == case.do
    assert found.types[-1] == ("error" if case.do[1] else "end")


# What takes more than a service and its answer to show: the code, what it did, what we do.


def test_the_body_was_cut_at_64_kib(theirs: Run, ours: Run) -> None:
    """A body that was larger than a pipe, for a reader that took its time."""
    words = flags(F + "{ res.write('x'.repeat(300000)); res.end(); }")
    assert len(ours(*words).body) == 300_000
    reader, writer = os.pipe()
    assert theirs(*words, stdout=writer).status == 0
    os.close(writer)
    with open(reader, "rb") as file:
        assert len(file.read()) == 65536


def test_control_lines_could_be_forged(theirs: Run, ours: Run) -> None:
    line = {"type": "writeHead", "payload": {"code": 500}}
    words = flags(f"{F} {{ console.error('{json.dumps(line)}'); res.end(); }}")
    assert ours(*words).types == ["log", "end"]
    assert theirs(*words).told == [line, {"type": "end"}]


def test_files_of_the_host_could_be_read(theirs: Run, ours: Run, place: Path) -> None:
    (place / "secret").write_text("secret")
    words = flags(F + f"{{ res.write(require('fs').readFileSync('{place}/secret')); res.end(); }}")
    assert "ENOENT" in str(ours(*words).error)
    assert theirs(*words).body == b"secret"


def test_the_environment_of_the_caller_could_be_read(theirs: Run, ours: Run) -> None:
    words = flags(F + "{ res.write(String(require('process').env.SECRET)); res.end(); }")
    assert ours(*words, env={"SECRET": "s"}).body == b"undefined"
    assert theirs(*words, env={**os.environ, "SECRET": "s"}).body == b"s"


def test_a_child_outlived_the_service(theirs: Run, ours: Run) -> None:
    code = F + (
        "{ const c = require('child_process').spawn('sleep', ['1000'], {detached: true, stdio: 'ignore'});"
        " c.unref(); res.write(String(c.pid)); res.end(); }"
    )
    left = int(theirs(*flags(code)).body)
    with open(f"/proc/{left}/cmdline", "rb") as file:
        assert file.read() == b"sleep\x001000\0"
    os.kill(left, signal.SIGKILL)
    held = F + (
        "{ const c = require('child_process').spawn('sleep', ['1000'], {detached: true, stdio:"
        " ['ignore', 1, 'ignore']}); c.unref(); res.write('x'); res.end(); }"
    )
    assert ours(*flags(held)).body == b"x"  # read to the end: nobody holds the other one


def test_services_shared_module(package: Path, ours: Run, place: Path) -> None:
    """One service's `module` was the next one's."""
    keep, look = "module.kept = 'x'; " + F + "res.end()", F + "{ res.write(String(module.kept)); res.end(); }"
    assert [ours(*flags(code)).body for code in (keep, look)] == [b"", b"undefined"]
    script = """
const run = require(process.argv[1]);
for (const service of process.argv.slice(2)) {
  const write = (part, _, done) => { console.log(String(part)); done(); };
  const res = new (require('stream').Writable)({ write });
  run({ service, env: { req: process.stdin, res }, vm: { require } })(() => {});
}
"""
    words = ["node", "-e", script, str(package), keep, look]
    assert subprocess.run(words, capture_output=True, check=True, stdin=subprocess.DEVNULL).stdout == b"x\n"


def test_it_did_not_start_as_it_was_installed(package: Path) -> None:
    (package.parent / "hyperquest/index.js").rename(package.parent / "hyperquest/away.js")
    try:
        words = ["node", str(package / "bin/run-service"), *flags(EXAMPLES["hello"])]
        done = subprocess.run(words, capture_output=True, check=False)
        assert done.returncode == 1 and b"Cannot find module 'hyperquest'" in done.stderr
    finally:
        (package.parent / "hyperquest/away.js").rename(package.parent / "hyperquest/index.js")


def test_without_code_it_said_so_and_ended_with_0(theirs: Run, ours: Run) -> None:
    said = b"Source code required. Please pass in -c option\n"
    assert ours() == Ran(said, [], "", 2)
    assert theirs() == Ran(said, [], "", 0)


def test_an_environment_that_is_no_json_was_a_crash(theirs: Run, ours: Run) -> None:
    words = ["-c", EXAMPLES["hello"], "-e", "{"]
    assert ours(*words).status == 2 and str(ours(*words).error).startswith("-e: not valid JSON")
    assert theirs(*words).status == 1 and theirs(*words).told == []
    assert ours("-c", EXAMPLES["hello"]).body == b"Hello!"
    assert theirs("-c", EXAMPLES["hello"]).status == 1


def test_heads(theirs: Run, ours: Run) -> None:
    """The same line, but for the case of the names, which HTTP does not know."""
    words = flags(F + "{ res.writeHead(404, {'X-A': 'b'}); res.end(); }")
    head = {"type": "writeHead", "payload": {"code": 404, "headers": {"x-a": "b"}}}
    assert ours(*words).told == [head, {"type": "end"}]
    assert json.loads(json.dumps(theirs(*words).told).lower()) == json.loads(
        json.dumps([head, {"type": "end"}]).lower()
    )


@pytest.mark.parametrize(
    "words",
    [["-c=CODE"], ["--c", "CODE"], ["--c=CODE"], ["-s", "meta", "-v", "{}", "-c", "x", "-c", "CODE", "word"]],
)
def test_flags_in_each_form(ours: Run, words: list[str]) -> None:
    words = [word.replace("CODE", EXAMPLES["hello"]) for word in words]
    assert ours(*words, "-e", "{}").body == b"Hello!"


def test_a_loop_after_the_first_tick_never_ended(pyjail: Launcher) -> None:
    """Its timer of 10 s, and that of node's vm, could not run any more. Ours is not the service's."""
    words = ["-c", F + "setTimeout(() => { for (;;); }, 1)", "--timeout", "0.3"]
    found = Ran.of(pyjail.run("service", "run", "--protocol", "stderr", *words))
    assert (found.status, found.types, found.error) == (124, ["error"], "the service ran out of its time")


def test_memory_had_no_limit(ours: Run) -> None:
    code = F + "{ const kept = []; for (;;) kept.push(Buffer.alloc(1 << 24, 1)); }"
    found = ours(*flags(code))
    # Node ends, or throws it at the program: builds differ.
    assert found.status > 128 or (found.status == 100 and "allocation failed" in found.log)
    assert found.types[-1] == "error"


def test_the_network_could_be_used(ours: Run) -> None:
    code = F + "{ res.write(Object.keys(require('os').networkInterfaces()).join()); res.end(); }"
    assert ours(*flags(code)).body == b"lo"


def test_code_was_no_larger_than_an_argument(ours: Run, pyjail: Launcher) -> None:
    """128 KiB of it, for everybody to see in /proc. 64 MiB and more come in by stdin or as a file."""
    code = b"module.exports = (q, s) => s.end('x');" + b"\n//" + b"x" * (64 << 20)
    done = pyjail.run("service", "run", "--memory", "1G", "--allow-weaker", "memory", "-", input=code)
    assert (done.returncode, done.stdout) == (0, b"x")
