"""`pyjail shell`: a shell in a jail, at a terminal of its own; otherwise `pyjail run --pty`."""

from __future__ import annotations

import os
import os.path

from jail.cli.parse import Parsed
from jail.cli.run import run, settings_of
from jail.defaults import PROGRAMS
from jail.host import TOP
from jail.settings import RUN_OPTIONS, Setting
from jail.sources import Sources
from jail.spec import Bind
from jail.tojail import make_jail

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jail.spec import Jail

SHELLS = ("/bin/bash", "/bin/sh")
MAX_LINKS = 40


def shell(parsed: Parsed) -> int:
    """Become the jailer of the shell, or of the command that was given. Comes back only by an error."""
    pty = next(option for option in RUN_OPTIONS if option.name == "pty")
    settings = [*parsed.settings, Setting(pty, "", "pyjail shell")]
    words = parsed.words
    if not words:
        jail = make_jail(settings_of(Parsed(settings, [], False), Sources()))
        words = [shell_of(jail, os.environ.get("SHELL", ""))]
    return run(Parsed(settings, words, parsed.dashes), None)


def shell_of(jail: Jail, own: str) -> str:
    """The caller's own shell if it is there inside, else the first that is; the last is not looked for."""
    wanted = (own, *SHELLS) if own.startswith("/") else SHELLS
    return next((path for path in wanted if is_program(jail, path)), SHELLS[-1])


def is_program(jail: Jail, path: str) -> bool:
    """Whether a path inside leads to something that can be executed, as far as it can be told from here."""
    for _ in range(MAX_LINKS):
        place = outside(jail, path)
        if not os.path.islink(place):
            return os.path.isfile(place) and os.access(place, os.X_OK)
        path = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(place)))
    return False


def outside(jail: Jail, path: str) -> str:
    """What the host calls a path of the jail's; "" if it is nothing of the host's."""
    mounts = [mount for mount in jail.mounts if is_below(path, mount.target)]
    if mounts:
        mount = max(mounts, key=lambda mount: len(os.path.normpath(mount.target)))
        rest = os.path.relpath(path, mount.target)
        return os.path.normpath(os.path.join(mount.source, rest)) if isinstance(mount, Bind) else ""
    if jail.root != "host":
        return jail.root + path
    return path if any(is_below(path, top) for top in (PROGRAMS, *TOP)) else ""


def is_below(path: str, folder: str) -> bool:
    """Whether a path is the folder or in it."""
    folder = os.path.normpath(folder)
    return path == folder or path.startswith(folder + "/")
