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
