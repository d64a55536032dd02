"""`seccomp.install`, in processes of its own; threads are in tests/jailed/test_confine.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from seccomp import install

ROOT = str(Path(__file__).parents[2])


def child(code: str) -> str:
    """What code prints in a process of its own."""
    prelude = "import errno, os, prctl, struct, sys\nfrom seccomp import Policy, install\n"
    words = [sys.executable, "-c", f"import sys; sys.path.insert(0, {ROOT!r})\n{prelude}{code}"]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, cwd="/")
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize("size", [0, 7, 12, 8 * 0x10000])
def test_what_is_no_program_is_refused_before_the_kernel_sees_it(size: int) -> None:
    with pytest.raises(ValueError, match=f"{size} bytes"):
        install(bytes(size))


def test_programs_add_up_and_the_strictest_answer_counts() -> None:
    code = """
prctl.set_no_new_privs(1)
allow = Policy((), default="allow").allow("seccomp")
def tried():
    try: os.mkdir("/nosuch/folder")
    except OSError as error: return error.errno
print(tried())
install(allow.deny("mkdir", "mkdirat", action="EXDEV").compile()); print(tried())
install(allow.compile()); print(tried())
install(allow.deny("mkdir", "mkdirat", action="EMLINK").compile(), all_threads=False); print(tried())
"""
    assert child(code).split() == ["2", "18", "18", "31"]


def test_a_program_that_the_kernel_does_not_take() -> None:
    code = """
prctl.set_no_new_privs(1)
try: install(struct.pack("<HBBI", 0x20, 0, 0, 4))
except OSError as error: print(errno.errorcode[error.errno])
"""
    assert child(code).split() == ["EINVAL"]


def test_without_privileges_no_new_privs_comes_first() -> None:
    code = """
prctl.set_caps((list(prctl.ALL_CAPS), [prctl.CAP_EFFECTIVE, prctl.CAP_PERMITTED], False))
try: install(Policy((), default="allow").compile())
except OSError as error: print(errno.errorcode[error.errno])
"""
    assert child(code).split() == ["EACCES"]


def test_a_program_object_is_taken_too() -> None:
    code = """
from seccomp import Program
prctl.set_no_new_privs(1)
install(Program("mine", Policy((), default="allow").compile()))
print(prctl.get_seccomp())
"""
    assert child(code).split() == ["True"]
