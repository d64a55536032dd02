"""Where a privileged serving jailer's jails come from: a mount namespace with next to nothing in it, whatever
the host has, while all that they show is found where the caller is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.launcher import Launcher
from support.scripts import Scripts
from support.serving import SERVING

NAMESPACES = SERVING + """
import ctypes, fcntl
libc = ctypes.CDLL(None, use_errno=True)

def done(found):
    if found:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

def mount(source, target, kind=None, flags=0):
    words = [each and os.fsencode(each) for each in (source, target, kind)]
    done(libc.mount(*words, ctypes.c_ulong(flags), None))

BIND_REC, PRIVATE_REC, NEWNS = 0x1000 | 0x4000, 0x40000 | 0x4000, 0x20000
"""


def test_they_come_from_a_namespace_without_the_hosts_mounts(root_pyjail: Launcher) -> None:
    found = Scripts(root_pyjail).answer(NAMESPACES + """
server = serving()
folder = f"/proc/{server}/fd"
there, = [name for name in os.listdir(folder) if os.readlink(f"{folder}/{name}").startswith("mnt:")]
same = os.readlink(f"{folder}/{there}") == os.readlink("/proc/self/ns/mnt")
own = os.readlink(f"/proc/{server}/ns/mnt") == os.readlink("/proc/self/ns/mnt")
number = os.open(f"{folder}/{there}", os.O_RDONLY)
mine = os.open("/proc/self/mountinfo", os.O_RDONLY)
child = os.fork()
if not child:
    done(libc.setns(number, NEWNS))
    points = [line.split()[4] for line in open("/proc/self/mountinfo")]
    answer(points=points, files=os.listdir("/"), same=same, own=own)
    os._exit(0)
os.waitpid(child, 0)
""")
    assert found["own"]
    assert not found["same"]
    assert found["files"] == ["proc"]
    assert {point.split("/")[1] for point in found["points"]} == {"", "proc"}


@pytest.mark.parametrize("ahead", [0, 1])
def test_what_they_show_is_the_callers_even_of_a_root_of_its_own(
    root_pyjail: Launcher, tmp_path: Path, ahead: int
) -> None:
    """Going to another mount namespace and back would lead to the root of the first."""
    found = Scripts(root_pyjail).answer(NAMESPACES + """
root, ahead = sys.argv[1], int(sys.argv[2])
done(libc.unshare(NEWNS))
mount(None, "/", flags=PRIVATE_REC)
mount("/", root, flags=BIND_REC)
mount("none", root + "/mnt", "tmpfs")
os.mkdir(root + "/mnt/own")
open(root + "/mnt/own/word", "w").write("the caller's")
os.chroot(root)
os.chdir("/")
box = Jail().with_bind("/mnt/own", "/own")
server = serving(box)
if ahead:
    keep(1, box)
done_, was_ahead, (out, _) = run_ahead(["/bin/cat", "/own/word"], box, stdout=PIPE)
answer(out=out.decode(), ahead=was_ahead, code=done_.exit_code,
       root=os.path.samestat(os.stat(f"/proc/{server}/root/mnt"), os.stat("/mnt")))
""", str(tmp_path), str(ahead))
    assert found == {"out": "the caller's", "ahead": bool(ahead), "code": 0, "root": True}


def test_a_source_may_be_refused_there(root_pyjail: Launcher) -> None:
    """As anywhere: the error is that of the source, and the next run is another."""
    done = Scripts(root_pyjail).run("""
box = Jail().with_bind("/nowhere/at/all", "/x")
try:
    jail.run(["/bin/true"], jail=box)
except jail.JailError as error:
    answer(error=str(error), after=jail.run(["/bin/true"]).exit_code)
""")
    found = json.loads(done.stdout)
    assert found["after"] == 0
    assert "/nowhere/at/all" in found["error"]
