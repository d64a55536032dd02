"""The one table of options: the parser, the configuration file, the help, the man page and the shell
completion are all read from it, so none of them can know an option that the others do not.

A module on the way to a cold `pyjail run`: it imports nothing heavy (no argparse, enum, dataclasses, typing).
"""

from __future__ import annotations

from jail._record import record
from jail.spec import NETWORKS, WEAKER
from rlimits.rlimit import RESOURCES

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
    Option("cpus", CPUS, "N", LIMITS, "CPUs that all processes together may keep busy; 0.5 is half of one",
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

HELP = Option("help", FLAG, "", PYJAIL, "this text", in_config=False)
OUTPUT = Option("output", FILE, "FILE", RESULT, "the file to write (also -o FILE)", in_config=False)
JSON = Option("json", FLAG, "", RESULT, "as JSON, for programs", in_config=False)
STRICT = Option("strict", FLAG, "", PROTECTION, "as pyjail run --strict has it: refused calls kill",
                in_config=False)
MACHINES = ("x86_64", "aarch64", "riscv64", "ppc64le")
ARCH = Option("arch", CHOICE, "MACHINE", RESULT, "for another machine than this one, named as uname -m does: "
              + ", ".join(MACHINES), choices=MACHINES, in_config=False)
FORMATS = ("bpf", "text", "plan", "toml")
FORMAT = Option("format", CHOICE, "|".join(FORMATS), RESULT, "the form: bpf, struct sock_filter after "
                "struct sock_filter, as bubblewrap's --seccomp reads it; text, the same disassembled; plan, "
                "a line of a pyjail plan; toml, a policy file without base and groups", choices=FORMATS,
                default="bpf", in_config=False)
MERGE = Option("merge", FILE, "FILE", RESULT, "start from what FILE, an earlier result, already allows",
               repeat=True, in_config=False)
TYPES = ("exec", "notify", "simple", "oneshot")
TYPE = Option("type", CHOICE, "|".join(TYPES), RESULT, "when systemd takes it for started; notify where the "
              "jail is compiled with --notify", choices=TYPES, default="notify or exec", in_config=False)
RESTARTS = ("no", "on-success", "on-failure", "on-abnormal", "always")
RESTART = Option("restart", CHOICE, "|".join(RESTARTS), RESULT, "when it is started again", choices=RESTARTS,
                 default="on-failure", in_config=False)
UNIT_USER = Option("user", TEXT, "NAME", RESULT, "the ordinary user who starts it, who has compiled it",
                   default="the file's owner", in_config=False)
SESSION = Option("session", FLAG, "", RESULT, "for the user's own service manager (systemctl --user)",
                 in_config=False)
SOCKET = Option("socket", TEXT, "ADDRESS", RESULT, "print the socket unit instead, which listens at a port, "
                "HOST:PORT, /path or @name", in_config=False)
ACCEPT = Option("accept", FLAG, "", RESULT, "a run for each connection, which is its stdin and stdout; "
                "without, the jail gets the listening socket (--listen-fds)", in_config=False)
LOG_FORMATS = ("text", "json")
SERVE_OPTIONS = (
    Option("listen", TEXT, "ADDRESS", NETWORK, "where to listen: HOST:PORT, unix:PATH, or fd:N for a socket "
           "that is already open; else on the sockets that systemd passes, else on 127.0.0.1:8080",
           repeat=True, in_config=False),
    Option("proxies", NUMBER, "N", NETWORK, "how many proxies of yours stand in front: the client is told by "
           "the N-th entry from the end of X-Forwarded-For", default="0", in_config=False),
    Option("concurrency", COUNT, "N", LIMITS, "requests at a time, of all services", default="256",
           in_config=False),
    Option("connections", COUNT, "N", LIMITS, "connections at a time", default="1024", in_config=False),
    Option("header-timeout", DURATION, "TIME", LIMITS, "time for a request's head to arrive", default="10s",
           in_config=False),
    Option("stall-timeout", DURATION, "TIME", LIMITS, "time that a client may neither send nor take anything "
           "where that is waited for, and that a connection is kept between requests", default="30s",
           in_config=False),
    Option("drain-timeout", DURATION, "TIME", LIMITS, "time for requests to end after SIGTERM", default="20s",
           in_config=False),
    Option("token-file", FILE, "FILE", PROTECTION, "who shows the token in FILE may see the pages at /-/; "
           "without it, who comes over the loopback", in_config=False),
    Option("no-admin", FLAG, "", PROTECTION, "nothing at /-/ but /-/health", in_config=False),
    Option("log-format", CHOICE, "|".join(LOG_FORMATS), RESULT, "the form of the lines on stderr",
           choices=LOG_FORMATS, default="text", in_config=False),
)
NOT_OF_EVERY_SERVICE = ("pty", "pass-fd", "listen-fds", "outcome", "outcome-fd", "notify", "name", "stats",
                        "config", "no-cache")
JAIL_OPTIONS = tuple(option for option in RUN_OPTIONS if option.name not in NOT_OF_EVERY_SERVICE)
NAMES = Option("names", FLAG, "", RESULT, "nothing but the names, one a line", in_config=False)
SIGNAL = Option("signal", TEXT, "SIGNAL", RESULT, "a name such as TERM, or a number, as kill(1) has it; "
                "TERM is followed by KILL after the jail's grace, STOP and CONT are for all of the jail",
                default="KILL", in_config=False)
MAN = Option("man", FLAG, "", RESULT, "as a man page, in troff", in_config=False)


CODE = Option("code", TEXT, "CODE", PROGRAM, "the service's code itself (also -c CODE)", in_config=False)
LANGUAGE = Option("language", TEXT, "NAME", PROGRAM, "what the service is written in, where its file's name "
                  "does not say", in_config=False)
PARAM = Option("param", NAME_VALUE, "NAME=VALUE", PROGRAM, "a parameter of the request; of several with "
               "one name a list", repeat=True, in_config=False)
METHOD = Option("method", TEXT, "METHOD", PROGRAM, "the request's method", default="GET", in_config=False)
PROTOCOLS = ("none", "json", "stderr")
PROTOCOL = Option("protocol", CHOICE, "|".join(PROTOCOLS), RESULT, "what stderr tells besides the service's "
                  "log: nothing; head, log, error and end as lines of JSON; or the lines of the node module "
                  "run-service", choices=PROTOCOLS, default="none", in_config=False)
NOT_OF_SERVICES = ("no-cache", "name", "stats")
SERVICE_OPTIONS = (CODE, LANGUAGE, PARAM, METHOD, PROTOCOL,
                   *(option for option in RUN_OPTIONS if option.name not in NOT_OF_SERVICES))


@record(frozen=True)
class Command:
    """One subcommand: its words after the options, what it does in one line, and its options. A name of two
    words belongs to a family. `runs`: its words are a command, so that the first one ends the options; else
    options may also follow words."""

    name: str
    words: str
    about: str
    options: tuple[Option, ...] = (HELP,)
    runs: bool = False


COMMANDS = {command.name: command for command in (
    Command("run", "[--] COMMAND [ARG...]", "run a command in a jail, with the caller's own stdin and stdout",
            (*RUN_OPTIONS, HELP), runs=True),
    Command("shell", "[--] [COMMAND [ARG...]]", "run a shell, or a command, in a jail at a terminal of its "
            "own, as run --pty does", (*RUN_OPTIONS, HELP), runs=True),
    Command("plan", "[--] [COMMAND [ARG...]]", "print what run would do, and do nothing",
            (*RUN_OPTIONS, HELP), runs=True),
    Command("compile", "-o FILE [--] COMMAND [ARG...]", "write an executable file that is the jailed command",
            (OUTPUT, *RUN_OPTIONS, HELP), runs=True),
    Command("unit", "FILE", "print the systemd unit that runs a compiled jail",
            (TYPE, RESTART, UNIT_USER, SESSION, SOCKET, ACCEPT, HELP)),
    Command("learn", "-o FILE.toml [--] COMMAND [ARG...]", "run a command as run does, and write a policy "
            "of the system calls that it made; further runs into the same file add up",
            (OUTPUT, MERGE, *(option for option in RUN_OPTIONS if option.name != "name"), HELP), runs=True),
    Command("service run", "FILE|-|-c CODE", "run a service for one request, whose body is stdin, in a jail "
            "with 10 s of time; the response's body goes to stdout", (*SERVICE_OPTIONS, HELP)),
    Command("ps", "", "list your jails that run now", (JSON, NAMES, HELP)),
    Command("stats", "[NAME]", "tell what your jails, or one of them, use now", (JSON, HELP)),
    Command("kill", "NAME...", "end jails, or send their commands a signal", (SIGNAL, HELP)),
    Command("exec", "NAME [--] COMMAND [ARG...]", "run another command in a jail that runs, with the "
            "caller's own stdin and stdout", (ENV, HELP), runs=True),
    Command("seccomp show", "[PROFILE|FILE]", "print what a policy does with every system call",
            (STRICT, ARCH, JSON, HELP)),
    Command("seccomp explain", "PROFILE|FILE CALL[(ARG,...)]", "tell what happens to a system call, why, and "
            "what to add to allow it; an argument is a number, a constant's name, or _ for any",
            (STRICT, ARCH, JSON, HELP)),
    Command("seccomp diff", "PROFILE|FILE PROFILE|FILE", "print the calls that two policies decide "
            "differently", (ARCH, JSON, HELP)),
    Command("seccomp compile", "PROFILE|FILE", "write a policy in another form, a Docker profile also as a "
            "policy file", (OUTPUT, FORMAT, STRICT, ARCH, HELP)),
    Command("seccomp check", "FILE...", "tell whether policy files are right", (JSON, HELP)),
    Command("serve", "DIR|FILE", "answer HTTP requests, each by a service in a jail of its own",
            (*SERVE_OPTIONS, *JAIL_OPTIONS, HELP)),
    Command("check", "", "tell what this host offers, what it lacks and what to do about it", (JSON, HELP)),
    Command("cache", "clear|path", "remove the cached plans, or tell where they are"),
    Command("completion", "bash|zsh|fish", "print a completion script for a shell"),
    Command("help", "[COMMAND]", "explain pyjail or one of its commands", (MAN, HELP)),
)}

FAMILIES = {"service": "services: programs that answer one request each",
            "seccomp": "show, explain, compare, compile and check policies of system calls"}
