"""The default policy as data: what is in a jail that nobody configured. How it gets there is build.py's."""

from __future__ import annotations

# ---- files of the host ----

PROGRAMS = "/usr"
"""Programs and libraries, shown read-only; `host.TOP` names the other places, mostly links into this one."""

ETC = ("/etc/ld.so.cache", "/etc/ssl/certs", "/etc/alternatives")
"""What many programs need of the host's /etc and gives nothing away; passed over where absent. Each costs a
mount."""

ETC_OF_NETWORK = ("/etc/resolv.conf", "/etc/hosts")
"""The same where the caller's network is used, whose names these resolve."""

DEVICES = ("null", "zero", "full", "random", "urandom")
"""Of /dev. A controlling terminal is not among them."""

DEVICE_LINKS = (
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
)

PTY = (
    "/dev/pts",
    "ptmxmode=666,mode=600,max=32",
)
"""Where terminals are made, where one is asked for, and at most how many: each takes memory of the kernel's.
Each belongs to who made it; there is no group tty inside."""

PTMX = ("/dev/ptmx", "pts/ptmx")
TTY = "tty"
"""Of /dev: each process's own controlling terminal, which inside is never the caller's."""

PROC_OPTIONS = "hidepid=2"

PROC_MASKS = (
    "acpi",
    "asound",
    "interrupts",
    "kcore",
    "key-users",
    "keys",
    "latency_stats",
    "sched_debug",
    "scsi",
    "timer_list",
)
"""What is hidden of /proc: hardware, keys, addresses and other people's timing; none of it is namespaced. All
else there is the kernel's general statistics, or needs rights that no payload has (vmallocinfo, slabinfo,
kpage*)."""

# ---- files of our own ----

EMPTY_FOLDERS = ("/run", "/home")
VAR_TMP = ("/var/tmp", "/tmp")

NOBODY = 65534  # whom files belong to whose owner has no id inside; see user_namespaces(7)


def passwd(uid: int, gid: int) -> str:
    """The accounts that can be seen inside: the payload's, root, and the owner of everything else."""
    users = {
        0: "root:x:0:0:root:/:/usr/sbin/nologin",
        NOBODY: f"nobody:x:{NOBODY}:{NOBODY}:nobody:/:/usr/sbin/nologin",
    }
    name = {0: "root", NOBODY: "nobody"}.get(uid, "jail")
    users[uid] = f"{name}:x:{uid}:{gid}:{name}:/tmp:/bin/sh"
    return "".join(f"{line}\n" for line in users.values())


def group(gid: int) -> str:
    """The groups that can be seen inside."""
    names = {0: "root", NOBODY: "nogroup"}
    names.setdefault(gid, "jail")
    return "".join(f"{name}:x:{number}:\n" for number, name in names.items())


def hosts(hostname: str) -> str:
    """Names of the loopback."""
    return f"127.0.0.1 localhost {hostname}\n::1 localhost {hostname}\n"


def nsswitch(network: str) -> str:
    """Where names are looked up: in the files here, and those of other hosts by DNS where there is a
    network."""
    names = "files dns" if network == "host" else "files"
    return f"passwd: files\ngroup: files\nhosts: {names}\nservices: files\nprotocols: files\n"


PROTOCOLS = "ip 0 IP\nicmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\nipv6 41 IPv6\nipv6-icmp 58 IPv6-ICMP\n"

SERVICES = (
    "ftp 21/tcp\nssh 22/tcp\ntelnet 23/tcp\nsmtp 25/tcp mail\ndomain 53/tcp\ndomain 53/udp\n"
    "http 80/tcp www\npop3 110/tcp\nntp 123/udp\nimap2 143/tcp imap\nhttps 443/tcp\nhttps 443/udp\n"
    "submission 587/tcp\nimaps 993/tcp\npop3s 995/tcp\n"
)

# ---- limits; see rlimits.Limits for what each holds ----

MEMORY = 512 << 20
PIDS = 256
NOFILE = 1024
FILE_SIZE = 1 << 30
TMP_SIZE = 256 << 20
TMP_INODES = 65536
STACK = (8 << 20, 64 << 20)  # soft, hard
MEMLOCK = 64 << 10
CORE = 1
GRACE = 5.0
FIXED = (("msgqueue", 819_200), ("nice", 0), ("rtprio", 0), ("sigpending", 1024))
"""Limits of setrlimit(2) that nobody sets: POSIX queues, priorities, queued signals."""

# ---- the payload's surroundings ----

UMASK = 0o022
HOME = "/tmp"
ENV = (("PATH", "/usr/local/bin:/usr/bin:/bin"), ("LANG", "C.UTF-8"))
ENV_PASSED = ("TERM",)
ID_LOCK = "/run/pyjail-ids.lock"
"""Keeps the host ids of live runs apart, whoever of root's processes starts them."""
