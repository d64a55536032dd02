"""The two users that every real jail is tested as: root, and an ordinary one with no rights of its own."""

from __future__ import annotations

import os
import pwd
import random
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_SAFE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class User:
    """Somebody who starts jails: ids on the host, and a home of the tests' own making."""

    kind: str  # "root" or "ordinary"
    name: str
    uid: int
    gid: int
    home: Path

    @property
    def is_root(self) -> bool:
        return self.uid == 0

    def environment(self) -> dict[str, str]:
        """What this user's shell would have, and nothing that the test runner's had."""
        return {
            "PATH": _SAFE_PATH,
            "HOME": str(self.home),
            "USER": self.name,
            "LOGNAME": self.name,
            "LANG": "C.UTF-8",
            "TERM": "dumb",
        }

    def identity(self) -> dict[str, object]:
        """The arguments with which `subprocess` starts a process as this user."""
        if os.geteuid() == self.uid:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def owns(self, path: Path) -> Path:
        """Hand `path` over to this user."""
        os.chown(path, self.uid, self.gid, follow_symlinks=False)
        return path


@contextmanager
def _home(uid: int, gid: int) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="pyjail-home-"))
    try:
        folder.chmod(0o700)
        os.chown(folder, uid, gid)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def root() -> Iterator[User]:
    with _home(0, 0) as home:
        yield User("root", "root", 0, 0, home)


@contextmanager
def ordinary() -> Iterator[User]:
    """Who runs the suite, if not root; else a user made for this session and removed after it."""
    if os.geteuid() != 0:
        name = os.environ.get("USER", str(os.geteuid()))
        with _home(os.geteuid(), os.getegid()) as home:
            yield User("ordinary", name, os.geteuid(), os.getegid(), home)
        return
    name = f"pjtest{os.getpid()}"
    words = ("useradd", "--no-create-home", "--user-group", "--shell", "/bin/sh")
    subprocess.run([*words, "--uid", str(_unused_uid()), name], check=True)
    try:
        entry = pwd.getpwnam(name)
        with _home(entry.pw_uid, entry.pw_gid) as home:
            yield User("ordinary", name, entry.pw_uid, entry.pw_gid, home)
    finally:
        _end_processes_of(pwd.getpwnam(name).pw_uid)
        subprocess.run(["userdel", name], check=True)


def _unused_uid() -> int:
    """An id of nobody's, also not of a process in a container, which has users of its own."""
    used = {entry.pw_uid for entry in pwd.getpwall()}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            used.add(os.stat(f"/proc/{entry}").st_uid)
    return random.choice([uid for uid in range(20_000, 60_000) if uid not in used])


def _end_processes_of(uid: int) -> None:
    """KILL what still runs as `uid`, an id that only this session's tests have used."""
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            pidfd = os.pidfd_open(int(entry))
        except OSError:
            continue
        try:
            if os.stat(f"/proc/{entry}").st_uid == uid:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        except OSError:
            pass
        finally:
            os.close(pidfd)
