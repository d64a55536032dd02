"""The services in examples/, as their comments say to run them."""

from __future__ import annotations

import os
import select
import subprocess
from pathlib import Path

import pytest
from support.features import PROJECT

EXAMPLES = PROJECT / "examples"
PAIRS = {"node": ("node", ".js"), "python": ("python3", ".py")}
RECORDS = b'{"key":"a","value":2}\n{"key":"b","value":5}\n{"key":"a","value":1}\n'
TOTALS = b'{"key":"a","count":1,"sum":2}\n{"key":"b","count":1,"sum":5}\n{"key":"a","count":2,"sum":3}\n'


@pytest.fixture(params=sorted(PAIRS))
def service(request, place):
    """The words after `pyjail run` for an example by name: `service("hello")`; options may come before."""
    program, suffix = PAIRS[request.param]
    folder = readable(EXAMPLES / request.param, place)

    def words(name: str, *options: str) -> list[str]:
        return [*options, "--ro-bind", f"{folder}:/srv", "--", program, f"/srv/{name}{suffix}"]

    return words


def readable(folder: Path, place: Path) -> Path:
    """A copy that every user may read: the checkout may lie below a folder that only its owner enters."""
    copy = place / folder.name
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    return copy


def test_hello(pyjail, service):
    r = pyjail.run("run", *service("hello"))
    assert (r.returncode, r.stdout, r.stderr) == (0, b"hello\n", b"")


@pytest.mark.parametrize(
    "value", ["plain", "two words", "$(id) `id` ; id \\ \" '", "äöü €", "line\nline", ""]
)
def test_echo_a_parameter(pyjail, service, value):
    r = pyjail.run("run", *service("echo", "--env", f"PARAM={value}"))
    assert (r.returncode, r.stdout) == (0, value.encode() + b"\n"), r.stderr


def test_echo_without_its_parameter(pyjail, service):
    r = pyjail.run("run", *service("echo"))
    assert r.returncode in (1, 2)
    assert (r.stdout, b"PARAM" in r.stderr) == (b"", True)


def test_summary(pyjail, service):
    r = pyjail.run("run", *service("summary"), input=RECORDS)
    assert (r.returncode, r.stdout) == (0, TOTALS), r.stderr


def test_summary_answers_each_line_before_the_next(pyjail, service):
    with pyjail.popen("run", *service("summary"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        for question, answer in zip(RECORDS.splitlines(True), TOTALS.splitlines(True), strict=True):
            process.stdin.write(question)
            process.stdin.flush()
            assert process.stdout.readline() == answer
        process.stdin.close()
        assert process.wait(60) == 0


@pytest.mark.parametrize("line", [b"no json\n", b"[1]\n", b'{"key":1,"value":2}\n', b"null\n"])
def test_summary_of_bad_input(pyjail, service, line):
    r = pyjail.run("run", *service("summary"), input=RECORDS + line)
    assert (r.returncode, r.stdout) == (1, TOTALS)
    assert b"line 4" in r.stderr


def test_filters(pyjail, place):
    node, python = (readable(EXAMPLES / name, place) for name in ("node", "python"))
    r = pyjail.run(
        "run",
        "--ro-bind",
        f"{node}:/srv",
        "--",
        "node",
        "/srv/upper.js",
        input="grüße, 世界\n".encode() * 50_000,
    )
    assert (r.returncode, r.stdout) == (0, "GRÜSSE, 世界\n".encode() * 50_000), r.stderr
    r = pyjail.run(
        "run", "--ro-bind", f"{python}:/srv", "--", "python3", "/srv/number_lines.py", input=b"a\nb\n\nlast"
    )
    assert (r.returncode, r.stdout) == (0, b"     1  a\n     2  b\n     3  \n     4  last")


@pytest.mark.parametrize(("kind", "script"), [("node", "upper.js"), ("python", "number_lines.py")])
def test_a_filter_stops_reading_while_nobody_reads_it(pyjail, place, kind, script):
    """Back-pressure: with the output unread, only so much of the input is taken as pipes and buffers hold."""
    folder = readable(EXAMPLES / kind, place)
    with pyjail.popen(
        "run",
        "--ro-bind",
        f"{folder}:/srv",
        "--",
        PAIRS[kind][0],
        f"/srv/{script}",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        taken = fill(process.stdin.fileno())
        assert 0 < taken < 8 << 20
        process.stdin.close()
        count = 0
        while chunk := process.stdout.read(1 << 16):
            count += chunk.count(b"\n")
        assert count == taken // 64
        assert process.wait(60) == 0


def fill(fd: int) -> int:
    """Write lines of 64 bytes until nothing more is taken for a second; how many bytes went in."""
    os.set_blocking(fd, False)
    line = b"x" * 63 + b"\n"
    taken = 0
    while select.select([], [fd], [], 1.0)[1] and taken < 16 << 20:
        taken += os.write(fd, line * 64)
    return taken


@pytest.mark.parametrize(("kind", "script"), [("node", "upper.js"), ("python", "number_lines.py")])
def test_a_filter_whose_reader_leaves(pyjail, place, kind, script):
    folder = readable(EXAMPLES / kind, place)
    endless = subprocess.Popen(["/usr/bin/yes"], stdout=subprocess.PIPE)
    with (
        endless,
        pyjail.popen(
            "run",
            "--ro-bind",
            f"{folder}:/srv",
            "--",
            PAIRS[kind][0],
            f"/srv/{script}",
            stdin=endless.stdout,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process,
    ):
        endless.stdout.close()
        assert process.stdout.read(1)
        process.stdout.close()
        assert process.wait(60) in (0, 128 + 13)
        assert process.stderr.read() == b""


def test_compiled_hello(pyjail, place, service):
    made = place / "hello.jail"
    assert pyjail.run("compile", "-o", made, *service("hello")).returncode == 0
    assert pyjail.run(program=made).stdout == b"hello\n"


def test_many_jails_of_gnu_parallel(pyjail, place):
    script = readable(EXAMPLES / "parallel", place) / "squares.sh"
    numbers = "".join(f"{n}\n" for n in range(40)).encode()
    env = {"PYJAIL": str(pyjail.installation.pyjail)}
    r = pyjail.run(script, program="/bin/sh", input=numbers, env=env)
    assert (r.returncode, r.stdout.split()) == (0, [b"%d" % (n * n) for n in range(40)]), r.stderr
    r = pyjail.run(script, program="/bin/sh", input=b"1\nx y\n3\n", env=env)
    assert (r.returncode, r.stdout) == (1, b"1\n9\n")


@pytest.mark.parametrize("as_user", ["root"], indirect=True)
def test_the_systemd_example_is_what_is_made_for_its_jail(pyjail, place, require):
    require("cgroup")
    jail = place / "upper.jail"
    r = pyjail.run("compile", "-o", jail, "--timeout", "10s", "--", "tr", "a-z", "A-Z")
    assert r.returncode == 0, r.stderr
    made = {"upper@.service": (), "upper.socket": ("--socket", "127.0.0.1:7007")}
    for name, words in made.items():
        text = pyjail.run("unit", "--accept", *words, jail).stdout.decode()
        text = text.replace(str(place), "/usr/local/lib")
        example = (EXAMPLES / "systemd" / name).read_text()
        assert text.split("\n[Unit]\n")[1] == example.split("\n[Unit]\n")[1]
