"""Whoever is named by a process id may be gone, and somebody else have it: on the sockets of jails that run,
and while one is paused. In a pid namespace of our own the next id can be chosen."""

from __future__ import annotations

import json
import tempfile

import pytest
from support.installation import Installation
from support.launcher import Launcher
from support.users import User

NAMESPACE = ("/usr/bin/unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
REUSE = """
import ctypes, errno, json, os, signal, socket, struct, subprocess, sys, threading

def elsewhere(act):
    '''Let a child do it, which is gone then; its id.'''
    pid = os.fork()
    if pid == 0:
        act()
        os._exit(0)
    os.waitpid(pid, 0)
    return pid

def again(pid):
    '''Somebody else with that id, as soon as it is free.'''
    while True:
        with open("/proc/sys/kernel/ns_last_pid", "w") as file: file.write(str(pid - 1))
        new = os.fork()
        if new == 0: signal.pause()
        if new == pid: return
        os.kill(new, signal.SIGKILL)
        os.waitpid(new, 0)
"""
CODE = REUSE + """
from jail.cli.running import is_supervisor
place, pyjail = sys.argv[1:]

def connection():
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)

def asked(client):
    try:
        client.send(b"info")
        return len(client.recv(4096)) > 0
    except OSError:
        return False

found = {}
try:
    socket.socketpair()[0].getsockopt(socket.SOL_SOCKET, 77)  # SO_PEERPIDFD
except OSError:
    found["old"] = True

listener, client = connection(), connection()
listener.bind(place + "/socket")
listener.listen()
client.connect(place + "/socket")
found["supervisor"] = is_supervisor(client)
listener, client = connection(), connection()
listener.bind(place + "/other")
again(elsewhere(listener.listen))
client.connect(place + "/other")
found["false supervisor"] = is_supervisor(client)

words = [pyjail, "run", "--name", "one", "--", "/bin/sh", "-c", "echo up; read x"]
run = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
assert run.stdout.readline() == b"up\\n"
path = place + "/pyjail/one"
client = connection()
client.connect(path)
found["caller"] = asked(client)
client = connection()
run.send_signal(signal.SIGSTOP)
os.waitid(os.P_PID, run.pid, os.WSTOPPED)
pid = elsewhere(lambda: client.connect(path))
again(pid)
run.send_signal(signal.SIGCONT)
found["false caller"] = asked(client)
run.kill()
print(json.dumps(found))
"""


def test_who_has_the_id_of_a_process_that_is_gone_is_not_that_process(
    installation: Installation, root_user: User
) -> None:
    launcher = Launcher(installation, root_user)
    with tempfile.TemporaryDirectory(prefix="pyjail-runtime-") as place:
        words = (*NAMESPACE, installation.python, "-c", CODE, place, installation.pyjail)
        done = launcher.run(*map(str, words[1:]), program=words[0], env={"XDG_RUNTIME_DIR": place})
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    if found.pop("old", False):
        pytest.skip("this kernel has no SO_PEERPIDFD (Linux 6.5)")
    assert found == {"supervisor": True, "false supervisor": False, "caller": True, "false caller": False}


PAUSED = REUSE + """
import jail
SEIZE, SYSCALL, INTERRUPT, DETACH, INFO = 0x4206, 24, 0x4207, 17, 0x420e
SYSGOOD, A_CALL, ALL = 1, signal.SIGTRAP | 0x80, 0x40000000
WRITE = 1 if os.uname().machine == "x86_64" else 64
libc = ctypes.CDLL(None)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]

def freezer():
    with open("/proc/self/cgroup") as file:
        return [line.strip() for line in file if ":freezer:" in line]

def moved_by(pid):
    '''Whom it is about to move, by its own number for him; None if it does something else.'''
    info = ctypes.create_string_buffer(88)
    libc.ptrace(INFO, pid, len(info), ctypes.addressof(info))
    kind, number, descriptor, at, size = struct.unpack_from("=B23x4Q", info.raw)
    if kind != 1 or number != WRITE:
        return None
    if not os.readlink(f"/proc/{pid}/fd/{descriptor}").endswith("/cgroup.procs"):
        return None
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        memory.seek(at)
        return int(memory.read(size))

def numbers(pid):
    try:
        with open(f"/proc/{pid}/status") as file:
            return [int(word) for line in file if line.startswith("NSpid:") for word in line.split()[1:]]
    except OSError:  # it has ended
        return []

def known(mover, number):
    '''Our number for whom it knows by that; None for the payload, whose end would be the jail's.'''
    level = len(numbers(mover)) - 1
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        known_as = numbers(pid)
        if len(known_as) > level and known_as[level] == number and known_as[-1] != payload:
            return pid

code = '''
import os, signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for _ in range(20): os.fork() or signal.pause()
os.write(1, b"%d" % os.getpid())
signal.pause()
'''
if not freezer():
    print("{}")
    sys.exit()
process = jail.start(["/usr/bin/python3", "-ISc", code], stdout=jail.PIPE)
payload = int(os.read(process.stdout.fileno(), 9))
with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
    movers = [process.pid, *map(int, file.read().split())]
for pid in movers:
    libc.ptrace(SEIZE, pid, None, SYSGOOD)
    libc.ptrace(INTERRUPT, pid, None, None)
paused = threading.Thread(target=process.pause, daemon=True)
paused.start()
victim = None
while victim is None:
    pid, status = os.waitpid(-1, ALL)
    number = moved_by(pid) if os.WSTOPSIG(status) == A_CALL else None
    victim = number and known(pid, number)
    if victim is None:
        libc.ptrace(SYSCALL, pid, None, None)
os.kill(victim, signal.SIGKILL)
again(victim)
libc.ptrace(DETACH, pid, None, None)
for other in set(movers) - {pid}:
    libc.ptrace(INTERRUPT, other, None, None)
    os.waitpid(other, ALL)
    libc.ptrace(DETACH, other, None, None)
paused.join()
with open(f"/proc/{victim}/cgroup") as file:
    stranger = [line.strip() for line in file if ":freezer:" in line]
process.kill()
process.wait()
print(json.dumps({"moved": stranger != freezer()}))
"""


def test_a_pause_freezes_nobody_who_has_got_the_id_of_one_that_ended(
    installation: Installation, root_user: User
) -> None:
    launcher = Launcher(installation, root_user)
    words = (*NAMESPACE, installation.python, "-c", PAUSED)
    done = launcher.run(*map(str, words[1:]), program=words[0])
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    if not found:
        pytest.skip("in version 2 a cgroup is frozen, and nobody is moved")
    assert found == {"moved": False}
