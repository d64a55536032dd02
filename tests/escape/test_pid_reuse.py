"""Whoever is judged by a process id may be gone, and somebody else have it: on the sockets of jails that run.
In a pid namespace of our own the next id can be chosen."""

from __future__ import annotations

import json
import tempfile

import pytest
from support.installation import Installation
from support.launcher import Launcher
from support.users import User

NAMESPACE = ("/usr/bin/unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
CODE = """
import errno, json, os, signal, socket, subprocess, sys
from jail.cli.running import is_supervisor
place, pyjail = sys.argv[1:]

def elsewhere(act):
    '''Let a child do it, which is gone then; its id.'''
    pid = os.fork()
    if pid == 0:
        act()
        os._exit(0)
    os.waitpid(pid, 0)
    return pid

def again(pid):
    '''Somebody else with that id.'''
    while True:
        with open("/proc/sys/kernel/ns_last_pid", "w") as file: file.write(str(pid - 1))
        new = os.fork()
        if new == 0: signal.pause()
        if new == pid: return
        os.kill(new, signal.SIGKILL)
        os.waitpid(new, 0)

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
