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


def test_names_come_when_they_are_asked_for() -> None:
    for name in jail.__all__:
        assert getattr(jail, name) is not None
    assert set(jail.__all__) <= set(dir(jail))
    assert not hasattr(jail, "nonsense")


def test_the_version_is_the_projects() -> None:
    with (PROJECT / "pyproject.toml").open("rb") as file:
        assert tomllib.load(file)["project"]["version"] == jail.__version__
