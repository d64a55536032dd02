"""What a jail costs a Python program: `import jail` beside subprocess with other sandboxes, sandlock's SDK
and a plain posix_spawn; pools; many callers at a time; and whether anything grows. `scripts/bench
--library`."""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import venv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench_goals import Goal, judge, judged
from bench_peers import MissingError, bubblewrap, crun, nsjail, program
from bench_timing import Contender, StartError

from jail.plan import Plan

CALLER = Path(__file__).with_name("bench_caller.py")
TRUE, ECHO = ["/bin/true"], ["/bin/echo", "x"]
PYTHON = ["/usr/bin/python3", "-I", "-S", "-c", "print(1)"]
ORDINARY = 65534
LARGE, MOUNTS = 500 << 20, 500
GROWN_MOST = 1 << 20
SLABS_MOST = 100  # kernel objects more or less, on a machine where others start things too


class Caller:
    """A process that starts contenders of one kind, as one user."""

    def __init__(self, python: Path, **config: Any) -> None:
        self.config = {"uid": 0, "mounts": 0, "unmounted": "", "ballast": 0, "contenders": {}, **config}
        self.python = python
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [self.python, "-I", CALLER, json.dumps(self.config)],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/", "LANG": "C.UTF-8"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, name: str, do: str = "start", **options: Any) -> Any:
        """Have it do something; what it found. Raises StartError."""
        assert self.process is not None and self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps({"name": name, "do": do, "options": options}), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        found = json.loads(line) if line else {"error": "the caller has ended"}
        if isinstance(found, dict) and "error" in found:
            raise StartError(f"{name}: {found['error']}")
        return found

    def end(self) -> None:
        if self.process is not None:
            self.process.communicate()


@dataclass
class Taken:
    """What one contender was measured as."""

    caller: Caller
    samples: list[int] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    def percentile(self, part: int) -> float:
        return sorted(self.samples)[min(len(self.samples) - 1, len(self.samples) * part // 100)]


GOALS = (
    Goal("jail.run", "bubblewrap", 0.30),
    Goal("jail.run", "sandlock", 0.35),
    Goal("jail.run, ordinary user", "bubblewrap, ordinary user", 0.45),
    Goal("jail.run, 500 MB caller", "jail.run", 1.10),
    Goal("jail.run, 500 mounts", "bubblewrap, 500 mounts", 0.10),
    Goal("pool: echo", "bubblewrap: echo", 0.15),
    Goal("pool: python", "bubblewrap: python", 0.10),
    Goal("pool: node", "bubblewrap: node", 0.03),
)
STARTS_LEAST = 3.5


def peer(contender: Contender, command: Sequence[str] = TRUE, first_byte: bool = False) -> tuple[str, Any]:
    argv = [*contender.argv[: len(contender.argv) - 1], *command]
    return "peer", {"argv": argv, "opens": list(contender.opens), "first_byte": first_byte}


def sandlock_python(build: Path) -> Path:
    """The interpreter of a virtual environment that has sandlock, made if need be."""
    folder = build / "sandlock"
    python = folder / "bin" / "python3"
    if not python.exists():
        venv.create(folder, with_pip=True)
    words = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "sandlock"]
    if subprocess.run([python, "-c", "import sandlock"], capture_output=True, check=False).returncode:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise MissingError(f"sandlock: pip cannot install it: {done.stderr.strip().splitlines()[-1:]}")
    return python


def firejail() -> tuple[str, Any]:
    argv = [program("firejail"), "--noprofile", "--quiet", "--net=none", "--private-tmp", "--private-dev",
            "--ipc-namespace", "--caps.drop=all", "--nonewprivs", "--seccomp", "--", *TRUE]
    return "peer", {"argv": argv, "opens": [], "first_byte": False}


def callers(plan: Plan, folder: Path, build: Path, python: Path) -> Iterator[Caller]:
    """Every caller with its contenders; a missing one is a printed line."""

    def place(name: str) -> Path:
        made = folder / name
        made.mkdir(mode=0o755)
        return made

    bwrap = bubblewrap(plan, place("bwrap"), 0)
    node = ["/usr/bin/node", "-e", "console.log('hello')"]
    quiet = {"argv": TRUE}
    root: dict[str, Any] = {
        "jail.run": ("jail", quiet),
        "posix_spawn": ("plain", quiet),
        "bubblewrap": peer(bwrap),
        "bubblewrap: echo": peer(bwrap, ECHO, True),
        "bubblewrap: python": peer(bwrap, PYTHON, True),
    }
    pools: dict[str, Any] = {
        "pool: echo": ("pool", {"argv": ECHO, "runner": "", "code": None, "size": 4}),
        "pool: python": ("pool", {"argv": ["x"], "runner": "python", "code": "print(1)", "size": 2}),
    }
    if os.path.exists(node[0]):
        hello = {"argv": ["x"], "runner": "node", "code": node[-1], "size": 2}
        pools["pool: node"] = ("pool", hello)
        root["bubblewrap: node"] = peer(bwrap, node, True)
    else:
        print("missing: node")
    others = {"nsjail": lambda: peer(nsjail(plan, place("nsjail"), build)), "firejail": firejail}
    for name, make in others.items():
        try:
            root[name] = make()
        except MissingError as why:
            print(f"missing: {why}")
    yield Caller(python, contenders=root)
    yield Caller(python, contenders=pools)
    ordinary = {
        "jail.run, ordinary user": ("jail", quiet),
        "bubblewrap, ordinary user": peer(bubblewrap(plan, place("bwrap-ordinary"), ORDINARY)),
    }
    yield Caller(python, uid=ORDINARY, contenders=ordinary)
    yield Caller(python, ballast=LARGE, contenders={"jail.run, 500 MB caller": ("jail", quiet)})
    many = {"jail.run, 500 mounts": ("jail", quiet), "bubblewrap, 500 mounts": peer(bwrap)}
    yield Caller(python, mounts=MOUNTS, contenders=many)
    try:
        contenders = {"crun": peer(crun(plan, place("crun")), ["bench"])}
        yield Caller(python, unmounted="/sys/fs/cgroup/unified", contenders=contenders)
    except MissingError as why:
        print(f"missing: {why}")
    try:
        theirs = sandlock_python(build)
        yield Caller(theirs, contenders={"sandlock": ("sandlock", quiet)})
        yield Caller(theirs, ballast=LARGE, contenders={"sandlock, 500 MB caller": ("sandlock", quiet)})
    except MissingError as why:
        print(f"missing: {why}")


def measure(all_callers: Sequence[Caller], rounds: int) -> dict[str, Taken]:
    """All contenders, each round in another order (see bench_timing). One that fails is a printed line."""
    taken = {name: Taken(caller) for caller in all_callers for name in caller.config["contenders"]}
    order = list(taken)
    dice = random.Random(1)
    for number in range(-3, rounds):
        dice.shuffle(order)
        for name in list(order):
            try:
                spent = taken[name].caller.tell(name)
            except StartError as why:
                print(f"missing: {why}")
                order.remove(name)
                del taken[name]
                continue
            if number >= 0:
                taken[name].samples.append(spent)
    return taken


def print_table(taken: dict[str, Taken]) -> None:
    base = taken["bubblewrap"].median if "bubblewrap" in taken else None
    print(f"\n{'':32}{'starts':>7}{'median ms':>11}{'p95 ms':>9}{'p99 ms':>9}{'/ bubblewrap':>14}")
    for name, found in sorted(taken.items(), key=lambda item: item[1].median):
        ratio = f"{found.median / base:.2f}" if base else "-"
        late = "".join(f"{found.percentile(part) / 1e6:9.2f}" for part in (95, 99))
        print(f"{name:32}{len(found.samples):7}{found.median / 1e6:11.2f}{late}{ratio:>14}")


def many_callers(taken: dict[str, Taken], runs: int) -> dict[str, Any]:
    """Starts per second with 8 callers, in turns."""
    rates: dict[str, list[float]] = {}
    samples: dict[str, list[int]] = {}
    for _ in range(3):
        for name in ("jail.run", "bubblewrap"):
            if name in taken:
                found = taken[name].caller.tell(name, "throughput", callers=8, runs=runs)
                rates.setdefault(name, []).append(found["per_second"])
                samples.setdefault(name, []).extend(found["samples"])
    return {
        name: {
            "per_second": statistics.median(rates[name]),
            "p99_ms": sorted(samples[name])[len(samples[name]) * 99 // 100] / 1e6,
        }
        for name in rates
    }


def grown(found: dict[str, dict[str, int]]) -> Iterator[bool]:
    """What grew in many runs, judged."""
    for name, before in found["before"].items():
        more = found["after"][name] - before
        if name.endswith("memory"):
            yield judge(f"{name} grown, MiB", more / 2**20, GROWN_MOST / 2**20)
        elif name in ("descriptors", "jailers", "jailers' descriptors"):
            yield judge(f"{name} grown", more, 0)
        else:
            yield judge(f"{name} grown, kernel objects of all", more, SLABS_MOST)


def draw(report: dict[str, Any], path: str) -> None:
    """The medians as bars."""
    try:
        from matplotlib import pyplot
    except ImportError:
        print("missing: matplotlib, so no picture: pip install 'pyjail-linux[bench]'")
        return
    starts = sorted(report["starts"].items(), key=lambda item: -item[1]["median_ms"])
    figure, axes = pyplot.subplots(figsize=(9, 0.35 * len(starts) + 1), layout="constrained")
    colours = ["tab:green" if name.startswith(("jail", "pool")) else "tab:gray" for name, _ in starts]
    bars = axes.barh([name for name, _ in starts], [found["median_ms"] for _, found in starts], color=colours)
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds, median (log)")
    axes.set_title(f"A jailed start from Python, Linux {report['kernel']}, {report['cpus']} CPUs")
    figure.savefig(path, dpi=120)


def bench(plan: Plan, folder: Path, build: Path, python: Path, rounds: int, runs: int) -> dict[str, Any]:
    """Measure and print; the part of the JSON report."""
    started = list(callers(plan, folder, build, python))
    try:
        for caller in started:
            caller.start()
        taken = measure(started, rounds)
        print_table(taken)
        print()
        met = list(judged(GOALS, {name: found.median for name, found in taken.items()}))
        many = many_callers(taken, rounds)
        for name, found in many.items():
            rate, late = found["per_second"], found["p99_ms"]
            print(f"         {name}: {rate:.0f} starts/s by 8 callers, p99 {late:.1f} ms")
        if len(many) == 2:
            ratio = many["jail.run"]["per_second"] / many["bubblewrap"]["per_second"]
            met.append(judge("starts/s by 8 callers, jail.run / bubblewrap", ratio, STARTS_LEAST, most=False))
        leaks = taken["jail.run"].caller.tell("jail.run", "leaks", runs=runs)
        print(f"after {runs} runs:")
        met += grown(leaks)
    finally:
        for caller in started:
            caller.end()
    return {
        "starts": {
            name: {
                "median_ms": found.median / 1e6,
                "p95_ms": found.percentile(95) / 1e6,
                "p99_ms": found.percentile(99) / 1e6,
                "samples": len(found.samples),
            }
            for name, found in taken.items()
        },
        "many_callers": many,
        "leaks": leaks,
        "met": all(met),
    }
