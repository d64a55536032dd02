"""What each limit does to a payload that goes past it, and what is said where a host cannot hold one."""

from __future__ import annotations

import pytest
from support.features import no_memory_cgroup

SH = ("/bin/sh", "-c")
PYTHON = ("/usr/bin/python3", "-I", "-S", "-c")
FILL = """
import sys
held = bytearray()
while len(held) < int(sys.argv[1]) << 20: held += b'x' * (1 << 20)
print('held')
"""


def holds_memory(launcher) -> bool:
    """Whether this user's jails can have a memory cgroup."""
    return no_memory_cgroup(launcher.user.uid) is None


def ulimits(r):
    assert r.returncode == 0, r.stderr
    return dict((line.rsplit(None, 1)) for line in r.stdout.decode().splitlines())


def test_memory_of_the_whole_jail(cgroup_pyjail):
    ok = cgroup_pyjail.run("run", "--memory", "64M", "--", *PYTHON, FILL, "30")
    assert (ok.returncode, ok.stdout) == (0, b"held\n"), ok.stderr
    assert ok.outcome["enforced"]["memory"].startswith("cgroup")
    assert ok.outcome["enforced"]["pids"] == ok.outcome["enforced"]["memory"]
    assert 30 << 20 < ok.outcome["peak_memory_bytes"] <= 64 << 20
    over = cgroup_pyjail.run("run", "--memory", "64M", "--", *PYTHON, FILL, "100")
    assert (over.returncode, over.stdout, over.outcome["status"]) == (137, b"", "out-of-memory")
    assert over.outcome["oom_kills"] >= 1


def test_memory_is_of_all_processes_together(cgroup_pyjail):
    """Eight processes of 20 MiB do not fit into 64 MiB, though each alone would."""
    code = """
import os, signal
for _ in range(8):
    reader, writer = os.pipe()
    if os.fork() == 0:
        held = b'x' * (20 << 20)
        os.write(writer, b'held')
        while True: signal.pause()
    os.close(writer)
    print(os.read(reader, 4).decode(), flush=True)
"""
    r = cgroup_pyjail.run("run", "--memory", "64M", "--", *PYTHON, code)
    assert (r.returncode, r.outcome["status"]) == (137, "out-of-memory")


def test_when_memory_runs_out_all_of_the_jail_ends(cgroup_pyjail):
    """Whichever process it was that wanted more: the others do not wait for it, nor hide it by a status."""
    code = f"import os, sys\nif os.fork(): os.wait(); print('survived'); os._exit(0)\n{FILL}"
    r = cgroup_pyjail.run("run", "--memory", "64M", "--", *PYTHON, code, "100")
    assert (r.returncode, r.outcome["status"]) == (137, "out-of-memory")


def test_files_in_tmp_count_as_memory(cgroup_pyjail):
    fill = "head -c 100M /dev/zero >/tmp/f; exit 0"
    r = cgroup_pyjail.run("run", "--memory", "32M", "--", *SH, fill)
    assert (r.returncode, r.outcome["status"]) == (137, "out-of-memory")


def test_memory_that_cannot_be_held_is_an_error(pyjail):
    """Asked for and not to be had: nothing runs, and the message says what lacks and what to do."""
    if holds_memory(pyjail):
        assert pyjail.run("run", "--memory", "64M", "--", "/bin/true").returncode == 0
        return
    r = pyjail.run("run", "--memory", "64M", "--", "/bin/echo", "ran")
    assert (r.returncode, r.stdout) == (125, b"")
    assert b"memory" in r.stderr and b"cgroup" in r.stderr
    assert b"--allow-weaker memory" in r.stderr


def test_memory_allowed_weaker(pyjail):
    """The fallback is a limit for each process, and the outcome says so."""
    r = pyjail.run("run", "--memory", "64M", "--allow-weaker", "memory", "--", *PYTHON, FILL, "100")
    if holds_memory(pyjail):
        assert r.outcome["status"] == "out-of-memory"
    else:
        assert r.outcome["enforced"]["memory"] == "rlimit"
        assert b"MemoryError" in r.stderr
        assert r.returncode == 1


def test_default_memory_is_held_as_well_as_the_host_can(pyjail):
    r = pyjail.run("run", "--", *PYTHON, FILL, "700")
    assert r.stdout == b""
    assert r.returncode != 0
    cheap = pyjail.user.is_root and holds_memory(pyjail)  # an ordinary user's would take a call to systemd
    assert r.outcome["enforced"]["memory"].startswith("cgroup-" if cheap else "rlimit")


def test_processes(pyjail):
    """N processes and threads, the payload among them; the next fork fails."""
    code = """
import os, signal
children = 0
try:
    while children < 100:
        if os.fork() == 0:
            while True: signal.pause()
        children += 1
except OSError as error:
    print(children + 1, error.errno)
"""
    r = pyjail.run("run", "--pids", "10", "--", *PYTHON, code)
    assert r.stdout == b"10 11\n", r.stderr  # EAGAIN


def test_a_fork_bomb_ends_with_the_time_limit(pyjail):
    bomb = "import os\nwhile True:\n try: os.fork()\n except OSError: pass"
    r = pyjail.run("run", "--pids", "50", "--timeout", "0.5", "--grace", "0.1", "--", *PYTHON, bomb)
    assert (r.returncode, r.outcome["status"]) == (124, "timed-out")


def test_threads_count_as_processes(pyjail):
    code = """
import threading
stop, started = threading.Event(), 0
try:
    for _ in range(100):
        threading.Thread(target=stop.wait, daemon=True).start()
        started += 1
except RuntimeError: print(started + 1)
"""
    assert pyjail.run("run", "--pids", "10", "--", *PYTHON, code).stdout == b"10\n"


def test_open_files(pyjail):
    code = "import os\ntry:\n while True: last = os.dup(1)\nexcept OSError as e: print(last, e.errno)"
    assert pyjail.run("run", "--nofile", "32", "--", *PYTHON, code).stdout == b"31 24\n"  # EMFILE


def test_file_size(pyjail):
    r = pyjail.run(
        "run",
        "--file-size",
        "1M",
        "--",
        *SH,
        "head -c 1M /dev/zero >/tmp/fits && echo fits; head -c 2M /dev/zero >/tmp/big",
    )
    assert r.stdout == b"fits\n"
    assert r.returncode in (128 + 25, 1)  # SIGXFSZ
    assert pyjail.run("run", "--no-file-size", "--", *SH, "ulimit -f").stdout == b"unlimited\n"


def test_file_size_holds_on_the_callers_own_file(pyjail, place):
    """stdout is the caller's file: the limit counts there as well."""
    with open(place / "out", "wb") as out:
        pyjail.run("run", "--file-size", "1M", "--", "/usr/bin/head", "-c", "5M", "/dev/zero", stdout=out)
    assert (place / "out").stat().st_size == 1 << 20


def test_grace(pyjail):
    """A payload that ignores TERM is killed after the grace, and one that does not ends by itself."""
    deaf = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: signal.pause()"
    r = pyjail.run("run", "--timeout", "0.2", "--grace", "0.2", "--", *PYTHON, deaf)
    assert (r.returncode, r.outcome["status"]) == (124, "timed-out")
    polite = "trap 'echo goodbye; exit 0' TERM; echo ready; sleep 1000 & wait"
    for timeout in ("0.5", "5", "30"):  # a busy machine may not have come to the trap by then
        r = pyjail.run("run", "--timeout", timeout, "--", *SH, polite)
        if r.stdout:
            break
    assert (r.returncode, r.stdout) == (124, b"ready\ngoodbye\n")


def test_default_limits_are_in_force(pyjail):
    seen = dict(
        line.rsplit(None, 1)
        for line in pyjail.run("run", "--", "/bin/bash", "-c", "ulimit -a | sed 's/(.*)//'")
        .stdout.decode()
        .splitlines()
    )
    by_name = {name.strip(): value for name, value in seen.items()}
    assert by_name["open files"] == "1024"
    assert by_name["file size"] == str(1 << 20)  # KiB
    assert by_name["core file size"] == "0"  # 1 byte, shown in blocks
    assert by_name["max locked memory"] == "64"


def test_no_core_file_from_a_crash(pyjail, place):
    r = pyjail.run("run", "--bind", f"{place}:/work", "--cwd", "/work", "--", *SH, "kill -SEGV $$")
    assert r.returncode == 128 + 11
    assert list(place.iterdir()) == []


def test_limits_can_be_raised(pyjail):
    r = pyjail.run("run", "--nofile", "2000", "--file-size", "4G", "--", *SH, "ulimit -n; ulimit -f")
    assert r.returncode == 0, r.stderr
    assert r.stdout.split() == [b"2000", str((4 << 30) // 512).encode()]


def test_a_limit_above_the_callers_own_is_an_error(ordinary_pyjail):
    """An ordinary user cannot raise a hard limit: asked for, it is refused, not lowered in silence."""
    r = ordinary_pyjail.run(
        "-c",
        'ulimit -n 512; exec "$@"',
        "sh",
        ordinary_pyjail.installation.pyjail,
        "run",
        "--nofile",
        "1000",
        "--",
        "/bin/echo",
        "ran",
        program="/bin/sh",
    )
    assert (r.returncode, r.stdout) == (125, b"")
    assert b"nofile" in r.stderr


def test_a_default_above_the_callers_own_is_lowered(ordinary_pyjail):
    r = ordinary_pyjail.run(
        "-c",
        'ulimit -n 512; exec "$@"',
        "sh",
        ordinary_pyjail.installation.pyjail,
        "run",
        "--",
        *SH,
        "ulimit -Hn",
        program="/bin/sh",
    )
    assert (r.returncode, r.stdout) == (0, b"512\n"), r.stderr


def test_processor_time_counts_no_sleep(pyjail):
    words = ("--cpu-time", "1", "--allow-weaker", "cpu-time")
    assert pyjail.run("run", *words, "--", "/bin/sleep", "1.2").returncode == 0


@pytest.mark.parametrize("option", ["--no-memory", "--no-pids", "--no-timeout", "--no-file-size"])
def test_limits_taken_away(pyjail, option):
    assert pyjail.run("run", option, "--", "/bin/true").returncode == 0
