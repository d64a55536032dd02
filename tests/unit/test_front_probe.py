"""`jailer probe`: what the kernel offers, said in words that `pyjail check` understands."""

from __future__ import annotations

import ctypes
import os
import subprocess

import pytest

from jail import UnsupportedError
from jail.launch import jailer_path

YES_OR_NO = (
    "mount-api",
    "mount-setattr",
    "idmap",
    "openat2",
    "clone3",
    "close-range",
    "pidfd",
    "seccomp",
    "seccomp-notify",
    "time-namespace",
)
LANDLOCK_CREATE_RULESET = 444


@pytest.fixture(scope="module")
def found() -> dict[str, str]:
    try:
        jailer = jailer_path()
    except UnsupportedError as error:
        pytest.skip(str(error))
    ended = subprocess.run([jailer, "probe"], capture_output=True, text=True, check=True)
    assert ended.stderr == ""
    return dict(line.split(" ") for line in ended.stdout.splitlines())


def test_every_line_is_there_once(found: dict[str, str]) -> None:
    assert set(found) == {"kernel", "userns", "userns-mount", "landlock-abi", *YES_OR_NO}
    assert all(found[name] in ("yes", "no") for name in YES_OR_NO)


def test_it_names_this_kernel(found: dict[str, str]) -> None:
    assert found["kernel"] == os.uname().release


def test_landlock_as_the_kernel_says(found: dict[str, str]) -> None:
    libc = ctypes.CDLL(None)
    libc.syscall.restype = ctypes.c_long
    abi = libc.syscall(ctypes.c_long(LANDLOCK_CREATE_RULESET), None, ctypes.c_size_t(0), ctypes.c_uint(1))
    assert int(found["landlock-abi"]) == max(abi, 0)


def test_the_python_interpreter_can_confirm_some(found: dict[str, str]) -> None:
    assert found["time-namespace"] == ("yes" if os.path.exists("/proc/self/ns/time") else "no")
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        assert found["pidfd"] == "no"
    else:
        assert found["pidfd"] == "yes"


def test_a_namespace_that_is_forbidden_is_named_as_such() -> None:
    """In a user namespace that may have no further ones: the probe says so and does not fail."""
    script = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$0" probe'
    ended = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", script, jailer_path()],
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        pytest.skip(f"no user namespace to try it in: {ended.stderr.strip()}")
    assert "userns ENOSPC\nuserns-mount ENOSPC\n" in ended.stdout


def test_a_reader_that_has_gone_is_an_error() -> None:
    with open("/dev/full", "wb") as full:
        ended = subprocess.run([jailer_path(), "probe"], stdout=full, check=False)
    assert ended.returncode == 125
