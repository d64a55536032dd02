"""An installation of this checkout that every user of the machine may read, made once a session.

The checkout may lie under a folder that only its owner enters, and its interpreter too. So the packages are
copied beside the system's own Python, the native programs compiled anew from the sources under test.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from support.features import PROJECT

SYSTEM_PYTHON = "/usr/bin/python3"
_PACKAGES = ("jail", "rlimits", "seccomp")
_DEPENDENCIES = ("_cffi_backend", "_prctl", "prctl")  # for own policies and `pyjail learn`
_NOT_COPIED = shutil.ignore_patterns("__pycache__", "*.c", "*.h", "*.o")


@dataclass(frozen=True)
class Installation:
    """Where the programs under test are."""

    folder: Path

    @property
    def pyjail(self) -> Path:
        return self.folder / "bin" / "pyjail"

    @property
    def jailer(self) -> Path:
        return self.packages / "jail" / "jailer" / "jailer"

    @property
    def packages(self) -> Path:
        """What an interpreter that is to `import jail` has on its path."""
        return next((self.folder / "lib").glob("python3.*")) / "site-packages"

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python3"


def build_module() -> ModuleType:
    """jail/jailer/build.py, the one place that knows how the jailer is compiled."""
    spec = importlib.util.spec_from_file_location("jailer_build", PROJECT / "jail" / "jailer" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def make_program(out: Path, *, front: bool = False, variant: str = "release") -> None:
    """A program of the sources under test: the checkout's own if it is one, else compiled. Where there is no
    compiler it is ready made in the folder that $PYJAIL_PROGRAMS names."""
    ready = os.environ.get("PYJAIL_PROGRAMS")
    own = PROJECT / (".venv/bin/pyjail" if front else "jail/jailer/jailer")
    if ready:
        name = "pyjail" if front else {"release": "jailer"}.get(variant, f"jailer-{variant}")
        shutil.copy(Path(ready, name), out)
    elif variant == "release" and own.exists() and _checkout_is_built():
        shutil.copy(own, out)
    else:
        build_module().compile_jailer(out, front=front, variant=variant)


def _checkout_is_built() -> bool:
    """By the command, which knows its sources; scripts/setup builds the jailer before it."""
    command = PROJECT / ".venv/bin/pyjail"
    return command.exists() and build_module().build_id().encode() in command.read_bytes()


@contextmanager
def installed() -> Iterator[Installation]:
    folder = Path(tempfile.mkdtemp(prefix="pyjail-installed-"))
    try:
        folder.chmod(0o755)
        subprocess.run([SYSTEM_PYTHON, "-m", "venv", "--without-pip", str(folder)], check=True)
        made = Installation(folder)
        for package in _PACKAGES:
            shutil.copytree(PROJECT / package, made.packages / package, ignore=_NOT_COPIED)
        for dependency in _DEPENDENCIES:
            found = importlib.util.find_spec(dependency)
            if found is not None and found.origin is not None:
                shutil.copy(found.origin, made.packages)
        make_program(made.jailer)
        make_program(made.pyjail, front=True)
        script = folder / "bin" / "pyjail-python"
        script.write_text(f"#!{made.python}\nfrom jail.cli import main\n\nraise SystemExit(main())\n")
        script.chmod(0o755)
        # Byte code beforehand: an ordinary user could not store it, and each cold start would compile again.
        subprocess.run([made.python, "-m", "compileall", "-q", str(made.packages)], check=True)
        yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)
