"""Concurrent and successive jails do not meet: shared memory, message queues, temporary files, host ids, key
rings."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.launcher import Launcher
from support.processes import children, descendants, status

HOLD = """
import socket
key = int(sys.argv[1])
made = [call(29, key, 4096, 0o1666), call(68, key, 0o1666), call(64, key, 1, 0o1666),
        call(240, b"queue%d" % key, os.O_CREAT | os.O_RDWR, 0o666, None)]
for folder in ("/tmp", "/dev/shm", "/var/tmp", "/run"):
    attempt(lambda: open("%s/left%d" % (folder, key), "w").write("x"))
listener = socket.socket(socket.AF_UNIX)
listener.bind("\\0left%d" % key)
answer(made=made)
sys.stdin.buffer.read()
"""
LOOK = """
import socket
key = int(sys.argv[1])
def connect():
    with socket.socket(socket.AF_UNIX) as s:
        s.connect("\\0left%d" % key)
answer(shm=call(29, key, 1, 0), msg=call(68, key, 0), sem=call(64, key, 1, 0), queue=call(240,
       b"queue%d" % key, 0, 0, None),
       socket=attempt(connect), files=[f + "/" + n for f in ("/tmp", "/dev/shm", "/var/tmp",
              "/run") if os.path.isdir(f) for n in os.listdir(f)],
       sysv=[len(read("/proc/sysvipc/" + n).splitlines()) > 1 for n in ("shm", "msg", "sem")])
"""
NOTHING = {
    "shm": "ENOENT",
    "msg": "ENOENT",
    "sem": "ENOENT",
    "queue": "ENOENT",
    "socket": "ECONNREFUSED",
    "files": [],
    "sysv": [False] * 3,
}


@contextmanager
def holding(pyjail: Launcher, key: int) -> Iterator[subprocess.Popen[bytes]]:
    """A jail that has made one of everything and waits for the end of its stdin."""
    with pyjail.popen(
        *pyjail.words(HOLD, str(key)), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        made = process.stdout.readline()
        assert made.startswith(b"{"), "the holder did not start"
        yield process
        process.communicate(timeout=60)


def test_a_concurrent_jail_is_invisible(pyjail: Launcher) -> None:
    with holding(pyjail, key := os.getpid()):
        assert _refused_as_absent(pyjail.python(LOOK, str(key)).answer) == NOTHING


def test_an_earlier_jail_leaves_nothing(pyjail: Launcher) -> None:
    with holding(pyjail, key := os.getpid()):
        pass
    assert _refused_as_absent(pyjail.python(LOOK, str(key)).answer) == NOTHING


def test_nothing_of_it_is_left_on_the_host(pyjail: Launcher) -> None:
    with holding(pyjail, key := os.getpid()):
        for folder in ("/tmp", "/dev/shm", "/var/tmp", "/run"):
            assert not os.path.exists(f"{folder}/left{key}")
    assert f"left{key}" not in os.listdir("/dev/shm")


def _refused_as_absent(found: dict[str, object]) -> dict[str, object]:
    """A mechanism that the filter refuses altogether cannot be shared either."""
    return {name: NOTHING[name] if got in ("ENOSYS", "EPERM") else got for name, got in found.items()}


def _host_ids(supervisor: subprocess.Popen[bytes]) -> set[tuple[str, str]]:
    """Every uid and gid, real to file system, of the processes in the jail, as the host sees them."""
    inside = descendants(supervisor.pid)
    assert len(inside) >= 2
    return {
        (uid, gid)
        for pid in inside
        for uid, gid in zip(status(pid)["Uid"].split(), status(pid)["Gid"].split(), strict=True)
    }


def test_each_run_has_host_ids_of_its_own(pyjail: Launcher) -> None:
    """As root: never 0, and no two live runs the same. As an ordinary user: that user's."""
    with holding(pyjail, 71) as one, holding(pyjail, 72) as two, holding(pyjail, 73) as three:
        ids = [_host_ids(jail) for jail in (one, two, three)]
        groups = [
            {group for pid in descendants(jail.pid) for group in status(pid).get("Groups", "").split()}
            for jail in (one, two, three)
        ]
    if not pyjail.user.is_root:
        assert ids == [{(str(pyjail.user.uid), str(pyjail.user.gid))}] * 3
        return
    assert [len(found) for found in ids] == [1, 1, 1]
    assert len(set.union(*ids)) == 3
    assert not any("0" in pair for found in ids for pair in found)
    assert groups == [set()] * 3


def test_many_concurrent_runs_take_different_slots(pyjail: Launcher) -> None:
    if not pyjail.user.is_root:
        return  # one id is all that there is
    jails = [
        pyjail.popen(
            "run", "--", "/bin/sh", "-c", "echo; read x", stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(12)
    ]
    try:
        for jail in jails:
            assert jail.stdout is not None
            assert jail.stdout.read(1) == b"\n"
        found = [next(iter(_host_ids(jail))) for jail in jails]
    finally:
        for jail in jails:
            jail.communicate(b"\n", timeout=60)
    assert len(set(found)) == len(jails)


def test_host_root_is_not_mapped(pyjail: Launcher) -> None:
    found = pyjail.python(
        """
answer(map=read("/proc/self/uid_map").split(), group=read("/proc/self/gid_map").split(),
       owner=os.stat("/proc/version").st_uid)
"""
    ).answer
    assert found["map"][2] == found["group"][2] == "1"
    assert found["owner"] == 65534
    with holding(pyjail, 74) as jail:
        payload = descendants(jail.pid)[-1]
        for name, own in (("uid_map", pyjail.user.uid), ("gid_map", pyjail.user.gid)):
            _, outside, count = Path(f"/proc/{payload}/{name}").read_text().split()
            assert count == "1"
            assert outside != "0"
            if not pyjail.user.is_root:
                assert int(outside) == own


def test_the_supervisor_has_one_child(pyjail: Launcher) -> None:
    with holding(pyjail, 75) as jail:
        assert len(children(jail.pid)) == 1


def test_the_supervisors_process_group_is_not_the_payloads(pyjail: Launcher) -> None:
    with holding(pyjail, 76) as jail:
        outside = os.getpgid(jail.pid)
        assert all(os.getpgid(pid) != outside for pid in descendants(jail.pid)[1:])
