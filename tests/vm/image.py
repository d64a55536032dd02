"""Makes the machines' disks: a distribution's root, from its own packages, and a copy of the checkout."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
KEYS = Path("usr/share/keyrings/ubuntu-archive-keyring.gpg")
PARTUUID = "79a7a61c-01"
BUILT = ("jail/jailer/jailer", ".venv/bin/pyjail")  # by scripts/setup
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", ".vm", "build", "*.egg-info", "__pycache__", ".*_cache")
# Neither a compiler nor pip: the tests use the distribution's own Python and its modules.
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "dbus-user-session", "libpam-systemd", "kmod", "udev", "apparmor"),
    *("procps", "util-linux", "mount", "passwd", "login", "iproute2", "uidmap", "libseccomp2"),
    *("python3", "python3-pytest", "python3-hypothesis", "python3-cffi-backend", "python3-prctl"),
    *("python3-jsonschema", "python3-pyroute2", "python3-seccomp"),
)
# What the gateway, the asynchronous calls and their tests need, Python alone, out of the checkout's own
# environment: the distributions' are too old.
MODULES = (
    *("anyio", "attr", "attrs", "certifi", "click", "h11", "httpcore", "httpx", "idna", "jinja2"),
    *("markupsafe", "outcome", "prometheus_client", "python_multipart", "sniffio", "sortedcontainers"),
    *("starlette", "trio", "typing_extensions.py", "uvicorn"),
)


class CannotRunError(Exception):
    """This host cannot run a machine; the text is the one line that says why."""


class Suite(NamedTuple):
    """What an image is made of, the disk that its kernel reads without an initramfs, and in which other
    suite the keys of its packages are."""

    components: str
    kernel: str
    disk: str
    extra: tuple[str, ...] = ()
    keys_of: str | None = None


NVME = "nvme,serial={0},drive={0}"
SUITES = {
    "trixie": Suite("main", "linux-image-cloud-amd64", NVME, ("nodejs", "ubuntu-keyring")),
    "bookworm": Suite("main", "linux-image-cloud-amd64", NVME, ("nodejs",)),
    "noble": Suite("main,universe", "linux-image-virtual", "virtio-blk-pci,drive={0}", keys_of="trixie"),
}


def say(text: str) -> None:
    print(f"scripts/vm: {text}", file=sys.stderr, flush=True)


def recipe(suite: str) -> str:
    """What an image of `suite` is made of, as a hash."""
    digest = hashlib.sha256(f"{SUITES[suite]} {PACKAGES} {PARTUUID}".encode())
    for path in sorted([HERE / "customize", *(HERE / "guest").rglob("*")]):
        if path.is_file():
            digest.update(f"{path.name}\0".encode() + path.read_bytes())
    return f"{suite} {digest.hexdigest()}"


def image(suite: str) -> Path:
    """The folder with `vmlinuz` and `root.ext4` of `suite`, made if it is missing or of another recipe."""
    cache = Path(os.environ.get("PYJAIL_VM") or ROOT / ".vm")
    folder = cache / suite
    stamp = folder / "recipe"
    wanted = recipe(suite)

    def is_made() -> bool:
        return stamp.exists() and stamp.read_text() == wanted

    if is_made():
        return folder
    if os.geteuid() != 0:
        raise CannotRunError(f"there is no image of {suite}; as root: scripts/vm --suite {suite} -- true")
    cache.mkdir(exist_ok=True)
    with open(cache / f"{suite}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_made():
            part = Path(tempfile.mkdtemp(prefix=f"{suite}.", dir=cache))
            try:
                part.chmod(0o755)
                _make(suite, part)
                (part / "recipe").write_text(wanted)
                shutil.rmtree(folder, ignore_errors=True)
                part.rename(folder)
            finally:
                shutil.rmtree(part, ignore_errors=True)
    return folder


def _make(suite: str, out: Path) -> None:
    started = time.monotonic()
    say(f"making the image of {suite}: a minute")
    spec = SUITES[suite]
    root = out / "root"
    words = ["--quiet", "--mode=root", "--variant=minbase"]
    words += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("man", "doc", "locale")]
    words += [f"--include={','.join(PACKAGES + spec.extra)}", f"--components={spec.components}"]
    words += [f"--customize-hook={HERE / 'customize'}", '--aptopt=APT::Sandbox::User "root"']
    if spec.keys_of:
        words.append(f"--keyring={image(spec.keys_of) / KEYS.name}")
    # In a mount namespace: what it mounts in the root must be gone from there when the root is removed.
    subprocess.run(
        ["unshare", "--mount", "mmdebstrap", *words, suite, root],
        env={**os.environ, "PYJAIL_VM_OUT": str(out), "PYJAIL_VM_KERNEL": spec.kernel},
        check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr,
    )  # fmt: skip
    (out / "vmlinuz").chmod(0o644)
    if (root / KEYS).exists():
        shutil.copy(root / KEYS, out)
    disk = out / "root.ext4"
    options = ["-O", "^has_journal,^metadata_csum", "-E", "root_owner=0:0,offset=1048576"]
    _make_ext4(disk, root, "2000M", *options)
    os.truncate(disk, 2002 << 20)
    # One partition, so that root=PARTUUID= finds it whatever the kernel calls the disk.
    table = f"label: dos\nlabel-id: 0x{PARTUUID[:8]}\nstart=2048, size=2000M, type=83\n"
    subprocess.run(["sfdisk", "-q", disk], input=table, text=True, check=True, stderr=subprocess.DEVNULL)
    shutil.rmtree(root)
    say(f"made in {time.monotonic() - started:.0f} s")


def _make_ext4(disk: Path, content: Path, size: str, *options: str) -> None:
    command = ["mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", *options, "-d", content, disk, size]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def data_disk(work: Path, command: list[str]) -> Path:
    """A disk that holds a copy of the checkout, the programs built from it, the modules, and the command."""
    top = work / "data"
    shutil.copytree(ROOT, top / "src", ignore=NOT_COPIED, symlinks=True)
    programs = top / "programs"
    programs.mkdir()
    for name in BUILT:
        shutil.copy(ROOT / name, programs)
    build = [sys.executable, ROOT / "jail" / "jailer" / "build.py", "--variant", "fault"]
    subprocess.run([*build, "-o", programs / "jailer-fault"], check=True)
    site = top / "site"
    site.mkdir()
    for found in (path for name in MODULES for path in ROOT.glob(f".venv/lib/python3*/site-packages/{name}")):
        copy = shutil.copytree if found.is_dir() else shutil.copy
        copy(found, site / found.name)
    environment = "PYJAIL_PROGRAMS=/vm/programs PYJAIL_PATIENCE=4"
    (top / "command").write_text(f"export {environment}\nexec {shlex.join(command)}\n")
    subprocess.run(["chmod", "-R", "u=rwX,go=rX", top], check=True)
    disk = work / "data.ext4"
    _make_ext4(disk, top, "128M", "-O", "^has_journal", "-L", "vm-data", "-E", "root_owner=0:0")
    return disk
