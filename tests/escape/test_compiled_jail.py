"""A compiled jail: a file that the jailer interprets. Changing it needs the right to write it; running it
must not depend on where, by whom, or with what environment."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.launcher import Launcher


@pytest.fixture
def compiled(pyjail: Launcher, place: Path) -> Path:
    file = place / "name.jail"
    result = pyjail.run(
        "compile",
        "-o",
        str(file),
        "--hostname",
        "compiled",
        "--",
        "/bin/sh",
        "-c",
        'hostname; echo "$@"; cat',
        "sh",
    )
    assert result.returncode == 0, result.stderr
    return file


def test_it_runs_with_words_and_stdin(pyjail: Launcher, compiled: Path) -> None:
    result = pyjail.run("a", "--b", "", program=compiled, input=b"in")
    assert (result.returncode, result.stdout) == (0, b"compiled\na --b \nin")


def test_it_is_not_writable_by_others(compiled: Path) -> None:
    assert compiled.stat().st_mode & 0o022 == 0
    assert compiled.stat().st_mode & 0o111


def test_replaced_while_running_the_old_one_goes_on(pyjail: Launcher, compiled: Path) -> None:
    with pyjail.popen(program=compiled, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"compiled\n"
        text = compiled.read_bytes()
        compiled.write_bytes(text.replace(b"hostname compiled", b"hostname replaced"))
        out = process.communicate(b"rest", timeout=60)[0]
    assert out.endswith(b"rest")
    assert process.returncode == 0


def test_a_damaged_one_runs_nothing(pyjail: Launcher, compiled: Path, place: Path) -> None:
    lines = compiled.read_bytes().splitlines(keepends=True)
    for damaged in (
        [*lines[:-1], lines[-1].rstrip(b"\n")],
        [*lines[:2], b"unknown directive\n", *lines[2:]],
        lines[:1],
        [lines[0], *lines[2:]],
        [*lines, b"umask 999\n"],
        [*lines, b"hostname twice\n"],
    ):
        compiled.write_bytes(b"".join(damaged))
        result = pyjail.run(program=compiled)
        assert result.returncode == 125, damaged[-1]
        assert result.stdout == b""


def test_the_jailer_cannot_be_written_from_inside(pyjail: Launcher, compiled: Path) -> None:
    """CVE-2019-5736: the program that runs as init, reached through /proc and opened when it is no longer
    busy."""
    before = pyjail.installation.jailer.read_bytes()
    result = pyjail.python("""
found = []
for pid in [p for p in os.listdir("/proc") if p.isdigit()]:
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC):
        found.append(attempt(os.open, "/proc/%s/exe" % pid, flags))
    try:
        fd = os.open("/proc/%s/exe" % pid, os.O_PATH)
        found.append(attempt(os.open, "/proc/self/fd/%d" % fd, os.O_WRONLY))
        found.append(attempt(os.chmod, "/proc/self/fd/%d" % fd, 0o777))
    except OSError:
        pass
answer(found=found)
""")
    assert "ok" not in result.answer["found"]
    assert pyjail.installation.jailer.read_bytes() == before


def test_an_own_copy_of_the_jailer_cannot_be_written_from_inside(pyjail: Launcher, place: Path) -> None:
    """Where the ordinary user owns the installation (a venv), no owner's right must help the payload
    either."""
    own = place / "jailer"
    shutil.copy(pyjail.installation.jailer, own)
    pyjail.user.owns(own)
    plan = pyjail.run(
        "plan",
        "--",
        "/usr/bin/python3",
        "-I",
        "-c",
        """
import os
for flags in (os.O_WRONLY, os.O_RDWR):
    for pid in (p for p in os.listdir("/proc") if p.isdigit()):
        try:
            os.open("/proc/%s/exe" % pid, flags)
            print("OPEN", pid)
        except OSError as error:
            print(error.errno, pid)
for pid in (p for p in os.listdir("/proc") if p.isdigit()):
    try:
        os.chmod("/proc/%s/exe" % pid, 0o4755)
        print("CHMOD", pid)
    except OSError:
        pass
""",
    ).stdout
    (place / "plan").write_bytes(plan)
    before = own.read_bytes(), own.stat().st_mode
    result = pyjail.run("run", str(place / "plan"), program=own)
    assert result.returncode == 0, result.stderr
    assert b"OPEN" not in result.stdout
    assert b"CHMOD" not in result.stdout
    assert (own.read_bytes(), own.stat().st_mode) == before


def test_it_starts_from_a_folder_that_is_gone(pyjail: Launcher, compiled: Path, place: Path) -> None:
    (place / "gone").mkdir()
    pyjail.user.owns(place / "gone")
    script = 'rmdir "$PWD"; exec "$1"'
    result = pyjail.run("-c", script, "sh", str(compiled), program="/bin/sh", cwd=place / "gone")
    assert result.stdout.startswith(b"compiled\n"), result.stderr
    assert not os.path.exists(place / "gone")
