"""`Service`: what is run for a request, and within which jail. See docs/services.md."""

from __future__ import annotations

import dataclasses
import fcntl
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jail.errors import SpecError
from jail.services.languages import (
    BY_EXTENSION,
    BY_NAME,
    MAX_FIRST_LINE,
    command_of,
    language_named,
    language_of,
    runner_mount,
)
from jail.services.settings import Settings, read_settings
from jail.settings import Setting, UsageError
from jail.spec import Bind, Jail
from jail.tojail import make_jail
from rlimits import INFINITY

TIMEOUT = 10.0
"""Seconds of wall time, where nothing else is said."""
GRACE = 1.0
CODE = 5
"""The descriptor of a service that is given as text."""
CODE_INSIDE = f"/proc/self/fd/{CODE}"
FOLDER_INSIDE = "/srv"
INDEX = "index"
OTHER_ID = "which has an id of its own when root starts it"
MAX_CODE = 256 << 20
MESSAGES, REQUEST = 3, 4
SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


@dataclass(frozen=True)
class Service:
    """One service. Frozen; made by `load` or `of_code`."""

    name: str
    language: str
    path: Path | None
    """The file, or the folder with its index; None for code given as text."""
    jail: Jail
    """With the limits, and with the service and its runner shown inside."""
    settings: Settings
    command: tuple[str, ...]
    """The words that are run inside."""
    code: bytes | None = None
    """The text that is given on descriptor 5, or None."""

    @property
    def has_runner(self) -> bool:
        """Whether a runner of ours loads the service. It waits for the end of descriptor 4 before it reads
        any code, so that it can be started ahead, and sets the request's variables itself."""
        return self.language in BY_NAME and bool(BY_NAME[self.language].runner)

    @property
    def deadline_ms(self) -> int | None:
        """How long a request may take, in milliseconds; None: no limit."""
        seconds = self.jail.limits.timeout
        return None if seconds is None or seconds == INFINITY else int(seconds * 1000)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        language: str = "",
        options: Sequence[Setting] = (),
        config: str | os.PathLike[str] | None = None,
    ) -> Service:
        """The service in a file, or in a folder's index, with what NAME.toml beside it says, or the file
        `config`. `options` are settings of the command line, which come before the file's.

        Raises SpecError that names the file, and the key; UnsupportedError for a missing interpreter.
        """
        place = os.path.abspath(path)
        file = index_of(place) if os.path.isdir(place) else place
        mode, first = _look(file)
        beside = settings_file(place)
        if config is None and beside != place and os.path.lexists(beside):
            config = beside
        settings, named, own = _configured(config)
        language = language_named(language) if language else named or language_of(file, mode, first)
        name = os.path.basename(place)
        shown = f"{FOLDER_INSIDE}/{name}"
        inside = shown if file == place else f"{shown}/{os.path.basename(file)}"
        jail = _jail([*own, *options], Bind(place, shown), *runner_mount(language))
        command = command_of(language, inside, inside, jail, first)
        name = name if file != place else os.path.splitext(name)[0]
        return cls(name, language, Path(place), jail, settings, command)

    @classmethod
    def of_code(
        cls,
        code: bytes,
        language: str = "",
        *,
        name: str = "service",
        options: Sequence[Setting] = (),
        config: str | os.PathLike[str] | None = None,
    ) -> Service:
        """A service whose code is a text, in JavaScript where nothing else is said. Raises as `load`."""
        if len(code) > MAX_CODE:
            raise SpecError(f"{len(code)} bytes are more than {MAX_CODE}", "code")
        settings, named, own = _configured(config)
        language = language_named(language) if language else named or "javascript"
        known = BY_NAME.get(language)
        jail = _jail([*own, *options], *runner_mount(language))
        if "proc" in jail.without:
            raise SpecError("code that is no file is read by way of /proc: leave --no-proc out", "code")
        shown = f"{FOLDER_INSIDE}/{name}{known.extensions[0] if known else ''}"
        command = command_of(language, CODE_INSIDE, shown, jail, code[:MAX_FIRST_LINE])
        return cls(name, language, None, jail, settings, command, code)


def indexes(folder: str) -> list[str]:
    """The files of a folder that would be its service. Raises OSError."""
    with os.scandir(folder) as entries:
        return sorted(
            entry.path
            for entry in entries
            if os.path.splitext(entry.name)[0] == INDEX and is_service(entry)
        )


def is_service(entry: os.DirEntry[str]) -> bool:
    """Whether a file is a service: by its extension, or because it may be executed. A link is none: who may
    write the folder does not choose other files of the host with it."""
    extension = os.path.splitext(entry.name)[1].lower()
    if extension == ".toml" or not entry.is_file(follow_symlinks=False):
        return False
    return extension in BY_EXTENSION or bool(entry.stat(follow_symlinks=False).st_mode & 0o111)


def index_of(folder: str) -> str:
    """The one service in a folder. Raises SpecError."""
    try:
        found = indexes(folder)
        mode = os.stat(folder).st_mode
    except OSError as error:
        raise SpecError(f"cannot read {folder}: {error.strerror}", "service") from None
    if len(found) != 1:
        names = " and ".join(map(os.path.basename, found)) or "none"
        raise SpecError(
            f"a folder is a service by one file index.js, index.py…; {folder} has {names}", "service"
        )
    if os.geteuid() == 0 and not mode & stat.S_IXOTH:
        raise SpecError(f"{folder} cannot be entered in the jail, {OTHER_ID}: chmod o+x", "service")
    return found[0]


def settings_file(path: str) -> str:
    """Where the settings of a service are: beside it, NAME.toml for NAME.js and for the folder NAME."""
    return (path if os.path.isdir(path) else os.path.splitext(path)[0]) + ".toml"


def _configured(toml: str | os.PathLike[str] | None) -> tuple[Settings, str, list[Setting]]:
    """What the settings file says, if there is one."""
    if toml is None:
        return Settings(), "", []
    path = os.path.abspath(toml)
    settings, language, options = read_settings(path)
    return settings, language and language_named(language, f"{path}: language"), options


def _look(file: str) -> tuple[int, bytes]:
    """The mode and the first bytes of a service's file. Raises SpecError."""
    try:
        with open(file, "rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            first = opened.read(MAX_FIRST_LINE) if stat.S_ISREG(mode) else b""
    except OSError as error:
        raise SpecError(f"cannot read {file}: {error.strerror}", "service") from None
    if not stat.S_ISREG(mode):
        raise SpecError(f"{file} is no file", "service")
    if os.geteuid() == 0 and not mode & stat.S_IROTH:
        raise SpecError(f"{file} cannot be read in the jail, {OTHER_ID}: chmod o+r", "service")
    return mode, first


def _jail(options: Sequence[Setting], *mounts: Bind) -> Jail:
    try:
        jail = make_jail(list(options))
    except UsageError as error:
        raise SpecError(str(error)) from None
    if overlap := {MESSAGES, REQUEST, CODE}.intersection(jail.pass_fds):
        raise SpecError(f"descriptor {min(overlap)} is the service's own: 3, 4 and 5 are taken", "pass_fds")
    limits = jail.limits
    if limits.timeout is None:
        jail = jail.with_limits(timeout=TIMEOUT)
    if limits.grace is None:
        jail = jail.with_limits(grace=GRACE)
    return dataclasses.replace(jail, mounts=(*jail.mounts, *mounts))


def sealed(data: bytes, name: str) -> int:
    """A descriptor from which the data can be read, and nobody can change it."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
        os.lseek(descriptor, 0, os.SEEK_SET)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
