"""The commands, and the options that they have besides those of a run: the parser, the help, the man page and
the shell completion are all read from it, so none of them can know a command that the others do not.

A module on the way to a cold `pyjail run`: it imports nothing heavy (no argparse, enum, dataclasses, typing).
"""

from __future__ import annotations

from jail._record import record
from jail.settings import (
    CHOICE,
    COUNT,
    DURATION,
    ENV,
    FILE,
    FLAG,
    LIMITS,
    NAME_VALUE,
    NETWORK,
    NUMBER,
    PROGRAM,
    PROTECTION,
    PYJAIL,
    RESULT,
    RUN_OPTIONS,
    TEXT,
    Option,
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
    Command("pause", "NAME...", "freeze all that runs in jails, until they are resumed or end", (HELP,)),
    Command("resume", "NAME...", "have paused jails go on", (HELP,)),
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
