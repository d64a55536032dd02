"""From settings to the `Jail` that the library knows.

Each value is checked where it is read, so that the message names the option, or the file and key, that it
came from. What only makes sense together (duplicated targets, unknown profile names) is the library's to
check.
"""

from __future__ import annotations

import os.path

from jail.errors import SpecError
from jail.settings import UsageError, closest
from jail.sources import is_policy_file
from jail.spec import MAX_DESCRIPTOR, MAX_ID, Bind, Jail, Tmpfs
from rlimits import INFINITY, LimitError, Limits, parse_rlimit, parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jail.settings import Setting
    from rlimits.io_max import IoMax
    from rlimits.rlimit import Rlimit

BINDS = {  # option: (writable, optional)
    "bind": (True, False), "ro-bind": (False, False), "bind-try": (True, True), "ro-bind-try": (False, True)}
WITHOUT = {"no-proc": "proc", "no-tmp": "tmp", "no-shm": "shm", "no-etc": "etc", "no-landlock": "landlock"}
LIMITS = frozenset(("memory", "file-size", "tmp-size", "pids", "cpus", "cpuset", "nofile", "open-files",
                    "cpu-time", "timeout", "idle-timeout", "max-output", "max-stdout", "max-stderr", "grace",
                    "io-weight"))
WORDS = {"hostname": "hostname", "cwd": "cwd", "net": "network"}


def make_jail(settings: list[Setting]) -> Jail:
    """The jail that the settings ask for. Raises UsageError (a value) or SpecError (what they make
    together)."""
    mounts: list[Bind | Tmpfs] = []
    env: list[tuple[str, str | None]] = []
    pass_fds: list[int] = []
    allow_weaker: set[str] = set()
    without: set[str] = set()
    limits: dict[str, int | float | str] = {}
    rlimits: dict[str, Rlimit] = {}
    io_max: dict[tuple[str, str], IoMax] = {}
    fields: dict[str, object] = {}
    for setting in settings:
        name, text = setting.option.name, setting.text
        if "\0" in text:
            raise UsageError(f"{setting.where}: the value holds a NUL character, which nothing can be given")
        if name in BINDS or name == "tmpfs":
            mounts.append(mount(setting))
        elif name == "env":
            env.append(variable(setting))
        elif name == "pass-fd":
            pass_fds.append(number(setting, 3, MAX_DESCRIPTOR))
        elif name == "allow-weaker":
            allow_weaker.add(choice(setting))
        elif name in WITHOUT:
            without.add(WITHOUT[name])
        elif setting.option.sets:
            limits[setting.option.sets.replace("-", "_")] = INFINITY
        elif name in LIMITS:
            limits[name.replace("-", "_")] = limit(setting, name.replace("-", "_"))
        elif name == "rlimit":
            one = rlimit(setting)
            rlimits[one[0]] = one
        elif name == "io-max":
            io_max.update({each[:2]: each for each in device_limits(setting)})
        elif name in WORDS:
            fields[WORDS[name]] = choice(setting) if setting.option.choices else text
        elif name in ("uid", "gid"):
            fields[name] = number(setting, 0, MAX_ID)
        elif name in ("strict", "pty"):
            fields[name] = True
        elif name == "audit":
            fields["audit"] = "refused"
        elif name == "root":
            fields["root"] = text if text == "host" else host_path(setting, text)
        elif name == "seccomp":
            fields["seccomp"] = host_path(setting, text) if is_policy_file(text) else text
    return Jail(mounts=tuple(mounts), env=tuple(env), limits=all_limits(limits, rlimits, io_max),
                pass_fds=tuple(pass_fds), allow_weaker=frozenset(allow_weaker), without=frozenset(without),
                **fields)  # type: ignore[arg-type]


def all_limits(limits: dict[str, int | float | str], rlimits: dict[str, Rlimit],
               io_max: dict[tuple[str, str], IoMax]) -> Limits:
    """The limits together; of several on one resource the last counts. Raises SpecError."""
    try:
        return Limits(**limits, rlimits=tuple(rlimits.values()),  # type: ignore[arg-type]
                      io_max=tuple(io_max.values()))
    except LimitError as error:
        raise SpecError(str(error).removeprefix(f"{error.field}: "), "limits") from None


def make_outcome(settings: list[Setting]) -> int | str | None:
    """Where the outcome goes: a descriptor, a path, or nowhere. The last of both options wins."""
    for setting in reversed(settings):
        if setting.option.name == "outcome-fd":
            return number(setting, 0, MAX_DESCRIPTOR)
        if setting.option.name == "outcome":
            return host_path(setting, setting.text)
    return None


def make_name(settings: list[Setting]) -> str:
    """What others find the run by; "" for its pid."""
    from jail._fields import NAME, RefusedError
    found = [setting for setting in settings if setting.option.name == "name"]
    try:
        return str(NAME.read(found[-1].text)) if found else ""
    except RefusedError as error:
        raise UsageError(f"{found[-1].where}: {error}") from None


def host_path(setting: Setting, path: str) -> str:
    """The absolute path, relative ones from the current folder or, in a configuration file, from that file's.
    `..` is resolved by its letters, as a shell's cd does."""
    if not path:
        raise UsageError(f"{setting.where}: the path is empty")
    try:
        return os.path.abspath(os.path.join(setting.base, path))
    except FileNotFoundError:
        raise UsageError(f"{setting.where}: {path!r} is relative, and the current folder is gone") from None


def mount(setting: Setting) -> Bind | Tmpfs:
    """One of the options that mount something."""
    try:
        name = setting.option.name
        return tmpfs(setting) if name == "tmpfs" else bind(setting, *BINDS[name])
    except (SpecError, LimitError) as error:
        raise UsageError(f"{setting.where}: {error}") from None


def target(setting: Setting, path: str) -> str:
    """A place inside; the library checks it, and speaks of its own names."""
    if path and not path.strip("/"):
        raise UsageError(f"{setting.where}: {path!r} is the root itself, see --root; name a folder in it")
    return path


def bind(setting: Setting, writable: bool, optional: bool) -> Bind:
    """SRC[:DST]."""
    source, *rest = split_colons(setting)
    source = host_path(setting, source)
    return Bind(source, target(setting, rest[0] if rest else source), writable, optional)


def tmpfs(setting: Setting) -> Tmpfs:
    """DST[:SIZE]."""
    path, *rest = split_colons(setting)
    return Tmpfs(target(setting, path), parse_size(rest[0]) if rest else None)


def split_colons(setting: Setting) -> list[str]:
    r"""The one or two parts of a value around its colon; `\:` is a colon that does not part."""
    parts = [part.replace("\0", ":") for part in setting.text.replace("\\:", "\0").split(":")]
    if len(parts) > 2:
        raise UsageError(f"{setting.where}: {setting.text!r} has {len(parts) - 1} colons where "
                         f"{setting.option.metavar} has one; write \\: for a colon in a path")
    return parts


def variable(setting: Setting) -> tuple[str, str | None]:
    """NAME (the caller's value at the time of the run) or NAME=VALUE."""
    name, equals, value = setting.text.partition("=")
    if not name:
        raise UsageError(f"{setting.where}: {setting.text!r} has no name; expected {setting.option.metavar}")
    return name, value if equals else None


def number(setting: Setting, least: int, most: int) -> int:
    """A plain decimal number."""
    text = setting.text
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and least <= int(text) <= most):
        raise UsageError(f"{setting.where}: expected a whole number from {least} to {most}, not {text!r}")
    return int(text)


def choice(setting: Setting) -> str:
    """One of the words that the option knows."""
    choices = setting.option.choices
    if setting.text not in choices:
        likely = closest(setting.text, choices)
        hint = f"; did you mean {likely}?" if likely else ""
        raise UsageError(f"{setting.where}: expected {' or '.join(choices)}, not {setting.text!r}{hint}")
    return setting.text


def limit(setting: Setting, field: str) -> int | float | str:
    """One limit, in bytes, seconds or things, or a list of CPUs."""
    try:
        value: int | float | str = getattr(Limits.parse(**{field: setting.text}), field)
    except LimitError as error:
        raise UsageError(f"{setting.where}: {str(error).removeprefix(field + ': ')}") from None
    return value


def rlimit(setting: Setting) -> Rlimit:
    """One limit of setrlimit(2)."""
    try:
        return parse_rlimit(setting.text, "")
    except LimitError as error:
        raise UsageError(f"{setting.where}: {error}") from None


def device_limits(setting: Setting) -> tuple[IoMax, ...]:
    """Limits on one block device."""
    from rlimits.io_max import parse_io_max
    try:
        return parse_io_max(setting.text, "")
    except LimitError as error:
        raise UsageError(f"{setting.where}: {error}") from None
