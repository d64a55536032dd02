"""CVE-2020-14386, CVE-2016-8655, CVE-2020-15257, CVE-2026-31431: sockets that are not namespaced, or open a
big attack surface; abstract unix sockets and loopback services of the host."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

import pytest
from support.launcher import Completed, Launcher

FAMILIES = {
    "ax25": 3,
    "key": 15,
    "packet": 17,
    "rds": 21,
    "pppox": 24,
    "can": 29,
    "tipc": 30,
    "bluetooth": 31,
    "rxrpc": 33,
    "phonet": 35,
    "alg": 38,
    "nfc": 39,
    "vsock": 40,
    "kcm": 41,
    "qipcrtr": 42,
    "smc": 43,
    "xdp": 44,
    "mctp": 45,
}
REFUSED = {"EPERM", "EACCES", "ENOSYS", "EAFNOSUPPORT"}


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_no_socket_of_a_family_that_is_not_listed(jailed: Callable[..., Completed], family: int) -> None:
    """EAFNOSUPPORT from a kernel without the family would prove nothing, so the filter is asked with high
    bits too, and socketpair as well."""
    found = jailed(
        """
family = int(sys.argv[1])
answer(got=[call(41, family | high, kind, 0) for kind in (1, 2, 3, 5) for high in (0, 1 << 32)],
       pair=call(53, family, 1, 0, bytes(8)))
""",
        str(family),
    ).answer
    assert set(found["got"]) <= REFUSED
    assert found["pair"] in REFUSED


def test_netlink_speaks_of_routes_only(jailed: Callable[..., Completed]) -> None:
    found = jailed(
        "answer(got={n: call(41, 16 | high, 3, n) for n in range(32) for high in (0, 1 << 32)})"
    ).answer["got"]
    opened = {number for number, result in found.items() if isinstance(result, int)}
    assert opened <= {"0"}


def test_no_raw_sockets(jailed: Callable[..., Completed]) -> None:
    found = jailed(
        "answer(got=[call(41, 2, 3, 1), call(41, 10, 3, 58), call(41, 2, 3, 255), call(41, 2, 10, 0)])"
    ).answer
    assert set(found["got"]) <= REFUSED | {"EPROTONOSUPPORT", "ESOCKTNOSUPPORT"}


def test_the_useful_families_work(jailed: Callable[..., Completed]) -> None:
    """The check of the checks: what is listed does open."""
    found = jailed("""
answer(got=[type(call(41, family, 1, 0)) is int for family in (1, 2, 10)])
""").answer["got"]
    assert found == [True, True, True]


def test_the_hosts_services_are_out_of_reach(jailed: Callable[..., Completed]) -> None:
    name = f"pyjail-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as unix, socket.create_server(("127.0.0.1", 0)) as tcp:
        unix.bind("\0" + name)
        unix.listen()
        found = jailed(
            """
import socket
def connect(family, address):
    with socket.socket(family) as s:
        s.connect(address)
answer(abstract=attempt(connect, socket.AF_UNIX, "\\0" + sys.argv[1]), tcp=attempt(connect, socket.AF_INET,
       ("127.0.0.1", int(sys.argv[2]))),
       out=attempt(connect, socket.AF_INET, ("192.0.2.1", 9)), six=attempt(connect, socket.AF_INET6,
              ("2001:db8::1", 9)),
       interfaces=[n for _, n in socket.if_nameindex()], seen=sys.argv[1] in read("/proc/net/unix"))
""",
            name,
            str(tcp.getsockname()[1]),
        ).answer
    assert found["abstract"] == "ECONNREFUSED"
    assert found["tcp"] == "ECONNREFUSED"
    assert found["out"] == found["six"] == "ENETUNREACH"
    assert found["interfaces"] == ["lo"] or (
        "lo" in found["interfaces"] and all(n.endswith("0") for n in found["interfaces"] if n != "lo")
    )
    assert found["seen"] is False


def test_with_the_callers_network_abstract_sockets_are_the_known_gap(pyjail: Launcher) -> None:
    """--net host shares them by definition (unless Landlock scopes them): the point is that it has to be
    asked for."""
    found = pyjail.python("answer(net=os.readlink('/proc/self/ns/net'))").answer
    assert found["net"] != os.readlink("/proc/self/ns/net")


def test_the_own_network_cannot_be_configured(jailed: Callable[..., Completed]) -> None:
    found = jailed("""
import fcntl, socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
answer(down=attempt(fcntl.ioctl, s, 0x8914, struct.pack("16sH14s", b"lo", 0, b"")),
       bridge=attempt(fcntl.ioctl, s, 0x89a0, b"br0" + bytes(13)), netns=attempt(fcntl.ioctl, s, 0x894c, 0))
""").answer
    assert set(found.values()) <= {"EPERM", "EACCES", "EINVAL", "ENOTTY", "ENOPKG"}
    assert found["down"] == "EPERM"
    assert found["netns"] == "EPERM"
