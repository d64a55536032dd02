"""A crash reaches nobody outside. Where core_pattern names a program, the kernel starts it outside, as root,
with what the jail has made of its memory on stdin (CVE-2015-1318); a limit of 1 alone keeps it from that,
core(5)."""

from __future__ import annotations

from collections.abc import Callable

from support.launcher import Completed

LOWER = """
import resource
libc.mmap.restype = ctypes.c_void_p
# No bit of the lower half: of an address a filter must compare both.
page = libc.mmap(ctypes.c_void_p(1 << 32), ctypes.c_size_t(4096), 3, 0x100022, -1, ctypes.c_long(0))
files = resource.getrlimit(7)[1].to_bytes(8, "little")
answer(page=page, others=[call(160, 7, files * 2), call(302, 0, 7, None, bytes(16))],
       tried=[call(160, 4, bytes(16)), call(302, 0, 4, bytes(16), None), call(302, 0, 4, page, None),
              call(302, os.getpid(), 4, page, bytes(16)), call(302, 0, 4 | 1 << 32, bytes(16), None)],
       limit=resource.getrlimit(resource.RLIMIT_CORE))
"""


def test_the_limit_that_makes_none_cannot_be_lowered(jailed: Callable[..., Completed]) -> None:
    """Below it is 0, which is for files alone."""
    found = jailed(LOWER).answer
    assert found["page"] == 1 << 32
    assert found["tried"] == ["EINVAL"] * 5
    assert found["others"] == [0, 0]
    assert found["limit"] == [1, 1]
