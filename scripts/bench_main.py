"""What a jailed start of /bin/true costs beside other sandboxes, in memory, and for each byte of stdio."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "tests"))

import bench_library  # noqa: E402
from bench_goals import Goal, judge, judged  # noqa: E402
from bench_peers import COMMAND, MissingError, bubblewrap, crun, nsjail  # noqa: E402
from bench_timing import Contender, Figures, StartError, clear_folder, measure  # noqa: E402
from bench_weight import memory, throughput  # noqa: E402
from support.installation import Installation, installed  # noqa: E402

from jail.plan import Plan  # noqa: E402

ORDINARY = 65534
COLD_DIVISOR = 5
STORED_AFTER = 10.0  # seconds: plans that depend on new files, such as ours, are not kept

COMPILED, COMPILED_ORDINARY = "compiled jail", "compiled jail, ordinary user"
CACHED, COLD = "pyjail run, plan cached", "pyjail run, cache cold"
PYTHON, PLAIN = "python3 -I -S -c pass", "no jail"
BUBBLEWRAP, NSJAIL, CRUN = "bubblewrap", "nsjail", "crun"
BUBBLEWRAP_ORDINARY = "bubblewrap, ordinary user"


GOALS = (
    Goal(COMPILED, BUBBLEWRAP, 0.50),
    Goal(COMPILED, NSJAIL, 0.45),
    Goal(COMPILED, CRUN, 0.40),
    Goal(COMPILED_ORDINARY, BUBBLEWRAP_ORDINARY, 0.60),
    Goal(COMPILED_ORDINARY, BUBBLEWRAP, 0.60),
    Goal(CACHED, BUBBLEWRAP, 0.55),
    Goal(COLD, PYTHON, 3.0),
)
MEMORY_MOST = 2 << 20
THROUGHPUT_LEAST = 0.97


class User:
    """Who starts jails: a folder for caches and compiled jails, and the way to run pyjail."""

    def __init__(self, installation: Installation, folder: Path, uid: int) -> None:
        self.pyjail, self.uid, self.folder = str(installation.pyjail), uid, folder / f"user-{uid}"
        self.folder.mkdir(mode=0o700)
        os.chown(self.folder, uid, uid)

    def environment(self, cache: str) -> dict[str, str]:
        folder = self.folder / cache
        if not folder.exists():
            folder.mkdir(mode=0o700)
            os.chown(folder, self.uid, self.uid)
        return {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "XDG_CACHE_HOME": str(folder)}

    def run(self, *words: str) -> bytes:
        done = subprocess.run(
            [self.pyjail, *words],
            env=self.environment("warm"),
            cwd="/",
            user=self.uid,
            group=self.uid,
            extra_groups=[],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            check=False,
        )
        if done.returncode:
            raise StartError(f"pyjail {' '.join(words)} ended with {done.returncode}")
        return done.stdout

    def compiled(self, *command: str) -> str:
        path = self.folder / f"{Path(command[0]).name}.jail"
        self.run("compile", "-o", str(path), "--", *command)
        return str(path)


def ours(root: User, ordinary: User) -> Iterator[Contender]:
    """Our own contenders."""
    yield Contender(COMPILED, [root.compiled(COMMAND)])
    yield Contender(COMPILED_ORDINARY, [ordinary.compiled(COMMAND)], uid=ORDINARY)
    words = [root.pyjail, "run", "--", COMMAND]
    plans = Path(root.environment("warm")["XDG_CACHE_HOME"]) / "pyjail" / "plans"
    end = time.monotonic() + STORED_AFTER
    while not any(plans.glob("[0-9a-f]*")):
        if time.monotonic() > end:
            raise StartError("`pyjail run` has not stored its plan: there is no cached start to measure")
        root.run(*words[1:])
    yield Contender(CACHED, words, env=root.environment("warm"))
    cold = root.environment("cold")
    yield Contender(
        COLD,
        words,
        env=cold,
        before=partial(clear_folder, Path(cold["XDG_CACHE_HOME"])),
        divisor=COLD_DIVISOR,
    )


def peers(plan: Plan, folder: Path) -> Iterator[Contender]:
    """Every peer that is to be had; a missing one is a printed line."""

    def place(name: str) -> Path:
        made = folder / name
        made.mkdir()
        made.chmod(0o755)
        return made

    build = PROJECT / "build" / "bench"
    makers = (
        lambda: bubblewrap(plan, place("bubblewrap"), 0),
        lambda: nsjail(plan, place("nsjail"), build),
        lambda: bubblewrap(plan, place("bubblewrap-ordinary"), ORDINARY),
        lambda: crun(plan, place("crun")),
    )
    for maker in makers:
        try:
            yield maker()
        except MissingError as why:
            print(f"missing: {why}")
    yield Contender(PYTHON, ["/usr/bin/python3", "-I", "-S", "-c", "pass"])
    yield Contender(PLAIN, [COMMAND])


def print_table(figures: dict[str, Figures]) -> None:
    base = figures.get(BUBBLEWRAP)
    print(f"\n{'':32}{'starts':>7}{'median ms':>11}{'p95 ms':>9}{'/ bubblewrap':>14}")
    for name, taken in sorted(figures.items(), key=lambda item: item[1].median):
        ratio = f"{taken.median / base.median:.2f}" if base else "-"
        print(f"{name:32}{len(taken.samples):7}{taken.median / 1e6:11.2f}{taken.p95 / 1e6:9.2f}{ratio:>14}")


@contextmanager
def users(folder: Path) -> Iterator[tuple[User, User]]:
    with installed() as installation:
        yield User(installation, folder, 0), User(installation, folder, ORDINARY)


def bench(words: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Measure and print; the JSON report."""
    report: dict[str, object] = {
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
    }
    only = () if words.in_python else words.only or ("starts", "memory", "throughput")
    met = []
    with users(folder) as (root, ordinary):
        if words.in_python:
            plan = Plan.from_bytes(root.run("plan", "--", COMMAND))
            python = Path(root.pyjail).with_name("python3")
            build = PROJECT / "build" / "bench"
            found = bench_library.bench(plan, folder, build, python, words.n, words.runs)
            met.append(found["met"])
            report |= found
        if "starts" in only:
            plan = Plan.from_bytes(root.run("plan", "--", COMMAND))
            figures = measure([*ours(root, ordinary), *peers(plan, folder)], words.n)
            print_table(figures)
            print()
            met += judged(GOALS, {name: taken.median for name, taken in figures.items()})
            report["starts"] = {
                name: {
                    "median_ms": taken.median / 1e6,
                    "p95_ms": taken.p95 / 1e6,
                    "samples": len(taken.samples),
                }
                for name, taken in figures.items()
            }
        if "memory" in only:
            rss, pss = memory(root.compiled("/bin/sh", "-c", "echo; exec sleep 1000"))
            met.append(
                judge(
                    "resident memory of supervisor and init, MiB",
                    rss / 2**20,
                    MEMORY_MOST / 2**20,
                )
            )
            report["memory"] = {"rss_bytes": rss, "pss_bytes": pss}
        if "throughput" in only:
            free, jailed, ratio = throughput(["/bin/cat"], [root.compiled("/bin/cat")])
            met.append(
                judge(
                    "stdio throughput / without a jail",
                    ratio,
                    THROUGHPUT_LEAST,
                    most=False,
                )
            )
            report["throughput"] = {"jailed_bytes_per_second": jailed, "free_bytes_per_second": free}
    report["met"] = all(met)
    return report


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("-n", type=int, default=200, help="starts of each contender (default 200)")
    parser.add_argument(
        "--only",
        action="append",
        choices=("starts", "memory", "throughput"),
        help="one part; may be given again",
    )
    python = "what a jail costs a Python program, instead"
    parser.add_argument("--library", action="store_true", dest="in_python", help=python)
    parser.add_argument("--runs", type=int, default=10_000, help="after which nothing has grown (--library)")
    parser.add_argument("--png", metavar="FILE", help="draw the figures (--library; needs matplotlib)")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    words = parser.parse_args(argv)
    if os.geteuid():
        print(
            "scripts/bench: run it as root: the compiled jail is measured as root and as an ordinary user",
            file=sys.stderr,
        )
        return 2
    folder = Path(tempfile.mkdtemp(prefix="pyjail-bench-"))
    folder.chmod(0o755)
    try:
        report = bench(words, folder)
    except StartError as why:
        print(f"scripts/bench: {why}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if words.json:
        Path(words.json).write_text(json.dumps(report, indent=1) + "\n")
    if words.png and words.in_python:
        bench_library.draw(report, words.png)
    return 0 if report["met"] else 3


if __name__ == "__main__":
    raise SystemExit(main())
