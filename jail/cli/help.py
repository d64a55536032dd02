"""The help texts, made from the table of options."""

from __future__ import annotations

from jail.cli.options import COMMANDS, FAMILIES, Command
from jail.cli.parse import Parsed
from jail.settings import GROUPS, Option, UsageError

WIDTH = 80
COLUMN = 26

ABOUT = "pyjail runs untrusted programs on Linux in a jail made of kernel primitives."

EXAMPLES = {
    "run": (
        ("A filter that sees nothing of this machine but its programs:",
         "pyjail run -- sort <in >out"),
        ("A program in a folder of yours, 10 seconds and 256 MiB at most:",
         "pyjail run --ro-bind $PWD:/app --cwd /app --memory 256M --timeout 10s -- node main.js"),
        ("What became of it, for a program to read:",
         "pyjail run --outcome result.json -- python3 -c 'print(6 * 7)'"),
    ),
    "shell": (
        ("A look around in the default jail; exit or Ctrl-D leaves it:", "pyjail shell"),
        ("At work in a folder of yours:", "pyjail shell --bind $PWD:/work --cwd /work -- python3"),
    ),
    "service run": (
        ("One request to a service, its body from a file:",
         "pyjail service run --param name=World hello.js <body >answer"),
        ("What becomes of it, for a program to read:",
         "pyjail service run --protocol json --timeout 2s hello.py"),
    ),
    "plan": (("All that would be done, one step a line:", "pyjail plan --net host -- curl example.org"),),
    "compile": (("A jailed program as one file, for a shell, cron or systemd to start:",
                 "pyjail compile -o hello.jail --timeout 5s -- node -e 'console.log(1)' && ./hello.jail"),),
    "serve": (
        ("Every service in a folder, each at its name:", "pyjail serve services --listen 127.0.0.1:8080"),
        ("Behind a proxy, with limits that hold for all of them:",
         "pyjail serve services --listen unix:/run/pyjail.sock --proxies 1 --memory 128M"),
    ),
    "check": (("For a program to read:", "pyjail check --json"),),
    "learn": (
        ("A policy of what this program does:",
         "pyjail learn -o node.toml --ro-bind $PWD:/app -- node /app/main.js"),
        ("The same with other input, which adds what is new:",
         "pyjail learn -o node.toml --ro-bind $PWD:/app -- node /app/main.js --other"),
        ("And from then on:",
         "pyjail run --seccomp ./node.toml --ro-bind $PWD:/app -- node /app/main.js"),
    ),
    "kill": (("0", "done"), ("1", "there is no such jail"), ("2", "wrong usage")),
    "pause": (("0", "nothing in them runs any more"),
              ("1", "there is no such jail, or it cannot be paused; stderr says why"), ("2", "wrong usage")),
    "resume": (("0", "they go on"), ("1", "there is no such jail"), ("2", "wrong usage")),
    "seccomp show": (("What the default policy refuses, and why:", "pyjail seccomp show default | less"),),
    "seccomp explain": (
        ("Why ptrace(2) fails in a jail, and what would allow it:", "pyjail seccomp explain default ptrace"),
        ("For some arguments only:", "pyjail seccomp explain default 'socket(AF_PACKET, SOCK_RAW, _)'"),
    ),
    "seccomp diff": (("What a policy of yours changes:", "pyjail seccomp diff default ./mine.toml"),),
    "seccomp compile": (
        ("The default policy in bubblewrap:",
         "pyjail seccomp compile default -o f.bpf && bwrap --seccomp 3 --ro-bind / / true 3<f.bpf"),
        ("Docker's profile, for a container without capabilities, as a policy file:",
         "pyjail seccomp compile --format toml docker.json -o docker.toml"),
    ),
    "seccomp check": (("Before a policy is installed:", "pyjail seccomp check policies/*.toml"),),
    "completion": (("For this user's bash:",
                    "pyjail completion bash > ~/.local/share/bash-completion/completions/pyjail"),),
}

DEFAULTS = {name: {"timeout": "10s", "grace": "1s"} for name in ("service run", "serve")}
"""Other defaults than those of `run`."""

STATUSES = (
    ("0-255", "what the command itself returned"),
    ("128+N", "signal N ended it; 137 with \"out-of-memory\" in the outcome: memory ran out"),
    ("124", "a time limit: --timeout, --idle-timeout or --cpu-time"),
    ("153", "--max-output, --max-stdout or --max-stderr was reached"),
    ("125", "the jail could not be made; the command never ran"),
    ("126", "COMMAND cannot be executed"),
    ("127", "COMMAND was not found"),
)
OTHER_STATUSES = {
    "plan": (("0", "printed"), ("1", "this host cannot do it"), ("2", "the request makes no sense")),
    "compile": (("0", "written"), ("1", "this host cannot do it"), ("2", "the request makes no sense")),
    "learn": (("0-255", "what the command itself returned; the policy is written, whatever it is"),
              ("124", "a time limit; the policy is written"),
              ("125", "no policy was written, for the reason that stderr says"),
              ("126, 127", "COMMAND cannot be executed, or was not found; no policy was written")),
    "service run": (("0", "the response is complete"),
                    ("1-255", "the service's own; 100-106 of an error that docs/services.md lists"),
                    ("128+N", "signal N ended it; 137 with \"out-of-memory\" in the outcome: memory ran out"),
                    ("124", "a time limit"), ("153", "--max-output was reached"),
                    ("125", "the jail could not be made; the service never ran")),
    "seccomp show": (("0", "printed"), ("2", "no such policy, or a wrong one")),
    "seccomp explain": (("0", "explained, whether allowed or not"), ("2", "no such policy or call")),
    "seccomp diff": (("0", "the policies decide the same"), ("1", "they differ"), ("2", "trouble")),
    "seccomp compile": (("0", "written"), ("1", "libseccomp is missing, or stdout is full"),
                        ("2", "no such policy, a wrong one, or a file that cannot be written")),
    "seccomp check": (("0", "every file is right"), ("1", "a file is wrong"),
                      ("2", "a file cannot be read, or other trouble")),
    "serve": (("0", "ended by SIGTERM or SIGINT"), ("1", "it cannot listen, or this host cannot do it"),
              ("2", "the request makes no sense, or a service that cannot be read")),
    "check": (("0", "pyjail run works with the whole default policy"), ("1", "it does not")),
    "cache": (("0", "done, or the cache is in use"), ("1", "the cache cannot be used; stderr says why")),
}


def overview() -> str:
    """`pyjail help`."""
    lines = [ABOUT, "", "Usage:"]
    lines += [f"  {usage(command)}" for command in COMMANDS.values() if " " not in command.name]
    lines += [f"  pyjail {family} {'|'.join(members(family))} ..." for family in FAMILIES]
    lines += ["", "Commands:"]
    for command in COMMANDS.values():
        if " " not in command.name:
            lines += entry(command.name, command.about)
    for family, about in FAMILIES.items():
        lines += entry(family, about)
    lines += ["", *example_lines("run"), "",
              "`pyjail run --help` explains the options; `pyjail check` tells whether this host can do it."]
    return "\n".join(lines) + "\n"


def members(family: str) -> list[str]:
    """The second words of the family's commands."""
    return [name.split(" ")[1] for name in COMMANDS if name.startswith(family + " ")]


def family_help(family: str) -> str:
    """`pyjail FAMILY --help`."""
    commands = [command for command in COMMANDS.values() if command.name.startswith(family + " ")]
    lines = ["Usage:", *(f"  {usage(command)}" for command in commands), ""]
    lines += [*wrapped(sentence(FAMILIES[family]), ""), ""]
    for command in commands:
        lines += entry(command.name, command.about)
    lines += ["", f"`pyjail {family} COMMAND --help` explains each."]
    return "\n".join(lines) + "\n"


def command_help(command: Command) -> str:
    """`pyjail COMMAND --help`."""
    lines = [f"Usage: {usage(command)}", "", *wrapped(sentence(command.about), ""), ""]
    for group in GROUPS:
        options = [option for option in command.options if option.group == group]
        if options:
            lines.append(f"{group}:")
            for option in options:
                lines += entry(option.usage, described(option, command.name))
            lines.append("")
    if command.name in EXAMPLES:
        lines += [*example_lines(command.name), ""]
    lines.append("Exit status:")
    for status, meaning in statuses(command.name):
        lines += entry(status, meaning)
    return "\n".join(lines) + "\n"


def help_text(parsed: Parsed) -> str:
    """`pyjail help [--man] [COMMAND]`."""
    if parsed.last("man"):
        from jail.cli.manpage import man_page
        return man_page()
    if not parsed.words:
        return overview()
    if len(parsed.words) == 1 and parsed.words[0] in FAMILIES:
        return family_help(parsed.words[0])
    command = COMMANDS.get(" ".join(parsed.words))
    if command is None:
        raise UsageError(f"usage: pyjail help [COMMAND], where COMMAND is one of {', '.join(COMMANDS)}")
    return command_help(command)


def usage(command: Command) -> str:
    """The command's shape."""
    options = "[options] " if len(command.options) > 1 else ""
    return f"pyjail {command.name} {options}{command.words}".rstrip()


def statuses(name: str) -> tuple[tuple[str, str], ...]:
    """The exit statuses of a command and what they mean."""
    if name in ("run", "shell"):
        return STATUSES
    return OTHER_STATUSES.get(name, (("0", "done"), ("2", "wrong usage")))


def described(option: Option, command: str = "run") -> str:
    """The option's help, with what holds where it is not given."""
    default = DEFAULTS.get(command, {}).get(option.name, option.default)
    text = sentence(option.about)
    if option.repeat:
        text += " May be given several times."
    return text + (f" Default: {default}." if default else "")


def sentence(text: str) -> str:
    """A help text as a sentence."""
    return text[0].upper() + text[1:] + "."


def example_lines(name: str) -> list[str]:
    """The examples of a command."""
    lines = ["Examples:"]
    for text, command in EXAMPLES[name]:
        lines += [f"  {text}", f"    {command}"]
    return lines


def entry(name: str, text: str) -> list[str]:
    """A name and, beside or below it, its text."""
    body = wrapped(text, " " * COLUMN)
    head = f"  {name}"
    if len(head) > COLUMN - 2:
        return [head, *body]
    return [head.ljust(COLUMN) + body[0].strip(), *body[1:]]


def wrapped(text: str, indent: str) -> list[str]:
    """The text in lines that fit."""
    import textwrap
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
