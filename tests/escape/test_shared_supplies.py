"""What the whole host has one supply of, whoever takes it: nobody in a jail may empty it."""

from __future__ import annotations

from collections.abc import Callable

from support.launcher import Completed


def test_asynchronous_files(jailed: Callable[..., Completed]) -> None:
    """Of fs.aio-max-nr: databases outside would start without."""
    found = jailed("""
context = ctypes.c_ulong()
answer(setup=call(206, 65536, context), submit=call(209, context.value, 0, None))
""").answer
    assert found == {"setup": "ENOSYS", "submit": "ENOSYS"}


def test_code_of_socket_filters(jailed: Callable[..., Completed]) -> None:
    """Of net.core.bpf_jit_limit, beyond which root alone loads system call filters. No cgroup counts it."""
    found = jailed("""
import socket
returns_one = ctypes.create_string_buffer((6).to_bytes(4, "little") + (1).to_bytes(4, "little"))
program = (1).to_bytes(8, "little") + ctypes.addressof(returns_one).to_bytes(8, "little")
datagrams, stream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket()
answer(refused=[attempt(one.setsockopt, socket.SOL_SOCKET, option, program)
                for one, option in ((datagrams, 26), (datagrams, 51), (stream, 26))],
       others=attempt(stream.setsockopt, socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1))
""").answer
    assert found == {"refused": ["ENOPROTOOPT"] * 3, "others": "ok"}
