"""Jails within containers: what works there, and what is said where it does not."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.features import PROJECT

EXAMPLE = PROJECT / "examples" / "container" / "config.json"
# As Docker and Podman cover them, unless told otherwise.
MASKED = ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list"]
READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
USER = [{"containerID": 0, "hostID": 200_000, "size": 65_536}]
CLONE_NEWNS, MS_PRIVATE, MNT_DETACH = 0x20000, 0x44000, 2
COMMAND = ("--", "/bin/sh", "-c", "id -u; cat /proc/self/comm")


def program(name: str) -> str:
    found = shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not installed")
    return found


def one_cgroup_version() -> None:
    """crun refuses hosts that have both mounted: in the child, away with the one that has no controllers."""
    libc = ctypes.CDLL(None, use_errno=True)
    if Path("/sys/fs/cgroup/unified").is_dir() and (
        libc.unshare(CLONE_NEWNS)
        or libc.mount(None, b"/", None, ctypes.c_ulong(MS_PRIVATE), None)
        or libc.umount2(b"/sys/fs/cgroup/unified", MNT_DETACH)
    ):
        raise OSError(ctypes.get_errno(), "no mount namespace without /sys/fs/cgroup/unified")


class Crun:
    """Containers of root's, made of the example's configuration."""

    def __init__(self, pyjail, place: Path) -> None:
        self.pyjail = pyjail
        self.bundle = place / "bundle"
        (self.bundle / "rootfs").mkdir(parents=True)
        self.config = json.loads(EXAMPLE.read_text())
        folder = str(pyjail.installation.folder)
        self.config["mounts"].append(
            {"destination": folder, "type": "bind", "source": folder, "options": ["rbind", "ro"]}
        )
        self.words = [program("crun"), "--root", str(place / "state"), "--cgroup-manager", "disabled"]

    def run(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        self.config["process"]["args"] = list(map(str, words))
        if "user" in {each["type"] for each in self.config["linux"]["namespaces"]}:
            os.chown(self.bundle / "rootfs", 200_000, 200_000)
        (self.bundle / "config.json").write_text(json.dumps(self.config))
        return subprocess.run(
            [*self.words, "run", "--bundle", self.bundle, f"pyjail-test-{os.getpid()}"],
            stdin=subprocess.DEVNULL, capture_output=True, check=False, preexec_fn=one_cgroup_version,
        )  # fmt: skip

    def jail(self, *options: str) -> subprocess.CompletedProcess[bytes]:
        return self.run(str(self.pyjail.installation.pyjail), "run", *options, *COMMAND)


@pytest.fixture(params=["host's ids", "ids of its own"])
def crun(request, pyjail, place):
    made = Crun(pyjail, place)
    if request.param == "ids of its own":
        made.config["linux"]["namespaces"].append({"type": "user"})
        made.config["linux"] |= {"uidMappings": USER, "gidMappings": USER}
    return made


as_root = pytest.mark.parametrize("as_user", ["root"], indirect=True)


@as_root
def test_the_example_runs_jails(crun):
    """With no capability that Docker does not give, and so no right to mount outside of the jail's own
    namespaces."""
    r = crun.jail()
    assert (r.returncode, r.stdout) == (0, b"1000\ncat\n"), r.stderr


@as_root
def test_the_payloads_id_is_not_roots_of_the_container(crun):
    jail = str(crun.pyjail.installation.pyjail)
    script = f'{jail} run -- sh -c "cat /proc/self/uid_map"'
    r = crun.run("/bin/sh", "-c", script)
    inside, outside, count = map(int, r.stdout.split())
    assert (inside, count) == (1000, 1)
    assert outside != 0


@as_root
def test_a_covered_proc_is_told_with_the_remedy(crun):
    crun.config["linux"] |= {"maskedPaths": MASKED, "readonlyPaths": READ_ONLY}
    r = crun.jail()
    assert (r.returncode, r.stdout) == (125, b"")
    assert b"cannot mount '/proc'" in r.stderr
    assert b"systempaths=unconfined" in r.stderr
    assert b"--no-proc" in r.stderr
    words = (str(crun.pyjail.installation.pyjail), "run", "--no-proc", "--", "/usr/bin/id", "-u")
    r = crun.run(*words)
    assert (r.returncode, r.stdout) == (0, b"1000\n"), r.stderr


@as_root
def test_a_writable_bind_of_roots_is_refused(crun):
    """Whose files would be whose takes an idmapped mount, which is the host's to make."""
    r = crun.jail("--bind", "/tmp:/data")
    assert (r.returncode, r.stdout) == (125, b"")
    assert b"an idmapped mount" in r.stderr


@as_root
def test_a_limit_that_was_asked_for_is_an_error_without_cgroups(crun):
    r = crun.jail("--memory", "64M")
    assert (r.returncode, r.stdout) == (125, b"")
    assert b"--allow-weaker memory" in r.stderr
    assert crun.jail("--memory", "64M", "--allow-weaker", "memory").returncode == 0


@as_root
def test_root_without_the_capabilities_for_ids(crun):
    for kind in crun.config["process"]["capabilities"]:
        crun.config["process"]["capabilities"][kind] = []
    r = crun.jail()
    assert (r.returncode, r.stdout) == (125, b"")
    assert b"start pyjail as another user" in r.stderr


def within_bubblewrap(pyjail, *options: str):
    folder = str(pyjail.installation.folder)
    words = ["--unshare-all", "--die-with-parent", "--ro-bind", "/usr", "/usr", "--tmpfs", "/tmp"]
    for name in ("bin", "sbin", "lib", "lib64"):
        words += ["--symlink", f"usr/{name}", f"/{name}"]
    words += ["--proc", "/proc", "--dev", "/dev", "--ro-bind", folder, folder, "--chdir", "/", *options]
    return pyjail.run(*words, pyjail.installation.pyjail, "run", *COMMAND, program=program("bwrap"))


@pytest.mark.parametrize("as_user", ["ordinary"], indirect=True)
def test_in_an_ordinary_users_bubblewrap(pyjail):
    r = within_bubblewrap(pyjail)
    assert (r.returncode, r.stdout) == (0, b"1000\ncat\n"), r.stderr
    r = within_bubblewrap(pyjail, "--uid", "0", "--gid", "0")
    assert (r.returncode, r.stdout) == (125, b"")
    assert b"start pyjail as another user" in r.stderr


@as_root
def test_in_roots_bubblewrap(pyjail):
    r = within_bubblewrap(pyjail)
    assert (r.returncode, r.stdout) == (125, b"")
    assert b"leave /proc out with --no-proc" in r.stderr


def test_in_namespaces_of_unshare(pyjail):
    """Twice, and the jail in them."""
    twice = ("--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc")
    again = ("/usr/bin/unshare", *twice)
    r = pyjail.run(*twice, *again, pyjail.installation.pyjail, "run", *COMMAND, program="/usr/bin/unshare")
    assert (r.returncode, r.stdout) == (0, b"1000\ncat\n"), r.stderr


def test_in_a_jail(pyjail):
    """There is no way further in, and why is said."""
    installed = pyjail.installation
    outer = ("run", "--ro-bind", installed.folder, "--seccomp", "off", "--")
    r = pyjail.run(*outer, installed.pyjail, "run", *COMMAND)
    assert (r.returncode, r.stdout) == (125, b"")
    assert b"/proc is read-only around us" in r.stderr
