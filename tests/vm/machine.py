"""Run a command in a throwaway virtual machine: another kernel, cgroup v2, systemd, AppArmor.

The machine is made of a distribution's own packages and emulated by QEMU without KVM, 5 to 20 times slower
than this one. The command is started in a copy of this checkout by a user who has just logged in. It has no
network; only its output and its status come back. There is no compiler: PYJAIL_PROGRAMS names a folder with
the programs.

exit status: the command's own; 128+N if signal N ended it; 124 out of time; 125 the machine could not be
made, did not start twice, or went down under the command; 2 the request makes no sense; 77 this host cannot
run it: one line says why.

The images lie in .vm/ of the checkout, or in the folder that PYJAIL_VM names, where several checkouts share
them. Each takes a minute and 150 MB of downloads, once, as root. A changed recipe (tests/vm) makes them anew.
"""

from __future__ import annotations

import argparse
import os
import platform
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from image import PARTUUID, ROOT, SUITES, CannotRunError, data_disk, image, say

BOOT_SECONDS = 180  # ten times what it takes; nothing is measured by it
TOOLS = ("mmdebstrap", "mke2fs", "sfdisk", "qemu-system-x86_64")
TIMED_OUT, FAILED, CANNOT = 124, 125, 77


def prepare() -> None:
    """The checkout built, and the tools here: scripts/setup installs them, or tells what root has to."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    setup = ROOT / "scripts" / "setup"
    subprocess.run([setup, "--test"], stdin=subprocess.DEVNULL, check=True)
    if platform.machine() != "x86_64":
        raise CannotRunError("the machine is an x86-64 one, and this host is not")
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing and subprocess.run([setup, "--vm"], stdin=subprocess.DEVNULL, check=False).returncode:
        raise CannotRunError(f"{missing[0]} is missing: scripts/setup --vm tells what to do")


def qemu(words: argparse.Namespace, folder: Path, data: Path, console: Path, status: int) -> list[str]:
    """The emulator's command line. ttyS0 is the console, ttyS1 our stdout, ttyS2 tells how it goes."""
    kernel = (
        f"root=PARTUUID={PARTUUID} rw rootwait console=ttyS0 quiet panic=-1 mitigations=off audit=0"
        " random.trust_cpu=on 8250.nr_uarts=4 systemd.show_status=0 net.ifnames=0"
        f" systemd.unit=command@{words.user}.service"
    )
    root = f"file={folder / 'root.ext4'},format=raw,if=none,id=root,snapshot=on"
    disk = SUITES[words.suite].disk
    return [
        *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        # Not KVM, which is not everywhere and not everywhere able to. QEMU 7.2 is wrong about cmpxchg16b.
        *("-M", "pc", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max,la57=off,cx16=off"),
        *("-smp", str(words.cpus), "-m", str(words.memory), "-drive", root, "-device", disk.format("root")),
        *("-drive", f"file={data},format=raw,if=none,id=data", "-device", disk.format("data")),
        *("-serial", f"file:{console}"),
        *("-chardev", "stdio,id=output,signal=off", "-serial", "chardev:output"),
        *("-add-fd", f"fd={status},set=1", "-chardev", "file,id=status,append=on,path=/dev/fdset/1"),
        *("-serial", "chardev:status"),
        *("-kernel", str(folder / "vmlinuz"), "-append", kernel),
    ]


def read_line(fd: int, until: float) -> str | None:
    """The next line that the machine says of itself: "" at its end, None when the time is over."""
    line = b""
    while not line.endswith(b"\n"):
        if not select.select([fd], [], [], max(0.0, until - time.monotonic()))[0]:
            return None
        byte = os.read(fd, 1)
        if not byte:
            return ""
        line += byte
    return line.decode().strip()


def as_status(line: str) -> int:
    """The exit status for "ended exited 3" or "ended killed KILL", as systemd.exec(5) names them."""
    _, how, what = line.split()
    return int(what) if how == "exited" else 128 + signal.Signals[f"SIG{what}"]


@contextmanager
def running(command: list[str], status: int) -> Iterator[None]:
    """The emulator, which ends with the block, and with us."""
    bound = ["setpriv", "--pdeathsig", "KILL", *command]
    machine = subprocess.Popen(bound, stdin=subprocess.DEVNULL, pass_fds=(status,))
    os.close(status)
    try:
        yield
    finally:
        machine.kill()
        machine.wait()


def attempt(words: argparse.Namespace, command: list[str], reader: int, writer: int) -> int | None:
    """One start of the machine: the exit status, or None if it did not come to the command."""
    started = time.monotonic()
    with running(command, writer):
        if read_line(reader, started + BOOT_SECONDS) != "up":
            return None
        booted = time.monotonic()
        line = read_line(reader, booted + words.timeout)
        if line:
            # The output has a line of its own: when this one closes, all of it has come.
            read_line(reader, time.monotonic() + BOOT_SECONDS)
        took = f"up after {booted - started:.0f} s, {time.monotonic() - booted:.0f} s more until the end"
        say(f"{words.suite} as {words.user}: {took}")
    if line is None:
        say(f"out of time after {words.timeout:g} s")
        return TIMED_OUT
    if not line:
        say("the machine went down under the command")
        return FAILED
    return as_status(line)


def run(words: argparse.Namespace) -> int:
    prepare()
    folder = image(words.suite)
    with tempfile.TemporaryDirectory(prefix="pyjail-vm-") as name:
        console = Path(name, "console")
        data = data_disk(Path(name), words.command)
        for _ in range(2):
            reader, writer = os.pipe()
            status = attempt(words, qemu(words, folder, data, console, writer), reader, writer)
            os.close(reader)
            if status not in (None, FAILED):
                return status
            say("its last words:" if status else "the machine did not start; its last words:")
            if console.exists():
                print(*console.read_text(errors="replace").splitlines()[-60:], sep="\n", file=sys.stderr)
            if status:
                return status
    return FAILED


def parse() -> argparse.Namespace:
    description, _, rest = (__doc__ or "").partition("\n\n")
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("scripts/vm", None, description, rest, formatter_class=plain)
    suites = "Debian trixie (kernel 6.12, the default), bookworm (6.1), or Ubuntu noble (6.8)"
    parser.add_argument("--suite", choices=SUITES, default="trixie", help=suites)
    users = "root (the default); tester, who has subordinate ids; nosub, who has none"
    parser.add_argument("--user", choices=["root", "tester", "nosub"], default="root", help=users)
    # Emulated CPUs that wait for one another cost more than they give where every core has work.
    parser.add_argument("--cpus", type=int, default=1, metavar="N", help="default: %(default)s")
    parser.add_argument("--memory", type=int, default=2048, metavar="MIB", help="default: %(default)s")
    parser.add_argument("--timeout", type=float, default=600, metavar="SECONDS", help="default: %(default)s")
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="what to run; its options after a --")
    return parser.parse_args()


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    words = parse()
    try:
        return run(words)
    except KeyboardInterrupt:
        return 130
    except CannotRunError as error:
        say(f"skipped: {error}")
        return CANNOT
    except subprocess.CalledProcessError as error:
        say(f"{error.cmd[0]} failed with status {error.returncode}")
        return FAILED


if __name__ == "__main__":
    raise SystemExit(main())
