"""A Python program that starts jails, as one user: measured from within, so that what is compared is what a
program pays. Run by bench_library.py, and by sandlock's own interpreter for that; told what to do by lines of
JSON, it answers each with one."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

CLONE_NEWNS, MS_REC, MS_PRIVATE, MNT_DETACH = 0x20000, 0x4000, 0x40000, 2
QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
DESCRIPTOR_OPTIONS = ("--file", "--seccomp")
"""Of bubblewrap: what follows is the number of a descriptor."""
SETTLED = 2.0  # seconds after the last run: jails that were made ahead have gone by then
SLABS = ("net_namespace", "mnt_cache", "user_namespace", "pid_namespace", "mqueue_inode_cache")


def own_mounts(more: int, unmounted: str) -> None:
    """A mount namespace of this process with more mounts, or without one that crun refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    private = ctypes.c_ulong(MS_REC | MS_PRIVATE)
    done = libc.unshare(CLONE_NEWNS) or libc.mount(None, b"/", None, private, None)
    if unmounted and os.path.ismount(unmounted):
        done = done or libc.umount2(os.fsencode(unmounted), MNT_DETACH)
    if more:  # in a folder in memory, which goes with the namespace
        done = done or libc.mount(b"tmpfs", b"/mnt", b"tmpfs", ctypes.c_ulong(0), None)
    for number in range(more if not done else 0):
        place = b"/mnt/%d" % number
        os.mkdir(place)
        done = done or libc.mount(b"tmpfs", place, b"tmpfs", ctypes.c_ulong(0), None)
    if done:
        raise OSError(ctypes.get_errno(), "a mount namespace cannot be made")


def peer(argv: list[str], opens: list[tuple[int, str]], first_byte: bool) -> int:
    """One start of a program by subprocess; nanoseconds to its end, or to its first byte."""
    opened = {str(number): os.open(path, os.O_RDONLY) for number, path in opens}
    numbers = tuple(opened.values())
    argv = [
        str(opened.get(word, word)) if before in DESCRIPTOR_OPTIONS else word
        for before, word in zip(["", *argv], argv, strict=False)
    ]
    try:
        begin = time.perf_counter_ns()
        if not first_byte:
            code = subprocess.run(argv, pass_fds=numbers, check=False, **QUIET).returncode  # type: ignore[call-overload]
            return answer(code, time.perf_counter_ns() - begin)
        streams = {**QUIET, "stdout": subprocess.PIPE}
        with subprocess.Popen(argv, pass_fds=numbers, **streams) as process:  # type: ignore[call-overload]
            process.stdout.read(1)
            spent = time.perf_counter_ns() - begin
        return answer(process.returncode, spent)
    finally:
        for number in numbers:
            os.close(number)


def plain(argv: list[str]) -> int:
    """posix_spawn(3), as it is."""
    begin = time.perf_counter_ns()
    pid = os.posix_spawn(argv[0], argv, {"PATH": "/usr/bin:/bin"})
    status = os.waitpid(pid, 0)[1]
    return answer(status, time.perf_counter_ns() - begin)


def ours(argv: list[str]) -> Callable[[], int]:
    import jail

    box = jail.Jail()

    def act() -> int:
        begin = time.perf_counter_ns()
        done = jail.run(argv, jail=box, **QUIET)
        return answer(done.returncode, time.perf_counter_ns() - begin)

    return act


def pool(argv: list[str], runner: str, code: str | None, size: int) -> Callable[[], int]:
    """From the request to the first byte of output; what is ready is waited for before."""
    import jail

    kept = jail.Pool(jail.Jail(), size, runner=getattr(jail.runners, runner)() if runner else None)

    def act() -> int:
        kept.wait_ready(60)
        begin = time.perf_counter_ns()
        with kept.start(argv, code=code, stdin=jail.DEVNULL, stdout=jail.PIPE, stderr=jail.PIPE) as process:
            assert process.stdout is not None
            os.read(process.stdout.fileno(), 1)
            spent = time.perf_counter_ns() - begin
            code_of_it = process.wait().returncode
        kept.wait_ready(60)  # it is nobody else's time
        return answer(code_of_it, spent)

    return act


def sandlock(argv: list[str]) -> Callable[[], int]:
    from sandlock import Sandbox  # type: ignore[import-not-found]

    there = [path for path in ("/usr", "/bin", "/lib", "/lib64", "/etc") if os.path.exists(path)]
    box = Sandbox(fs_readable=there, clean_env=True)

    def act() -> int:
        begin = time.perf_counter_ns()
        done = box.run(argv)
        return answer(done.exit_code, time.perf_counter_ns() - begin)

    return act


def answer(code: int, spent: int) -> int:
    if code:
        raise OSError(code, f"ended with {code}")
    return spent


MAKERS: dict[str, Callable[..., Callable[[], int]]] = {
    "jail": ours,
    "pool": pool,
    "sandlock": sandlock,
    "peer": lambda argv, opens, first_byte: lambda: peer(argv, opens, first_byte),
    "plain": lambda argv: lambda: plain(argv),
}


def throughput(act: Callable[[], int], callers: int, runs: int) -> dict[str, Any]:
    """So many runs by so many threads."""
    with ThreadPoolExecutor(callers) as threads:
        begin = time.perf_counter_ns()
        samples = list(threads.map(lambda _: act(), range(runs)))
        spent = time.perf_counter_ns() - begin
    return {"per_second": runs / spent * 1e9, "samples": samples}


def used() -> dict[str, int]:
    """What this process and its jailer hold, and what the kernel holds for all."""
    gc.collect()
    found = {"descriptors": len(os.listdir("/proc/self/fd")), "memory": resident("self")}
    jailers = [pid for pid in os.listdir("/proc") if pid.isdigit() and is_own_jailer(pid)]
    found["jailers"] = len(jailers)
    found["jailers' memory"] = sum(map(resident, jailers))
    found["jailers' descriptors"] = sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in jailers)
    with suppress(OSError):
        for line in Path("/proc/slabinfo").read_text().splitlines():
            name, *numbers = line.split()
            if name in SLABS:
                found[name] = int(numbers[0])
    return found


def is_own_jailer(pid: str) -> bool:
    """A serving jailer that holds a pidfd of this process."""
    with suppress(OSError):
        if b"jailer\0serve" not in Path(f"/proc/{pid}/cmdline").read_bytes():
            return False
        held = Path(f"/proc/{pid}/fdinfo").iterdir()
        return any(f"Pid:\t{os.getpid()}\n" in each.read_text() for each in held)
    return False


def resident(pid: str) -> int:
    """Anonymous memory in bytes: what a leak would be."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) << 10
    return 0


def leaks(act: Callable[[], int], runs: int) -> dict[str, Any]:
    for _ in range(min(runs, 500)):  # until caches and heaps have the size that they keep
        act()
    time.sleep(SETTLED)
    before = used()
    for _ in range(runs):
        act()
    time.sleep(SETTLED)
    return {"before": before, "after": used()}


def main() -> None:
    config = json.loads(sys.argv[1])
    if config["mounts"] or config["unmounted"]:
        own_mounts(config["mounts"], config["unmounted"])
    if config["uid"]:
        os.setgroups([])
        os.setresgid(*[config["uid"]] * 3)
        os.setresuid(*[config["uid"]] * 3)
        ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: /proc/self is its owner's again
    os.chdir("/")
    ballast = bytearray(b"x") * config["ballast"]
    acts = {name: MAKERS[kind](**options) for name, (kind, options) in config["contenders"].items()}
    for line in sys.stdin:
        order = json.loads(line)
        try:
            act = acts[order["name"]]
            found: Any = act() if order["do"] == "start" else globals()[order["do"]](act, **order["options"])
        except Exception as error:
            found = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(found), flush=True)
    del ballast


if __name__ == "__main__":
    main()
