"""Fork bombs, memory bombs, descriptor and inode floods: each stops at the jail's limit, and the jail still
ends."""

from __future__ import annotations

from collections.abc import Callable

from support.features import no_memory_cgroup
from support.launcher import Completed, Launcher

PIDS = 24
MIB = 1 << 20


def test_a_fork_bomb_stops_at_the_limit(jailed: Callable[..., Completed]) -> None:
    """Over the whole jail, whatever sessions and double forks there are; daemons that stay behind die with
    it."""
    result = jailed(
        """
reader, writer = os.pipe()
def bomb(depth):
    while True:
        try:
            child = os.fork()
        except OSError:
            if depth == 0:
                return
            __import__("signal").pause()
        if child == 0:
            os.setsid()
            os.write(writer, b"x")
            depth += 1
bomb(0)
os.set_blocking(reader, False)
answer(made=len(os.read(reader, 100000)))
os._exit(3)
""",
        options=["--pids", str(PIDS)],
    )
    assert result.returncode == 3
    assert 0 < result.answer["made"] <= PIDS - 1  # the payload is one of them


def test_threads_count_as_processes(jailed: Callable[..., Completed]) -> None:
    result = jailed(
        """
import threading
gate = threading.Event()
made = 0
try:
    while made < 1000:
        threading.Thread(target=gate.wait).start()
        made += 1
except RuntimeError:
    pass
answer(made=made)
gate.set()
""",
        options=["--pids", str(PIDS)],
    )
    assert result.answer["made"] == PIDS - 1


def test_exactly_the_limit_is_possible(jailed: Callable[..., Completed]) -> None:
    found = jailed(
        """
reader, writer = os.pipe()
for _ in range(int(sys.argv[1]) - 1):
    if os.fork() == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
os.close(writer)
answer(more=attempt(os.fork))
""",
        str(PIDS),
        options=["--pids", str(PIDS)],
    )
    assert found.returncode == 0, found.stderr
    assert found.answer["more"] == "EAGAIN"


GROW = """
kept = []
for _ in range(int(sys.argv[1])):
    kept.append(bytearray(b"\\1") * (1 << 20))
os._exit(0)
"""


def test_memory_of_one_process_stops_at_the_limit(cgroup_pyjail: Launcher) -> None:
    result = cgroup_pyjail.python(GROW, "200", options=["--memory", "64M"])
    assert result.returncode == 137
    assert result.outcome is not None
    assert result.outcome["status"] == "out-of-memory"
    assert result.outcome["oom_kills"] >= 1
    assert result.outcome["enforced"]["memory"].startswith("cgroup")
    assert result.outcome["peak_memory_bytes"] <= 65 * MIB
    assert cgroup_pyjail.python(GROW, "20", options=["--memory", "64M"]).returncode == 0


def test_memory_split_over_processes_and_files_counts_together(cgroup_pyjail: Launcher) -> None:
    """Heap of many processes, tmpfs, /dev/shm, memfd and pipes: all are the jail's memory."""
    for fill in (
        "[bytearray(b'x') * (20 << 20), __import__('signal').pause()]",
        "[open('/tmp/%d' % os.getpid(), 'wb').write(b'x' * (20 << 20)), __import__('signal').pause()]",
        "[open('/dev/shm/%d' % os.getpid(), 'wb').write(b'x' * (20 << 20)), __import__('signal').pause()]",
        "[os.write(os.memfd_create('x'), b'x' * (20 << 20)), __import__('signal').pause()]",
    ):
        result = cgroup_pyjail.python(
            f"""
for _ in range(8):
    if os.fork() == 0:
        {fill}
while os.wait()[1] == 0:
    pass
os._exit(4)
""",
            options=["--memory", "64M"],
        )
        assert result.outcome is not None
        assert result.outcome["oom_kills"] >= 1, fill
        assert result.outcome["peak_memory_bytes"] <= 65 * MIB, fill


def test_a_memory_limit_that_cannot_be_held_is_an_error(pyjail: Launcher) -> None:
    if no_memory_cgroup(pyjail.user.uid) is None:
        assert pyjail.run("run", "--memory", "64M", "--", "/bin/true").returncode == 0
        return
    result = pyjail.run("run", "--memory", "64M", "--", "/bin/true")
    assert result.returncode == 125
    assert b"memory" in result.stderr
    assert b"--allow-weaker" in result.stderr
    weaker = pyjail.python(GROW, "200", options=["--memory", "64M", "--allow-weaker", "memory"])
    assert weaker.returncode not in (0, 125)
    assert weaker.outcome is not None
    assert weaker.outcome["enforced"]["memory"] == "rlimit"


def test_writable_places_have_an_end(jailed: Callable[..., Completed]) -> None:
    """Bytes and inodes, in every place that can be written."""
    found = jailed(
        """
import errno
def fill(folder):
    size = files = 0
    try:
        while size < 64 << 20:
            with open("%s/%d" % (folder, files), "wb", buffering=0) as file:
                files += 1
                for _ in range(4):
                    size += file.write(bytes(1 << 20))
    except OSError as error:
        return [size, error.errno == errno.ENOSPC]
    finally:
        for n in range(files):
            os.unlink("%s/%d" % (folder, n))
    return [size, False]
def inodes(folder):
    made = 0
    try:
        while made < 200000:
            os.mknod("%s/i%d" % (folder, made))
            made += 1
    except OSError as error:
        return [made, error.errno == errno.ENOSPC]
    return [made, False]
places = {os.path.realpath(f) for f in ("/", "/tmp", "/dev/shm", "/var/tmp", "/run", "/etc",
       "/dev") if os.access(f, os.W_OK)}
answer(bytes={f: fill(f) for f in places}, inodes={f: inodes(f) for f in places})
""",
        options=["--tmp-size", "16M"],
    )
    assert found.answer["bytes"]
    for place, (size, stopped) in found.answer["bytes"].items():
        assert stopped, place
        assert size <= 16 * MIB, place
    for place, (made, stopped) in found.answer["inodes"].items():
        assert stopped, place
        assert made <= 65536, place


def test_descriptors_have_an_end(jailed: Callable[..., Completed]) -> None:
    found = jailed(
        """
import resource
attempt_raise = attempt(resource.setrlimit, resource.RLIMIT_NOFILE, (4096, 4096))
held = []
try:
    while len(held) < 5000:
        held.append(os.dup(0))
except OSError:
    pass
answer(held=len(held), raised=attempt_raise)
""",
        options=["--nofile", "64"],
    ).answer
    assert found["held"] == 61
    assert found["raised"] != "ok"


def test_a_file_stops_at_its_limit(jailed: Callable[..., Completed]) -> None:
    found = jailed(
        """
__import__("signal").signal(25, 1)
with open("/tmp/x", "wb", buffering=0) as file:
    first = file.write(bytes(2 << 20))
    answer(first=first, more=attempt(file.write, b"x"), sparse=attempt(os.pwrite, file.fileno(), b"x",
           1 << 30))
""",
        options=["--file-size", "1M"],
    ).answer
    assert found == {"first": MIB, "more": "EFBIG", "sparse": "EFBIG"}


def test_pending_signals_and_queues_have_an_end(jailed: Callable[..., Completed]) -> None:
    """RLIMIT_SIGPENDING and RLIMIT_MSGQUEUE are counted over the whole user on the host otherwise."""
    found = jailed("""
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [40])
queued = 0
while queued < 200000 and call(129, os.getpid(), 40, (40).to_bytes(4,
       "little") + b"\\0\\0\\0\\0" + (-1 & 0xffffffff).to_bytes(4, "little") + bytes(116)) == 0:
    queued += 1
answer(queued=queued)
""").answer
    assert found["queued"] <= 1024
