"""The one table of a run's options, and an option as it was given: on a command line or in a configuration
file. The parsers of both, the help, the man page and the shell completion all read the table, so none of them
can know an option that the others do not.

A module on the way to a cold `pyjail run`: it imports nothing heavy (no argparse, enum, dataclasses, typing).
"""

from __future__ import annotations

from jail._record import record
from jail.spec import NETWORKS, WEAKER
from rlimits.rlimit import RESOURCES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# What an option's text is. The names double as the hint in messages ("expects a size, such as 256M").
FLAG = "flag"
SIZE = "a size, such as 256M"
COUNT = "a whole number, such as 64"
DURATION = "a duration, such as 1.5s"
NUMBER = "a number"
CPUS = "a number of CPUs, such as 0.5"
TEXT = "text"
FILE = "a file name"
FOLDER = "a folder"
PAIR = "SRC or SRC:DST"
RLIMIT = "NAME=SOFT or NAME=SOFT:HARD"
IO_MAX = "MAJOR:MINOR:RATE=N, such as 8:0:rbps=10M"
NAME_VALUE = "NAME or NAME=VALUE"
CHOICE = "one of the choices"


@record(frozen=True)
class Option:
    """One option: `--name METAVAR`, or a bare `--name` where `kind` is FLAG.

    `repeat` options add up, all others are won by the last one given. `sets` names the option whose value a
    flag takes away (`--no-memory` sets `memory`), so that the last one of both wins.
    """

    name: str
    kind: str
    metavar: str
    group: str
    about: str
    repeat: bool = False
    choices: tuple[str, ...] = ()
    default: str = ""
    sets: str = ""
    in_config: bool = True

    @property
    def usage(self) -> str:
        """`--memory SIZE`, as help shows it."""
        dashes = "-" if len(self.name) == 1 else "--"
        return f"{dashes}{self.name} {self.metavar}" if self.metavar else f"{dashes}{self.name}"


FILES, PROGRAM, NETWORK, LIMITS, PROTECTION, RESULT, PYJAIL = (
    "Files", "Program", "Network", "Limits", "Protection", "Result", "pyjail itself")
GROUPS = (FILES, PROGRAM, NETWORK, LIMITS, PROTECTION, RESULT, PYJAIL)

ENV = Option("env", NAME_VALUE, "NAME[=VALUE]", PROGRAM, "set a variable, or pass the caller's own; "
           "all others but PATH, HOME, LANG and TERM are absent", repeat=True)

RUN_OPTIONS = (
    Option("root", FOLDER, "host|DIR", FILES, "what / is made of: the host's programs and libraries, or the "
           "folder DIR, read-only either way", default="host"),
    Option("bind", PAIR, "SRC[:DST]", FILES, "show a host file or folder inside, writable; DST is where, "
           "the same path if left out. Write a colon in a path as \\:", repeat=True),
    Option("ro-bind", PAIR, "SRC[:DST]", FILES, "as --bind, but read-only", repeat=True),
    Option("bind-try", PAIR, "SRC[:DST]", FILES, "as --bind, but passed over if SRC does not exist",
           repeat=True),
    Option("ro-bind-try", PAIR, "SRC[:DST]", FILES, "as --ro-bind, but passed over if SRC does not exist",
           repeat=True),
    Option("tmpfs", PAIR, "DST[:SIZE]", FILES, "an empty writable folder in memory, gone after the run",
           repeat=True),
    Option("no-proc", FLAG, "", FILES, "no /proc"),
    Option("no-tmp", FLAG, "", FILES, "no private writable /tmp"),
    Option("no-shm", FLAG, "", FILES, "no /dev/shm"),
    Option("no-etc", FLAG, "", FILES, "nothing of the host's /etc and no generated passwd, group and hosts"),

    ENV,
    Option("cwd", FOLDER, "DIR", PROGRAM, "the folder inside to start in", default="/tmp"),
    Option("hostname", TEXT, "NAME", PROGRAM, "the host name inside", default="jail"),
    Option("uid", NUMBER, "N", PROGRAM, "the user id inside", default="1000"),
    Option("gid", NUMBER, "N", PROGRAM, "the group id inside", default="1000"),
    Option("pty", FLAG, "", PROGRAM, "a terminal of its own, as of ssh -t: for interactive programs; what it "
           "writes, stderr too, goes to stdout"),
    Option("pass-fd", NUMBER, "N", PROGRAM, "keep the open descriptor N, 3 or more; all others are closed",
           repeat=True),

    Option("listen-fds", FLAG, "", PROGRAM, "hand on the sockets that a service manager has opened "
           "(LISTEN_FDS of sd_listen_fds(3)); none where there are none"),

    Option("net", CHOICE, "none|host", NETWORK, "the network: none is a private loopback and nothing else, "
           "host is the caller's, with all that listens there", choices=NETWORKS,
           default="none"),

    Option("memory", SIZE, "SIZE", LIMITS, "memory of the whole jail", default="512M"),
    Option("pids", COUNT, "N", LIMITS, "processes and threads of the whole jail at once", default="256"),
    Option("cpus", CPUS, "N", LIMITS, "CPUs that all processes together may keep busy; 0.5 is half of one; "
           "a caller's real-time class (sched(7)), which no share holds, is not handed on",
           default="no limit"),
    Option("cpuset", TEXT, "LIST", LIMITS, "the CPUs to run on, such as 0-1,3", default="the caller's"),
    Option("cpu-time", DURATION, "TIME", LIMITS, "CPU time of all processes together, then SIGKILL",
           default="no limit"),
    Option("timeout", DURATION, "TIME", LIMITS, "wall time, then SIGTERM", default="no limit"),
    Option("idle-timeout", DURATION, "TIME", LIMITS, "time without a byte on stdout or stderr, then SIGTERM",
           default="no limit"),
    Option("max-output", SIZE, "SIZE", LIMITS, "bytes on stdout and stderr together, then SIGKILL",
           default="no limit"),
    Option("max-stdout", SIZE, "SIZE", LIMITS, "bytes on stdout, then SIGKILL", default="no limit"),
    Option("max-stderr", SIZE, "SIZE", LIMITS, "bytes on stderr, then SIGKILL", default="no limit"),
    Option("grace", DURATION, "TIME", LIMITS, "time between SIGTERM and SIGKILL", default="5s"),
    Option("nofile", COUNT, "N", LIMITS, "open descriptors of each process", default="1024"),
    Option("open-files", COUNT, "N", LIMITS, "open descriptors of the whole jail, shared out evenly: each "
           "of as many processes as --pids allows has a part, and 253 put aside for messages",
           default="no limit"),
    Option("file-size", SIZE, "SIZE", LIMITS, "the largest file that can be written", default="1G"),
    Option("tmp-size", SIZE, "SIZE", LIMITS, "room in each writable folder in memory, /tmp among them",
           default="256M"),
    Option("rlimit", RLIMIT, "NAME=SOFT[:HARD]", LIMITS, "a limit of setrlimit(2) on each process, such as "
           "nofile=64:128 or as=1G; NAME: " + ", ".join(RESOURCES), repeat=True),
    Option("io-max", IO_MAX, "DEV:RATE=N[,...]", LIMITS, "most that is read from or written to a block "
           "device in a second; DEV is a whole disk's MAJOR:MINOR, RATE rbps, wbps (bytes), riops or wiops "
           "(operations)", repeat=True),
    Option("io-weight", COUNT, "N", LIMITS, "the share of busy disks among other jails, from 1 to 10000; "
           "only on disks that BFQ or iocost schedules", default="100"),
    Option("no-memory", FLAG, "", LIMITS, "no memory limit", sets="memory"),
    Option("no-pids", FLAG, "", LIMITS, "no limit on processes", sets="pids"),
    Option("no-file-size", FLAG, "", LIMITS, "no limit on the size of files", sets="file-size"),
    Option("no-timeout", FLAG, "", LIMITS, "no limit on wall time, whatever the configuration file says",
           sets="timeout"),

    Option("seccomp", TEXT, "NAME|FILE|off", PROTECTION, "the system calls that are allowed: a profile's "
           "name, a policy file (with a slash or ending in .toml or .json), or off for all",
           default="default"),
    Option("strict", FLAG, "", PROTECTION, "a refused system call kills the program instead of failing"),
    Option("audit", FLAG, "", PROTECTION, "name the system calls that are refused: in the outcome, and on a "
           "terminal in one line at the end"),
    Option("no-landlock", FLAG, "", PROTECTION, "leave out the second wall around files"),
    Option("allow-weaker", TEXT, "WHAT", PROTECTION, "accept that this host cannot hold WHAT in full; "
           "the outcome then says what held it. WHAT: " + ", ".join(WEAKER), repeat=True, choices=WEAKER),

    Option("outcome", FILE, "FILE", RESULT, "write one line of JSON about the run to FILE", in_config=True),
    Option("outcome-fd", NUMBER, "N", RESULT, "write it to the open descriptor N", in_config=False),

    Option("notify", FLAG, "", RESULT, "tell a service manager when the program runs, is asked to end and "
           "how it ended (NOTIFY_SOCKET of sd_notify(3)); without one nobody is told"),
    Option("name", TEXT, "NAME", RESULT, "what pyjail ps, kill, exec and stats call the jail; no other of "
           "yours may have it at the time", default="the supervisor's pid", in_config=False),
    Option("stats", FLAG, "", RESULT, "one line on stderr at the end: how it ended, time, memory, processes"),

    Option("config", FILE, "FILE.toml", PYJAIL, "read options from FILE, named as here without the dashes; "
           "what stands on the command line wins, lists add up", in_config=False),
    Option("no-cache", FLAG, "", PYJAIL, "neither use nor keep a cached plan", in_config=False),
)


@record(frozen=True)
class Setting:
    """One option as it was given: `where` names it in messages, `base` is what relative paths start from
    ("" is the current folder)."""

    option: Option
    text: str
    where: str
    base: str = ""


class UsageError(Exception):
    """What was typed or configured makes no sense. The text is the whole message: what, where, remedy."""


def closest(word: str, known: Iterable[str]) -> str:
    """The known word that is most like this one, or "". Only errors pay for difflib."""
    import difflib
    matches = difflib.get_close_matches(word, list(known), n=1)
    return matches[0] if matches else ""
