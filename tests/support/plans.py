"""Runs of plans that no option makes: another program for the filter, every call heard."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from seccomp import Policy
from seccomp.program import Program
from support.launcher import Completed, Launcher


def run_plan(
    pyjail: Launcher,
    place: Path,
    command: Sequence[str],
    *,
    audit: str = "",
    policy: Policy | bytes | None = None,
    options: Sequence[str] = (),
) -> Completed:
    """Run the command by the plan of the options, with `audit` (refused, all or none) and the policy, or its
    program, in place of the options' own."""
    words = pyjail.run("plan", "--outcome", str(place / "outcome"), *options, "--", *command)
    assert words.returncode == 0, words.stderr
    lines = words.stdout.splitlines()
    if policy is not None:
        bpf = policy if isinstance(policy, bytes) else policy.compile()
        lines = [line for line in lines if not line.startswith(b"seccomp ")]
        lines.insert(-1, b"seccomp test " + Program("test", bpf).to_hex().encode())
    if audit:
        lines.insert(-1, b"audit " + audit.encode())
    file = pyjail.user.owns(_written(place / "plan", b"\n".join((*lines, b""))))
    (place / "outcome").unlink(missing_ok=True)
    r = pyjail.run("run", str(file), program=pyjail.installation.jailer)
    return replace(r, outcome=json.loads((place / "outcome").read_bytes()))


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
