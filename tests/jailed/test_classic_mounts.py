"""Kernels before 5.12 have no mount_setattr(2): the same flags by mount(2), on every mount of the jail."""

from __future__ import annotations

from pathlib import Path

from support.installation import Installation
from support.launcher import Launcher
from support.users import User

# /dev has mounts of its own below it on every host: /dev/pts at least.
OPTIONS = ("--ro-bind", "/dev:/mnt/host-dev")


def mounts(pyjail: Launcher, program: Path, place: Path, lacking: str) -> list[tuple[str, str, str]]:
    """Point, flags and propagation of the mounts that a path leads to: of stacked ones the last."""
    plan = pyjail.run("plan", *OPTIONS, "--", "/bin/cat", "/proc/self/mountinfo")
    assert plan.returncode == 0, plan.stderr
    (place / "plan").write_bytes(plan.stdout)
    result = pyjail.run("run", str(place / "plan"), program=program, env={"PYJAIL_FAULT_LACKS": lacking})
    assert result.returncode == 0, result.stderr
    lines = [line.split() for line in result.stdout.decode().splitlines()]
    return sorted({words[4]: (words[4], words[5], words[6]) for words in lines}.values())


def test_same_flags_without_mount_setattr(pyjail: Launcher, faulty: Path, place: Path) -> None:
    new = mounts(pyjail, faulty, place, "")
    assert mounts(pyjail, faulty, place, "mount_setattr") == new
    below = [(point, flags) for point, flags, _ in new if point.startswith("/mnt/host-dev/")]
    assert below, "no mount below the bound folder: this test shows nothing"
    assert all({"ro", "nosuid", "nodev"} <= set(flags.split(",")) for _, flags in below)


def test_owner_mapping_has_no_classic_form(
    installation: Installation, root_user: User, faulty: Path, tmp_path: Path
) -> None:
    """A writable bind of root needs an idmapped mount; without it the run is refused, not weakened."""
    pyjail = Launcher(installation, root_user)
    plan = pyjail.run("plan", "--bind", f"{tmp_path}:/data", "--", "/bin/true")
    (tmp_path / "plan").write_bytes(plan.stdout)
    lacks = {"PYJAIL_FAULT_LACKS": "mount_setattr"}
    result = pyjail.run("run", str(tmp_path / "plan"), program=faulty, env=lacks)
    assert result.returncode == 125
    assert b"cannot map the owner of" in result.stderr
