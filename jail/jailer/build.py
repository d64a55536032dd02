"""Compile the jailer: the one place that knows its compiler flags.

`setup.py` loads this file by path while a package is built, the tests compile the other variants with it, and
it runs as a script::

    python3 jail/jailer/build.py [--front] [--variant release|fault|sanitize] [-o FILE]

The released program is freestanding: it has its own `_start` and links no libc, whose start-up alone would
cost a quarter of a run and whose state would be carried into every jail.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import runpy
import shlex
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

Variant = Literal["release", "fault", "sanitize"]

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PACKAGES = ("jail", "rlimits", "seccomp")

WARNINGS = ("-Wall", "-Wextra", "-Werror")
COMMON = ("-std=gnu11", "-fvisibility=hidden", *WARNINGS)
FREESTANDING = (
    "-O2",
    "-ffreestanding",
    "-nostdlib",
    "-nostartfiles",
    "-static-pie",
    "-fPIE",
    "-fno-asynchronous-unwind-tables",
    "-fstack-protector-strong",
    "-Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code",
    "-Wl,--no-dynamic-linker",
    "-Wl,--build-id=none",
)
# The machines that there is code for, with what their programs need where there is no libc. The canary of the
# stack protector lies in thread-local storage by default, which only a libc sets up; the atomic operations
# of libgcc ask it what the processor can do. Where the compiler can do that, large buffers lie apart from
# everything small: what each run writes to is then in one page, not in ten that are a fault each.
MACHINES = {
    "x86_64": ("-mstack-protector-guard=global", "-mcmodel=medium", "-mlarge-data-threshold=4095"),
    "aarch64": ("-mno-outline-atomics",),
}
HOSTED = ("-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-DPYJAIL_HOSTED")


class CompileError(Exception):
    """The compiler is missing or refused the sources; the text says which, and the remedy."""


def compiler() -> list[str]:
    """The C compiler's command words: `$CC`, or gcc."""
    return shlex.split(os.environ.get("CC", "")) or ["gcc"]


def machine() -> str:
    """The machine that the compiler makes programs for. Raises `CompileError` for one that there is no code
    for."""
    done = subprocess.run([*compiler(), "-dumpmachine"], capture_output=True, text=True, check=False)
    found = done.stdout.partition("-")[0].strip()
    if found not in MACHINES:
        raise CompileError(f"there is code for {' and '.join(MACHINES)} only, "
                           f"and the compiler makes programs for {found or 'an unknown machine'}")
    return found


def sources() -> list[Path]:
    """Every C source of the jailer, in a fixed order."""
    return sorted(HERE.glob("*.c"))


def version() -> str:
    """The distribution's version, from pyproject.toml."""
    with open(ROOT / "pyproject.toml", "rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def _hashed_files() -> Iterator[Path]:
    yield from HERE.glob("*.[ch]")
    for package in PACKAGES:
        yield from (ROOT / package).rglob("*.py")
        yield from (ROOT / package).rglob("*.toml")
    yield ROOT / "pyproject.toml"


def build_id() -> str:
    """16 hex digits that stand for every source, C, Python and TOML: a plan cached by other code is stale."""
    digest = hashlib.sha256()
    for path in sorted(_hashed_files()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT)}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def call_names() -> str:
    """A header with the names of this machine's system calls, by number: those of the compiler's own kernel
    headers, and the newer ones of seccomp/_numbers.py."""
    command = [*compiler(), "-E", "-dM", "-include", "asm/unistd.h", "-x", "c", os.devnull]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CompileError(f"{shlex.join(command)}\n{done.stderr.rstrip()}")
    values: dict[str, str] = dict(re.findall(r"^#define (__NR\w+) (\w+)$", done.stdout, re.MULTILINE))
    numbers = runpy.run_path(str(ROOT / "seccomp" / "_numbers.py"))
    names = {int(number): name for name, number in numbers["SHARED"].items()}
    for macro, value in values.items():
        number = values.get(value, value)  # __NR_fcntl is __NR3264_fcntl on some machines
        if macro.startswith("__NR_") and number.isdigit() and not macro.endswith("_syscalls"):
            names[int(number)] = macro.removeprefix("__NR_")
    strings = (f'"{names.get(number, "")}\\0"' for number in range(max(names) + 1))
    return "#define CALL_NAMES \\\n" + " \\\n".join(strings) + "\n"


def flags(variant: Variant = "release", *, front: bool = False) -> list[str]:
    """The compiler's flags for `variant`; `front` makes the `pyjail` command instead of the jailer."""
    words = [*COMMON]
    if variant == "sanitize":
        words += HOSTED
    else:
        words += [*FREESTANDING, *MACHINES[machine()]]
    if variant == "fault":
        words.append("-DPYJAIL_FAULT")
    if front:
        words.append("-DPYJAIL_FRONT")
    # No trace of the build's folder: the same sources give the same bytes anywhere.
    words.append(f"-ffile-prefix-map={ROOT}=.")
    return [*words, f'-DPYJAIL_VERSION="{version()}"', f'-DPYJAIL_BUILD="{build_id()}"']


def compile_jailer(out: str | os.PathLike[str], *, front: bool = False, variant: Variant = "release") -> None:
    """Compile the jailer, or with `front` the `pyjail` command, to the file `out`.

    The file is replaced atomically, so that a jailer in use or a build beside this one is never half written.
    Raises `CompileError` with the compiler's own messages.
    """
    target = Path(out)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}")
    made = tempfile.TemporaryDirectory(prefix="pyjail-build-")
    try:
        words = [*flags(variant, front=front), "-I", made.name, "-o", str(part)]
        command = [*compiler(), *words, *map(str, sources())]
        Path(made.name, "call_names.h").write_text(call_names())
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise CompileError(f"{shlex.join(command)}\n{done.stderr.rstrip()}")
        part.chmod(0o755)
        part.replace(target)
    except FileNotFoundError as error:
        raise CompileError(f"no C compiler: {compiler()[0]} was not found; apt-get install gcc") from error
    finally:
        made.cleanup()
        part.unlink(missing_ok=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Compile the jailer.")
    parser.add_argument("--front", action="store_true", help="the pyjail command instead of the jailer")
    parser.add_argument("--variant", choices=get_args(Variant), default="release")
    parser.add_argument("-o", "--out", default=str(HERE / "jailer"), help="default: beside this file")
    words = parser.parse_args()
    try:
        compile_jailer(words.out, front=words.front, variant=words.variant)
    except CompileError as error:
        print(f"build.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
