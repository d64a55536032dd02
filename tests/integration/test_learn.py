"""Policies learned from real programs: these run under them, and what they did not do is refused."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.installation import Installation
from support.launcher import Completed, Launcher
from support.users import User
from unit.test_seccomp_policy import edges

from seccomp import Policy, Rule

BASH = ("/bin/bash", "-euo", "pipefail", "-c")
PYTHON = "/usr/bin/python3"
AGAIN = 3  # runs under the policy, which differ by timing

NUMPY = """
import multiprocessing, sqlite3, threading
import numpy
def square(n): return n * n
if __name__ == "__main__":
    a = numpy.random.default_rng(1).random((100, 100))
    print(numpy.allclose(a @ numpy.linalg.inv(a), numpy.eye(100)))
    out = []
    threads = [threading.Thread(target=lambda i=i: out.append(square(i))) for i in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    with multiprocessing.Pool(2) as pool:
        print(sum(pool.map(square, range(10))), sum(out))
    with sqlite3.connect("/tmp/x.db") as db:
        db.execute("create table t (n)")
        db.executemany("insert into t values (?)", [(i,) for i in range(100)])
    print(db.execute("select sum(n) from t").fetchone()[0])
"""
GIT = """
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
git init -q -b main one; cd one; seq 1000 >f; git add f; git commit -qm first; cd ..
git clone -q --no-local one two; wc -l <two/f
"""
GCC = """
printf '%s\\n' '#include <stdio.h>' '#include <pthread.h>' \
    'static void *work(void *n) { *(int *)n *= 2; return n; }' \
    'int main(void) { int n = 21; pthread_t t; pthread_create(&t, 0, work, &n); pthread_join(t, 0);' \
    'return printf("%d\\n", n) < 0; }' >a.c
gcc -O2 -Wall -pthread -o a a.c; ./a
"""


@dataclass(frozen=True)
class Program:
    """What is run and prints what; and something else that the same interpreter could do, and that only
    works where it was not left out."""

    words: tuple[str, ...]
    prints: str
    other: tuple[str, ...]


PROGRAMS = {
    "node": Program(("node", "-e", "console.log('hello')"), "hello\n",
                    ("node", "-e", "fs.linkSync(process.execPath, '/tmp/x')")),
    "numpy": Program((PYTHON, "-c", NUMPY), "True\n285 14\n4950\n",
                     (PYTHON, "-c", "import os; os.mkfifo('/tmp/f')")),
    "git": Program((*BASH, GIT), "1000\n", (*BASH, "mkfifo /tmp/f")),
    "gcc": Program((*BASH, GCC), "42\n", (*BASH, "mkfifo /tmp/f")),
}  # fmt: skip


def learn(pyjail: Launcher, policy: Path, *words: str, options: tuple[str, ...] = ()) -> Completed:
    return pyjail.run("learn", "-o", str(policy), *options, "--", *words)


def run(pyjail: Launcher, policy: Path | str, *words: str) -> Completed:
    return pyjail.run("run", "--seccomp", str(policy), "--", *words)


def allowed(policy: Policy) -> dict[int, Rule]:
    """The calls that are allowed, for some arguments at least."""
    found = {}
    for number, rule in policy.table().items():
        steps, last = rule.cases(policy.default)
        if "allow" in (last, *(action for _, action in steps)):
            found[number] = rule
    return found


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_runs_under_what_was_learned_of_it(pyjail: Launcher, place: Path, name: str) -> None:
    program, path = PROGRAMS[name], place / "p.toml"
    r = learn(pyjail, path, *program.words)
    assert (r.returncode, r.stdout.decode()) == (0, program.prints), r.stderr
    assert f"{path} allows ".encode() in r.stderr
    for _ in range(AGAIN):
        r = run(pyjail, path, *program.words)
        assert (r.returncode, r.stdout.decode()) == (0, program.prints), r.stderr

    learned, base = Policy.from_file(path), Policy.named("default")
    assert len(allowed(learned)) < len(allowed(base)) / 2
    assert len(learned.compile()) < len(base.compile())
    for number, rule in allowed(learned).items():  # nothing that the base refuses
        own = base.table()[number]
        for args in edges(rule if rule.when else own):
            assert rule.decide(args, learned.default) != "allow" or own.decide(args, base.default) == "allow"

    under_base, under_learned = (run(pyjail, policy, *program.other) for policy in ("default", path))
    assert b"not implemented" not in under_base.stderr
    assert under_learned.returncode != 0
    assert b"not implemented" in under_learned.stderr


def test_runs_add_up(pyjail: Launcher, place: Path) -> None:
    path = place / "p.toml"
    copy, pipe = (*BASH, "cat /etc/passwd >/tmp/x"), (*BASH, "mkfifo /tmp/f")
    assert learn(pyjail, path, *copy).returncode == 0
    assert run(pyjail, path, *pipe).returncode != 0
    assert learn(pyjail, path, *pipe).returncode == 0
    assert [run(pyjail, path, *words).returncode for words in (copy, pipe)] == [0, 0]
    text = path.read_text()
    assert text.count("#   $ ") == 2
    other = place / "q.toml"
    assert learn(pyjail, other, "true", options=("--merge", str(path))).returncode == 0
    assert [run(pyjail, other, *words).returncode for words in (copy, pipe)] == [0, 0]


def test_what_the_base_refuses_is_refused_and_told(pyjail: Launcher, place: Path) -> None:
    path = place / "p.toml"
    r = learn(pyjail, path, *BASH, "! unshare -U true")
    assert (r.returncode, b"Operation not permitted" in r.stderr) == (0, True)
    assert re.search("^#   unshare +EPERM 1$", path.read_text(), re.MULTILINE)
    assert Policy.from_file(path).decide("unshare") == "EPERM"
    assert b"Operation not permitted" in run(pyjail, path, *BASH, "! unshare -U true").stderr


def test_within_another_base(pyjail: Launcher, place: Path) -> None:
    path = place / "p.toml"
    code = "import socket\ntry: socket.socket()\nexcept OSError as e: print(e.errno)"
    r = learn(pyjail, path, PYTHON, "-c", code, options=("--seccomp", "build"))
    assert (r.returncode, r.stdout) == (0, b"1\n"), r.stderr
    assert run(pyjail, path, PYTHON, "-c", code).stdout == b"1\n"


def test_the_commands_status_and_the_outcome(pyjail: Launcher, place: Path) -> None:
    path, outcome = place / "p.toml", place / "outcome.json"
    r = learn(pyjail, path, *BASH, "exit 7", options=("--outcome", str(outcome)))
    assert r.returncode == 7
    told = json.loads(outcome.read_text())
    assert (told["status"], told["exit_code"], told["calls_lost"]) == ("exited", 7, 0)
    assert Policy.from_file(path).decide("execve") == "allow"


def test_the_policy_may_kill_where_it_refuses(pyjail: Launcher, place: Path) -> None:
    """What programs only try, such as clone3, is no reason."""
    path, words = place / "p.toml", PROGRAMS["node"].words
    assert learn(pyjail, path, *words).returncode == 0
    r = pyjail.run("run", "--strict", "--seccomp", str(path), "--", *words)
    assert (r.returncode, r.stdout) == (0, b"hello\n"), r.stderr
    other = pyjail.run("run", "--strict", "--seccomp", str(path), "--", *PROGRAMS["node"].other)
    assert other.returncode == 128 + signal.SIGSYS
    strict = place / "strict.toml"
    assert learn(pyjail, strict, *words, options=("--strict",)).returncode == 0
    assert run(pyjail, strict, *words).stdout == b"hello\n"
    assert run(pyjail, strict, *PROGRAMS["node"].other).returncode == 128 + signal.SIGSYS


def test_a_folder_that_cannot_be_written_is_told_before_anything_runs(
    installation: Installation, ordinary_user: User
) -> None:
    r = learn(Launcher(installation, ordinary_user), Path("/usr/p.toml"), "echo", "ran")
    assert (r.returncode, r.stdout) == (125, b"")
    assert r.stderr == b"pyjail: cannot write /usr/p.toml: its folder cannot be written to\n"


@pytest.mark.parametrize(("words", "status"), [(("/nowhere/x",), 127), (("/etc/passwd",), 126)])
def test_what_cannot_be_started_leaves_no_file(
    pyjail: Launcher, place: Path, words: tuple[str, ...], status: int
) -> None:
    r = learn(pyjail, place / "p.toml", *words)
    assert r.returncode == status
    assert r.stderr.startswith(b"pyjail: ")
    assert os.listdir(place) == []


READY = (*BASH, "echo ready; exec sleep 1000")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_program_that_is_ended_by_a_signal_is_learned(
    pyjail: Launcher, place: Path, number: signal.Signals
) -> None:
    path = place / "p.toml"
    with pyjail.popen("learn", "-o", str(path), "--", *READY, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert process.stdout.read() == b""
        assert process.wait() == 128 + number
    policy = Policy.from_file(path)
    assert [policy.decide(call) for call in ("clock_nanosleep", "sync")] == ["allow", "ENOSYS"]


def test_the_keyboards_interrupt_ends_the_program_not_the_learning(pyjail: Launcher, place: Path) -> None:
    path = place / "p.toml"
    with pyjail.popen("learn", "-o", str(path), "--", *READY, stdout=subprocess.PIPE,
                      start_new_session=True) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout.read() == b""
        assert process.wait() == 128 + signal.SIGINT
    assert Policy.from_file(path).decide("execve") == "allow"


def test_nothing_outlives_a_learner_that_is_killed(pyjail: Launcher, place: Path) -> None:
    with pyjail.popen("learn", "-o", str(place / "p.toml"), "--", *READY, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.kill()
        assert process.stdout.read() == b""  # the program held the other end
    assert os.listdir(place) == []
