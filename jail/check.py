"""`pyjail check`: what this host offers, what it lacks, and what to do about it.

`Facts` are gathered (the jailer's own probe, which tries things out, and files under /proc and /sys), then
judged by a function without side effects, then shown as text or JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

from jail.cli import cache
from jail.resources import CONTROLLERS
from rlimits.cgroup import discover

OK, NOTE, MISSING = "ok", "note", "missing"

SYSCTLS = (
    "kernel/unprivileged_userns_clone",
    "user/max_user_namespaces",
    "kernel/apparmor_restrict_unprivileged_userns",
)


@dataclass(frozen=True)
class Finding:
    """One subject: `state` is ok, note (works, but less than it could) or missing (`pyjail run` does not
    work)."""

    subject: str
    state: str
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Facts:
    """What was found out. `probe` is empty if the jailer could not be run; `probe_error` says why."""

    probe: dict[str, str]
    probe_error: str = ""
    jailer: str = ""
    noexec: bool = False
    uid: int = 0
    sysctls: dict[str, str] = field(default_factory=dict)
    container: str = ""
    cgroups: dict[str, str] = field(default_factory=dict)  # "v1 memory": ours, asked (for only), no
    newuidmap: str = ""
    libseccomp: str = ""
    cache_folder: str = ""
    cache_problem: str = ""


def check(as_json: bool = False) -> int:
    """Print the findings; 0 if `pyjail run` works here with the whole default policy, else 1."""
    findings = list(judge(gather()))
    works = all(finding.state != MISSING for finding in findings)
    if as_json:
        print(json.dumps({"works": works, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        print(shown(findings, works), end="")
    return 0 if works else 1


def shown(findings: list[Finding], works: bool) -> str:
    """The findings as text for people."""
    width = max(len(finding.subject) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.state:8}{finding.subject:{width}}  {finding.found}".rstrip())
        if finding.remedy:
            lines.append(f"{'':8}{'':{width}}  -> {finding.remedy}")
    lines.append(
        "pyjail run works here with the whole default policy."
        if works
        else "pyjail run does not work here with the whole default policy; see what is missing above."
    )
    return "\n".join(lines) + "\n"


def gather() -> Facts:
    """Look at this host."""
    from jail.launch import jailer_path

    jailer = os.fspath(jailer_path())
    probe, error = run_probe(jailer)
    controllers = [each for each in discover() if each.name in CONTROLLERS]
    folder = cache.folder()
    return Facts(
        probe=probe,
        probe_error=error,
        jailer=jailer,
        noexec=is_noexec(jailer),
        uid=os.geteuid(),
        sysctls={name: text for name in SYSCTLS if (text := read(f"/proc/sys/{name}"))},
        container=container(),
        cgroups={
            f"v{each.version} {each.name}": "ours"
            if each.writable
            else "asked"
            if each.delegated or each.scope
            else "no"
            for each in controllers
        },
        newuidmap=shutil.which("newuidmap") or "",
        libseccomp=libseccomp_version(),
        cache_folder=folder,
        cache_problem=cache.state(folder),
    )


def run_probe(jailer: str) -> tuple[dict[str, str], str]:
    """The jailer's own probe, and what went wrong if it gave none."""
    try:
        done = subprocess.run([jailer, "probe"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return {}, str(error)
    if done.returncode:
        return {}, done.stderr.strip() or f"exit status {done.returncode}"
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line), ""


def read(path: str) -> str:
    """A small file's text without the newline, or "" if it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 20).strip()
    except OSError:
        return ""


def is_noexec(path: str) -> bool:
    """Whether the file lies on a mount that nothing can be executed from."""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_NOEXEC)
    except OSError:
        return False


def container(root: str = "") -> str:
    """The kind of container that we are in, or ""."""
    if os.path.exists(f"{root}/.dockerenv"):
        return "docker"
    if os.path.exists(f"{root}/run/.containerenv"):
        return "podman"
    named = read(f"{root}/run/systemd/container")
    if named:
        return named
    for part in read(f"{root}/proc/1/environ").split("\0"):
        if part.startswith("container="):
            return part.partition("=")[2]
    groups = read(f"{root}/proc/1/cgroup")
    return next((kind for kind in ("kubepods", "docker", "lxc") if kind in groups), "")


def libseccomp_version() -> str:
    """The version of the installed libseccomp, or "" if it cannot be loaded. The shipped profiles need
    none."""
    try:
        from seccomp.libseccomp import library_version

        return ".".join(map(str, library_version()))
    except ImportError:
        return ""


def judge(facts: Facts) -> Iterator[Finding]:
    """What the facts mean, most important first."""
    yield jailer_finding(facts)
    if facts.probe:
        yield Finding("kernel", OK, facts.probe.get("kernel", "unknown"))
        yield userns_finding(facts)
        yield mount_finding(facts)
        yield from kernel_findings(facts)
    yield memory_finding(facts)
    yield newuidmap_finding(facts)
    yield Finding("container", NOTE if facts.container else OK, facts.container or "none")
    yield (
        Finding("libseccomp", OK, facts.libseccomp)
        if facts.libseccomp
        else Finding("libseccomp", NOTE, "not loaded", "policy files need it: apt install libseccomp2")
    )
    yield (
        Finding("plan cache", NOTE, "not used", facts.cache_problem)
        if facts.cache_problem
        else Finding("plan cache", OK, facts.cache_folder)
    )


def jailer_finding(facts: Facts) -> Finding:
    """The executable that does the work."""
    if facts.probe:
        return Finding("jailer", OK, facts.jailer)
    if facts.noexec:
        return Finding(
            "jailer",
            MISSING,
            f"{facts.jailer} lies on a noexec mount",
            "install pyjail on a file system that is mounted without noexec",
        )
    return Finding(
        "jailer",
        MISSING,
        f"{facts.jailer}: {facts.probe_error}",
        "install pyjail-linux again; from a checkout: scripts/setup",
    )


def userns_finding(facts: Facts) -> Finding:
    """User namespaces, without which nothing works."""
    said = facts.probe.get("userns", "unknown")
    return (
        Finding("user namespaces", OK, "ok")
        if said == "ok"
        else Finding("user namespaces", MISSING, f"refused ({said})", userns_remedy(facts, said))
    )


def mount_finding(facts: Facts) -> Finding:
    """Mounting inside a user namespace, which some hosts forbid though they allow the namespace."""
    said = facts.probe.get("userns-mount", "unknown")
    return (
        Finding("mounts in them", OK, "ok")
        if said == "ok"
        else Finding("mounts in them", MISSING, f"refused ({said})", userns_remedy(facts, said))
    )


def userns_remedy(facts: Facts, said: str) -> str:
    """What to change so that user namespaces work."""
    if facts.sysctls.get("user/max_user_namespaces") == "0" or said == "ENOSPC":
        return "as root: sysctl -w user.max_user_namespaces=15000"
    if facts.sysctls.get("kernel/unprivileged_userns_clone") == "0" and facts.uid:
        return "as root: sysctl -w kernel.unprivileged_userns_clone=1"
    if facts.container:
        return (
            f"this is a {facts.container} container: start it with --security-opt seccomp=unconfined "
            "--security-opt apparmor=unconfined --security-opt systempaths=unconfined"
        )
    if facts.sysctls.get("kernel/apparmor_restrict_unprivileged_userns") == "1" and facts.uid:
        return (
            f"AppArmor restricts them: give {facts.jailer} a profile with the rule `userns,`, "
            "or as root: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
        )
    return "the kernel needs CONFIG_USER_NS, and no seccomp filter or security module may forbid them"


def kernel_findings(facts: Facts) -> Iterator[Finding]:
    """What the kernel can or cannot do."""
    probe = facts.probe
    yield (
        Finding("seccomp", OK, "yes")
        if probe.get("seccomp") == "yes"
        else Finding("seccomp", MISSING, "no", "the kernel needs CONFIG_SECCOMP_FILTER")
    )
    abi = probe.get("landlock-abi", "0")
    yield (
        Finding("Landlock", OK, f"ABI {abi}")
        if abi.isdigit() and int(abi) > 0
        else Finding(
            "Landlock",
            NOTE,
            "none: files are walled off by mounts alone",
            "Linux 5.13 or later, started with landlock in its lsm= list",
        )
    )
    for name, subject, without in (
        ("mount-api", "mount API", "the classic mount calls serve instead"),
        ("clone3", "clone3", "clone serves instead"),
        ("close-range", "close_range", "descriptors are closed one by one"),
        ("openat2", "openat2", "paths are walked step by step"),
        ("idmap", "idmapped mounts", "as root, files written in a bind belong to the jail's own id"),
        ("time-namespace", "time namespace", "the jail sees the host's uptime"),
        ("seccomp-notify", "seccomp notify", "refused calls cannot be named"),
    ):
        yield (
            Finding(subject, OK, "yes")
            if probe.get(name) == "yes"
            else Finding(subject, NOTE, f"no: {without}", "a newer kernel")
        )


def memory_finding(facts: Facts) -> Finding:
    """Whether a memory limit can hold over all processes together."""
    memory = [kind for name, kind in facts.cgroups.items() if name.endswith(" memory")]
    if "ours" in memory:
        ours = ", ".join(name for name, kind in facts.cgroups.items() if kind == "ours")
        return Finding("cgroups", OK, f"writable: {ours}")
    if "asked" in memory:
        asked = ", ".join(name for name, kind in facts.cgroups.items() if kind == "asked")
        remedy = "ask for a limit (--memory 512M) to have all of them held over the whole jail"
        return Finding("cgroups", NOTE, f"for limits that are asked for: {asked}", remedy)
    there = ", ".join(sorted(facts.cgroups)) or "none mounted"
    remedy = (
        "run as root, in a systemd user session, or in a cgroup that is delegated to you; without, the "
        "default memory limit is held for each process (RLIMIT_DATA), and --memory needs --allow-weaker "
        "memory"
    )
    return Finding("cgroups", NOTE, f"no writable cgroup with memory ({there})", remedy)


def newuidmap_finding(facts: Facts) -> Finding:
    """The helper that gives an ordinary user more ids than one."""
    if facts.newuidmap or not facts.uid:
        return Finding("newuidmap", OK, facts.newuidmap or "not needed by root")
    return Finding(
        "newuidmap", NOTE, "absent: one id inside, which is enough for the default jail", "apt install uidmap"
    )
