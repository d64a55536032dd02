"""What the command line asks of the gateway, checked."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from jail.cli.options import JAIL_OPTIONS
from jail.cli.parse import Parsed
from jail.settings import Setting, UsageError
from jail.tojail import choice, host_path, number
from rlimits import INFINITY, LimitError, parse_duration

MOST = 1 << 16
MAX_TOKEN = 4096
MIN_TOKEN = 16


@dataclass(frozen=True)
class Config:
    """The gateway's own settings; times are seconds."""

    listen: tuple[str, ...] = ()
    proxies: int = 0
    concurrency: int = 256
    connections: int = 1024
    header_timeout: float = 10.0
    stall_timeout: float = 30.0
    drain_timeout: float = 20.0
    token: bytes = b""
    """Empty: the admin pages are for the loopback."""
    admin: bool = True
    log_format: str = "text"
    options: tuple[Setting, ...] = ()
    """Options of every service's jail, which come before those in its file."""

    @classmethod
    def of(cls, parsed: Parsed) -> Config:
        """The settings of the command line. Raises UsageError."""
        given = {setting.option.name: setting for setting in parsed.settings}
        found: dict[str, object] = {
            "listen": tuple(each.text for each in parsed.settings if each.option.name == "listen"),
            "options": tuple(each for each in parsed.settings if each.option in JAIL_OPTIONS),
            "admin": "no-admin" not in given,
        }
        for name, least in (("proxies", 0), ("concurrency", 1), ("connections", 1)):
            if name in given:
                found[name] = number(given[name], least, MOST)
        for name in ("header-timeout", "stall-timeout", "drain-timeout"):
            if name in given:
                found[name.replace("-", "_")] = _seconds(given[name])
        if "log-format" in given:
            found["log_format"] = choice(given["log-format"])
        if "token-file" in given:
            found["token"] = _token(given["token-file"])
        return cls(**found)  # type: ignore[arg-type]


def _seconds(setting: Setting) -> float:
    try:
        seconds = parse_duration(setting.text)
    except LimitError as error:
        raise UsageError(f"{setting.where}: {error}") from None
    if seconds == INFINITY or seconds <= 0:
        raise UsageError(f"{setting.where}: the gateway does not wait for ever; write a time, such as 30s")
    return seconds


def _token(setting: Setting) -> bytes:
    path = host_path(setting, setting.text)
    try:
        with open(path, "rb") as file:
            if stat.S_ISREG(mode := os.fstat(file.fileno()).st_mode) and mode & stat.S_IROTH:
                raise UsageError(f"{setting.where}: everybody can read {path}: chmod o-r")
            token = file.read(MAX_TOKEN).strip()
    except OSError as error:
        raise UsageError(f"{setting.where}: cannot read {path}: {error.strerror}") from None
    if len(token) < MIN_TOKEN or not _printable(token):
        raise UsageError(
            f"{setting.where}: the token in {path} must have at least {MIN_TOKEN} letters, digits or signs "
            "in one line; make one with: openssl rand -hex 16"
        )
    return token


def _printable(token: Sequence[int]) -> bool:
    return all(0x21 <= byte <= 0x7E for byte in token)
