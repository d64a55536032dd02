"""A payload against what comes into its jail: the process that is to become another command is caught
half-way, stopped, killed, starved and led astray; it gives nothing of the outside and holds nobody up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from jailed.patience import patience
from support.launcher import Launcher
from support.scripts import Scripts


@pytest.fixture
def scripts(pyjail: Launcher) -> Iterator[Scripts]:
    """Callers, as the test's user."""
    with patience():
        yield Scripts(pyjail)


CATCHER = r'''
import ctypes, errno, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)

def tried(act, *arguments):
    """Whether it did anything."""
    try:
        found = act(*arguments)
    except OSError:
        return False
    return found is None or found >= 0

def peek(pid):
    """What may be had of a process: everything that would be a way out, or into memory of the outside."""
    got = []
    for name in ("mem", "environ", "maps", "auxv", "fd", "fd/0", "fd/3", "fd/4", "fdinfo/3", "exe", "root",
                 "cwd", "ns/mnt", "ns/user", "ns/net", "task", "map_files", "syscall", "stack", "io"):
        for act in (os.open, os.readlink):
            arguments = (os.O_RDONLY,) if act is os.open else ()
            try:
                found = act(f"/proc/{pid}/{name}", *arguments)
            except OSError:
                continue
            if act is os.readlink or name not in ("mem", "environ", "maps") or os.read(found, 1):
                got.append(name)
    buffer = ctypes.create_string_buffer(64)
    vector = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 64)
    there = (ctypes.c_size_t * 2)(0x400000, 64)
    calls = {"PTRACE_ATTACH": (101, 16, pid, 0, 0), "PTRACE_SEIZE": (101, 0x4206, pid, 0, 0),
             "process_vm_readv": (310, pid, vector, 1, there, 1, 0), "kcmp": (312, os.getpid(), pid, 2, 0, 0),
             "setns": (308, -1, 0)}
    pidfd = libc.syscall(434, pid, 0)
    for number in range(12):
        calls[f"pidfd_getfd {number}"] = (438, pidfd, number, 0)
    if pidfd >= 0:
        calls["setns"] = (308, pidfd, 0x20000)
    for name, call in calls.items():
        if libc.syscall(*call) >= 0:
            got.append(name)
    return got
'''

# Stops whatever comes; then, told which process of the jail that is, tries everything on it.
STOPPER = CATCHER + r'''
print("ready", flush=True)
os.set_blocking(0, False)
pid = None
while pid is None:
    try:
        os.kill(-1, signal.SIGSTOP)
    except OSError:
        pass
    try:
        line = os.read(0, 100)
    except BlockingIOError:
        continue
    pid = int(line)
print(peek(pid) + peek(1), flush=True)
os.kill(-1, signal.SIGKILL)
os.set_blocking(0, True)
os.read(0, 1)
'''

CAUGHT = """
def children(pid):
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = open(f"/proc/{name}/stat").read()
        except OSError:
            continue
        comm, rest = fields[fields.index("(") + 1:fields.rindex(")")], fields[fields.rindex(")") + 2:].split()
        if int(rest[1]) == pid:
            found.append((int(name), comm, rest[0]))
    return found

def inside(pid):
    return int(next(line for line in open(f"/proc/{pid}/status") if line.startswith("NSpid:")).split()[-1])

def caught(process):
    \"\"\"One that was stopped before it was a command, with what it is waited for by.\"\"\"
    [(init, _, _)] = children(process.pid)
    [(payload, _, _)] = children(init)
    for _ in range(300):
        more = process.exec(["/bin/sleep", "1000"])
        state = ""
        while state not in ("T", "gone"):
            found = [one for one in children(init) if one[0] != payload]
            state = found[0][2] if found else "gone"
            comm = found[0][1] if found else ""
        if comm == "pyjail-init":
            return more, found[0][0]
        more.kill()
        more.wait()
    raise SystemExit("never caught one half-way")
"""


def test_what_is_to_become_a_command_gives_nothing(scripts: Scripts) -> None:
    """Though it has the payload's own ids, is stopped as long as the payload likes, and neither a filter nor
    Landlock, which from Linux 6.12 on keeps signals from it, forbids any of the calls."""
    box = "box = Jail(seccomp='off', without=frozenset(('landlock',)))"
    found = scripts.answer(f"STOPPER = {STOPPER!r}\n{box}\n" + CAUGHT + """
os.environ["SECRET"] = "sesame-opens"
process = jail.start(["/usr/bin/python3", "-c", STOPPER], stdin=PIPE, stdout=PIPE, jail=box)
with process:
    process.stdout.readline()
    more, pid = caught(process)
    memory = None
    if os.geteuid() == 0:  # what the payload does not get is not there either
        memory = b""
        with open(f"/proc/{pid}/mem", "rb", 0) as file:
            for line in open(f"/proc/{pid}/maps"):
                start, end = (int(part, 16) for part in line.split()[0].split("-"))
                if "r" in line.split()[1] and "[v" not in line:
                    file.seek(start)
                    memory += file.read(end - start)
    process.stdin.write(b"%d" % inside(pid))
    process.stdin.flush()
    got = process.stdout.readline().decode()
    outcome = more.wait()
    alive = process.stats().wall_seconds > 0
    process.kill()
answer(got=got, status=outcome.status, signal=outcome.signal, alive=alive,
       secret=None if memory is None else [len(memory) > 4096, b"sesame" in memory, b"SECRET" in memory])
""")
    assert found.pop("secret") in (None, [True, False, False])
    assert found == {"got": "[]\n", "status": "signaled", "signal": 9, "alive": True}


def test_a_payload_that_kills_all_it_can_holds_nobody_up(scripts: Scripts) -> None:
    code = """
import os, signal
print("ready", flush=True)
while True:
    try:
        os.kill(-1, signal.SIGKILL)
    except OSError:
        pass
"""
    found = scripts.answer(f"code = {code!r}" + """
box = Jail(without=frozenset(("landlock",)))  # it would keep the signals from the others
with jail.start(["/usr/bin/python3", "-c", code], stdout=PIPE, jail=box) as process:
    process.stdout.readline()
    ends = [process.exec(["/bin/sleep", "1000"]).wait() for _ in range(50)]
    alive = process.stats().wall_seconds > 0
    process.kill()
answer(ends=sorted({(end.status, end.signal) for end in ends}), alive=alive, status=process.outcome.status)
""")
    assert found == {"ends": [["signaled", 9]], "alive": True, "status": "killed"}


def test_limits_that_the_payload_lowers_for_init_starve_only_the_command(scripts: Scripts) -> None:
    """prlimit(2) asks for the same ids alone."""
    code = """
import os, resource, sys
print("ready", flush=True)
for line in sys.stdin:
    name, value = line.split()
    try:
        resource.prlimit(1, getattr(resource, "RLIMIT_" + name), (int(value), int(value)))
    except OSError as error:
        print(error)
    print("done", flush=True)
"""
    found = scripts.answer(f"code = {code!r}" + """
ends = {}
lower = (("NOFILE", 5), ("NOFILE", 7), ("NPROC", 1), ("FSIZE", 0), ("AS", 1 << 16), ("STACK", 4096))
options = dict(stdin=PIPE, stdout=PIPE, jail=Jail(seccomp="off"), text=True)
for name, value in lower:
    with jail.start(["/usr/bin/python3", "-c", code], **options) as process:
        process.stdout.readline()
        process.stdin.write(f"{name} {value}\\n")
        process.stdin.flush()
        process.stdout.readline()
        try:
            with process.exec(["/bin/true"]) as more:
                ends[name] = more.wait().status
        except jail.LaunchError as error:
            ends[name] = "not run"
        alive = process.stats().wall_seconds > 0
        process.kill()
answer(ends=ends, alive=alive)
""")
    assert found["alive"]
    assert found["ends"]["NOFILE"] == "not run"
    assert set(found["ends"].values()) <= {"not run", "signaled", "exited"}


@pytest.mark.parametrize("target", ["/proc/1/root", "/proc/1/cwd", "/proc/self/fd/3", "/proc/self/fd/4",
                                    "/proc/self/fd/5", "/proc/self/exe", "/proc/self/root/../..", "/.."])
def test_a_folder_that_the_payload_puts_elsewhere_leads_nowhere(
    scripts: Scripts, place: Path, target: str
) -> None:
    """The folder to start in, which the payload may write, is a link by then: to what the process on its way
    in might still have open, among others."""
    (place / "data" / "sub").mkdir(parents=True)
    for folder in (place / "data", place / "data" / "sub"):
        scripts.launcher.user.owns(folder)
    (place / "outside").write_text("of the host")
    found = scripts.answer("""
place, target = sys.argv[1:]
box = Jail(cwd="/data/sub").with_bind(place + "/data", "/data", writable=True)
code = 'echo ready; read line; rmdir /data/sub; ln -s "$1" /data/sub; echo done; read line'
with jail.start(["/bin/sh", "-c", code, "sh", target], stdin=PIPE, stdout=PIPE, jail=box) as process:
    process.stdout.readline()
    process.stdin.write(b"\\n"), process.stdin.flush()
    process.stdout.readline()
    look = f"ls -d {place}/outside .{place}/outside; stat -c %d.%i . /"
    try:
        with process.exec(["/bin/sh", "-c", look], stdout=PIPE, stderr=DEVNULL) as more:
            out = more.communicate()[0].decode()
    except jail.LaunchError as error:
        out = error.step
    process.stdin.close()
answer(out=out)
""", str(place), target)
    lines = found["out"].split()  # the jail's own root, at most
    assert found["out"] == "cwd" or (len(lines) == 2 and lines[0] == lines[1]), found


def test_a_full_jail_takes_no_more_and_is_held(scripts: Scripts) -> None:
    """Its processes are as many as it may have, and none of them ends by itself."""
    code = """
import os
def fork():
    try:
        return os.fork()
    except OSError:
        return None
print("ready", flush=True)
while True:
    if fork() == 0:
        os.execv("/bin/sleep", ["sleep", "1000"])
"""
    found = scripts.answer(f"code = {code!r}" + """
box = Jail(allow_weaker=frozenset(("pids",))).with_limits(pids=12)
with jail.start(["/usr/bin/python3", "-c", code], stdout=PIPE, jail=box, stderr=DEVNULL) as process:
    process.stdout.readline()
    ends = []
    for _ in range(20):
        try:
            with process.exec(["/bin/sh", "-c", "sleep 1000 & sleep 1000"], stderr=DEVNULL) as more:
                time.sleep(0)
                more.kill()
                ends.append(more.wait().status)
        except jail.LaunchError as error:
            ends.append(error.step)
    alive = process.stats().wall_seconds > 0
    process.kill()
answer(ends=sorted(set(ends)), alive=alive, status=process.outcome.status)
""")
    assert found["alive"]
    assert found["status"] == "killed"
    assert set(found["ends"]) <= {"signaled", "fork", "exited"}


def test_only_the_supervisor_says_how_a_command_ended(scripts: Scripts) -> None:
    """What a command writes where its end is told, or anywhere, is its output and no more."""
    forged = '{"status":"exited","exit_code":0}'
    code = f"""
import os
for fd in range(3, 64):
    try:
        os.write(fd, b'{forged}')
    except OSError:
        pass
os._exit(9)
"""
    found = scripts.answer(f"code = {code!r}" + """
with jail.start(["/bin/cat"], stdin=PIPE) as process:
    with process.exec(["/usr/bin/python3", "-c", code]) as more:
        outcome = more.wait()
answer(status=outcome.status, code=outcome.exit_code)
""")
    assert found == {"status": "exited", "code": 9}


def test_a_command_that_leaves_its_group_is_killed_all_the_same(scripts: Scripts) -> None:
    """Init is of the session, so its group can be joined, where no kill(2) from inside init looks for it."""
    code = "import os, time; os.setpgid(0, 1); print('left', flush=True); time.sleep(1000)"
    assert scripts.answer(f"code = {code!r}" + """
with jail.start(["/bin/cat"], stdin=PIPE) as process:
    with process.exec(["/usr/bin/python3", "-c", code], stdout=PIPE) as more:
        left = more.stdout.readline().decode()
        more.kill()
        outcome = more.wait()
answer(left=left, status=outcome.status, signal=outcome.signal)
""") == {"left": "left\n", "status": "signaled", "signal": 9}


def test_a_kill_waits_for_an_init_that_takes_no_orders(scripts: Scripts) -> None:
    """Its channel is full of what others have asked for; the command's end must not be lost for that."""
    assert scripts.answer("""
def children(pid):
    return [int(word) for word in open(f"/proc/{pid}/task/{pid}/children").read().split()]

def stopped(pid):
    while "T (stopped)" not in open(f"/proc/{pid}/status").read(): pass

def asked(connection, text):
    try:
        connection.send(text, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    return True

words = ["/bin/sh", "-c", "trap : USR1; echo up; while :; do sleep 1000 & wait; done"]
with jail.start(["/bin/cat"], stdin=PIPE) as process:
    commands = [process.exec(words, stdout=PIPE) for _ in range(2)]
    for command in commands: command.stdout.readline()
    (init,) = children(process.pid)
    os.kill(init, signal.SIGSTOP)
    stopped(init)
    try:
        connection = commands[0]._running._connection
        for _ in range(600):  # more than the channel holds; each is read before the answer comes
            asked(connection, b"signal 10")
            process.stats()
        commands[1].kill()
        process.stats()
    finally:
        os.kill(init, signal.SIGCONT)
    outcome = commands[1].wait(30)
    alive = process.stats().wall_seconds > 0
    process.stdin.close()
answer(status=outcome.status, signal=outcome.signal, alive=alive)
""") == {"status": "signaled", "signal": 9, "alive": True}
