"""`Request`: what a service is asked, as the JSON on descriptor 4 and as variables. See docs/services.md.

Everything in it is data from outside: names become variables' names by a fixed rule, values are never read by
a shell or put into a command line.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from jail.errors import SpecError

VERSION = 1
MAX_REQUEST = 4 << 20
"""Bytes of the JSON."""
MAX_PARAMS = 1000
MAX_VALUE = 64 << 10
"""Bytes of a parameter that becomes a variable; execve(2) takes 128 KiB of each."""
MAX_VALUES = 512 << 10
"""Bytes of all parameters that become variables together."""
MAX_NAME = 128
PREFIX = "PYJAIL_"
OMITTED = "PYJAIL_PARAMS_OMITTED"

JOINED = {"cookie": "; "}  # RFC 9113; all others by a comma, RFC 9110


def new_id() -> str:
    """An id that nobody can guess."""
    return secrets.token_hex(8)


@dataclass(frozen=True)
class Request:
    """One request. Raises SpecError for what cannot be handed over; its `field` is e.g. `params.name`."""

    method: str = "GET"
    url: str = "/"
    """As it came, with the query."""
    path: str = "/"
    """What follows the service's name."""
    headers: tuple[tuple[str, str], ...] = ()
    params: Any = field(default_factory=dict)
    """A mapping of names to values as JSON has them. Callers of the old module may give any JSON: that is
    handed over and makes no variables."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables besides the jail's own. None may begin with PYJAIL_."""
    deadline_ms: int | None = None
    """How long the service has, in milliseconds from its start; for its information."""
    remote: str = ""
    """The client's address, or ""."""
    id: str = field(default_factory=new_id)

    def __post_init__(self) -> None:
        for name in ("id", "method", "url", "path", "remote"):
            if "\0" in getattr(self, name):
                raise SpecError(f"{getattr(self, name)!r} holds a NUL character", name)
        for name, value in self.env.items():
            if not name or "=" in name or "\0" in name + value or name.startswith(PREFIX):
                raise SpecError(f"{name!r} cannot be set by a request", "env")
        self.to_json()

    def to_json(self) -> bytes:
        """What is read from descriptor 4. Raises SpecError where it is too large."""
        try:
            json.dumps(self.params, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise SpecError(f"cannot be written as JSON: {error}", "params") from None
        headers: dict[str, str] = {}
        for name, value in self.headers:
            name = name.lower()
            headers[name] = headers[name] + JOINED.get(name, ", ") + value if name in headers else value
        text = json.dumps(
            {
                "v": VERSION,
                "id": self.id,
                "method": self.method,
                "url": self.url,
                "path": self.path,
                "headers": headers,
                "params": self.params,
                "env": self.variables(),
                "remote": self.remote,
                "deadline_ms": self.deadline_ms,
            },
            separators=(",", ":"),
        )
        if len(text) > MAX_REQUEST:
            raise SpecError(f"{len(text)} bytes of JSON are more than {MAX_REQUEST}", "request")
        return text.encode()

    def variables(self) -> dict[str, str]:
        """The variables that the service gets: `env`, PYJAIL_METHOD and the like, and PYJAIL_PARAM_X for the
        parameter x.

        Raises SpecError where two parameters want one name, a value holds a NUL character, or there are too
        many. Values that are too large for a variable are only in the JSON; OMITTED names them.
        """
        found = dict(self.env)
        for name in ("id", "method", "url", "path"):
            if len(getattr(self, name)) <= MAX_VALUE:
                found[PREFIX + name.upper()] = getattr(self, name)
        left, room = [], MAX_VALUES
        for name, variable, value in self._params():
            size = len(os.fsencode(value)) if _encodable(value) else MAX_VALUE + 1
            if size > MAX_VALUE or size > room:
                left.append(variable.removeprefix("PYJAIL_PARAM_"))
                continue
            if variable in found:
                raise SpecError(f"another parameter is called {variable} too", f"params.{name}")
            room -= size
            found[variable] = value
        if left:
            found[OMITTED] = " ".join(left)
        return found

    def _params(self) -> Iterator[tuple[str, str, str]]:
        """Name, variable and text of each parameter."""
        if not isinstance(self.params, Mapping):
            return
        if len(self.params) > MAX_PARAMS:
            raise SpecError(f"{len(self.params)} parameters are more than {MAX_PARAMS}", "params")
        for name, value in self.params.items():
            if not isinstance(name, str) or len(name) > MAX_NAME or "\0" in name:
                raise SpecError(f"{name!r:.40} is no name of a parameter", "params")
            text = value if isinstance(value, str) else json.dumps(value)
            if "\0" in text:
                raise SpecError("the value holds a NUL character, which no variable can", f"params.{name}")
            yield name, "PYJAIL_PARAM_" + variable_name(name), text


def variable_name(name: str) -> str:
    """Upper case; whatever is no ASCII letter or digit becomes an underscore."""
    return "".join(char if char.isascii() and char.isalnum() else "_" for char in name).upper()


def _encodable(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True
