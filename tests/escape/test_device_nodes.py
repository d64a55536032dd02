"""Device nodes: none can be made, and those that there are do no harm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from support.launcher import Completed, Launcher

MAKE = """
import stat
found = {}
for folder in sys.argv[1:]:
    for kind, bits, major, minor in (("null", stat.S_IFCHR, 1, 3), ("mem", stat.S_IFCHR, 1, 1), ("disk",
           stat.S_IFBLK, 254, 0),
                                     ("kmsg", stat.S_IFCHR, 1, 11)):
        path = folder + "/" + kind
        made = attempt(os.mknod, path, 0o666 | bits, os.makedev(major, minor))
        found[path] = made if made != "ok" else "made, open: " + attempt(os.open, path, os.O_RDWR)
answer(**found)
"""


def test_no_node_is_made_and_opened(pyjail: Launcher, place: Path) -> None:
    found = pyjail.python(MAKE, "/tmp", "/dev/shm", "/data", options=["--bind", f"{place}:/data"]).answer
    assert len(found) == 12
    assert not {path: got for path, got in found.items() if got.endswith("ok")}


def test_the_device_folder_holds_only_the_harmless(jailed: Callable[..., Completed]) -> None:
    found = jailed("""
import stat
answer(nodes={name: [os.major(s.st_rdev), os.minor(s.st_rdev)] for name in os.listdir("/dev")
              if stat.S_ISCHR((s := os.stat("/dev/" + name)).st_mode) or stat.S_ISBLK(s.st_mode)},
       rename=attempt(os.rename, "/dev/null", "/dev/other"), remove=attempt(os.unlink, "/dev/null"),
              chmod=attempt(os.chmod, "/dev/null", 0o600))
""").answer
    harmless = {"null": [1, 3], "zero": [1, 5], "full": [1, 7], "random": [1, 8], "urandom": [1, 9]}
    nodes = {
        name: number
        for name, number in found["nodes"].items()
        if name not in ("stdin", "stdout", "stderr", "tty", "ptmx")
    }
    assert nodes == harmless
    assert found["rename"] != "ok"
    assert found["remove"] != "ok"
    assert found["chmod"] != "ok", "a payload changed the mode of the host's /dev/null"


def test_entropy_ioctls_are_refused(jailed: Callable[..., Completed]) -> None:
    """RNDADDTOENTCNT, RNDCLEARPOOL, RNDZAPENTCNT need CAP_SYS_ADMIN."""
    found = jailed("""
fd = os.open("/dev/random", os.O_RDONLY)
answer(got=[call(16, fd, request, bytes(4)) for request in (0x40045201, 0x5206, 0x5204)])
""").answer["got"]
    assert set(found) <= {"EPERM", "ENOTTY", "EACCES"}


def test_a_device_bind_is_inert(pyjail: Launcher) -> None:
    """An explicit bind of /dev gives files, not devices: nodev holds."""
    found = pyjail.python(
        "answer(kmsg=attempt(os.open, '/hostdev/null', os.O_RDONLY))", options=["--ro-bind", "/dev:/hostdev"]
    )
    assert found.answer["kmsg"] in ("EACCES", "EPERM")
