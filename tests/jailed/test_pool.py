"""`Pool`: jails that wait for their one job, with an interpreter that runs already or without."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from jailed.pools import PRELUDE
from support.launcher import Launcher
from support.processes import alive_after, descendants, hold
from support.scripts import Scripts
from support.users import User


@pytest.fixture
def found(scripts: Scripts) -> Any:
    """What code that has pools answers."""
    return lambda code, *arguments, **options: scripts.answer(PRELUDE + code, *arguments, **options)


def test_calls_in_the_name_of_a_pool(found: Any) -> None:
    """`pool.run` is `jail.run` in it; so are the others, and an executor's."""
    assert found("""
with Pool(Jail(), 1) as plain, Pool(Jail(), 1, runner=runners.python()) as pool:
    with pool.start(["a", "b"], code="print(input())", stdin=PIPE, stdout=PIPE, text=True) as process:
        out, _ = process.communicate("word")
    try:
        pool.run(["a"], code="1/0", stderr=DEVNULL, check=True)
    except jail.PayloadFailed as error:
        failed = error.outcome.exit_code
    try:
        pool.run(["a"], code="import time; time.sleep(1000)", timeout=0.2)
    except jail.TimeoutExpired:
        late = True
    much = pool.run(["a"], code="print('x' * 100)", capture_output=True, max_output=10)
    echo = captured(plain, ["/bin/echo", "x"])
    same = jail.run(["/bin/echo", "x"], jail=plain, capture_output=True).stdout.decode()
    missing = plain.run(["/no/such"], stderr=DEVNULL).exit_code
    answer(out=out, failed=failed, late=late, much=[much.status, len(much.stdout)], echo=echo, same=same,
           missing=missing, args=process.args)
""") == {
        "out": "word\n",
        "failed": 1,
        "late": True,
        "much": ["output-exceeded", 10],
        "echo": ["exited", 0, "x\n", ""],
        "same": "x\n",
        "missing": 127,
        "args": ["a", "b"],
    }


def test_many_at_a_time(found: Any) -> None:
    """More than are ready, by threads: each gets a jail of its own."""
    assert found("""
from concurrent.futures import ThreadPoolExecutor
code = "import os, sys; print(sys.argv[1]); assert not hasattr(os, 'used'); os.used = 1"
with Pool(Jail(), 2, runner=runners.python()) as pool, ThreadPoolExecutor(6) as threads:
    outs = [done[2] for done in threads.map(lambda n: captured(pool, ["a", str(n)], code), range(18))]
    none = Pool(Jail(), 0, runner=runners.python())
    with none:
        alone = captured(none, ["a", "b"], code)
answer(outs=outs, alone=alone)
""") == {"outs": [f"{n}\n" for n in range(18)], "alone": ["exited", 0, "b\n", ""]}


def test_what_cannot_be(found: Any) -> None:
    answer = found("""
import contextlib
def refused(make):
    try:
        make()
    except jail.JailError as error:
        return [type(error).__name__, str(error)]
with contextlib.ExitStack() as stack:
    def told(runner, box=Jail(), **options):
        return attempt(stack.enter_context(Pool(box, 1, runner=runner)), ["a"], "1", **options)
    plain = stack.enter_context(Pool())
    answer(
        absent=told(runners.python(["no_such_module"])),
        node=told(runners.node(["no-such-module"])),
        interpreter=told(runners.python(python="/no/python")),
        setup=told(runners.python(), Jail().with_bind("/no/such/source", "/x")),
        code=attempt(plain, ["true"], "1"),
        size=refused(lambda: Pool(Jail(), -1)),
        jail=refused(lambda: Pool("box")),
        runner=refused(lambda: Pool(runner="python")),
        names=refused(lambda: runners.python("json")),
        argv=attempt(plain, "true"),
    )
""")
    assert answer.pop("absent") == [
        "LaunchError",
        "the runner 'python' cannot import: ModuleNotFoundError: No module named 'no_such_module'",
    ]
    assert answer["node"][1].startswith("the runner 'node' cannot import: Error: Cannot find module")
    assert "ended before it was ready: cannot execute '/no/python'" in answer["interpreter"][1]
    assert "/no/such/source" in answer["setup"][1]
    assert {name: told[0] for name, told in answer.items()} == {
        "node": "LaunchError",
        "interpreter": "LaunchError",
        "setup": "LaunchError",
        "code": "SpecError",
        "size": "SpecError",
        "jail": "SpecError",
        "runner": "SpecError",
        "names": "SpecError",
        "argv": "SpecError",
    }


def test_one_that_has_ended_is_replaced(found: Any) -> None:
    """Whether the pool has noticed or not, and the caller notices nothing."""
    assert found("""
with Pool(Jail(), 2, runner=runners.python()) as pool:
    pool.wait_ready(60)
    for one in list(pool._source._keeper._ready):
        pidfd = os.dup(one.pidfd)
        os.kill(one.running.pid, signal.SIGKILL)
        has_ended(pidfd)
    done = captured(pool, ["a"], "print(1)")
    answer(done=done, again=pool.wait_ready(60))
""") == {"done": ["exited", 0, "1\n", ""], "again": True}


def test_what_changes_while_it_is_read_is_not_used(found: Any, place: Path, as_user: User) -> None:
    """The first to read it has the old text, and sees the file as it is afterwards."""
    for name, text in (
        ("m.py", "value = 'old'\nwith open(__file__, 'w') as file: file.write('value = 1')"),
        ("m.js", "module.exports = 'old'; require('fs').writeFileSync(__filename, 'module.exports = 1')"),
    ):
        (place / name).write_text(text)
    for path in (place, *place.iterdir()):
        as_user.owns(path)
    assert found("""
site = "/usr/local/lib/python3.%d/dist-packages" % sys.version_info[1]
box = Jail().with_bind(sys.argv[1], site, writable=True)
said = []
for runner, code in ((runners.python(["m"]), "import m; print(m.value)"),
                     (runners.node([site + "/m.js"]), f"console.log(require('{site}/m.js'))")):
    with Pool(box, 1, runner=runner) as pool:
        assert pool.wait_ready(60)
        said.append(captured(pool, ["a"], code))
answer(said=said)
""", os.fspath(place)) == {"said": [["exited", 0, "1\n", ""]] * 2}


def test_what_has_changed_is_not_used(found: Any, place: Path, as_user: User) -> None:
    """Variables that are passed, a source of a bind, a file that the interpreter has read."""
    for name in ("modules", "data"):
        (place / name).mkdir()
        as_user.owns(place / name)
    for name, text in (("modules/m.js", "module.exports = 'old'"), ("modules/m.py", "value = 'old'"),
                       ("data/file", "old")):
        (place / name).write_text(text)
        as_user.owns(place / name)
    assert found("""
place = sys.argv[1]
os.environ["PASSED"] = "old"
site = "/usr/local/lib/python3.%d/dist-packages" % sys.version_info[1]
box = (Jail().with_bind(place + "/modules", "/x").with_bind(place + "/modules", site)
       .with_bind(place + "/data", "/data").with_env(PASSED=None))
py = "import m, os; print(m.value, os.environ['PASSED'], open('/data/file').read())"
js = "console.log(require('/x/m.js'), process.env.PASSED)"
with Pool(box, 1, runner=runners.python(["m"])) as p, Pool(box, 1, runner=runners.node(["/x/m.js"])) as n:
    def look():
        assert p.wait_ready(60) and n.wait_ready(60)
        return [captured(p, ["a"], py)[2], captured(n, ["a"], js)[2]]
    before = look()
    os.environ["PASSED"] = "new"
    variable = look()
    for name, text in (("m.py", "value = 'new'"), ("m.js", "module.exports = 'new'")):
        with open(place + "/modules/" + name, "w") as file:
            file.write(text)
    modules = look()
    os.rename(place + "/data", place + "/before")
    os.mkdir(place + "/data")
    with open(place + "/data/file", "w") as file:
        file.write("new")
    answer(before=before, variable=variable, modules=modules, bind=look())
""", os.fspath(place)) == {
        "before": ["old old old\n", "old old\n"],
        "variable": ["old new old\n", "old new\n"],
        "modules": ["new new old\n", "new new\n"],
        "bind": ["new new new\n", "new new\n"],
    }


def test_mounts_and_owners_that_have_changed_are_those_of_the_next_job(
    root_pyjail: Launcher, place_of_root: Path
) -> None:
    """Also after a forked child, which has the same open files, has looked."""
    assert Scripts(root_pyjail).answer(PRELUDE + """
import ctypes, subprocess
libc = ctypes.CDLL(None)
if libc.unshare(0x20000) != 0: sys.exit("no mount namespace")
def mount(*words): subprocess.run(["mount", *words], check=True)
mount("--make-rprivate", "/")
place, below = sys.argv[1], sys.argv[1] + "/below"
mount("-t", "tmpfs", "-o", "mode=755", "none", place)
os.mkdir(below)
os.close(os.open(place + "/roots", os.O_CREAT, 0o600))
code = '''
import errno, os
def attempt(*words):
    try: return os.close(os.open(*words)) or "ok"
    except OSError as error: return errno.errorcode[error.errno]
print(attempt("/x/new", os.O_WRONLY | os.O_CREAT), attempt("/x/roots", 0), attempt("/x/below/file", 0))
'''
changed = {"": lambda: None, "ro": lambda: mount("-o", "remount,bind,ro", place),
           "rw": lambda: mount("-o", "remount,bind,rw", place),
           "below": lambda: mount("-t", "tmpfs", "none", below) or open(below + "/file", "x"),
           "given": lambda: os.chown(place, 1234, 1234)}
def look(pool, how):
    pool.wait_ready(60)
    changed[how]()
    return captured(pool, ["job"], code)[2].split()
box = Jail().with_bind(place, "/x", writable=True)
with Pool(box, 1, runner=runners.python()) as pool:
    found = {how: look(pool, how) for how in ("", "ro", "rw")}
    pool.wait_ready(60)
    mount("-o", "remount,bind,ro", place)
    child = os.fork()
    if child == 0:
        pool.run(["job"], code="")
        os._exit(0)
    os.waitpid(child, 0)
    found["after a child"] = captured(pool, ["job"], code)[2].split()
    mount("-o", "remount,bind,rw", place)
    found |= {how: look(pool, how) for how in ("below", "given")}
answer(**found)
""", str(place_of_root)) == {
        "": ["ok", "ok", "ENOENT"],
        "ro": ["EROFS", "ok", "ENOENT"],
        "rw": ["ok", "ok", "ENOENT"],
        "after a child": ["EROFS", "ok", "ENOENT"],
        "below": ["ok", "ok", "ok"],
        "given": ["EACCES", "EACCES", "ok"],
    }


def test_a_forked_child_has_a_pool_of_its_own(found: Any) -> None:
    assert found("""
import multiprocessing
def work(number):
    return captured(pool, ["a"], f"print({number})")[2]
with Pool(Jail(), 2, runner=runners.python()) as pool:
    pool.wait_ready(60)
    ours = {one.running.pid for one in pool._source._keeper._ready}
    with multiprocessing.get_context("fork").Pool(2) as children:
        outs = children.map(work, range(6))
    kept = pool.wait_ready(60) and {one.running.pid for one in pool._source._keeper._ready} == ours
    mine = work(9)
answer(outs=outs, kept=kept, mine=mine)
""") == {"outs": [f"{n}\n" for n in range(6)], "kept": True, "mine": "9\n"}


def test_a_closed_pool(found: Any) -> None:
    """Nothing of it is left, also no descriptor and no child to be waited for."""
    assert found("""
jail.run(["/bin/true"])  # the serving jailer has started
before = len(os.listdir("/proc/self/fd"))
with Pool(Jail(), 3, runner=runners.python()) as pool:
    pool.wait_ready(60)
    process = pool.start(["a"], code="input()", stdin=PIPE)
    pool.wait_ready(60)
late = attempt(pool, ["a"], "1")
goes_on = process.poll() is None
with process:
    pass
del process
try:
    left = os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    left = None
answer(late=late, goes_on=goes_on, left=left, more=len(os.listdir("/proc/self/fd")) - before)
""") == {"late": ["SpecError", "pool: the pool is closed"], "goes_on": True, "left": None, "more": 0}


@pytest.mark.parametrize("end", ["", "os._exit(0)", "os.kill(os.getpid(), 9)", "sys.exit(1)"])
def test_nothing_outlives_the_caller(scripts: Scripts, end: str) -> None:
    running, line = scripts.started(PRELUDE + f"""
pool = Pool(Jail(), 2, runner=runners.python())
pool.wait_ready(60)
print(*(one.running.pid for one in pool._source._keeper._ready), flush=True)
sys.stdin.read()
{end}
""")
    with running:
        supervisors = [int(word) for word in line.split()]
        held = hold(pid for one in supervisors for pid in (one, *descendants(one)))
        assert len(held) == 6
        running.communicate(timeout=60)
    assert alive_after(held, 60) == []


def test_jails_that_lack_a_command_only(found: Any, place: Path, as_user: User) -> None:
    """Also in a forked child, for more than are ready, and when what they show has changed."""
    policy = as_user.owns(place) / "policy.toml"
    policy.write_text('base = "default"\n')
    as_user.owns(policy)
    assert found("""
from concurrent.futures import ThreadPoolExecutor
def work(number):
    return captured(pool, ["/bin/echo", str(number)])[2]
def denied():
    return captured(pool, ["/bin/sh", "-c", "mkdir /tmp/x 2>&1"])[2]
with Pool(Jail(seccomp=sys.argv[1]), 3) as pool, ThreadPoolExecutor(6) as threads:
    ready = pool.wait_ready(60), pool.ready
    outs = list(threads.map(work, range(12)))
    pid = os.fork()
    if pid == 0:
        os._exit(0 if work(1) == "1\\n" else 1)
    child = os.waitpid(pid, 0)[1]
    before = denied()
    with open(sys.argv[1], "a") as file:
        file.write('[[rule]]\\ncalls = ["mkdir"]\\naction = "EXDEV"\\n')
    after = denied()
    variable = captured(pool, ["/bin/sh", "-c", "echo $NAME"], env={"NAME": "value"})[2]
answer(ready=ready, outs=outs, child=child, variable=variable, before=before,
       after="cross-device" in after.lower(), closed=attempt(pool, ["true"])[0])
""", os.fspath(policy)) == {
        "ready": [True, 3],
        "outs": [f"{n}\n" for n in range(12)],
        "child": 0,
        "variable": "value\n",
        "before": "",
        "after": True,
        "closed": "SpecError",
    }


def test_waiting_for_what_never_will_be_ready(found: Any, place: Path) -> None:
    """It is told at once why, and what is mended is found at the next call."""
    told = found("""
def waited(pool):
    try:
        return pool.wait_ready(60)
    except jail.JailError as error:
        return [type(error).__name__, str(error)]
def once(runner, box=Jail()):
    with Pool(box, 2, runner=runner) as pool:
        return waited(pool)
program = once(runners.node(node="no-such-node"))
setup = once(runners.python(), Jail().with_bind("/no/such/source", "/x"))
site = "/usr/local/lib/python3.%d/dist-packages" % sys.version_info[1]
with Pool(Jail().with_bind(sys.argv[1], site), 1, runner=runners.python(["mended"])) as pool:
    before = waited(pool)
    with open(sys.argv[1] + "/mended.py", "w"):
        after = waited(pool)
answer(program=program, setup=setup, before=before, after=after)
""", os.fspath(place))
    assert told["program"][0] == told["setup"][0] == "LaunchError"
    assert "cannot execute 'no-such-node': no such file" in told["program"][1]
    assert told["program"][1].endswith("or name another with jail.runners.node(node=…)")
    assert "/no/such/source" in told["setup"][1]
    assert told["before"][1].endswith("cannot import: ModuleNotFoundError: No module named 'mended'")
    assert told["after"] is True


def test_time_counts_from_the_job(found: Any, place: Path) -> None:
    """What an interpreter takes to start, and its wait, is nobody's time."""
    (place / "slow.py").write_text(
        "import time\nend = time.process_time() + 0.8\nwhile time.process_time() < end: pass\n"
    )
    assert found("""
site = "/usr/local/lib/python3.%d/dist-packages" % sys.version_info[1]
box = Jail().with_bind(sys.argv[1], site).with_limits(timeout="0.7s")
with Pool(box, 1, runner=runners.python(["slow"])) as pool:
    ready = pool.wait_ready(60)
    one = pool.run(["a"], code="pass")
    warm = pool.wait_ready(60)
    two = pool.run(["a"], code="import time; time.sleep(1000)")
answer(ready=ready and warm, one=[one.status, one.wall_seconds < 0.7],
       two=[two.status, two.wall_seconds >= 0.7],
       cpu=one.cpu_user_seconds is None or one.cpu_user_seconds < 0.5)
""", os.fspath(place)) == {
        "ready": True,
        "one": ["exited", True],
        "two": ["timed-out", True],
        "cpu": True,
    }
