"""Runs of plans that no option makes: another program for the filter, every call heard."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from seccomp import Policy
from seccomp.program import Program
from support.launcher import Completed, Launcher


def make_plan(
    pyjail: Launcher,
    place: Path,
    command: Sequence[str],
    *,
    audit: str = "",
    policy: Policy | bytes | None = None,
    options: Sequence[str] = (),
) -> str:
    """The file of a plan as the options make it, with `audit` (refused, all or none) and the policy, or its
    program, in place of the options' own."""
    made = pyjail.run("plan", "--outcome", str(place / "outcome"), *options, "--", *command)
    assert made.returncode == 0, made.stderr
    lines = made.stdout.splitlines()
    if policy is not None:
        bpf = policy if isinstance(policy, bytes) else policy.compile()
        lines = [line for line in lines if not line.startswith(b"seccomp ")]
        lines.insert(-1, b"seccomp test " + Program("test", bpf).to_hex().encode())
    if audit:
        lines.insert(-1, b"audit " + audit.encode())
    file = place / "plan"
    file.write_bytes(b"\n".join((*lines, b"")))
    return str(pyjail.user.owns(file))


def command_of(words: list[str]) -> list[str]:
    """What `Launcher.words` has the jail execute."""
    return words[words.index("--") + 1 :]


def run_plan(
    pyjail: Launcher,
    place: Path,
    command: Sequence[str],
    *,
    program: Path | None = None,
    env: Mapping[str, str] | None = None,
    **changes: Any,
) -> Completed:
    """Run a command by a plan, which `make_plan` makes with the changes; `program` is another jailer."""
    plan = make_plan(pyjail, place, command, **changes)
    (place / "outcome").unlink(missing_ok=True)
    r = pyjail.run("run", plan, program=program or pyjail.installation.jailer, env=env)
    return replace(r, outcome=json.loads((place / "outcome").read_bytes()))
