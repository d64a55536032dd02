"""Which tests run in which machine, and how they are started there."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass

from support.features import PROJECT
from vm.inside import MARK

SECONDS = 1500  # until a hung leg fails


@dataclass(frozen=True)
class Case:
    """One test that ran inside."""

    name: str
    outcome: str  # "passed", "failed" or "skipped"
    message: str


@dataclass(frozen=True)
class Results:
    """What came of one machine."""

    status: int
    output: str
    said: str  # by scripts/vm
    cases: tuple[Case, ...]

    def of(self, file: str) -> list[Case]:
        return [case for case in self.cases if case.name.startswith(f"{file}::")]

    def count(self, outcome: str) -> int:
        return sum(case.outcome == outcome for case in self.cases)


@dataclass(frozen=True)
class Leg:
    """One machine, one user who has logged in, and the files that run there."""

    suite: str
    user: str
    require: str  # PYJAIL_REQUIRE inside
    skips: tuple[str, ...]  # the reasons that are no surprise
    files: tuple[str, ...]
    slow: bool = False

    @property
    def name(self) -> str:
        return f"{self.suite}-{self.user}"

    def run(self) -> Results:
        words = ["--suite", self.suite, "--user", self.user, "--timeout", str(SECONDS), "--"]
        words += ["env", "PYTHONPATH=tests", f"PYJAIL_REQUIRE={self.require}", "python3", "-m", "pytest"]
        words += ["-q", "-p", "no:cacheprovider", "-p", "vm.inside", "--tb=short", *self.files]
        program = PROJECT / "scripts" / "vm"
        ended = subprocess.run(
            [program, *words], capture_output=True, text=True, errors="replace", check=False
        )
        told = [line for line in ended.stdout.splitlines() if line.startswith(MARK)]
        cases = tuple(Case(*json.loads(line.removeprefix(MARK))) for line in told)
        return Results(ended.returncode, ended.stdout, ended.stderr, cases)


# Where what a kernel does differently would show, and what only a systemd can show.
KERNEL = (
    "tests/jailed/test_classic_mounts.py",
    "tests/escape/test_device_nodes.py",
    "tests/integration/test_process_managers.py",
)
NEEDS_ROOT = "needs to be run as root"
LEGS = (
    Leg("trixie", "root", "userns,seccomp,landlock,root", (), KERNEL),
    Leg("trixie", "tester", "userns,seccomp,landlock", (NEEDS_ROOT,), KERNEL),
)
