"""CVE-2022-0492 and the like: the jail's cgroup is not seen, not written, and not left."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.launcher import Completed, Launcher
from support.processes import cgroup_folders, descendants


def test_no_cgroup_file_system_is_there(jailed: Callable[..., Completed]) -> None:
    found = jailed(LOOK).answer
    check_view(found)


def test_a_cgroup_that_was_asked_for_is_not_seen_either(cgroup_pyjail: Launcher) -> None:
    found = cgroup_pyjail.python(LOOK, options=["--memory", "64M", "--cpus", "1"]).answer
    check_view(found)


def test_nor_is_one_that_pauses_it(cgroup_pyjail: Launcher) -> None:
    """So what is in it can neither thaw itself nor leave. In version 1 it sees what the cgroup is called."""
    name = f"paused-{os.getpid()}"
    words = cgroup_pyjail.words("print('up', flush=True)\nsys.stdin.readline()" + LOOK,
                                options=["--memory", "64M", "--name", name])
    with cgroup_pyjail.popen(*words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as jail:
        assert jail.stdout is not None
        assert jail.stdout.readline() == b"up\n"
        for command in ("pause", "resume"):
            assert cgroup_pyjail.run(command, name).returncode == 0
        found = json.loads(jail.communicate(b"\n", 60)[0])
    lines = found["own"].splitlines()
    found["own"] = "\n".join(line for line in lines if ":freezer:/pyjail-" not in line)
    check_view(found)


LOOK = """
answer(sys=attempt(os.listdir, "/sys/fs/cgroup"), mount=call(165, b"none", b"/tmp", b"cgroup", 0, b"memory"),
       fsopen=call(430, b"cgroup2", 0), own=read("/proc/self/cgroup"), mounts=read("/proc/self/mounts"))
"""


def check_view(found: dict[str, Any]) -> None:
    assert found["sys"] in ("ENOENT", "EACCES")
    assert found["mount"] in ("EPERM", "ENOSYS")
    assert found["fsopen"] in ("EPERM", "ENOSYS")
    assert "cgroup" not in found["mounts"]
    paths = {line.split(":", 2)[2] for line in found["own"].splitlines()}
    assert paths == {"/"}, "the jail sees where it is on the host"


def test_every_process_of_the_jail_is_in_its_cgroup(cgroup_pyjail: Launcher) -> None:
    """Those too that were forked and moved to a new session."""
    code = """
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        sys.stdin.buffer.read()
        os._exit(0)
answer(ready=1)
sys.stdin.buffer.read()
"""
    before = cgroup_folders()
    words = cgroup_pyjail.words(code, options=["--memory", "64M"])
    with cgroup_pyjail.popen(*words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as jail:
        assert jail.stdout is not None
        jail.stdout.readline()
        inside = descendants(jail.pid)
        assert len(inside) >= 5
        # Init, the first, is ours; in version 1 it stays outside, so that the cgroup can be removed before it
        # has ended.
        memberships = {Path(f"/proc/{pid}/cgroup").read_text() for pid in inside[1:]}
        outside = Path(f"/proc/{jail.pid}/cgroup").read_text()
        jail.communicate(timeout=60)
    assert len(memberships) == 1
    assert outside not in memberships
    made = {
        folder for folder in cgroup_folders() - before if not folder.endswith(".scope")
    }  # which systemd removes
    assert not [folder for folder in made if str(jail.pid) in folder], "the run's cgroup is still there"
