"""`pyjail check`: what facts are taken for a host that works, and the remedy where it does not."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from jail.check import MISSING, NOTE, OK, Facts, Finding, container, judge, read, run_probe, shown
from jail.cli import main

GOOD = Facts(
    probe={
        "kernel": "6.1.0", "userns": "ok", "userns-mount": "ok", "mount-api": "yes", "idmap": "yes",
        "landlock-abi": "2", "seccomp": "yes", "seccomp-notify": "yes", "time-namespace": "yes",
        "clone3": "yes",
        "close-range": "yes", "openat2": "yes",
    },
    jailer="/opt/jailer", uid=1000, cgroups={"v1 memory": "ours", "v1 pids": "ours"},
    newuidmap="/usr/bin/newuidmap",
    libseccomp="2.5.4", cache_folder="/home/me/.cache/pyjail",
)  # fmt: skip


def finding(subject: str, **changes: object) -> Finding:
    facts = dataclasses.replace(GOOD, **changes)  # type: ignore[arg-type]
    return next(found for found in judge(facts) if found.subject == subject)


def refused(**changes: str) -> dict[str, str]:
    return GOOD.probe | {name.replace("_", "-"): value for name, value in changes.items()}


def test_a_host_with_everything_is_fine() -> None:
    assert {found.state for found in judge(GOOD)} == {OK}
    assert [found.subject for found in judge(GOOD) if found.remedy] == []


@pytest.mark.parametrize(("sysctls", "more", "remedy"), [
    ({"kernel/unprivileged_userns_clone": "0"}, {}, "as root: sysctl -w kernel.unprivileged_userns_clone=1"),
    ({"user/max_user_namespaces": "0"}, {}, "as root: sysctl -w user.max_user_namespaces=15000"),
    ({"kernel/apparmor_restrict_unprivileged_userns": "1"}, {},
     "AppArmor restricts them: give /opt/jailer a profile with the rule `userns,`, or as root: "
     "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"),
    ({"kernel/apparmor_restrict_unprivileged_userns": "1"}, {"container": "docker"},
     "this is a docker container: start it with --security-opt seccomp=unconfined "
     "--security-opt apparmor=unconfined --security-opt systempaths=unconfined"),
    ({"kernel/unprivileged_userns_clone": "0"}, {"uid": 0},
     "the kernel needs CONFIG_USER_NS, and no seccomp filter or security module may forbid them"),
])  # fmt: skip
@pytest.mark.parametrize("name", ["userns", "userns_mount"])
def test_refused_user_namespaces_have_a_remedy(
    name: str, sysctls: dict[str, str], more: dict[str, object], remedy: str
) -> None:
    subject = "user namespaces" if name == "userns" else "mounts in them"
    found = finding(subject, probe=refused(**{name: "EPERM"}), sysctls=sysctls, **more)
    assert found == Finding(subject, MISSING, "refused (EPERM)", remedy)


def test_without_seccomp_it_does_not_work() -> None:
    assert finding("seccomp", probe=refused(seccomp="no")).state == MISSING


def test_what_has_a_substitute_is_a_note() -> None:
    probe = refused(mount_api="no", clone3="no", close_range="no", openat2="no", idmap="no", landlock_abi="0")
    states = {found.state for found in judge(dataclasses.replace(GOOD, probe=probe))}
    assert states == {OK, NOTE}


def test_a_jailer_that_does_not_start_says_why() -> None:
    found = finding("jailer", probe={}, probe_error="No such file or directory")
    assert (found.state, found.found) == (MISSING, "/opt/jailer: No such file or directory")
    assert "noexec" in finding("jailer", probe={}, noexec=True).remedy


def test_without_a_cgroup_the_memory_limit_is_said_to_be_weaker() -> None:
    for groups in ({}, {"v1 memory": "no"}, {"v2 cpu": "ours"}):
        found = finding("cgroups", cgroups=groups)
        assert found.state == NOTE
        assert "--allow-weaker memory" in found.remedy


def test_a_cgroup_that_takes_an_effort_is_made_for_limits_that_are_asked_for() -> None:
    found = finding("cgroups", cgroups={"v2 memory": "asked", "v2 cpuset": "no"})
    assert (found.state, found.found) == (NOTE, "for limits that are asked for: v2 memory")
    assert "--memory" in found.remedy


def test_a_cache_that_is_not_used_says_why() -> None:
    assert finding("plan cache", cache_problem="open to others") == Finding(
        "plan cache", NOTE, "not used", "open to others")  # fmt: skip


def test_text_has_a_line_for_each_finding_and_the_verdict() -> None:
    text = shown([Finding("a", OK, "yes"), Finding("longer", MISSING, "no", "do this")], works=False)
    assert text == (
        "ok      a       yes\n"
        "missing longer  no\n"
        "                -> do this\n"
        "pyjail run does not work here with the whole default policy; see what is missing above.\n"
    )


@pytest.mark.parametrize(("path", "content", "kind"), [
    (".dockerenv", "", "docker"),
    ("run/.containerenv", "", "podman"),
    ("run/systemd/container", "systemd-nspawn\n", "systemd-nspawn"),
    ("proc/1/environ", "A=1\0container=lxc\0", "lxc"),
    ("proc/1/cgroup", "0::/kubepods/pod1\n", "kubepods"),
    ("proc/1/cgroup", "0::/init.scope\n", ""),
])  # fmt: skip
def test_containers_are_told_by_what_they_leave(tmp_path: Path, path: str, content: str, kind: str) -> None:
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text(content)
    assert container(str(tmp_path)) == kind


def test_files_that_are_not_there_are_empty(tmp_path: Path) -> None:
    assert read(str(tmp_path / "none")) == ""


def test_the_probe_is_read_line_by_line(tmp_path: Path) -> None:
    jailer = tmp_path / "jailer"
    jailer.write_text("#!/bin/sh\necho kernel 6.1\necho userns EPERM\necho nonsense\n")
    jailer.chmod(0o755)
    assert run_probe(str(jailer)) == ({"kernel": "6.1", "userns": "EPERM"}, "")
    jailer.write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    assert run_probe(str(jailer)) == ({}, "broken")
    assert run_probe(str(tmp_path / "none"))[0] == {}


def test_the_command_agrees_with_itself(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["check", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["works"] == (status == 0)
    assert status == (1 if any(found["state"] == MISSING for found in report["findings"]) else 0)
    assert main(["check"]) == status
    assert capsys.readouterr().out.count("\n") > len(report["findings"])
