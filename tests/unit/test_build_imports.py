"""The way to a plan must stay cheap to import: a cold start pays for each module."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import jail

PROJECT = Path(__file__).resolve().parents[2]
COSTLY = (
    "dataclasses",
    "argparse",
    "typing",
    "enum",
    "re",
    "pathlib",
    "json",
    "inspect",
    "subprocess",
    "shlex",
    "tomllib",
    "ctypes",
    "cffi",
    "logging",
    "collections",
    "functools",
    "contextlib",
    "importlib.util",
)
PROGRAM = f"""
import sys
sys.path.insert(0, {str(PROJECT)!r})
before = set(sys.modules)
import jail.build, jail.host, jail.launch, jail.plan, jail.spec, rlimits
class Program:
    name, bpf = "default", bytes(8)
jail.build.build_plan(jail.spec.Jail(), ["true"], jail.host.Host.probe(), program=Program).to_bytes()
print(*sorted(set(sys.modules) - before))
"""


def test_no_costly_module_is_imported_on_the_way_to_a_plan() -> None:
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    loaded = ended.stdout.split()
    assert "jail.build" in loaded
    assert set(loaded).isdisjoint(COSTLY)


FROM_TOML = f"""
import sys
sys.path.insert(0, {str(PROJECT)!r})
import jail
with open(sys.argv[1], "w") as file: file.write('hostname = "named"')
assert jail.Jail.from_toml(sys.argv[1]).hostname == "named"
print(*(name for name in sys.modules if name.startswith("jail.cli")))
"""


def test_the_library_reads_a_configuration_file_without_the_command(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-c", FROM_TOML, tmp_path / "jail.toml"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.split() == []


def test_names_come_when_they_are_asked_for() -> None:
    for name in jail.__all__:
        assert getattr(jail, name) is not None
    assert set(jail.__all__) <= set(dir(jail))
    assert not hasattr(jail, "nonsense")


def test_the_version_is_the_projects() -> None:
    with (PROJECT / "pyproject.toml").open("rb") as file:
        assert tomllib.load(file)["project"]["version"] == jail.__version__
