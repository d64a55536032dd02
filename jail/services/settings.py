"""What a file NAME.toml beside a service says: options of the jail, by the names of `pyjail run --config`,
and how much the gateway lets in, which is `Settings`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jail.configfile import KEYS, read_table, settings_in, shown
from jail.errors import SpecError
from jail.settings import Setting, UsageError, closest
from rlimits import LimitError, parse_size

NOT_FOR_SERVICES = ("outcome", "stats", "pass-fd")
MOST = 1 << 20
PER = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Settings:
    """How a gateway treats one service. A service that is run from the shell has no use for them."""

    concurrency: int = 64
    """Requests at a time; further ones are refused with 429."""
    client_concurrency: int = 16
    """Requests at a time from one client."""
    rate: float | None = None
    """Requests by the second, averaged; None: no limit. In the file `"10/s"`, `"600/m"`, `"1000/h"`."""
    client_rate: float | None = None
    """Requests by the second from one client."""
    max_body: int = 64 << 20
    """Bytes of a request's body; larger ones are refused with 413."""
    methods: tuple[str, ...] = ()
    """Those that the service answers; others are refused with 405. Empty: all."""
    pool: int = 0
    """Runners that are started ahead, where the language has one that can wait."""


def read_settings(path: str) -> tuple[Settings, str, list[Setting]]:
    """The settings, the language or "", and the options of the jail in the file. Raises SpecError that names
    the file and the line or key."""
    try:
        table = read_table(path)
        own = {key: table.pop(key) for key in list(table) if key in READERS}
        for key in table:
            if key not in KEYS or key in NOT_FOR_SERVICES:
                raise UsageError(f"{path}: {_unknown(key)}")
        settings = settings_in(path, table)
        language = own.pop("language", "")
        if not isinstance(language, str):
            raise UsageError(f"{path}: language: expected a string, not {shown(language)}")
        return Settings(**_read(path, own)), language, settings
    except UsageError as error:
        raise SpecError(str(error).removeprefix("--config: ")) from None


def _read(path: str, own: Mapping[str, object]) -> dict[str, Any]:
    found = {}
    for key, value in own.items():
        try:
            found[key.replace("-", "_")] = READERS[key](value)
        except (TypeError, ValueError) as error:
            raise UsageError(f"{path}: {key}: {error}") from None
    return found


def _unknown(key: str) -> str:
    if key in NOT_FOR_SERVICES:
        return f"key {key!r} is for pyjail run; a service has none"
    likely = closest(key.replace("_", "-"), [*KEYS, *READERS])
    hint = f"did you mean {likely!r}?" if likely else "docs/services.md lists them"
    return f"unknown key {key!r}; {hint}"


def _count(least: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MOST:
            raise ValueError(f"expected a whole number from {least} to {MOST}, not {shown(value)}")
        return value

    return read


def _rate(value: object) -> float:
    if isinstance(value, str):
        number, slash, unit = value.partition("/")
        if slash and unit in PER and number.isascii() and number.isdigit() and 0 < int(number) <= MOST:
            return int(number) / PER[unit]
    raise ValueError(f'expected a text such as "10/s", "600/m" or "1000/h", not {shown(value)}')


def _size(value: object) -> int:
    try:
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        if isinstance(value, str):
            return parse_size(value)
    except LimitError as error:
        raise ValueError(str(error)) from None
    raise ValueError(f"expected a size, such as 64M, not {shown(value)}")


def _methods(value: object) -> tuple[str, ...]:
    if isinstance(value, list) and value and all(_is_method(each) for each in value):
        return tuple(value)
    raise ValueError('expected a list of methods in upper case, such as ["GET", "POST"]')


def _is_method(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and value.isalpha() and value.isupper()


READERS: dict[str, Callable[[object], Any]] = {
    "concurrency": _count(1),
    "client-concurrency": _count(1),
    "rate": _rate,
    "client-rate": _rate,
    "max-body": _size,
    "methods": _methods,
    "pool": _count(0),
    "language": lambda value: value,
}
