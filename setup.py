"""What pyproject.toml cannot say: the cffi extension, the C executables and the compiled seccomp profiles."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import sysconfig
from distutils.command.build_scripts import build_scripts  # setuptools has none of its own
from pathlib import Path
from types import ModuleType
from typing import Any

from setuptools import Command, setup
from setuptools.command.build import build
from setuptools.command.dist_info import dist_info

ROOT = Path(__file__).resolve().parent


def load(path: str) -> ModuleType:
    """A module by its file, without importing the package that it lies in."""
    spec = importlib.util.spec_from_file_location(Path(path).stem + "_by_path", ROOT / path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


jailer = load("jail/jailer/build.py")


def missing_packages() -> list[str]:
    """The Debian packages without which this distribution or its dependencies cannot be built here."""
    headers = {
        "libc6-dev": ["linux/landlock.h", "unistd.h"],
        "libseccomp-dev": ["seccomp.h"],
        f"python{sys.version_info[0]}.{sys.version_info[1]}-dev": ["Python.h"],
    }
    # python-prctl, a dependency, comes as source only; where it is installed it needs nothing more.
    if not list(Path(sysconfig.get_path("platlib")).glob("python_prctl-*")):
        headers["libcap-dev"] = ["sys/capability.h"]
    command = [*jailer.compiler(), "-E", "-x", "c", "-I", sysconfig.get_path("include"), "-"]
    missing = []
    for package, names in headers.items():
        text = "".join(f"#include <{name}>\n" for name in names)
        try:
            done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
        except FileNotFoundError:
            return ["gcc", *headers]
        if done.returncode != 0:
            missing.append(package)
    return missing


class CheckedDistInfo(dist_info):
    """The first step of every build: one line says what the machine lacks, before a compiler takes fifty."""

    def run(self) -> None:
        if missing := missing_packages():
            sys.exit(f"pyjail-linux: cannot be built here: apt-get install {' '.join(missing)}")
        try:
            jailer.machine()
        except jailer.CompileError as error:
            sys.exit(f"pyjail-linux: cannot be built here: {error}")
        super().run()


def compile_or_exit(out: str | Path, *, front: bool = False) -> None:
    try:
        jailer.compile_jailer(out, front=front)
    except jailer.CompileError as error:
        sys.exit(f"pyjail-linux: {error}")


class NativeScripts(build_scripts):
    """Builds `bin/pyjail`; the stock command would read it as text and rewrite its first line."""

    def get_source_files(self) -> list[str]:
        return []

    def run(self) -> None:
        compile_or_exit(Path(self.build_dir, "pyjail"), front=True)


class BuildNative(Command):
    """After the extension: the jailer, and the seccomp profiles as BPF, which the extension compiles."""

    description = "compile the jailer and the seccomp profiles"
    user_options: list[Any] = []  # noqa: RUF012  the base class has it so
    build_lib: str | None
    editable_mode: bool

    def initialize_options(self) -> None:
        self.build_lib = None
        self.editable_mode = False

    def finalize_options(self) -> None:
        self.set_undefined_options("build_py", ("build_lib", "build_lib"))

    def _destination(self) -> Path:
        return ROOT if self.editable_mode or self.build_lib is None else Path(self.build_lib).resolve()

    def run(self) -> None:
        destination = self._destination()
        compile_or_exit(destination / "jail/jailer/jailer")
        # In a process of its own, because this one may have imported the seccomp of the source tree.
        command = [sys.executable, "-m", "seccomp.precompile", str(destination / "seccomp/profiles")]
        if subprocess.run(command, cwd=destination, check=False).returncode != 0:
            sys.exit("pyjail-linux: the seccomp profiles could not be compiled (see above)")

    def get_source_files(self) -> list[str]:
        return [str(path.relative_to(ROOT)) for path in jailer.sources()]

    def get_outputs(self) -> list[str]:
        return [str(self._destination() / "jail/jailer/jailer")]

    def get_output_mapping(self) -> dict[str, str]:
        return {}


build.sub_commands = [*build.sub_commands, ("build_native", None)]

setup(
    cffi_modules=["seccomp/_build.py:ffibuilder"],
    scripts=["pyjail"],
    cmdclass={"dist_info": CheckedDistInfo, "build_scripts": NativeScripts, "build_native": BuildNative},
    options={
        "bdist_wheel": {"py_limited_api": "cp311"},
        # A .pth file: the import hook of the other mode costs every start 15 ms.
        "editable_wheel": {"mode": "compat"},
    },
)
