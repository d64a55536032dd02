"""A stream given for reading is opened again for writing through /proc/self/fd, or an append-only log is cut.

The magic links of /proc/PID/fd lead to the file itself, past every mount of the jail; where the file belongs
to the user whom the jail's user is on the host, only the file's mount or Landlock can refuse. (As root each
run has a host id of its own, which owns nothing.)
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from support.launcher import Launcher

ATTACK = """
fd = int(sys.argv[1])
path = "/proc/self/fd/%d" % fd
found = {}
for name, flags in dict(rw=os.O_RDWR, wo=os.O_WRONLY, trunc=os.O_WRONLY | os.O_TRUNC,
       append=os.O_WRONLY | os.O_APPEND,
                        ro=os.O_RDONLY).items():
    found[name] = attempt(os.open, path, flags)
def clear(flag):
    import fcntl
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) & ~flag)
    os.pwrite(fd, b"OVERWRITTEN", 0)
found["truncate"] = attempt(os.truncate, path, 0)
found["ftruncate"] = attempt(os.ftruncate, fd, 0) if fd == 0 else None
found["setuid"] = [attempt(os.chmod, path, 0o4640), attempt(os.fchmod, fd, 0o2640)]
found["write"] = attempt(os.write, fd, b"x") if fd == 0 else None
for i in (0, 2):
    found["link%d" % i] = attempt(os.link, path, "/tmp/link%d" % i, follow_symlinks=True)
sys.stderr.write(json.dumps(found))
"""


@pytest.fixture
def precious(place: Path, pyjail: Launcher) -> Path:
    """A file of the user's own, as the input of every example in the README is."""
    file = place / "precious"
    file.write_bytes(b"precious content\n")
    file.chmod(0o640)
    return pyjail.user.owns(file)


def state(file: Path) -> tuple[bytes, int, list[str]]:
    return file.read_bytes(), stat.S_IMODE(file.stat().st_mode), os.listxattr(file)


def test_stdin_cannot_be_written(pyjail: Launcher, precious: Path) -> None:
    before = state(precious)
    with precious.open("rb") as file:
        result = pyjail.python(ATTACK, "0", stdin=file)
    assert result.returncode == 0, result.stderr
    assert state(precious) == before, result.stderr


def test_stdins_metadata(pyjail: Launcher, precious: Path) -> None:
    """Mode, times and extended attributes of an own file can be changed through any descriptor of it: neither
    the descriptor nor Landlock could refuse. As root no id inside owns the file; an ordinary user's jail has
    that user's id on the host, so there it is a known gap, and no set-user-id bit or content is among it."""
    before = state(precious)
    with precious.open("rb") as file:
        pyjail.python(
            """
attempt(os.fchmod, 0, 0o6777)
attempt(os.fchmod, 0, 0o777)
attempt(os.utime, 0, (0, 0))
attempt(os.setxattr, 0, "user.owned", b"yes")
""",
            stdin=file,
        )
    assert precious.read_bytes() == before[0]
    assert precious.stat().st_mode & 0o6000 == 0
    if pyjail.user.is_root:
        assert state(precious) == before


def test_an_older_landlock_does_not_let_it_be_cut(pyjail: Launcher, precious: Path, faulty: Path) -> None:
    """Before Linux 6.2 Landlock knew nothing of truncate(2)."""
    plan = pyjail.run("plan", "--", *pyjail.words(ATTACK, "0")[2:])
    precious.with_name("plan").write_bytes(plan.stdout)
    with precious.open("rb") as file:
        result = pyjail.run(
            *("run", str(precious.with_name("plan"))),
            program=faulty,
            env={"PYJAIL_FAULT_LACKS": "landlock_truncate"},
            stdin=file,
        )
    assert b'"truncate": "EACCES"' in result.stderr
    assert precious.read_bytes() == b"precious content\n"


def test_files_inside_can_be_cut(pyjail: Launcher, faulty: Path, place: Path) -> None:
    """The older kernel refuses truncate(2) only beside an inherited file that it could cut."""
    code = "open('a', 'w').write('abc'); os.truncate('a', 1); answer(size=os.path.getsize('a'))"
    plan = pyjail.run("plan", "--", *pyjail.words(code)[2:])
    (place / "plan").write_bytes(plan.stdout)
    lacks = {"PYJAIL_FAULT_LACKS": "landlock_truncate"}
    result = pyjail.run("run", str(place / "plan"), program=faulty, env=lacks)
    assert result.answer == {"size": 1}


def test_an_append_only_log_cannot_be_cut_or_read(pyjail: Launcher, precious: Path) -> None:
    with precious.open("ab") as file:
        result = pyjail.python(ATTACK + "\nfound['ro'] == 'ok' and os.write(1, b'READ IT')", "1", stdout=file)
    assert result.returncode == 0, result.stderr
    assert precious.read_bytes() == b"precious content\n"


def test_stdin_still_shares_its_offset_with_the_caller(pyjail: Launcher, precious: Path) -> None:
    """Whatever guards the file must not cost what a shell relies on: `(head -1; cat) <file`."""
    with precious.open("rb", buffering=0) as file:
        result = pyjail.run("run", "--", "/usr/bin/dd", "bs=1", "count=9", stdin=file)
        rest = file.read()
    assert result.stdout == b"precious "
    assert rest == b"content\n"
