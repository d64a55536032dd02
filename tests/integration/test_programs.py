"""Real programs at work inside the default jail."""

from __future__ import annotations

import subprocess

import pytest
from support.installation import SYSTEM_PYTHON

BASH = ("/bin/bash", "-euo", "pipefail", "-c")


def ran(r) -> list[str]:
    assert r.returncode == 0, (r.outcome, r.stderr.decode())
    return r.stdout.decode().splitlines()


C_PROGRAM = r"""
#include <pthread.h>
#include <stdio.h>
static void *work(void *n) { *(int *)n *= 2; return n; }
int main(void) {
    int n = 21; pthread_t t;
    pthread_create(&t, 0, work, &n); pthread_join(t, 0);
    return printf("%d\n", n) < 0;
}
"""


def test_a_c_compiler_and_its_program(pyjail):
    script = "cat >a.c; gcc -O2 -Wall -pthread -o a a.c; ./a; cc -static -pthread -o b a.c; ./b"
    assert ran(pyjail.run("run", "--", *BASH, script, input=C_PROGRAM.encode())) == ["42", "42"]


def test_a_compiler_in_a_bound_folder(pyjail, place):
    """The usual build service: sources read-only, results to a folder of the caller's."""
    (place / "src").mkdir()
    (place / "src" / "a.c").write_text(C_PROGRAM)
    out = place / "out"
    out.mkdir()
    pyjail.user.owns(out)
    ran(
        pyjail.run(
            "run",
            "--ro-bind",
            f"{place}/src:/src",
            "--bind",
            f"{out}:/out",
            "--",
            "gcc",
            "-pthread",
            "-o",
            "/out/a",
            "/src/a.c",
        )
    )
    made = out / "a"
    assert (made.stat().st_uid, made.stat().st_gid) == (pyjail.user.uid, pyjail.user.gid)
    assert subprocess.run([made], check=True, capture_output=True).stdout == b"42\n"


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_sqlite(pyjail, place, journal):
    sql = f"""PRAGMA journal_mode={journal};
        CREATE TABLE t (n INTEGER PRIMARY KEY, x TEXT);
        WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n < 10000)
            INSERT INTO t SELECT n, hex(randomblob(8)) FROM c;
        SELECT count(DISTINCT x), sum(n) FROM t; PRAGMA integrity_check;"""
    r = pyjail.run("run", "--bind", f"{place}:/data", "--", "sqlite3", "/data/db", input=sql.encode())
    assert ran(r) == [journal, "10000|50005000", "ok"]
    again = pyjail.run(
        "run", "--bind", f"{place}:/data", "--", "sqlite3", "/data/db", "SELECT count(*) FROM t"
    )
    assert ran(again) == ["10000"]


def test_git(pyjail):
    script = """
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
git init -q -b main one; cd one; seq 1000 >f; git add f; git commit -qm first
git checkout -qb side; echo more >>f; git commit -qam second; git checkout -q main; git merge -q side
cd ..; git clone -q one two; cd two; git log --format=%s; git fsck --strict; wc -l <f; git gc -q
"""
    assert ran(pyjail.run("run", "--", *BASH, script)) == ["second", "first", "1001"]


def test_git_clones_a_bound_repository(pyjail, place):
    """From a read-only bind into the private /tmp."""
    repository = place / "repository"
    identity = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    script = f"git init -q {repository} && cd {repository} && echo x >f && git add f && git commit -qm x"
    made = pyjail.run("-c", script, program="/bin/sh", env=identity)
    assert made.returncode == 0, made.stderr
    # Inside, the files belong to nobody whom the jail knows: git wants to be told that this is meant.
    script = "git config --global safe.directory '*'; git clone -q --no-local /repository copy; cat copy/f"
    assert ran(pyjail.run("run", "--ro-bind", f"{repository}:/repository", "--", *BASH, script)) == ["x"]


EXTENSION = r"""
#include <Python.h>
static PyObject *twice(PyObject *self, PyObject *n) { return PyNumber_Add(n, n); }
static PyMethodDef methods[] = {{"twice", twice, METH_O, ""}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "compiled", "", -1, methods};
PyMODINIT_FUNC PyInit_compiled(void) { return PyModule_Create(&module); }
"""


def test_a_python_venv_with_a_compiled_extension(pyjail, place):
    """The venv is made outside and bound read-only at its own path, which its scripts name."""
    venv = place / "venv"
    subprocess.run([SYSTEM_PYTHON, "-m", "venv", "--without-pip", venv], check=True)
    query = """from sysconfig import get_config_var, get_path
print(get_path('include'), get_config_var('EXT_SUFFIX'), get_path('platlib'))"""
    include, suffix, packages = subprocess.run(
        [venv / "bin" / "python", "-c", query], check=True, capture_output=True, text=True
    ).stdout.split()
    (place / "compiled.c").write_text(EXTENSION)
    subprocess.run(
        [
            "gcc",
            "-shared",
            "-fPIC",
            f"-I{include}",
            "-o",
            f"{packages}/compiled{suffix}",
            place / "compiled.c",
        ],
        check=True,
    )
    code = "import compiled, sys; print(compiled.twice(21), compiled.__file__, sys.prefix)"
    r = pyjail.run("run", "--ro-bind", venv, "--", venv / "bin" / "python", "-c", code)
    assert ran(r) == [f"42 {packages}/compiled{suffix} {venv}"]
    write = pyjail.run(
        "run", "--ro-bind", venv, "--", venv / "bin" / "python", "-c", f"open({packages!r} + '/new', 'w')"
    )
    assert write.returncode == 1


def test_python_with_threads_processes_and_a_loopback_server(pyjail):
    code = """
import concurrent.futures, http.server, multiprocessing, threading, urllib.request
def square(n): return n * n
if __name__ == '__main__':
    with multiprocessing.get_context('fork').Pool(4) as pool: print(sum(pool.map(square, range(100))))
    with concurrent.futures.ThreadPoolExecutor(8) as threads: print(sum(threads.map(square, range(100))))
    class Hello(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200); self.end_headers(); self.wfile.write(b'hello')
        def log_message(self, *arguments): pass
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Hello)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(urllib.request.urlopen(f'http://127.0.0.1:{server.server_port}/').read().decode())
"""
    assert ran(pyjail.run("run", "--", SYSTEM_PYTHON, "-c", code)) == ["328350", "328350", "hello"]


def test_node_with_worker_threads(pyjail):
    code = """
const { Worker, isMainThread, workerData, parentPort } = require('node:worker_threads');
const shared = new SharedArrayBuffer(4);
const work = `const { workerData } = require("node:worker_threads");
  for (let i = 0; i < 1000; i++) Atomics.add(new Int32Array(workerData), 0, 1)`;
Promise.all(Array.from({ length: 4 }, () => new Promise((done, fail) => {
  new Worker(work, { eval: true, workerData: shared }).on('exit', done).on('error', fail);
}))).then(() => console.log(new Int32Array(shared)[0]));
"""
    assert ran(pyjail.run("run", "--", "node", "-e", code)) == ["4000"]


def test_node_children_files_crypto_and_compression(pyjail):
    code = """
const { execFileSync } = require('node:child_process'), fs = require('node:fs'), zlib = require('node:zlib');
fs.writeFileSync('/tmp/f', zlib.gzipSync(Buffer.alloc(1 << 20)));
console.log(zlib.gunzipSync(fs.readFileSync('/tmp/f')).length);
console.log(execFileSync('echo', ['child']).toString().trim());
require('node:crypto').scrypt('a', 'b', 16, (error, key) => console.log(error ?? key.length));
"""
    assert ran(pyjail.run("run", "--", "node", "-e", code)) == ["1048576", "child", "16"]


def test_perl_awk_sed_and_tar(pyjail):
    script = r"""
        seq 100 | perl -ne '$s += $_; END { print "$s\n" }'; seq 100 | awk '{s+=$1} END {print s}'
        mkdir d; seq 9 >d/f; tar czf d.tgz d; rm -r d; tar xzf d.tgz; sed -n 9p d/f
    """
    assert ran(pyjail.run("run", "--", *BASH, script)) == ["5050", "5050", "9"]
