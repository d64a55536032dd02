"""The configuration file: TOML, the options by their names without dashes.

Strict, because a misspelt limit that is passed over is a limit that is not there: an unknown key, a wrong
type or a syntax error is an error with file, line or key. Relative paths start from the file's own folder, so
that a file means the same wherever it is used from.
"""

from __future__ import annotations

import os.path

from jail.errors import SpecError
from jail.settings import (
    COUNT,
    CPUS,
    DURATION,
    FLAG,
    NUMBER,
    RUN_OPTIONS,
    SIZE,
    Option,
    Setting,
    UsageError,
    closest,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jail.spec import Jail

KEYS = {option.name: option for option in RUN_OPTIONS if option.in_config}
MAX_BYTES = 1 << 20


def read_config(path: str) -> list[Setting]:
    """The settings of the file, in its order. Raises UsageError that names the file and the line or key."""
    return settings_in(path, read_table(path))


def read_jail(path: str) -> Jail:
    """The jail that the file describes, for `Jail.from_toml`. Raises SpecError that names the file and the
    line or key."""
    from jail.tojail import make_jail

    try:
        settings = read_config(os.path.abspath(path))
        for setting in settings:
            if setting.option.name == "outcome":
                raise UsageError(f"{setting.where}: is for the command; here the outcome is what run returns")
        return make_jail(settings)
    except UsageError as error:
        raise SpecError(str(error).removeprefix("--config: ")) from None


def read_table(path: str) -> dict[str, object]:
    """What the file holds. Raises UsageError that names the file and the line."""
    import tomllib
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"--config: cannot read {path}: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise UsageError(f"--config: {path} is larger than 1 MiB and so hardly a configuration file")
    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}: line {line} is not UTF-8, which TOML must be") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from None


def settings_in(path: str, table: dict[str, object]) -> list[Setting]:
    """The settings that the keys of the file make. Raises UsageError that names the file and the key."""
    base = os.path.dirname(os.path.abspath(path))
    settings: list[Setting] = []
    for key, value in table.items():
        settings += settings_of(path, key, value, base)
    return settings


def settings_of(name: str, key: str, value: object, base: str) -> list[Setting]:
    """The settings that one key of the file makes."""
    option = KEYS.get(key)
    where = f"{name}: {key}"
    if option is None:
        raise UsageError(unknown_key(name, key))
    if option.kind == FLAG:
        if not isinstance(value, bool):
            raise UsageError(f"{where}: expected true or false, not {shown(value)}")
        return [Setting(option, "", where, base)] if value else []
    if not option.repeat:
        return [Setting(option, text_of(option, value, where), where, base)]
    if not isinstance(value, list):
        raise UsageError(f"{where}: expected a list, such as {example(option)}, not {shown(value)}")
    return [Setting(option, text_of(option, item, f"{where}[{index}]"), f"{where}[{index}]", base)
            for index, item in enumerate(value)]


def text_of(option: Option, value: object, where: str) -> str:
    """A string stands for itself; where the option is a number, a number does too."""
    if isinstance(value, str):
        return value
    numeric = option.kind in (SIZE, COUNT, CPUS, DURATION, NUMBER)
    types = (int, float) if option.kind in (CPUS, DURATION) else (int,)
    if numeric and isinstance(value, types) and not isinstance(value, bool):
        return str(value)
    expected = option.kind if numeric else "a string"
    raise UsageError(f"{where}: expected {expected}, not {shown(value)}")


def unknown_key(name: str, key: str) -> str:
    """The message for a key that is no option."""
    if key in ("config", "no-cache", "outcome-fd"):
        return f"{name}: key {key!r} is for the command line only"
    likely = closest(key.replace("_", "-"), KEYS)
    hint = f"did you mean {likely!r}?" if likely else "the keys are the options of `pyjail run --help`"
    return f"{name}: unknown key {key!r}; {hint}"


def example(option: Option) -> str:
    """A list that the option would take."""
    return {"env": '["NAME=VALUE"]', "pass-fd": "[3]", "tmpfs": '["/work:64M"]',
            "allow-weaker": '["memory"]'}.get(option.name, '["/srv/data:/data"]')


def shown(value: object) -> str:
    """A wrong value, with its type as TOML calls it."""
    kinds = ((bool, "the boolean"), (int, "the number"), (float, "the number"), (str, "the string"))
    for kind, word in kinds:
        if isinstance(value, kind):
            return f"{word} {str(value).lower() if kind is bool else repr(value)}"
    return "a list" if isinstance(value, list) else "a table" if isinstance(value, dict) else "a date or time"
