"""The distribution: sdist, wheel, what they hold, and that the result runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from support.features import PROJECT
from support.installation import build_module

_VERSION = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
_NOT_COPIED = shutil.ignore_patterns(".git", ".venv", ".vm", "build", "dist", "*.egg-info", "__pycache__",
                                     ".*_cache", "*.so", "*.bpf", "*.o", "_libseccomp.c")
# The tests' own environment has what a build needs: nothing is fetched.
_PIP_WHEEL = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-index", "--no-build-isolation")


def run(*command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, text=True, capture_output=True, check=False, **options)  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources as a clone would have them, where a build may leave its traces."""
    tree = tmp_path_factory.mktemp("sources") / "check out"
    shutil.copytree(PROJECT, tree, ignore=_NOT_COPIED, symlinks=True)
    (tree / "jail/jailer/jailer").unlink(missing_ok=True)
    return tree


@pytest.fixture(scope="module")
def sdist(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    code = "import sys, setuptools.build_meta as backend; backend.build_sdist(sys.argv[1])"
    done = run(sys.executable, "-c", code, folder, cwd=tree)
    assert done.returncode == 0, done.stderr
    return folder / f"pyjail_linux-{_VERSION}.tar.gz"


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the sdist, so that a file missing there is missed here."""
    folder = tmp_path_factory.mktemp("wheel")
    done = run(*_PIP_WHEEL, "-w", folder, sdist)
    assert done.returncode == 0, done.stdout + done.stderr
    [wheel] = folder.iterdir()
    return wheel


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel, and with the tests' own for its dependencies."""
    place = tmp_path_factory.mktemp("environment") / "venv"
    assert run("/usr/bin/python3", "-m", "venv", place).returncode == 0
    done = run(place / "bin/python3", "-m", "pip", "install", "--no-deps", "--no-index", wheel)
    assert done.returncode == 0, done.stderr
    [packages] = place.glob("lib/python3.*/site-packages")
    [dependencies] = Path(sys.prefix).glob("lib/python3.*/site-packages")
    (packages / "dependencies.pth").write_text(f"{dependencies}\n")
    return place


def test_sdist_holds_sources_and_nothing_built(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for name in ("jail/jailer/build.py", "jail/jailer/sys.h", "setup.py", "scripts/setup", "bin/pyjail",
                 "seccomp/_build.py", "seccomp/profiles/default.toml", "tests/conftest.py", "README.md",
                 "LICENSE"):
        assert name in names
    assert not [name for name in names if name.endswith((".so", ".bpf", ".o", ".pyc")) or "/.venv" in name]
    assert "jail/jailer/jailer" not in names


def test_wheel_is_one_for_all_pythons(wheel: Path) -> None:
    assert wheel.name == f"pyjail_linux-{_VERSION}-cp311-abi3-linux_{os.uname().machine}.whl"


def test_wheel_holds_what_runs_and_no_more(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        modes = {entry.filename: entry.external_attr >> 16 for entry in archive.infolist()}
    front = f"pyjail_linux-{_VERSION}.data/scripts/pyjail"
    for name in ("jail/jailer/jailer", front):
        assert modes[name] & 0o111 == 0o111, name
    for package in ("jail", "rlimits", "seccomp"):
        assert f"{package}/py.typed" in modes
    profiles = [name for name in modes if name.startswith("seccomp/profiles/") and name.endswith(".toml")]
    assert profiles
    for profile in profiles:
        stem = profile.removesuffix(".toml")
        assert any(name.startswith(stem) and name.endswith(".bpf") for name in modes), profile
    for name in ("node/index.js", "python/__main__.py"):
        assert f"jail/services/runners/{name}" in modes
    assert not [name for name in modes if name.endswith((".c", ".h", ".o"))]
    tops = {name.partition("/")[0].partition("-")[0] for name in modes}
    assert tops == {"jail", "rlimits", "seccomp", "pyjail_linux"}


def test_executables_need_no_library(environment: Path) -> None:
    [jailer] = environment.glob("lib/python3.*/site-packages/jail/jailer/jailer")
    for program in (jailer, environment / "bin/pyjail"):
        headers = run("readelf", "-l", "-d", program, env={**os.environ, "LC_ALL": "C"}).stdout
        assert "LOAD" in headers
        assert "INTERP" not in headers
        assert "(NEEDED)" not in headers


def test_one_version_everywhere(environment: Path) -> None:
    assert run(environment / "bin/pyjail", "--version").stdout == f"pyjail {_VERSION}\n"
    done = run(environment / "bin/python3", "-I", "-c", "import jail; print(jail.__version__)")
    assert done.stdout == f"{_VERSION}\n"


def test_installed_wheel_runs_a_jail(environment: Path, require: Callable[[str], None],
                                     tmp_path: Path) -> None:
    require("userns")
    done = run(environment / "bin/pyjail", "run", "--", "tr", "a-z", "A-Z", input="hello\n",
               env={**os.environ, "HOME": str(tmp_path)})
    assert (done.returncode, done.stdout) == (0, "HELLO\n"), done.stderr


def test_installed_packages_are_the_wheels_own(environment: Path) -> None:
    code = "import jail, rlimits, seccomp; print(*(m.__file__ for m in (jail, rlimits, seccomp)), sep='\\n')"
    done = run(environment / "bin/python3", "-I", "-c", code)
    assert done.returncode == 0, done.stderr
    assert all(line.startswith(str(environment)) for line in done.stdout.splitlines())


def test_same_sources_give_the_same_bytes_anywhere(tree: Path, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    build_module().compile_jailer(here)
    done = run(sys.executable, tree / "jail/jailer/build.py", "-o", there)
    assert done.returncode == 0, done.stderr
    assert here.read_bytes() == there.read_bytes()


def test_build_id_follows_every_kind_of_source(tree: Path) -> None:
    """A changed source of any kind gives another id: plans cached by the old code are stale."""
    code = "import build; print(build.build_id())"
    seen = set()
    for name in (None, "jail/jailer/sys.h", "jail/jailer/start.c", "rlimits/limits.py",
                 "seccomp/profiles/default.toml"):
        original = (tree / name).read_bytes() if name else b""
        if name:
            (tree / name).write_bytes(original + b"\n")
        seen.add(run(sys.executable, "-B", "-c", code, cwd=tree / "jail/jailer").stdout)
        if name:
            (tree / name).write_bytes(original)
    assert len(seen) == 5


@pytest.mark.parametrize(("header", "package"), [
    ("seccomp.h", "libseccomp-dev"), ("Python.h", "python3.11-dev"), ("unistd.h", "libc6-dev"),
])
def test_missing_header_is_one_line_that_names_the_package(tree: Path, tmp_path: Path, header: str,
                                                           package: str) -> None:
    package = package.replace("3.11", f"3.{sys.version_info[1]}")
    compiler = tmp_path / "cc"
    compiler.write_text(f'#!/bin/sh\ntext=$(cat)\ncase $text in *"<{header}>"*) exit 1;; esac\n')
    compiler.chmod(0o755)
    assert lines_of_failed_build(tree, str(compiler)) == [
        f"pyjail-linux: cannot be built here: apt-get install {package}"]


def test_missing_compiler_is_one_line_that_names_the_package(tree: Path) -> None:
    [line] = lines_of_failed_build(tree, "/nonexistent/cc")
    assert line.startswith("pyjail-linux: cannot be built here: apt-get install gcc ")


def test_another_machine_is_one_line(tree: Path, tmp_path: Path) -> None:
    """There is code for two; a compiler for others is refused before it has compiled anything."""
    compiler = tmp_path / "gcc"
    script = '#!/bin/sh\n[ "$1" = -dumpmachine ] && echo riscv64-linux-gnu || exec gcc "$@"\n'
    compiler.write_text(script)
    compiler.chmod(0o755)
    assert lines_of_failed_build(tree, str(compiler)) == [
        "pyjail-linux: cannot be built here: there is code for x86_64 and aarch64 only, "
        "and the compiler makes programs for riscv64"]


def lines_of_failed_build(tree: Path, compiler: str) -> list[str]:
    """What a build with this compiler says of ours; pip frames it in lines of its own."""
    done = run(*_PIP_WHEEL, "-w", tree / "never", tree, env={**os.environ, "CC": compiler})
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "Traceback" not in said
    return [line.strip() for line in said.splitlines() if "pyjail-linux: " in line]
