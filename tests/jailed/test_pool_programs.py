"""Programs in jails of a `Pool`, in an interpreter that runs already: their streams, files, errors."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from jailed.pools import PRELUDE
from support.scripts import Scripts


@pytest.fixture
def found(scripts: Scripts) -> Any:
    """What code that has pools answers."""
    return lambda code, *arguments, **options: scripts.answer(PRELUDE + code, *arguments, **options)


def test_a_program_in_a_warm_python_is_as_one_of_its_own(found: Any) -> None:
    code = """
import sys
print(__name__, sys.argv, type(sys.stdin).__name__, sys.stdout.encoding, sys.stdin.read())
print("complaint", file=sys.stderr)
def fails():
    sys.exit(3)
fails()
"""
    answer = found(
        """
with Pool(Jail(), 1, runner=runners.python(["json"])) as pool:
    kept = pool.wait_ready(60)
    warm = captured(pool, ["name.py", "ü", ""], sys.argv[1], stdin=None, input="in")
    size = pool.wait_ready(60) and pool.ready
box = Jail()
done = jail.run(["/usr/bin/python3", "-I", "-c", sys.argv[1], "ü", ""], input="in", capture_output=True,
                text=True)
own = [done.status, done.exit_code, done.stdout.replace("-c", "name.py"), done.stderr]
answer(kept=kept, size=size, warm=warm, own=own)
""",
        code,
    )
    assert answer["kept"] and answer["size"] == 1
    assert answer["warm"][:2] == ["exited", 3]
    assert answer["warm"] == answer["own"]


def test_what_a_program_dies_of_is_told_without_the_runner(found: Any) -> None:
    assert found("""
deep = "def f():\\n    g()\\nf()\\n"
with Pool(Jail(), 1, runner=runners.python()) as pool:
    answer(raised=captured(pool, ["a.py"], deep), syntax=captured(pool, ["a.py"], "1 +\\n")[1:],
           exits=captured(pool, ["a"], "import os; os._exit(7)")[:2],
           killed=captured(pool, ["a"], "import os; os.kill(os.getpid(), 11)")[0],
           atexit=captured(pool, ["a"], "import atexit; atexit.register(print, 1)")[2])
""") == {
        "raised": [
            "exited", 1, "",
            'Traceback (most recent call last):\n  File "a.py", line 3, in <module>\n'
            "  File \"a.py\", line 2, in f\nNameError: name 'g' is not defined\n",
        ],
        "syntax": [1, "", '  File "a.py", line 1\n    1 +\n       ^\nSyntaxError: invalid syntax\n'],
        "exits": ["exited", 7],
        "killed": "signaled",
        "atexit": "1\n",
    }


def test_a_program_in_a_warm_node(found: Any) -> None:
    code = """
console.log(process.argv.slice(1), require.main === module, __filename);
process.stdin.on('data', (data) => console.error(String(data))).on('end', () => process.exit(4));
"""
    answer = found(
        """
with Pool(Jail(), 1, runner=runners.node(["path"])) as pool:
    kept = pool.wait_ready(60)
    warm = captured(pool, ["a.js", "ü"], sys.argv[1], stdin=None, input="in")
    empty = captured(pool, ["a.js"], "process.stdin.resume(); require('path')")
    fails = captured(pool, ["a.js"], "null.x")
answer(kept=kept, warm=warm, empty=empty[:2], fails=[fails[1], fails[3].splitlines()[0]])
""",
        code,
    )
    assert answer == {
        "kept": True,
        "warm": ["exited", 4, "[ '/tmp/a.js', 'ü' ] true /tmp/a.js\n", "in\n"],
        "empty": ["exited", 0],
        "fails": [1, "/tmp/a.js:1"],
    }


def test_files_in_the_jail(found: Any, place: Path) -> None:
    (place / "p.py").write_text("import sys; print(__file__, sys.argv)")
    (place / "n.js").write_text("console.log(__filename, process.argv[2])")
    (place / "m.mjs").write_text("import path from 'path'; console.log(typeof path.join)")
    assert found("""
box = Jail().with_bind(sys.argv[1], "/x")
with Pool(box, 1, runner=runners.python()) as p, Pool(box, 1, runner=runners.node()) as n:
    answer(python=captured(p, ["/x/p.py", "a"])[2], none=captured(p, ["/x/none"])[1],
           node=captured(n, ["/x/n.js", "b"])[2], module=captured(n, ["/x/m.mjs"])[2])
""", os.fspath(place)) == {
        "python": "/x/p.py ['/x/p.py', 'a']\n",
        "none": 1,
        "node": "/x/n.js b\n",
        "module": "function\n",
    }


@pytest.mark.parametrize("limits", ["", ".with_limits(max_output='1M')", "seccomp='compute'"])
@pytest.mark.parametrize("runner", ["python", "node"])
def test_streams_of_any_kind(found: Any, place: Path, limits: str, runner: str) -> None:
    """Also those that cannot be given to an interpreter that runs: it gets them by a start of its own."""
    code = {
        "python": "import os, sys; os.write(5, b'five'); print(sys.stdin.read(), end='', flush=True);"
        "os.write(2, b'err')",
        "node": "const fs = require('fs'); fs.writeSync(5, 'five'); fs.writeSync(1, fs.readFileSync(0));"
        "fs.writeSync(2, 'err')",
    }[runner]
    box = f"Jail(){limits}" if limits.startswith(".") else f"Jail({limits})"
    look = {"python": "import os; print(os.environ['NAME'])", "node": "console.log(process.env.NAME)"}[runner]
    assert found(f"""
def content(file):
    file.seek(0)
    return file.read().decode()
import tempfile
one, two, five = [tempfile.TemporaryFile(dir=sys.argv[1]) for _ in range(3)]
one.write(b"file")
one.seek(0)
reader, writer = os.pipe()
ours, theirs = socket.socketpair()
with Pool({box}, 1, runner=runners.{runner}()) as pool:
    pool.wait_ready(60)
    variable = captured(pool, ["a"], sys.argv[3], env={{"NAME": "ü=1"}})[2]
    pool.run(["a"], code=sys.argv[2], stdin=one, stdout=two, stderr=STDOUT, descriptors={{5: five}}).check()
    pool.run(["a"], code=sys.argv[2], input="pipe", text=True, stdout=writer, stderr=theirs,
             descriptors={{5: five}}).check()
answer(two=content(two), five=content(five), pipe=os.read(reader, 9).decode(), err=ours.recv(9).decode(),
       variable=variable)
""", os.fspath(place), code, look) == {
        "two": "fileerr",
        "five": "fivefive",
        "pipe": "pipe",
        "err": "err",
        "variable": "ü=1\n",
    }


def test_limits_on_output_and_terminals_are_those_of_any_jail(found: Any) -> None:
    answer = found("""
def of(box, code):
    with Pool(box, 1, runner=runners.python()) as pool:
        pool.wait_ready(60)
        return captured(pool, ["a"], code)
answer(out=of(Jail().with_limits(max_stdout=10), "print('a' * 5000)"),
       err=of(Jail().with_limits(max_stderr=10), "import sys; print('a' * 5000, file=sys.stderr)"),
       tty=of(Jail(pty=True), "import os; print([os.isatty(n) for n in (0, 1, 2)])"))
""")
    assert answer["out"][0] == answer["err"][0] == "output-exceeded"
    assert (len(answer["out"][2]), len(answer["err"][3])) == (10, 10)
    assert answer["tty"] == ["exited", 0, "[True, True, True]\n", ""]


@pytest.mark.parametrize("how", ["stdin=folder", "descriptors={7: folder}", "descriptors={7: place}"])
def test_a_folder_is_no_descriptor_for_a_job(found: Any, how: str) -> None:
    """As for any jail: by it the job would walk out of its root."""
    kind, text = found(f"""
folder, place = os.open("/", os.O_RDONLY | os.O_DIRECTORY), os.open("/etc/passwd", os.O_PATH)
with Pool(Jail(), 1, runner=runners.python()) as pool:
    pool.wait_ready(60)
    try:
        pool.run(["a"], code="", **dict({how}))
    except jail.JailError as error:
        answer(found=[type(error).__name__, str(error)])
""")["found"]
    assert kind == "LaunchError"
    assert "a directory" in text


def test_a_file_that_old_kernels_let_be_emptied_is_there_from_the_start(found: Any) -> None:
    """Where the jailer has to filter truncate(2); what a job gets later the filter would not know of."""
    code = "import os; print(os.path.exists('/proc/self/fd/0') and open('/proc/self/fd/0').read())"
    answer = found("""
import tempfile
from jail import landlock
landlock.abi = lambda: 2
file = tempfile.NamedTemporaryFile()
file.write(b"read again")
file.flush()
os.fchmod(file.fileno(), 0o644)
with Pool(Jail(), 1, runner=runners.python()) as pool:
    pool.wait_ready(60)
    with open(file.name) as opened:
        answer(found=captured(pool, ["a"], sys.argv[1], stdin=opened), ready=pool.ready)
""", code)
    assert answer["found"] == ["exited", 0, "read again\n", ""]
    assert answer["ready"] == 1


def test_the_callers_own_streams(scripts: Scripts) -> None:
    done = scripts.run(PRELUDE + """
with Pool(Jail(), 1, runner=runners.python()) as pool:
    pool.wait_ready(60)
    pool.run(["a"], code="import sys; print(sys.stdin.read())").check()
    os.close(0)
    pool.run(["a"], code="import sys; print(sys.stdin)").check()
""", input=b"mine")
    assert done.stdout == b"mine\nNone\n"
