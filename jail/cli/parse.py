"""From words to settings: a parser of command lines that costs nothing to import (argparse costs 6 ms, the
whole of a jailed run 3).

Options end at `--` and, where the words are a command, at the first word that is no option. An option's
value is the next word or follows `=`. A value in a word of its own cannot begin with `--`: so the first `--`
of a command line always ends the options, which is what the native front relies on when it looks for a cached
plan without understanding options.
"""

from __future__ import annotations

from jail._record import record
from jail.settings import FLAG, Setting, UsageError, closest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jail.cli.options import Command
    from jail.settings import Option


@record(frozen=True)
class Parsed:
    """`settings` in the order given, `words` that follow the options, whether a `--` ended the options."""

    settings: list[Setting]
    words: list[str]
    dashes: bool

    def last(self, name: str) -> Setting | None:
        """The last setting of the option `name`."""
        return next((setting for setting in reversed(self.settings) if setting.option.name == name), None)


def parse(command: Command, words: Sequence[str]) -> Parsed:
    """Parse the words after the command's name. Raises UsageError."""
    known = {option.name: option for option in command.options}
    settings: list[Setting] = []
    plain: list[str] = []
    position = 0
    while position < len(words):
        word = words[position]
        if word == "--":
            return Parsed(settings, [*plain, *words[position + 1:]], True)
        if len(word) < 2 or word[0] != "-":
            if command.runs:
                break
            plain.append(word)
            position += 1
            continue
        name, equals, text = SHORT.get(word, word).partition("=")
        option = known.get(name[2:]) if name.startswith("--") else None
        if option is None:
            raise UsageError(unknown_option(command, word.partition("=")[0], known))
        position += 1
        if option.kind == FLAG:
            if equals:
                raise UsageError(f"{name} takes no value, and {text!r} was given")
        elif not equals:
            text = value_of(option, words, position)
            position += 1
        settings.append(Setting(option, text, name))
    return Parsed(settings, [*plain, *words[position:]], False)


SHORT = {"-o": "--output", "-h": "--help", "-c": "--code"}


def value_of(option: Option, words: Sequence[str], position: int) -> str:
    """The word that is the option's value."""
    if position == len(words) or words[position] == "--":
        raise UsageError(f"--{option.name} needs a value: {option.usage}")
    word = words[position]
    if word.startswith("--"):
        raise UsageError(f"--{option.name} needs a value: {option.usage}\n"
                         f"If {word!r} is meant as the value, write --{option.name}={word}")
    return word


def unknown_option(command: Command, word: str, known: Iterable[str]) -> str:
    """The message for an option that the command does not have."""
    likely = closest(word.lstrip("-"), known)
    hint = f"did you mean --{likely}?" if likely else f"`pyjail {command.name} --help` lists them"
    return f"unknown option {word}; {hint}"
