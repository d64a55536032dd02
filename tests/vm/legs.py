"""Which tests run in which machine, and how they are started there."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from dataclasses import dataclass

from support.features import PROJECT
from vm.teller import MARK

SECONDS = 5400  # until a hung leg fails
DOWN = 125  # scripts/vm's status for a machine that was not made, did not start, or did not last


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
        return f"{self.suite}-{self.user}{'-rest' * self.slow}"

    def run(self) -> Results:
        """Once more if the machine itself could not be made or went down: emulated kernels sometimes do."""
        first = self._run_once()
        if first.status != DOWN:
            return first
        again = self._run_once()
        # In the last line, which the summary of all legs shows.
        said = f"{first.said}\n{again.said.rstrip()}; it had failed once before"
        return dataclasses.replace(again, said=said)

    def _run_once(self) -> Results:
        words = ["--suite", self.suite, "--user", self.user, "--timeout", str(SECONDS), "--"]
        words += ["env", "PYTHONPATH=tests:/vm/site", f"PYJAIL_REQUIRE={self.require}"]
        words += ["python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "vm.teller", "--tb=short"]
        words += self.files
        program = PROJECT / "scripts" / "vm"
        ended = subprocess.run(
            [program, *words], capture_output=True, text=True, errors="replace", check=False
        )
        # The last line is half a line where the machine went down.
        told = [line for line in ended.stdout.splitlines(keepends=True) if line.startswith(MARK)]
        cases = tuple(Case(*json.loads(line.removeprefix(MARK))) for line in told if line.endswith("\n"))
        return Results(ended.returncode, ended.stdout, ended.stderr, cases)


NEEDS_ROOT = "needs to be run as root"
NO_CGROUP = "an ordinary user without a systemd session has no memory cgroup"
NO_USERNS = "user namespaces are not to be had here"
NO_SESSION = "the user has no session with a systemd"
# What is there in each machine; Landlock is of ABI 2 in bookworm and of 6 in trixie.
ANYWHERE = "userns,cgroup,cgroup2,seccomp,landlock"
# Limits of the whole jail, in cgroups of version 2 that root, or a user's systemd, gives.
RESOURCES = (
    "tests/jailed/test_limits.py",
    "tests/jailed/test_limits_exact.py",
    "tests/jailed/test_limits_hit.py",
    "tests/jailed/test_limits_io.py",
    "tests/jailed/test_cpu_time.py",
    "tests/jailed/test_cgroup_places.py",
    "tests/escape/test_cgroup_escape.py",
    "tests/escape/test_resource_cpu_chain.py",
)
BOMBS = (
    "tests/escape/test_resource_bombs.py",
    "tests/escape/test_resource_fillers.py",
    "tests/escape/test_resource_open_files.py",
    "tests/escape/test_resource_stopped.py",
)
# What another kernel, or another user's cgroups, changes first; the slow legs run the others there.
PLACES = ("tests/jailed/test_limits.py", "tests/jailed/test_cgroup_places.py")
# What Landlock's older versions do not hold, and namespaces in namespaces.
OLDER = (
    "tests/escape/test_stdio_reopened.py",
    "tests/escape/test_namespaces_nested.py",
    "tests/jailed/test_network.py",
)
APPARMOR = ("tests/vm/inside/test_apparmor.py",)
SYSTEMD = ("tests/integration/test_systemd.py",)
GATEWAY = ("tests/integration/test_systemd_gateway.py",)
# Another libseccomp, another Python, another C library.
LIBRARIES = (
    "tests/unit/test_front_probe.py",
    "tests/unit/test_host.py",
    "tests/unit/test_seccomp_libseccomp.py",
    "tests/unit/test_seccomp_notify.py",
)
# All others of real jails, but for those of programs that the machines do not have, such as node.
NO_PROGRAMS = {
    *(f"tests/jailed/test_{name}.py" for name in ("async", "executor", "pool", "pool_programs", "probes")),
    *(f"tests/jailed/test_{name}.py" for name in ("profiles", "service_ahead", "service_errors")),
    *(f"tests/jailed/test_{name}.py" for name in ("service_folder", "service_streams", "services")),
    "tests/escape/test_pool_secrets.py",
}
REST = tuple(
    name
    for folder in ("jailed", "escape")
    for path in sorted((PROJECT / "tests" / folder).glob("test_*.py"))
    if (name := str(path.relative_to(PROJECT))) not in {*RESOURCES, *NO_PROGRAMS}
)
LEGS = (
    Leg(
        "trixie",
        "root",
        f"{ANYWHERE},root",
        (NO_CGROUP, NO_SESSION),
        (*SYSTEMD, *GATEWAY, *RESOURCES, *BOMBS),
    ),
    Leg("bookworm", "root", f"{ANYWHERE},root", (NO_CGROUP, NO_SESSION), (*SYSTEMD, *PLACES, *OLDER)),
    Leg("trixie", "tester", ANYWHERE, (NEEDS_ROOT,), (*SYSTEMD, *RESOURCES)),
    Leg("bookworm", "tester", ANYWHERE, (NEEDS_ROOT,), (*SYSTEMD, *PLACES)),
    Leg("trixie", "nosub", ANYWHERE, (NEEDS_ROOT,), (*LIBRARIES, "tests/jailed/test_cgroup_places.py")),
    Leg("bookworm", "nosub", ANYWHERE, (NEEDS_ROOT,), LIBRARIES, slow=True),
    Leg("noble", "root", "cgroup,cgroup2,seccomp,landlock,root", (NO_USERNS,), (*APPARMOR, *SYSTEMD)),
    Leg("trixie", "root", f"{ANYWHERE},root", (NO_CGROUP,), REST, slow=True),
    Leg("bookworm", "root", f"{ANYWHERE},root", (NO_CGROUP,), RESOURCES, slow=True),
    Leg("bookworm", "tester", ANYWHERE, (NEEDS_ROOT,), (*RESOURCES, *REST), slow=True),
)
