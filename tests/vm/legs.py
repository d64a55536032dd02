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


# What is there in each machine; Landlock is of ABI 2 in bookworm and of 6 in trixie.
HAS = dict.fromkeys(("trixie", "bookworm"), "cgroup,cgroup2,seccomp,landlock,userns")
HAS["noble"] = "cgroup,cgroup2,seccomp,landlock"
# The reasons to skip a test that are no surprise: what a suite, or a user, does not have.
NODE = "node takes longer to start here than a pool waits"
FROZEN = "in version 2 a cgroup is frozen, and nobody is moved"
LACKS = {
    "trixie": (NODE, FROZEN),
    "bookworm": (
        NODE,
        FROZEN,
        "this kernel has no SO_PEERPIDFD (Linux 6.5)",
        "Landlock's ABI 2 cannot hold truncation, and is refused: see tests/unit",
    ),
    "noble": ("user namespaces are not to be had here",),
    "root": (
        "an ordinary user without a systemd session has no memory cgroup",
        "the user has no session with a systemd",
        "only root can take folders from another user",
    ),
    "tester": ("needs to be run as root", "only root can take folders from another user"),
    "nosub": ("needs to be run as root",),
}


@dataclass(frozen=True)
class Leg:
    """One machine, one user who has logged in, and the files that run there. A quick leg has no part."""

    suite: str
    user: str
    files: tuple[str, ...]
    part: str = ""

    @property
    def name(self) -> str:
        return "-".join(filter(None, (self.suite, self.user, self.part)))

    @property
    def require(self) -> str:
        """PYJAIL_REQUIRE inside."""
        return HAS[self.suite] + ",root" * (self.user == "root")

    @property
    def skips(self) -> set[str]:
        return {*LACKS[self.suite], *LACKS[self.user]}

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


def _tests(folder: str, *patterns: str) -> tuple[str, ...]:
    """Files of tests/, in their order."""
    found = {path for pattern in patterns for path in PROJECT.glob(f"tests/{folder}/test_{pattern}.py")}
    return tuple(str(path.relative_to(PROJECT)) for path in sorted(found))


# Not run in machines: these want compilers, or the containment probes, which no machine has; or node time and
# again, which takes half a minute to start there. Pools do not wait longer.
LEFT_OUT = _tests("jailed", "pool*", "probes", "profiles", "service_[aefs]*", "services")
# What must hold everywhere: as each user, on each kernel.
ESCAPE = _tests("escape", "*")
RESOURCES = _tests("jailed", "*limits*", "cpu_time", "max_output", "cgroup_*", "pause")
LIBRARY = _tests("jailed", "async", "exec*", "process*", "serve", "serve_mounts", "standby*")
# All others of real jails.
COMMAND = tuple(file for file in _tests("jailed", "*") if file not in {*RESOURCES, *LIBRARY, *LEFT_OUT})
SLOW = (
    *(
        Leg(suite, user, files, part)
        for part, files in (("escape", ESCAPE), ("resources", RESOURCES))
        for user in ("root", "tester", "nosub")
        for suite in ("trixie", "bookworm")
    ),
    *(
        Leg(suite, user, files, part)
        for part, files in (("library", LIBRARY), ("command", COMMAND))
        for suite, user in (("trixie", "root"), ("bookworm", "tester"))
    ),
)

# The quick ones take what another kernel, or another user's cgroups, changes first: limits in each machine,
# and a choice of the escape tests as each user.
CGROUPS = _tests("jailed", "limits*", "cpu_time", "cgroup_*")
PLACES = _tests("jailed", "limits", "cgroup_places")
FIRST = _tests("escape", "cgroup_escape", "namespaces_nested", "resource_[cos]*", "stdio_reopened")
SYSTEMD = _tests("integration", "systemd")
GATEWAY = _tests("integration", "systemd_gateway")
# Another libseccomp, another Python, another C library.
LIBRARIES = _tests("unit", "front_probe", "host", "seccomp_libseccomp", "seccomp_notify")
# The longest first: two run at a time, and are to end together.
QUICK = (
    Leg("trixie", "root", (*SYSTEMD, *GATEWAY, *CGROUPS, *_tests("jailed", "pause"))),
    Leg("bookworm", "root", (*PLACES, *FIRST)),
    Leg("trixie", "tester", (*CGROUPS, *FIRST)),
    Leg("noble", "root", (*_tests("vm/inside", "apparmor"), *SYSTEMD)),
    Leg("trixie", "nosub", (*LIBRARIES, *PLACES, *_tests("escape", "host_files"))),
    Leg("bookworm", "tester", (*SYSTEMD, *PLACES)),
    Leg("bookworm", "nosub", FIRST),
)
LEGS = (*QUICK, *SLOW)
