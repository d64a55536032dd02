"""No network but a loopback of its own; the caller's with --net host: design §7."""

from __future__ import annotations

import socket
import threading
from subprocess import PIPE

import pytest

PYTHON = ("/usr/bin/python3", "-I", "-S", "-c")
TALK = """
import socket
server = socket.create_server(('127.0.0.1', 0))
client = socket.create_connection(server.getsockname())
peer, _ = server.accept()
client.sendall(b'ping')
print(peer.recv(4).decode())
"""
REACH = """
import socket, sys
family, address = (socket.AF_INET, ('127.0.0.1', int(sys.argv[1])))
try: socket.create_connection(address, 5).close()
except OSError as error: print(type(error).__name__)
else: print('reached')
"""


@pytest.fixture
def listener():
    """Something that listens on the host's loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_loopback_works_inside(pyjail):
    assert pyjail.run("run", "--", *PYTHON, TALK).stdout == b"ping\n"


def test_loopback_of_ipv6(pyjail):
    r = pyjail.run(
        "run",
        "--",
        *PYTHON,
        "import socket; socket.create_server(('::1', 0), family=socket.AF_INET6); print('up')",
    )
    assert r.stdout == b"up\n", r.stderr


def test_what_listens_inside_is_not_to_be_seen_outside(pyjail):
    code = """
import socket, sys
server = socket.create_server(('127.0.0.1', 0))
print(server.getsockname()[1], flush=True)
sys.stdin.read()
"""
    with (
        socket.socket() as taken,
        pyjail.popen("run", "--", *PYTHON, code, stdin=PIPE, stdout=PIPE) as process,
    ):
        port = int(process.stdout.readline())
        taken.bind(("127.0.0.1", port))  # free outside, so nobody else can answer on it
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 5)
        process.stdin.close()


def test_the_hosts_loopback_is_out_of_reach(pyjail, listener):
    r = pyjail.run("run", "--", *PYTHON, REACH, str(listener.getsockname()[1]))
    assert r.stdout == b"ConnectionRefusedError\n"


def test_the_hosts_abstract_sockets_are_out_of_reach(pyjail):
    name = "\0pyjail-test-abstract"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        code = f"""
import socket
try: socket.socket(socket.AF_UNIX).connect({name!r})
except OSError as error: print(type(error).__name__)
"""
        assert pyjail.run("run", "--", *PYTHON, code).stdout == b"ConnectionRefusedError\n"


def test_no_way_out(pyjail):
    code = """
import socket
for address in '192.0.2.1', '2001:db8::1':
    family = socket.AF_INET6 if ':' in address else socket.AF_INET
    try: socket.socket(family, socket.SOCK_DGRAM).connect((address, 9))
    except OSError as error: print(error.errno)
"""
    r = pyjail.run("run", "--", *PYTHON, code)
    assert r.stdout.split() == [b"101", b"101"]  # ENETUNREACH


def test_only_loopback_is_there(pyjail):
    r = pyjail.run("run", "--", "/bin/cat", "/proc/net/dev")
    devices = [line.split(":")[0].strip() for line in r.stdout.decode().splitlines()[2:]]
    assert "lo" in devices
    assert not [d for d in devices if d.startswith(("eth", "en", "wl", "veth", "docker"))]


def test_the_hosts_network(pyjail, listener):
    """--net host: what listens on the host's loopback can be reached, as the option's help says."""
    accepted = threading.Thread(target=listener.accept, daemon=True)
    accepted.start()
    r = pyjail.run("run", "--net", "host", "--", *PYTHON, REACH, str(listener.getsockname()[1]))
    assert r.stdout == b"reached\n", r.stderr


@pytest.mark.parametrize("family", ["AF_PACKET", "AF_VSOCK", "AF_ALG", "AF_BLUETOOTH", "AF_CAN"])
def test_other_families_are_refused(pyjail, family):
    code = f"""
import socket
try: socket.socket(socket.{family}, socket.SOCK_RAW)
except OSError: print('refused')
"""
    assert pyjail.run("run", "--", *PYTHON, code).stdout == b"refused\n"
