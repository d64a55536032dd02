"""What one job of a pool was given never reaches the next, nothing of the caller is in an interpreter that
waits, and nothing that a job says is taken for the runner's word."""

from __future__ import annotations

from typing import Any

import pytest
from support.launcher import Launcher
from support.scripts import Scripts

PRELUDE = """
from jail import Pool, runners
def captured(pool, code, argv=("a",), **options):
    options.setdefault("stdin", DEVNULL)
    return pool.run(list(argv), code=code, capture_output=True, text=True, **options)
"""
LOOK = """
import json, os, sys
def search(text):
    found = []
    for line in open("/proc/self/maps"):
        place, rights = line.split()[:2]
        low, high = (int(end, 16) for end in place.split("-"))
        if "r" in rights and "[v" not in line:
            with open("/proc/self/mem", "rb", 0) as memory:
                memory.seek(low)
                try:
                    data = memory.read(high - low)
                except OSError:
                    continue
            found += [data.count(text)]
    return sum(found)
def links():
    for number in os.listdir("/proc/self/fd"):
        try:
            yield os.readlink("/proc/self/fd/" + number).split(":")[0]
        except OSError:
            pass
secret = sys.stdin.buffer.read()[::-1]
print(json.dumps({"memory": search(secret), "fds": sorted(links()), "env": sorted(os.environ),
                  "pids": sum(map(str.isdigit, os.listdir("/proc"))),
                  "files": [f for d in ("/tmp", "/dev/shm") for f in os.listdir(d)],
                  "control": search(b"a text that is her" + b"e") > 0, "here": "a text that is here"}))
"""


@pytest.fixture
def found(pyjail: Launcher) -> Any:
    return lambda code, *arguments, **options: Scripts(pyjail).answer(PRELUDE + code, *arguments, **options)


def test_a_job_sees_nothing_of_others_nor_of_the_caller(found: Any) -> None:
    """It looks through all of its memory, for a secret that it gets backwards and only when it looks."""
    assert found(
        """
secret = "secret-%d" % os.getpid()
os.environ["SECRET"] = secret
kept = open("/dev/null"), socket.socket()
for file in kept:
    os.set_inheritable(file.fileno(), True)
code = "import os, sys; [open(f'/{d}/left', 'w').write(sys.argv[1]) for d in ('tmp', 'dev/shm')]; os.u = 1"
with Pool(Jail(), 1, runner=runners.python()) as pool:
    pool.wait_ready(60)
    first = captured(pool, code, ["a", secret], descriptors={3: kept[0]})
    pool.wait_ready(60)
    second = captured(pool, sys.argv[1], stdin=None, input=secret[::-1])
    answer(first=first.exit_code, **json.loads(second.stdout))
""",
        LOOK,
    ) == {
        "first": 0,
        "memory": 1,  # what it has made of what it was given itself
        "fds": ["pipe", "pipe", "pipe"],
        "env": ["HOME", "LANG", "PATH", "TERM"],
        "pids": 1,
        "files": [],
        "control": True,
        "here": "a text that is here",
    }


@pytest.mark.parametrize("runner", ["python", "node"])
def test_a_job_has_no_way_back_to_the_pool(found: Any, runner: str) -> None:
    """It writes what a runner says to whatever is open, and its outcome is what the supervisor says."""
    code = {
        "python": "import os\nfor n in range(300):\n  try: os.write(n, b'a')\n  except OSError: pass\n"
        "os._exit(9)",
        "node": "for (let n = 0; n < 300; n++) try { require('fs').writeSync(n, 'a') } catch {}\n"
        "process.exit(9)",
    }[runner]
    answer = found(
        f"""
with Pool(Jail(), 1, runner=runners.{runner}()) as pool:
    pool.wait_ready(60)
    forged = captured(pool, sys.argv[1])
    after = captured(pool, {"'print(1)'" if runner == "python" else "'console.log(1)'"})
answer(forged=[forged.status, forged.exit_code], out=forged.stdout, after=after.stdout)
""",
        code,
    )
    assert answer == {"forged": ["exited", 9], "out": "a", "after": "1\n"}


def test_what_a_job_leaves_running_ends_with_it(found: Any) -> None:
    assert found("""
code = "import os\\nif os.fork() == 0:\\n os.setsid()\\n os.close(1)\\n os.close(2)\\n os.read(0, 1)"
with Pool(Jail(), 1, runner=runners.python()) as pool:
    pool.wait_ready(60)
    reader, writer = os.pipe()
    done = captured(pool, code, stdin=reader)
    os.close(reader)
    try:
        os.write(writer, b"x")
    except BrokenPipeError:
        answer(status=done.status)
""") == {"status": "exited"}


def test_another_jobs_interpreter_is_another_one(found: Any) -> None:
    """What it makes of its own modules, and of its namespaces, is gone with it."""
    assert found("""
spoil = '''
import builtins, os, socket, sys
builtins.print = None
sys.stdout = None
listener = socket.socket(socket.AF_UNIX)
listener.bind("\\\\0left")
listener.listen()
os._exit(0)
'''
look = '''
import builtins, os, socket
try:
    socket.socket(socket.AF_UNIX).connect("\\\\0left")
except ConnectionRefusedError:
    print(builtins.print is not None, os.readlink("/proc/self/ns/net") != "x")
'''
with Pool(Jail(), 2, runner=runners.python()) as pool:
    pool.wait_ready(60)
    answer(one=captured(pool, spoil).exit_code, two=captured(pool, look).stdout)
""") == {"one": 0, "two": "True True\n"}
