"""libseccomp's own regression scripts and tables (tests/data/libseccomp), run with our `import seccomp`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from unit.test_seccomp_libseccomp import SYSTEM_PYTHON, has_binding

import seccomp
from seccomp import Arch, evaluate, library_version, resolve_syscall

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "data" / "libseccomp" / ("2.6.0" if library_version() >= (2, 6, 0) else "2.5.4")
RUNNER = ROOT / "tests" / "support" / "upstream_runner.py"
TOKENS = {  # little-endian machines, with the architecture that their calls come with
    "x86": 0x40000003, "x86_64": 0xC000003E, "x32": 0xC000003E, "arm": 0x40000028, "aarch64": 0xC00000B7,
    "mipsel": 0x40000008, "mipsel64": 0xC0000008, "mipsel64n32": 0xE0000008, "ppc64le": 0xC0000015,
    "riscv64": 0xC00000F3, "loongarch64": 0xC0000102, "sh": 0x4000002A,
}  # fmt: skip
BITS_32 = {"x86", "x32", "arm", "mipsel", "mipsel64n32", "sh"}
NATIVE = os.uname().machine
STATUS = {"KILL": -31, "KILL_PROCESS": -31, "ALLOW": 160, "TRAP": 161, "TRACE": 162, "ERRNO": 163, "LOG": 164}


class Line(NamedTuple):
    """A line of a table: what kind of test it belongs to, and its words."""

    kind: str
    words: tuple[str, ...]


@cache
def lines() -> list[Line]:
    found = []
    for path in sorted(FOLDER.glob("*.tests")):
        kind = ""
        for line in path.read_text().splitlines():
            if line.startswith("test type:"):
                kind = line.split()[2]
            elif line.strip() and not line.startswith("#"):
                found.append(Line(kind, tuple(line.split())))
    return found


def scripts() -> list[str]:
    return sorted(path.name for path in FOLDER.glob("*.py") if path.name != "util.py")


def run(ours: bool, runs: list[tuple[str, ...]]) -> list[dict[str, Any]]:
    """The results of these scripts with these arguments, with our package or libseccomp's."""
    python, path = (sys.executable, [str(ROOT)]) if ours else (SYSTEM_PYTHON, [])
    done = subprocess.run(
        [python, str(RUNNER), str(FOLDER), *path],
        input=json.dumps(runs),
        text=True,
        capture_output=True,
        timeout=300,
        check=True,
        cwd="/",
    )
    answer = json.loads(done.stdout)
    assert answer["file"].startswith(str(ROOT)) == ours
    results: list[dict[str, Any]] = answer["results"]
    return results


def exporting() -> list[str]:
    """The scripts that print a program."""
    simulated = {f"{line.words[0]}.py" for line in lines() if line.kind == "bpf-sim"}
    return [name for name in scripts() if "-sim-" in name or name in simulated]


@cache
def programs() -> dict[str, bytes]:
    """What our package exports, by the script's name without its ending."""
    results = run(True, [(name, "-b") for name in exporting()])
    assert [result["status"] for result in results] == [0] * len(results), results
    return {
        name.removesuffix(".py"): bytes.fromhex(result["out"])
        for name, result in zip(exporting(), results, strict=True)
    }


@pytest.mark.skipif(not has_binding(), reason="python3-seccomp is not installed")
def test_the_scripts_do_the_same_with_its_own_binding(
    capsys: pytest.CaptureFixture[str],
) -> None:
    runs: list[tuple[str, ...]] = [(name, flag) for name in exporting() for flag in ("-b", "-p")]
    runs += [(name,) for name in scripts() if "-basic-" in name and name not in exporting()]
    runs += [(f"{line.words[0]}.py", line.words[2]) for line in lines() if line.kind == "live"]
    ours, theirs = run(True, runs), run(False, runs)
    different = [words for words, mine, other in zip(runs, ours, theirs, strict=True) if mine != other]
    assert different == []
    assert all(result["out"] for words, result in zip(runs, ours, strict=True) if words[0] in exporting())
    tried = {words[0] for words in runs}
    with capsys.disabled():
        print(
            f"\nlibseccomp {FOLDER.name}: {len(tried)} scripts ({len(exporting())} export), "
            f"{len(runs)} runs, the same as with python3-seccomp"
        )
    assert tried == set(scripts())


def test_the_basic_and_live_scripts_end_as_their_tables_say() -> None:
    level = seccomp.get_api()
    basic = [
        (f"{name}.py",)
        for line in lines()
        if line.kind == "basic"
        for name in line.words
        if ".sh" not in name
    ]
    live = [line.words for line in lines() if line.kind == "live" and int(line.words[1]) <= level]
    results = run(True, basic + [(f"{name}.py", action) for name, _, action in live])
    wanted = [0] * len(basic) + [STATUS[action] for _, _, action in live]
    assert [result["status"] for result in results] == wanted, results
    assert len(basic) >= 8
    assert len(live) >= 9


# ---------------------------------------------------------------- the tables of expected actions


@cache
def is_known(machine: str) -> bool:
    """Whether the installed libseccomp knows that machine."""
    try:
        return Arch(machine) is not None
    except ValueError:
        return False


def machines(column: str) -> list[str]:
    """The little-endian machines that a line is for, as libseccomp's `regression` reads it."""
    chosen, avoided = [], set()
    sets = {
        "all": set(TOKENS), "all_le": set(TOKENS), "all_be": set(), "all_32": BITS_32,
        "all_64": set(TOKENS) - BITS_32,
    }  # fmt: skip
    for word in column.split(","):
        name = word.lstrip("+-")
        every = sets.get(name, {name})
        if word.startswith("-"):
            avoided |= every
        elif word.startswith("+"):
            chosen += [machine for machine in TOKENS if machine in every]
        elif NATIVE in every:
            chosen.append(NATIVE)
    return [machine for machine in dict.fromkeys(chosen) if machine not in avoided and is_known(machine)]


def span(word: str) -> range:
    """A number, or a range of them; N is 0."""
    low, dash, high = word.partition("-") if not word.startswith("-") else (word, "", "")
    first = 0 if word == "N" else int(low, 0)
    return range(first, (int(high, 0) if dash else first) + 1)


def call_numbers(word: str, machine: str) -> range:
    if word.lstrip("-")[:1].isdigit():
        return span(word)
    number = resolve_syscall(Arch(machine), word)
    return range(number, number + 1)


def action(value: int) -> str:
    names = {0x80000000: "KILL_PROCESS", 0: "KILL", 0x30000: "TRAP", 0x7FFC0000: "LOG", 0x7FFF0000: "ALLOW"}
    data = {0x50000: "ERRNO", 0x7FF00000: "TRACE"}.get(value & 0xFFFF0000)
    return f"{data}({value & 0xFFFF})" if data else names.get(value, hex(value))


def test_our_evaluator_answers_as_libseccomp_s_tables_say(capsys: pytest.CaptureFixture[str]) -> None:
    tried, left_out, wrong = 0, 0, []
    for line in lines():
        if line.kind != "bpf-sim":
            continue
        name, column, call, *arguments, result = line.words
        chosen = machines(column)
        left_out += not chosen
        for machine in chosen:
            for number, *args in product(call_numbers(call, machine), *map(span, arguments)):
                tried += 1
                answer = action(evaluate(programs()[name], number, args, TOKENS[machine]))
                if answer != result:
                    wrong.append((line.words, machine, number, args, answer))
    with capsys.disabled():
        print(
            f"\nlibseccomp {FOLDER.name}: {tried} expected actions; {left_out} lines are for other machines"
        )
    assert wrong[:10] == []
    assert tried > 5000
