"""The languages that services are written in, and the command that runs a service of each.

A runner (jail/services/runners) reads the request itself and calls a function of the service; any other
service is a program that its interpreter, or the kernel, starts.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from jail import defaults
from jail.errors import SpecError, UnsupportedError
from jail.spec import Bind, Jail

RUNNERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "runners")
RUNNERS_INSIDE = "/run/pyjail"
MAX_FIRST_LINE = 256  # what the kernel reads of a #! line


@dataclass(frozen=True)
class Language:
    """A language: the files that are in it, the interpreters that do, best first, and Debian's package."""

    name: str
    extensions: tuple[str, ...]
    programs: tuple[str, ...]
    package: str
    options: tuple[str, ...] = ()
    runner: str = ""
    """A file or folder of RUNNERS, or "" where the interpreter gets the service itself."""


LANGUAGES = (
    Language("javascript", (".js", ".cjs", ".mjs"), ("node", "nodejs"), "nodejs",
             ("--experimental-vm-modules",), "node"),
    Language("python", (".py",), ("python3",), "python3", ("-I", "-B"), "python"),
    Language("shell", (".sh",), ("sh",), "dash"),
    Language("bash", (".bash",), ("bash",), "bash"),
    Language("perl", (".pl",), ("perl",), "perl"),
    Language("ruby", (".rb",), ("ruby",), "ruby"),
    Language("php", (".php",), ("php",), "php-cli", ("-d", "display_errors=stderr")),
    Language("lua", (".lua",), ("lua", "lua5.4", "lua5.3", "lua5.2", "lua5.1", "luajit"), "lua5.4"),
    Language("tcl", (".tcl",), ("tclsh",), "tcl"),
)  # fmt: skip
BY_NAME = {language.name: language for language in LANGUAGES}
BY_EXTENSION = {extension: language for language in LANGUAGES for extension in language.extensions}
EXECUTABLE = "executable"
"""The name of no language: the file itself is executed."""


def language_named(name: str, field: str = "language") -> str:
    """The name, if there is such a language. Raises SpecError."""
    if name != EXECUTABLE and name not in BY_NAME:
        raise SpecError(f"{name!r} is none of {', '.join([*BY_NAME, EXECUTABLE])}", field)
    return name


def language_of(path: str, mode: int, first: bytes) -> str:
    """The language of a file, by its mode, its first bytes and its extension. Raises SpecError.

    A file that may be executed and begins as an executable does is one, whatever its extension.
    """
    if mode & 0o111 and first.startswith((b"#!", b"\x7fELF")):
        return EXECUTABLE
    language = BY_EXTENSION.get(os.path.splitext(path)[1].lower())
    if language is not None:
        return language.name
    known = " ".join(BY_EXTENSION)
    if first.startswith((b"#!", b"\x7fELF")):
        raise SpecError(f"{path} may not be executed: chmod +x", "service")
    raise SpecError(
        f"what {path} is written in is not known by its extension (known: {known}); rename it, name the "
        "language, or make it an executable with a #! line",
        "service",
    )


def command_of(language: str, code: str, shown: str, jail: Jail, first: bytes) -> tuple[str, ...]:
    """The words that run the service in the jail: `code` is where the service is inside, `shown` what it is
    called in messages. Raises UnsupportedError where the interpreter is missing."""
    if language == EXECUTABLE:
        interpreter = _interpreter(first)
        if interpreter:
            _find(jail, (interpreter,), f"the service {shown}", "install it, or correct the #! line")
        return (code,)
    known = BY_NAME[language]
    remedy = f"apt-get install {known.package}"
    program = _find(jail, known.programs, f"services in {language}", remedy)
    if known.runner:
        return (program, *known.options, f"{RUNNERS_INSIDE}/{known.runner}", code, shown)
    return (program, *known.options, code)


def runner_mount(language: str) -> tuple[Bind, ...]:
    """What shows the language's runner inside."""
    known = BY_NAME.get(language)
    if known is None or not known.runner:
        return ()
    return (Bind(os.path.join(RUNNERS, known.runner), f"{RUNNERS_INSIDE}/{known.runner}"),)


def _interpreter(first: bytes) -> str:
    """What a #! line names, or ""; of `#!/usr/bin/env NAME`, the NAME."""
    if not first.startswith(b"#!"):
        return ""
    words = first[2:MAX_FIRST_LINE].partition(b"\n")[0].decode(errors="replace").split()
    if words and os.path.basename(words[0]) == "env":
        named = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
        return named[0] if named else ""
    return words[0] if words else ""


def _find(jail: Jail, programs: tuple[str, ...], feature: str, remedy: str) -> str:
    """Where inside the first of the programs is that is there. Links are not followed in another root, where
    they would lead elsewhere from here."""
    root = "" if jail.root == "host" else jail.root
    path = dict(jail.env).get("PATH") or dict(defaults.ENV)["PATH"] or ""
    for program in programs:
        places = [program] if "/" in program else [f"{folder}/{program}" for folder in path.split(":")]
        for place in places:
            if os.path.lexists(root + place) and (root or os.access(place, os.X_OK)):
                return place
    raise UnsupportedError(feature, f"the program {' or '.join(programs)}", remedy)
