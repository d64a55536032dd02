"""CVE-2022-0185, CVE-2024-1086, CVE-2021-41133: new namespaces and mounts give back the capabilities that
were taken.

The filter compares clone's flags masked: a value with hostile bits above the kernel's 32 must not slip
through; clone3, whose flags lie in memory, is ENOSYS so that libc falls back to clone.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.launcher import Completed

NAMESPACES = {
    "mnt": 0x20000,
    "cgroup": 0x2000000,
    "uts": 0x4000000,
    "ipc": 0x8000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "net": 0x40000000,
    "time": 0x80,
}
REFUSED = {"EPERM", "ENOSYS", "EACCES"}


@pytest.mark.parametrize("flag", NAMESPACES.values(), ids=NAMESPACES)
def test_no_call_makes_a_namespace(jailed: Callable[..., Completed], flag: int) -> None:
    found = jailed(
        """
flag = int(sys.argv[1])
def clone(flags):
    made = call(56, flags | 17, 0, 0, 0, 0)
    if made == 0:
        os._exit(0)
    return made
answer(unshare=[call(272, flag | high) for high in (0, 1 << 32, 0xffffffff << 32)],
       clone=[clone(flag | high) for high in (0, 1 << 32, 0xffffffff << 32)] if flag != 0x80 else [],
       clone3=call(435, flag.to_bytes(8, "little") + bytes(24) + (17).to_bytes(8, "little") + bytes(48), 88))
""",
        str(flag),
    ).answer
    assert set(found["unshare"]) <= REFUSED
    assert set(found["clone"]) <= REFUSED
    assert found["clone3"] == "ENOSYS"


def test_no_namespace_is_entered(jailed: Callable[..., Completed]) -> None:
    found = jailed("""
found = {}
for pid in ("self", "1"):
    for name in ("mnt", "net", "user", "pid", "uts", "ipc", "cgroup"):
        try:
            fd = os.open("/proc/%s/ns/%s" % (pid, name), os.O_RDONLY)
        except OSError:
            continue
        found[pid + name] = [call(308, fd, kind) for kind in (0, 1 << 32)]
found["pidfd"] = [call(308, call(434, os.getppid(), 0), 0x20000)]
answer(**found)
""").answer
    assert found
    assert {error for errors in found.values() for error in errors} <= REFUSED


def test_no_parent_namespace_is_named(jailed: Callable[..., Completed]) -> None:
    """NS_GET_USERNS and NS_GET_PARENT on the own namespaces would give descriptors of the host's."""
    found = jailed("""
fd = os.open("/proc/self/ns/pid", os.O_RDONLY)
user = os.open("/proc/self/ns/user", os.O_RDONLY)
answer(parent=[call(16, fd, 0xb702), call(16, user, 0xb702)], owner=call(16, user, 0xb701))
""").answer
    assert set(found["parent"]) <= REFUSED
    assert found["owner"] in REFUSED


CALLS = {
    "mount": "call(165, b'none', b'/tmp', b'tmpfs', 0, None)",
    "mount-remount": "call(165, None, b'/usr', None, 0x20 | 0x1000, None)",
    "mount-bind": "call(165, b'/proc', b'/tmp', None, 0x1000, None)",
    "umount": "call(166, b'/usr', 2)",
    "umount-proc": "call(166, b'/proc', 2)",
    "pivot_root": "call(155, b'/tmp', b'/tmp')",
    "chroot": "call(161, b'/tmp')",
    "fsopen": "call(430, b'tmpfs', 0)",
    "fspick": "call(433, -100, b'/', 0)",
    "open_tree": "call(428, -100, b'/', 1)",
    "open_tree-high": "call(428, -100, b'/', 1 | 1 << 32)",
    "move_mount": "call(429, -100, b'/tmp', -100, b'/usr', 0)",
    "mount_setattr": "call(442, -100, b'/usr', 0, bytes(8) + b'\\1' + bytes(23), 32)",
    "open_by_handle": "call(304, -100, bytes(16), 0)",
    "name_to_handle": "call(303, -100, b'/', bytes(136), bytes(4), 0)",
    "swapon": "call(167, b'/tmp/x', 0)",
    "quotactl": "call(179, 0x800002 << 8, b'/', 0, None)",
    "fanotify": "call(300, 0x200, 0)",
}


@pytest.mark.parametrize("attack", CALLS.values(), ids=CALLS)
def test_no_mount_call_passes(jailed: Callable[..., Completed], attack: str) -> None:
    assert jailed(f"answer(got={attack})").answer["got"] in REFUSED
