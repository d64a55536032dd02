"""The shipped profiles: the real programs that each is for run under it; what it is against is refused."""

from __future__ import annotations

import shutil

import pytest

PYTHON = ("/usr/bin/python3", "-I", "-c")
PROFILES = ["build", "compute", "default", "network", "node", "python", "strict"]


def need(program: str) -> str:
    """The program's path; the test is skipped where the machine has no such program."""
    path = shutil.which(program, path="/usr/bin:/bin")
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


def run(pyjail, profile, *command, options=(), **keywords):
    r = pyjail.run("run", "--seccomp", profile, *options, "--", *command, **keywords)
    assert r.returncode == 0, (r.returncode, r.stdout, r.stderr)
    return r.stdout.decode()


@pytest.mark.parametrize("profile", PROFILES)
def test_a_shell_a_pipe_and_python_run_under_every_profile(pyjail, profile):
    script = "echo one | cat; /usr/bin/python3 -I -c 'print(2)'"
    assert run(pyjail, profile, "/bin/sh", "-c", script) == "one\n2\n"


# ---------------------------------------------------------------- python

PYTHON_PROGRAMS = {
    "threads and locks": """
import threading, queue
q = queue.Queue(); t = [threading.Thread(target=q.put, args=(i,)) for i in range(4)]
[x.start() for x in t]; [x.join() for x in t]
print(sorted(q.get() for _ in t))
""",
    "subprocess": """
import subprocess, sys
print(subprocess.run([sys.executable, '-I', '-c', 'print(6 * 7)'], capture_output=True, check=True).stdout)
""",
    "multiprocessing, all ways of starting": """
import multiprocessing as m, os
def square(pipe, lock, x):
    with lock: pipe.send(x * x)
if __name__ == '__main__':
    context = m.get_context('fork')
    ours, theirs = context.Pipe(); lock = context.Lock()
    jobs = [context.Process(target=square, args=(theirs, lock, i)) for i in range(3)]
    [j.start() for j in jobs]; print(sorted(ours.recv() for _ in jobs)); [j.join() for j in jobs]
    print([j.exitcode for j in jobs])
    with context.Pool(2) as pool: print(pool.map(abs, [-1, 2]))
    from multiprocessing import shared_memory
    s = shared_memory.SharedMemory(create=True, size=64); s.buf[0] = 7; print(s.buf[0]); s.close(); s.unlink()
""",
    "asyncio with a subprocess and a server": """
import asyncio
async def serve(r, w): w.write((await r.readline()).upper()); await w.drain(); w.close()
async def main():
    server = await asyncio.start_server(serve, '127.0.0.1', 0)
    r, w = await asyncio.open_connection(*server.sockets[0].getsockname())
    w.write(b'hello\\n'); print(await r.readline()); w.close()
    p = await asyncio.create_subprocess_exec('/bin/echo', 'child', stdout=-1); print(await p.communicate())
asyncio.run(main())
""",
    "files of every kind": """
import os, tempfile, shutil, pathlib, mmap, fcntl, zipfile
d = pathlib.Path(tempfile.mkdtemp()); f = d / 'a'; f.write_text('x' * 9)
os.link(f, d / 'b'); os.symlink('a', d / 'c')
os.chmod(f, 0o600); os.utime(f); os.truncate(f, 4); os.mkfifo(d / 'p'); os.rename(d / 'b', d / 'e')
with open(f, 'r+b') as o:
    fcntl.flock(o, fcntl.LOCK_EX); m = mmap.mmap(o.fileno(), 0); m[0] = 65; m.flush(); os.fsync(o)
with zipfile.ZipFile(d / 'z', 'w') as z: z.write(f, 'a')
print(f.read_text(), sorted(os.listdir(d))); shutil.rmtree(d)
""",
    "sqlite": """
import sqlite3
c = sqlite3.connect('/tmp/x.db'); c.execute('pragma journal_mode=wal'); c.execute('create table t (x)')
c.executemany('insert into t values (?)', [(i,) for i in range(100)]); c.commit()
print(c.execute('select sum(x) from t').fetchone())
""",
    "clocks, signals, limits": """
import signal, time, resource, os, selectors, random
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
signal.setitimer(signal.ITIMER_REAL, 0.01); print(signal.sigwait([signal.SIGALRM]))
print(resource.getrlimit(resource.RLIMIT_CORE)[1] >= 0, os.cpu_count() > 0, time.monotonic() > 0)
s = selectors.DefaultSelector(); r, w = os.pipe(); s.register(r, 1)
os.write(w, os.urandom(4)); print(len(s.select(1)))
""",
}


@pytest.mark.parametrize("profile", ["python", "default", "strict"])
@pytest.mark.parametrize("program", PYTHON_PROGRAMS.values(), ids=PYTHON_PROGRAMS)
def test_python_programs(pyjail, profile, program):
    """The same output as under no filter at all."""
    assert run(pyjail, profile, *PYTHON, program) == run(pyjail, "off", *PYTHON, program) != ""


def test_python_has_no_system_v_ipc(pyjail):
    code = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True); print(libc.shmget(0, 9, 0o1600), ctypes.get_errno())
"""
    assert run(pyjail, "python", *PYTHON, code) == "-1 1\n"
    assert run(pyjail, "default", *PYTHON, code).split()[1] == "0"


# ---------------------------------------------------------------- node

NODE_PROGRAMS = {
    "a stream through": "process.stdin.pipe(process.stdout)",
    "files": """
const fs = require('fs'), os = require('os'); const d = fs.mkdtempSync(os.tmpdir() + '/n');
fs.writeFileSync(d + '/a', 'hello'); fs.renameSync(d + '/a', d + '/b');
fs.promises.readFile(d + '/b', 'utf8').then(t => {
  console.log(t, fs.readdirSync(d)); fs.rmSync(d, {recursive: true}); })
""",
    "a web service": """
const http = require('http');
const server = http.createServer((q, r) => r.end('you asked ' + q.url)).listen(0, '127.0.0.1', () =>
  http.get({port: server.address().port, host: '127.0.0.1', path: '/x'}, r => {
    r.on('data', d => console.log(String(d))); r.on('end', () => server.close()); }))
""",
    "workers": """
const { Worker, isMainThread, parentPort } = require('worker_threads');
const w = new Worker("require('worker_threads').parentPort.postMessage(6 * 7)", {eval: true});
w.on('message', m => console.log('worker', m))
""",
    "child processes": """
const { execFile, fork } = require('child_process');
execFile('/bin/echo', ['child'], (e, out) => console.log(e, out))
""",
    "crypto and compression": """
const z = require('zlib'), c = require('crypto');
console.log(z.gunzipSync(z.gzipSync('text')).toString(), c.createHash('sha256').update('x').digest('hex'));
c.pbkdf2('a', 'b', 10, 8, 'sha1', (e, k) => console.log(k.toString('hex')))
""",
}


@pytest.mark.parametrize("profile", ["node", "default", "strict"])
@pytest.mark.parametrize("program", NODE_PROGRAMS.values(), ids=NODE_PROGRAMS)
def test_node_programs(pyjail, profile, program):
    node = need("node")

    def under(filter_name):
        return run(pyjail, filter_name, node, "-e", program, options=("--no-memory",), input=b"a line\n")

    assert under(profile) == under("off") != ""


def test_node_makes_no_fifo(pyjail):
    r = pyjail.run("run", "--seccomp", "node", "--", "/usr/bin/mkfifo", "/tmp/f")
    assert r.returncode == 1 and b"Operation not permitted" in r.stderr


# ---------------------------------------------------------------- build

SOURCE = r"""
#include <stdio.h>
#include <pthread.h>
static void *say(void *text) { puts(text); return NULL; }
int main(void) { pthread_t t; pthread_create(&t, NULL, say, "built"); return pthread_join(t, NULL); }
"""
BUILD = """set -eu
cd /tmp; cat >main.c; %s -O2 -Wall -pthread -c main.c -o main.o; %s main.o -pthread -o main; ./main
"""


@pytest.mark.parametrize("profile", ["build", "default", "strict"])
def test_gcc_compiles_and_links_a_program_that_runs(pyjail, profile):
    gcc = need("gcc")
    script = BUILD % (gcc, gcc)
    given = {"input": SOURCE.encode(), "options": ("--no-memory",)}
    assert run(pyjail, profile, "/bin/sh", "-c", script, **given) == "built\n"


@pytest.mark.parametrize("profile", ["build", "default", "strict"])
def test_make_runs_jobs_at_once(pyjail, profile):
    need("make")
    script = """cd /tmp; printf 'all: a b\\na b:\\n\\t@echo made >$@; cat $@\\n' >Makefile; make -s -j2"""
    assert run(pyjail, profile, "/bin/sh", "-c", script) == "made\nmade\n"


@pytest.mark.parametrize("profile", ["build", "default", "strict"])
def test_git_clones_a_local_repository(pyjail, profile):
    need("git")
    script = """set -eu
cd /tmp; export GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
git init -q one; cd one; echo text >file; git add file; git commit -qm first; cd ..
git clone -q --no-hardlinks one two; cat two/file"""
    assert run(pyjail, profile, "/bin/sh", "-c", script) == "text\n"


def test_a_build_has_no_network(pyjail):
    code = """
import socket
for family in socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK:
    try: socket.socket(family, socket.SOCK_DGRAM); print('made')
    except PermissionError: print('refused')
a, b = socket.socketpair(); a.send(b'x'); print(b.recv(1))
"""
    assert run(pyjail, "build", *PYTHON, code) == "refused\nrefused\nrefused\nb'x'\n"


# ---------------------------------------------------------------- network

def test_curl_fetches_from_loopback(pyjail):
    curl = need("curl")
    script = f"""set -eu
mkdir /tmp/www; echo page >/tmp/www/index.html; cd /tmp/www
python3 -I -c '
import http.server, os, subprocess, sys, threading
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = "http://localhost:%d/" % server.server_port
sys.exit(subprocess.run(["{curl}", "-fsS", address]).returncode)' 2>/tmp/log
"""
    for profile in ("network", "default", "strict"):
        assert run(pyjail, profile, "/bin/sh", "-c", script) == "page\n"


@pytest.mark.parametrize("profile", ["network", "default", "strict", "build", "python", "node"])
def test_sqlite_keeps_a_database(pyjail, profile):
    sqlite = need("sqlite3")
    script = "pragma journal_mode=wal; create table t(x); insert into t values (1),(2); select sum(x) from t;"
    assert run(pyjail, profile, sqlite, "/tmp/file.db", script) == "wal\n3\n"


def test_sockets_of_every_kind_that_the_network_profile_has(pyjail):
    code = """
import socket, errno
absent = errno.EPROTONOSUPPORT, errno.ENOPROTOOPT
tests = [(socket.AF_INET, socket.SOCK_STREAM, 0), (socket.AF_INET6, socket.SOCK_DGRAM, 0),
         (socket.AF_UNIX, socket.SOCK_STREAM, 0), (socket.AF_NETLINK, socket.SOCK_RAW, 0),
         (socket.AF_INET, socket.SOCK_STREAM, 262)]
for test in tests:
    try: socket.socket(*test); print('made')
    except OSError as error: print('made' if error.errno in absent else error)
for test in [(socket.AF_INET, socket.SOCK_RAW, 1), (socket.AF_PACKET, socket.SOCK_DGRAM, 0),
             (socket.AF_ALG, 5, 0), (socket.AF_VSOCK, 1, 0)]:
    try: socket.socket(*test); print('made')
    except PermissionError: print('refused')
"""
    assert run(pyjail, "network", *PYTHON, code).split() == ["made"] * 5 + ["refused"] * 4


# ---------------------------------------------------------------- compute

def test_compute_reads_and_writes_its_streams(pyjail):
    sum_up = "import sys, json; print(json.dumps(sum(map(int, sys.stdin))))"
    assert run(pyjail, "compute", *PYTHON, sum_up, input=b"1\n2\n3\n") == "6\n"
    assert run(pyjail, "compute", need("sqlite3"), ":memory:", "select 6 * 7") == "42\n"
    assert run(pyjail, "compute", "/usr/bin/sort", input=b"b\na\n") == "a\nb\n"


def test_compute_starts_threads_and_processes(pyjail):
    assert run(pyjail, "compute", *PYTHON, PYTHON_PROGRAMS["threads and locks"]) == "[0, 1, 2, 3]\n"
    assert "42" in run(pyjail, "compute", *PYTHON, PYTHON_PROGRAMS["subprocess"])


def test_compute_has_no_sockets(pyjail):
    code = """
import socket
for make in (lambda: socket.socket(), lambda: socket.socketpair(), lambda: socket.socket(socket.AF_UNIX)):
    try: make(); print('made')
    except PermissionError: print('refused')
"""
    assert run(pyjail, "compute", *PYTHON, code) == "refused\n" * 3


def test_compute_opens_nothing_for_writing_and_changes_nothing(pyjail):
    code = """
import os
def write(flags): return lambda: os.open('/tmp/f', flags | os.O_CREAT, 0o600)
tries = [write(os.O_WRONLY), write(os.O_RDWR), write(os.O_RDONLY), write(os.O_WRONLY | os.O_TRUNC),
         lambda: os.open('/tmp', os.O_TMPFILE | os.O_RDWR), lambda: open('/dev/null', 'r+b'),
         lambda: open('/proc/self/fd/1', 'wb'), lambda: open('/proc/self/oom_score_adj', 'w'),
         lambda: os.mkdir('/tmp/d'), lambda: os.mkfifo('/tmp/p'), lambda: os.symlink('a', '/tmp/l'),
         lambda: os.link('/tmp', '/tmp/l'), lambda: os.rename('/tmp/a', '/tmp/b'),
         lambda: os.unlink('/tmp/a'),
         lambda: os.rmdir('/tmp/a'), lambda: os.chmod('/tmp', 0o700), lambda: os.chown('/tmp', -1, -1),
         lambda: os.utime('/tmp'), lambda: os.truncate('/tmp/a', 0),
         lambda: os.setxattr('/tmp', 'user.a', b''), lambda: os.memfd_create('m')]
for index, attempt in enumerate(tries):
    try: attempt(); print(index, 'done')
    except PermissionError: pass
    except OSError as error: print(index, error)
print(open('/etc/passwd').read() != '', os.listdir('/tmp'), len(tries))
"""
    assert run(pyjail, "compute", *PYTHON, code) == "True [] 21\n"


# ---------------------------------------------------------------- strict

def test_strict_by_name_is_strict_by_option(pyjail):
    """The same program in the plan, and the same death."""
    ask = ("import ctypes; print(ctypes.CDLL(None).unshare(0x10000000))",)
    named = pyjail.run("run", "--seccomp", "strict", "--", *PYTHON, *ask)
    option = pyjail.run("run", "--strict", "--", *PYTHON, *ask)
    assert named.returncode == option.returncode == 128 + 31  # SIGSYS
    assert named.outcome["status"] == option.outcome["status"] == "signaled"


def test_strict_does_not_kill_who_only_asks_for_a_ring(pyjail):
    """As the Node of Ubuntu 24.04 does: io_uring_setup(2)."""
    ask = (
        "import ctypes, errno; libc = ctypes.CDLL(None, use_errno=True);"
        "print(libc.syscall(425, 1, bytes(120)), errno.errorcode[ctypes.get_errno()])"
    )
    assert run(pyjail, "strict", *PYTHON, ask) == "-1 EPERM\n"


def test_strict_by_name_is_the_same_program(pyjail):
    def program(*options):
        lines = pyjail.run("plan", *options, "--", "/bin/true").stdout.splitlines()
        return [line.split()[2] for line in lines if line.startswith(b"seccomp ")]

    assert program("--seccomp", "strict") == program("--strict") != []
    assert program("--strict") != program()
