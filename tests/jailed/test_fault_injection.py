"""Fail closed: whichever step of a launch fails, the payload never runs and the failure is told."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest
from support.features import missing
from support.launcher import Launcher
from support.processes import abandoned, cgroup_folders

# Steps that a run of this host and user never comes to; each with its reason.
ROOT_ONLY = {"uid-pool", "owner", "cgroup", "cgroup-set", "cgroup-join", "cgroup-namespace", "cpu-time"}
NOT_REACHED = {
    **({} if missing("cgroup2") else {"cgroup-join": "in version 2 the jail is born in its cgroup"}),
    "none": "stands for no failure",
    "plan": "fails before the outcome's place is known; tested below with a damaged plan",
    "raise": "only where the caller's hard limit is below what is asked",
    "scope": "only where systemd is asked for a cgroup; see test_cgroup_places.py",
    "landlock": "only where the kernel has Landlock, or the plan requires it",
    "handover": "only where a jail is made ahead; see test_standby.py",
    "seal": "only with a read-only root of tmpfs",
}
MORE_ONLY = {"audit", "listener", "pty"}
MORE = [pytest.param((), id="plain"), pytest.param(("--audit", "--pty"), id="audited-at-a-terminal")]


def steps(program: Path) -> list[str]:
    return subprocess.run([program, "steps"], capture_output=True, text=True, check=True).stdout.split()


def attempt(
    pyjail: Launcher, faulty: Path, place: Path, step: str, *more: str
) -> tuple[int, dict[str, object], bool]:
    """Run a payload that writes a marker, with `step` failing: exit status, outcome, whether the payload
    ran."""
    marker, outcome = place / "marker", place / "outcome"
    with open(os.devnull, "rb") as passed:
        number = passed.fileno()
        options = ["--bind", f"{place}:/data", "--outcome", str(outcome), "--pass-fd", str(number), *more]
        options += ["--max-output", "1M", "--cpu-time", "60", "--allow-weaker", "cpu-time"]
        plan = pyjail.run("plan", *options, "--", "/usr/bin/touch", "/data/marker")
        assert plan.returncode == 0, plan.stderr
        life, end = os.pipe()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ends = b"\nlife-fd %d\ncontrol-fd %d\nname attempt" % (life, theirs.fileno())
        ends += b"\nnotify\nlisten-fds\nend\n"
        (place / "plan").write_bytes(plan.stdout.replace(b"\nend\n", ends))
        fault = {"PYJAIL_FAULT_STEP": step}
        given = [number, life, theirs.fileno()]
        result = pyjail.run("run", str(place / "plan"), program=faulty, env=fault, pass_fds=given)
        ours.close(), theirs.close()
        os.close(life)
        os.close(end)
    text = outcome.read_text() if outcome.exists() else ""
    return result.returncode, json.loads(text) if text else {}, marker.exists()


@pytest.mark.parametrize("more", MORE)
def test_without_a_fault_it_runs(
    pyjail: Launcher, faulty: Path, place: Path, more: tuple[str, ...]
) -> None:
    """The check of all others: the marker does appear."""
    status, outcome, ran = attempt(pyjail, faulty, place, "", *more)
    assert (status, ran, outcome["status"]) == (0, True, "exited")


@pytest.mark.alone
@pytest.mark.parametrize("more", MORE)
def test_every_step_that_fails_keeps_the_payload_from_running(
    pyjail: Launcher, faulty: Path, place: Path, more: tuple[str, ...]
) -> None:
    names = steps(faulty)
    assert len(names) > 20
    before = cgroup_folders()
    wrong = {}
    for step in names:
        if step in NOT_REACHED or (step in ROOT_ONLY and not pyjail.user.is_root):
            continue
        if step in MORE_ONLY and not more:
            continue
        (place / "outcome").unlink(missing_ok=True)
        status, outcome, ran = attempt(pyjail, faulty, place, step, *more)
        error = outcome.get("error")
        told = error.get("step") if isinstance(error, dict) else None
        # The command itself failing is 126, and where the outcome cannot be written there is none to read.
        expected = {"exec": (126, "exited", "exec"), "outcome": (125, None, None)}.get(
            step, (125, "setup-failed", step)
        )
        if ran or (status, outcome.get("status"), told) != expected:
            wrong[step] = (status, outcome.get("status"), told, "RAN" if ran else "did not run")
        (place / "marker").unlink(missing_ok=True)
    assert wrong == {}
    assert not {folder for folder in cgroup_folders() - before if abandoned(folder)}


def test_a_plan_that_cannot_be_read_runs_nothing(pyjail: Launcher, place: Path) -> None:
    plan = pyjail.run("plan", "--bind", f"{place}:/data", "--", "/usr/bin/touch", "/data/marker").stdout
    for damaged in (plan[:-1], plan + b"argv\n", plan.replace(b"umask ", b"umask 9"), b"\0" + plan, b""):
        (place / "plan").write_bytes(damaged)
        result = pyjail.run("run", str(place / "plan"), program=pyjail.installation.jailer)
        assert result.returncode == 125
        assert result.stderr.startswith(b"pyjail: ")
    assert not (place / "marker").exists()


def test_every_failure_is_a_sentence(pyjail: Launcher, faulty: Path, place: Path) -> None:
    for step in ("clone", "id-map", "mount", "pivot", "seccomp", "session"):
        (place / "outcome").unlink(missing_ok=True)
        _, outcome, _ = attempt(pyjail, faulty, place, step)
        error = outcome["error"]
        assert isinstance(error, dict)
        assert error["errno_name"] == "EIO"
        assert str(error["message"]).startswith("cannot ")


def test_the_released_jailer_has_no_fault_to_select(pyjail: Launcher) -> None:
    """The variable is the tests' own: in the program that is installed it is not even mentioned."""
    assert b"PYJAIL_FAULT" not in pyjail.installation.jailer.read_bytes()
    assert b"PYJAIL_FAULT" not in pyjail.installation.pyjail.read_bytes()
    result = pyjail.run("run", "--", "/bin/true", env={"PYJAIL_FAULT_STEP": "seccomp"})
    assert result.returncode == 0
