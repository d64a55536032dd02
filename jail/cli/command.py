"""The entry points and the way to each subcommand."""

from __future__ import annotations

import os
import sys

from jail.cli.options import COMMANDS, FAMILIES, Command
from jail.cli.parse import Parsed, parse
from jail.errors import JailError
from jail.settings import UsageError, closest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

USAGE, FAILED, JAIL_FAILED = 2, 1, 125
ONE_IS_AN_ANSWER = ("seccomp diff", "seccomp check")  # as for diff(1): 2 is trouble of any kind


def main(argv: Sequence[str] | None = None) -> int:
    """`pyjail WORDS…`; the exit status. `run` and `shell` come back only by an error: they become the
    jailer."""
    return guarded(list(sys.argv[1:] if argv is None else argv), None)


def front() -> None:
    """What the native front starts: `-c` KEYHEX KEYTEXT WORDS…, the key `-` where there is nothing to
    cache."""
    key_hex, key_text, *words = sys.argv[1:]
    sys.exit(guarded(words, None if key_hex == "-" else (key_hex, key_text)))


def guarded(words: list[str], key: tuple[str, str] | None) -> int:
    """Run the words; errors become one or two lines and a status."""
    is_run = words[:1] in (["run"], ["shell"], ["learn"]) or words[:2] == ["service", "run"]
    wrong, failed = ((JAIL_FAILED, JAIL_FAILED) if is_run
                     else (USAGE, USAGE) if " ".join(words[:2]) in ONE_IS_AN_ANSWER else (USAGE, FAILED))
    if sys.stdout is None and not is_run:
        return complain("standard output is closed", failed)
    try:
        status = dispatch(words, key)
        if sys.stdout is not None:
            sys.stdout.flush()
        return status
    except UsageError as error:
        return complain(error, wrong)
    except JailError as error:
        return complain(error, wrong if isinstance(error, ValueError) else failed)
    except OSError as error:
        if not is_run:  # writing failed, and the interpreter would try again when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return failed if isinstance(error, BrokenPipeError) else complain(error, failed)
    except KeyboardInterrupt:
        return 130


def complain(error: Exception | str, status: int) -> int:
    """Say on stderr what is wrong, if there is a stderr."""
    if sys.stderr is not None:
        print(f"pyjail: {error}", file=sys.stderr)
    return status


def dispatch(words: list[str], key: tuple[str, str] | None) -> int:
    """Find the subcommand, parse its options, do it."""
    if not words:
        from jail.cli.help import overview
        print(overview(), end="", file=sys.stderr)
        return USAGE
    if words[0] == "--version":
        from jail import __version__
        print(f"pyjail {__version__}")
        return 0
    if words[0] in ("--help", "-h"):
        words = ["help", *words[1:]]
    if words[0] in FAMILIES and words[1:2] in ([], ["--help"], ["-h"]):
        from jail.cli.help import family_help
        if words[1:] or sys.stderr is not None:
            print(family_help(words[0]), end="", file=sys.stdout if words[1:] else sys.stderr)
        return 0 if words[1:] else USAGE
    length = 2 if words[0] in FAMILIES else 1
    command = COMMANDS.get(" ".join(words[:length]))
    if command is None:
        raise UsageError(unknown_command(words))
    parsed = parse(command, words[length:])
    if parsed.last("help"):
        from jail.cli.help import command_help
        print(command_help(command), end="")
        return 0
    return perform(command, parsed, key)


def unknown_command(words: Sequence[str]) -> str:
    """The message for a first word, or a second one in a family, that is no subcommand."""
    if words[0] in FAMILIES:
        likely = closest(" ".join(words[:2]), [name for name in COMMANDS if " " in name])
        hint = f"did you mean {likely}?" if likely else f"`pyjail {words[0]} --help` lists them"
        return f"unknown command {' '.join(words[:2])!r}; {hint}"
    word = words[0]
    if word.startswith("-"):
        return f"unknown option {word}; options follow the subcommand, as in: pyjail run {word}"
    likely = closest(word, COMMANDS)
    hint = f"did you mean {likely}?" if likely else f"to run it in a jail: pyjail run {word}"
    return f"unknown command {word!r}; {hint}"


def perform(command: Command, parsed: Parsed, key: tuple[str, str] | None) -> int:
    """Do what the subcommand does. Each is imported only when it is asked for."""
    if command.name == "run":
        from jail.cli.run import run
        return run(parsed, key)
    if command.name == "shell":
        from jail.cli.shell import shell
        return shell(parsed)
    if command.name == "plan":
        from jail.cli.run import show_plan
        return show_plan(parsed)
    if command.name == "compile":
        from jail.cli.compile import compile_jail
        return compile_jail(parsed)
    if command.name == "unit":
        from jail.cli.unit import unit
        return unit(parsed)
    if command.name == "learn":
        from jail.cli.learn import learn_policy
        return learn_policy(parsed)
    if command.name == "service run":
        from jail.cli.service import run_service
        return run_service(parsed)
    if command.name.startswith("seccomp "):
        from jail.cli.seccomp import perform as on_policies
        return on_policies(command, parsed)
    if command.name in ("ps", "stats", "kill", "pause", "resume", "exec"):
        from jail.cli.running import perform as on_running
        return on_running(command, parsed)
    if command.name == "check":
        from jail.check import check
        expect_words(command, parsed, 0)
        return check(as_json=parsed.last("json") is not None)
    if command.name == "serve":
        from jail.gateway.command import serve
        return serve(expect_words(command, parsed, 1)[0], parsed)
    if command.name == "cache":
        from jail.cli.cache import cache
        return cache(expect_words(command, parsed, 1)[0])
    if command.name == "completion":
        from jail.cli.completion import completion
        print(completion(expect_words(command, parsed, 1)[0]), end="")
        return 0
    from jail.cli.help import help_text
    print(help_text(parsed), end="")
    return 0


def expect_words(command: Command, parsed: Parsed, number: int) -> list[str]:
    """The words after the options, which must be as many."""
    if len(parsed.words) != number:
        raise UsageError(f"usage: pyjail {command.name} {command.words}".rstrip())
    return parsed.words
