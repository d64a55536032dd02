"""The man page pyjail(1), in troff, made from the table of options. `pyjail help --man` prints it."""

from __future__ import annotations

from jail.cli.help import ABOUT, EXAMPLES, OTHER_STATUSES, STATUSES, described
from jail.cli.options import COMMANDS, HELP
from jail.settings import GROUPS, RUN_OPTIONS

CACHE = """\
The plan that \\fBrun\\fR makes from its options is kept in \\fI$XDG_CACHE_HOME/pyjail\\fR (or
\\fI$HOME/.cache/pyjail\\fR), a folder that must belong to the user and be closed to everybody else.
It serves again only for the same options, folder, user, groups, version and kernel boot, and only while
every file that it was made from is unchanged."""

CONFIGURATION = """\
The file that \\fB\\-\\-config\\fR names is TOML; its keys are the options' names without the dashes.
A flag is \\fItrue\\fR or \\fIfalse\\fR, an option that may be given several times is a list.
Relative paths start from the file's own folder. An unknown key is an error."""

CONFIGURATION_EXAMPLE = """\
memory = "256M"
timeout = "10s"
ro\\-bind = ["models:/models"]
env = ["LANG", "MODE=batch"]"""


def man_page() -> str:
    """The whole page."""
    parts = ['.TH PYJAIL 1 "" "pyjail" "User Commands"', ".SH NAME",
             "pyjail \\- run untrusted programs in a jail made of kernel primitives", ".SH SYNOPSIS"]
    for command in COMMANDS.values():
        options = "[\\fIoptions\\fR] " if len(command.options) > 1 else ""
        parts += [f"\\fBpyjail {troff(command.name)}\\fR {options}{troff(command.words)}".rstrip(), ".br"]
    parts[-1:] = [".SH DESCRIPTION", troff(ABOUT),
                  "The command gets the caller's own standard input, output and error, and by default "
                  "nothing else of this machine but its programs, read\\-only.", ".SH COMMANDS"]
    for command in COMMANDS.values():
        parts += item(command.name, command.about[0].upper() + command.about[1:] + ".")
        own = [option for option in command.options if option not in (*RUN_OPTIONS, HELP)]
        for option in own:
            parts += [".RS", *item(option.usage, described(option)), ".RE"]
    parts += [".SH OPTIONS", "Of \\fBrun\\fR, \\fBshell\\fR, \\fBplan\\fR, \\fBcompile\\fR and "
              "\\fBlearn\\fR; most are of \\fBservice run\\fR and \\fBserve\\fR too, where "
              "\\fB\\-\\-timeout\\fR is 10s and \\fB\\-\\-grace\\fR 1s if nothing is said. "
              "They end at the first word that is none, or at \\fB\\-\\-\\fR. "
              "A value is the next word or follows \\fB=\\fR."]
    for group in GROUPS:
        parts.append(f".SS {troff(group)}")
        for option in RUN_OPTIONS:
            if option.group == group:
                parts += item(option.usage, described(option))
    parts += [".SH CONFIGURATION FILE", CONFIGURATION, ".PP", ".EX", CONFIGURATION_EXAMPLE, ".EE"]
    parts += [".SH EXIT STATUS", "Of \\fBpyjail run\\fR:"]
    for status, meaning in STATUSES:
        parts += item(status, meaning[0].upper() + meaning[1:] + ".")
    for name, meanings in OTHER_STATUSES.items():
        parts += [".PP", f"Of \\fBpyjail {troff(name)}\\fR: "
                  + troff("; ".join(f"{status}: {meaning}" for status, meaning in meanings) + ".")]
    parts += [".SH FILES", CACHE, ".SH EXAMPLES"]
    for examples in EXAMPLES.values():
        for text, command_line in examples:
            parts += [".PP", troff(text), ".PP", ".in +4n", ".EX", troff(command_line), ".EE", ".in"]
    parts += [".SH SEE ALSO", ".BR jailer (1),", ".BR namespaces (7),", ".BR seccomp (2),",
              ".BR landlock (7),", ".BR setrlimit (2)"]
    return "\n".join(part for part in parts if part) + "\n"


def item(name: str, text: str) -> list[str]:
    """A tagged paragraph."""
    return [".TP", f"\\fB{troff(name)}\\fR", troff(text)]


def troff(text: str) -> str:
    """Text with what troff would take for its own."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("~", "\\(ti").replace("'", "\\(aq")
    return "\\&" + escaped if escaped.startswith(".") else escaped
