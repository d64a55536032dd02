"""The serving jailer: it lives and dies as it should, whatever the calling process does."""

from __future__ import annotations

import errno
import json
import os
import signal
from pathlib import Path

import pytest
from support.launcher import Launcher
from support.processes import alive_after, children, hold, status
from support.scripts import Scripts
from support.serving import SERVING


def test_one_serves_all_and_is_no_child(scripts: Scripts) -> None:
    assert scripts.answer(SERVING + """
first, second = serving(), serving()
found = []
thread = threading.Thread(target=lambda: found.append(serving()))
thread.start(), thread.join()
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    answer(same=first == second == found[0], other=first != os.getpid())
""") == {"same": True, "other": True}


def test_one_that_was_killed_is_replaced_and_what_ran_runs_on(scripts: Scripts) -> None:
    assert scripts.answer(SERVING + """
with jail.start(["/bin/cat"], stdin=PIPE, stdout=PIPE) as process:
    server = server_of(process)
    os.kill(server, signal.SIGKILL)
    ended(server)
    other = jail.run(["/bin/sh", "-c", "exit 3"]).exit_code
    out = process.communicate(b"still here")[0].decode()
answer(other=other, out=out, status=process.outcome.status)
""") == {"other": 3, "out": "still here", "status": "exited"}


def test_one_that_is_stopped_and_killed_under_a_request_is_replaced(scripts: Scripts) -> None:
    """The request lies unread in its socket when it ends."""
    assert scripts.answer(SERVING + """
server = serving()
os.kill(server, signal.SIGSTOP)
while open(f"/proc/{server}/stat").read().rpartition(")")[2].split()[0] != "T":
    os.sched_yield()
found = []
thread = threading.Thread(target=lambda: found.append(jail.run(["/bin/sh", "-c", "exit 3"]).exit_code))
thread.start()
while "recv" not in open(f"/proc/self/task/{thread.native_id}/wchan").read() and \\
        open(f"/proc/self/task/{thread.native_id}/syscall").read().split()[0] not in ("47", "212"):
    os.sched_yield()
os.kill(server, signal.SIGKILL)
thread.join()
answer(found=found)
""") == {"found": [3]}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGTSTP])
def test_signals_to_all_of_a_terminal_do_not_reach_it(scripts: Scripts, number: signal.Signals) -> None:
    assert scripts.answer(SERVING + f"""
server = serving()
os.kill(server, {int(number)})
answer(same=serving() == server)
""") == {"same": True}


def test_forked_children_have_their_own(scripts: Scripts) -> None:
    """Also one whose parent has just been in a start, by another thread."""
    assert scripts.answer(SERVING + """
server = serving()
stop = threading.Event()
def busy():
    while not stop.is_set():
        jail.run(["/bin/true"])
thread = threading.Thread(target=busy)
thread.start()
codes, others = [], set()
for _ in range(5):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        own = serving()
        os.write(writer, str(own).encode())
        os._exit(jail.run(["/bin/sh", "-c", "exit 7"]).exit_code)
    os.close(writer)
    others.add(int(os.read(reader, 99)))
    os.close(reader)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
stop.set(), thread.join()
answer(codes=codes, others=len(others - {server}), gone=all(map(ended, others)), same=serving() == server)
""") == {"codes": [7] * 5, "others": 5, "gone": True, "same": True}


def test_a_forked_child_keeps_nothing_alive(scripts: Scripts) -> None:
    """It holds copies of all sockets of its parent, having changed nothing of what it was born with."""
    running, line = scripts.started(SERVING + """
import ctypes
process = jail.start(["/bin/sleep", "1000"])
read, write = os.pipe()
if ctypes.CDLL(None).fork() == 0:  # unseen by Python
    os.close(write)
    os.read(read, 1)
    os._exit(0)
answer(server=server_of(process), supervisor=process.pid)
sys.stdin.read()
os._exit(0)
""")
    found = json.loads(line)
    held = hold([found["server"], found["supervisor"]])
    assert len(children(running.pid)) == 1
    with running:
        assert running.stdin is not None
        running.stdin.close()
        running.wait(60)
        assert len(held) == 2
        assert alive_after(held, 60) == []


def test_multiprocessing(scripts: Scripts, place: Path) -> None:
    code = """
import multiprocessing, sys
import jail
def work(number):
    return jail.run(["/bin/sh", "-c", f"exit {number}"]).exit_code
if __name__ == "__main__":
    found = {}
    for method in ("fork", "spawn", "forkserver"):
        work(1)
        with multiprocessing.get_context(method).Pool(2) as pool:
            found[method] = pool.map(work, range(4))
    print(found, flush=True)
"""
    (place / "work.py").write_text(code)
    (place / "work.py").chmod(0o644)
    done = scripts.launcher.run(str(place / "work.py"), program=scripts.launcher.installation.python)
    expected = {name: [0, 1, 2, 3] for name in ("fork", "spawn", "forkserver")}
    assert done.stdout.decode() == f"{expected}\n", done.stderr


@pytest.mark.parametrize("how", ["sys.exit()", "os._exit(0)", "os.kill(os.getpid(), 9)", "os.abort()"])
def test_the_end_of_the_caller_ends_all(scripts: Scripts, how: str) -> None:
    running, line = scripts.started(SERVING + f"""
keep(2)
processes = [jail.start(["/bin/sleep", "1000"]) for _ in range(3)]
server = server_of(processes[0])
answer(server=server, children=[*children(server)])
sys.stdin.read()
{how}
""")
    found = json.loads(line)
    inside = [child for pid in found["children"] for child in children(pid)]
    held = hold([found["server"], *found["children"], *inside])
    with running:
        assert running.stdin is not None
        running.stdin.close()
        running.wait(60)
    assert len(held) >= 9  # it, three runs, and one standby at least, each with its init
    assert alive_after(held, 60) == []


def test_changed_surroundings_are_those_of_the_next_jail(scripts: Scripts, place: Path) -> None:
    found = scripts.answer(SERVING + """
import resource
os.environ["TERM"] = "first"
show = ["/bin/sh", "-c", "echo $TERM; ulimit -n"]
def shown():
    return jail.run(show, capture_output=True, text=True).stdout.split()
servers, seen = [serving()], [shown()]
os.environ["TERM"] = "second"
os.chdir(sys.argv[1]), os.umask(0o77)
seen.append(shown()), servers.append(serving())
resource.setrlimit(resource.RLIMIT_NOFILE, (500, 500))
seen.append(shown()), servers.append(serving())
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
seen.append(shown()), servers.append(serving())
del os.environ["TERM"]
seen.append(shown())
answer(seen=seen, changed=[a != b for a, b in zip(servers, servers[1:])], gone=all(map(ended, servers[:-1])))
""", str(place))
    first, second = ["first", "1024"], ["second", "1024"]
    assert found["seen"] == [first, second, ["second", "500"], ["second", "500"], ["500"]]
    assert found["changed"][:2] == [False, True]
    assert found["changed"][2] is (len(os.sched_getaffinity(0)) > 1)


def test_another_user_has_another(root_pyjail: Launcher) -> None:
    assert Scripts(root_pyjail).answer(SERVING + """
server = serving()
first = jail.run(["/bin/cat", "/proc/self/uid_map"], capture_output=True, text=True).stdout.split()
os.setgroups([]), os.setresgid(65533, 65533, 65533), os.setresuid(65533, 65533, 65533)
second = jail.run(["/bin/cat", "/proc/self/uid_map"], capture_output=True, text=True).stdout.split()
other = serving()
answer(first=int(first[1]) > 1 << 20, second=second, changed=other != server)
""") == {"first": True, "second": ["1000", "65533", "1"], "changed": True}


@pytest.mark.usefixtures("with_landlock")
def test_a_confined_caller_has_a_confined_one(scripts: Scripts) -> None:
    """What was started before must not do for a process what it may no longer do itself."""
    assert scripts.answer(SERVING + """
from jail import confine
server = serving()
confine(landlock={"/": "ro", "/dev/null": "rw"})
gone = ended(server)
try:
    found = jail.run(["/bin/true"]).status
except (jail.LaunchError, jail.UnsupportedError, OSError) as error:
    found = type(error).__name__
answer(gone=gone, found=found)
""")["gone"] is True


def test_closed_descriptors_are_no_harm(scripts: Scripts) -> None:
    """A daemon closes all that it knows nothing of; its own files then have the numbers."""
    assert scripts.answer(SERVING + """
jail.run(["/bin/true"])
os.closerange(3, 200)
ours, theirs = zip(*(socket.socketpair() for _ in range(20)))
done = jail.run(["/bin/sh", "-c", "exit 3"]).exit_code
for end in theirs:
    end.setblocking(False)
    try:
        end.recv(99)
        done = "somebody else has got a request"
    except BlockingIOError:
        pass
answer(done=done, open=all(os.fstat(end.fileno()) for end in ours))
""") == {"done": 3, "open": True}


def test_a_caller_without_streams_keeps_what_is_its_own(scripts: Scripts) -> None:
    """Sockets of the library's get the numbers of closed streams; no jail may have them."""
    found = scripts.answer(SERVING + """
os.dup2(1, 90), os.set_inheritable(90, False)
os.close(0), os.close(1)
code = "import os; os.write(2, ' '.join(os.readlink(f'/proc/self/fd/{n}') for n in (0, 1)).encode())"
seen = [jail.run(["/usr/bin/python3", "-ISc", code], stderr=PIPE).stderr.decode() for _ in range(4)]
os.dup2(90, 1)
answer(seen=seen)
""")
    assert found == {"seen": ["/dev/null /dev/null"] * 4}


def test_a_caller_whose_folder_is_gone_starts_jails_all_the_same(scripts: Scripts, place: Path) -> None:
    assert scripts.answer("""
folder = sys.argv[1] + "/gone"
os.mkdir(folder)
os.chdir(folder)
os.rmdir(folder)
answer(codes=[jail.run(["/bin/sh", "-c", "exit 3"]).exit_code for _ in range(3)])
""", str(place)) == {"codes": [3, 3, 3]}


def test_long_words_and_many_variables(scripts: Scripts) -> None:
    """More than any message holds."""
    assert scripts.answer("""
word, many = "x" * 120_000, ["y"] * 5000
done = jail.run(["/bin/sh", "-c", "echo ${#1} $# ${#LONG}", "sh", word, *many],
                env={"LONG": "z" * 100_000}, capture_output=True, text=True)
answer(out=done.stdout)
""") == {"out": "120000 5001 100000\n"}


def test_requests_that_make_no_sense_are_passed_over(scripts: Scripts) -> None:
    assert scripts.answer(SERVING + """
import struct
server = serving()
ours = spawn.launcher._server._socket
for head in (b"", b"x", bytes(24), bytes(27), struct.pack("=7I", 9, 0, 0, 0, 0, 0, 0),
             struct.pack("=7I", 0, 0, 0, 0, 0, 0, 68), struct.pack("=7I2i", 0, 1, 0, 0, 1, 0, 2, 5, 5),
             struct.pack("=7Ii", 0, 0, 0, 0, 0, 0, 1, -1), b"x" * 5000):
    for count in (0, 1, 3, 4):
        if head:
            socket.send_fds(ours, [head], [2] * count)
answer(code=jail.run(["/bin/sh", "-c", "exit 3"]).exit_code, same=serving() == server,
       few=len(os.listdir(f"/proc/{server}/fd")) < 9)
""") == {"code": 3, "same": True, "few": True}


def test_a_text_that_is_not_as_its_head_says_starts_nothing(scripts: Scripts) -> None:
    found = scripts.answer(SERVING + """
import struct
server = serving()
asks = spawn.launcher._asked
errors = []
plan = plan_text(Jail())
wrong = (1, 0, 9), (2, 0, 5), (1, 0, 4), (1, 0, 1 << 30), (1 << 31, 1 << 31, 5), (1, 1, 5)
for words, passed, size in wrong:
    head = struct.pack("=7I", 0, words, 0, passed, size, 0xffffffff, 0)
    outcome = os.memfd_create("x")
    try:
        pid, pidfd, life = asks(head, b"true\\0" + plan, (outcome,), lambda now: True)
        has_ended(pidfd)
        errors.append(json.loads(os.pread(outcome, 9999, 0) or '{"status": "nothing"}')["status"])
    except OSError as error:
        errors.append("OSError")
answer(errors=errors, same=serving() == server)
""")
    assert set(found["errors"]) <= {"OSError", "nothing", "setup-failed"}
    assert found["same"]


def test_a_passed_descriptor_that_does_not_come_is_none_of_the_jailers_own(scripts: Scripts) -> None:
    """The jailer has others under these numbers: the socket of the requests, the ways into cgroups."""
    found = scripts.answer(SERVING + """
import dataclasses, struct
server = serving()
errors = []
for ahead in (0, 1):
    for number in range(3, 16):
        box = dataclasses.replace(Jail(), pass_fds=(number,))
        keep(ahead, box)
        head, text = struct.pack("=7I", 0, 1, 0, 0, 10, 0xffffffff, 0), b"/bin/true\\0" + plan_text(box)
        try:
            spawn.launcher._asked(head, text, (os.memfd_create("outcome"),), lambda now: True)
            errors.append("began")
        except OSError as error:
            errors.append(error.errno)
answer(errors=sorted(set(errors)), same=serving() == server)
""")
    assert found == {"errors": [errno.EBADMSG], "same": True}


def test_many_runs_leave_nothing_in_the_serving_jailer(scripts: Scripts) -> None:
    found = scripts.answer(SERVING + """
def weight(pid):
    pages = int(open(f"/proc/{pid}/statm").read().split()[1])
    return len(os.listdir(f"/proc/{pid}/fd")), pages
def quiet(pid):
    while len(children(pid)) > 1 or len(os.listdir(f"/proc/{pid}/fd")) > 8:
        os.sched_yield()
def run(times):
    for number in range(times):
        jail.run(["/bin/sh", "-c", f"exit {number % 3}"], input=b"x")
server = serving()
run(150)  # until heaps have the size that they keep
quiet(server)
before = weight(server), weight(os.getpid())
run(150)
quiet(server)
after = weight(server), weight(os.getpid())
answer(same=serving() == server, fds=[abs(b[0] - a[0]) <= 1 for a, b in zip(before, after)],
       pages=[b[1] - a[1] for a, b in zip(before, after)], zombies=len(children(server)))
""")
    assert found["same"]
    assert found["fds"] == [True, True]
    assert max(found["pages"]) < 64, found
    assert found["zombies"] <= 1


def test_its_program_is_found_by_nobody_in_a_jail(scripts: Scripts) -> None:
    """Nothing of it is to be seen inside: neither process nor socket."""
    found = scripts.answer(SERVING + """
code = '''import os
print(sorted(n for n in os.listdir("/proc") if n.isdigit()), open("/proc/net/unix").read().count("\\\\n"))'''
server = serving()
words = ["/usr/bin/python3", "-ISc", code]
answer(seen=[jail.run(words, capture_output=True, text=True).stdout for _ in range(3)])
""")
    assert len(set(found["seen"])) == 1, found  # the one line of /proc/net/unix is its title
    assert found["seen"][0] in {f"['{number}'] 1\n" for number in (2, 3)}


def test_a_serving_jailer_has_nothing_of_its_caller(scripts: Scripts) -> None:
    """None of its streams, so that whoever reads them sees their end; not its folder nor its files."""
    running, line = scripts.started(SERVING + """
leaked = os.open("/etc/hostname", os.O_RDONLY)
os.set_inheritable(leaked, True)
answer(server=serving())
os.close(1)
sys.stdin.read()
""")
    server = json.loads(line)["server"]
    with running:
        assert running.stdout is not None
        assert running.stdin is not None
        assert running.stdout.read() == b""  # nobody else has it
        assert status(server)["Name"] == "jailer"
        assert os.readlink(f"/proc/{server}/cwd") == "/"
        files = {file.readlink().name.partition(":")[0] for file in Path(f"/proc/{server}/fd").iterdir()}
        assert files <= {"null", "socket", "anon_inode", "[pidfd]", "mnt"}  # the last: see test_serve_mounts
        running.stdin.close()
        running.wait(60)


def test_the_command_line_is_checked(scripts: Scripts) -> None:
    for words in (("serve", "3"), ("serve", "x", "4"), ("serve", "3", "3"), ("serve", "3", "4", "5")):
        done = scripts.launcher.run(*words, program=scripts.launcher.installation.jailer)
        assert done.returncode == 125
        assert b"pyjail: " in done.stderr
