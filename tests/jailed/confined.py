"""Runs code in a process of its own that confines itself, as either user."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.features import PROJECT
from support.users import User

_INSIDE = (Path(__file__).parents[1] / "support" / "inside.py").read_text()

# The checkout may lie where only root can read, so all is imported before the ids change.
_PRELUDE = """
import sys, threading
import jail, jail.confinement, seccomp, seccomp.policyfile, seccomp._compile, seccomp.combine
from jail import ConfineError, Limits, SpecError, UnsupportedError, confine
from seccomp import Policy, Program, ThreadError, install
DEFAULT = seccomp.load("default")
BASE = Policy.named("default")
NO_MKDIR = BASE.deny("mkdir", "mkdirat", action="EXDEV")
NO_MKDIR.compile()
uid, gid = int(sys.argv[1]), int(sys.argv[2])
del sys.argv[1:3]
if os.geteuid() != uid:
    os.setgroups([]); os.setresgid(gid, gid, gid); os.setresuid(uid, uid, uid)

FIELDS = "NoNewPrivs", "Seccomp", "Seccomp_filters", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"

def status(thread="thread-self"):
    lines = (line.split() for line in read(f"/proc/{thread}/status").splitlines())
    return {line[0][:-1]: int(line[1], 16) for line in lines if line and line[0][:-1] in FIELDS}

def beside(function):
    '''A thread beside this one, in its own words: `ask()` lets it call the function, and gives the result.'''
    asked, answered, found = threading.Event(), threading.Event(), []
    def wait():
        asked.wait(); found.append(function()); answered.set()
    threading.Thread(target=wait, daemon=True).start()
    def ask():
        asked.set(); answered.wait(); return found[0]
    return ask
"""


def run_confined(user: User, code: str, *arguments: str, status: int = 0) -> dict[str, Any]:
    """What the code gave to `answer(...)`; the process ended with that status (negative: a signal)."""
    words = [sys.executable, "-c", _INSIDE + _PRELUDE + code, str(user.uid), str(user.gid), *arguments]
    env = {**os.environ, "PYTHONPATH": str(PROJECT)}
    ended = subprocess.run(words, capture_output=True, timeout=120, check=False, cwd="/", env=env)
    assert ended.returncode == status, (ended.returncode, ended.stdout, ended.stderr.decode())
    found: dict[str, Any] = json.loads(ended.stdout) if ended.stdout else {}
    return found
