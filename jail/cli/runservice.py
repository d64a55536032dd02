"""`run-service`: the command of the node module of that name (version 3), with its flags and its lines on
stderr, over `pyjail service run --protocol stderr`.

    -c CODE   the service's source
    -e JSON   {"input": {"headers", "host", "url", "connection"}, "params": …}
    -s, -v    about the service and its virtual machine: taken, and of no effect, as ever
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from jail.errors import JailError, SpecError
from jail.services.messages import Error
from jail.services.request import Request
from jail.services.service import Service
from jail.services.supervised import Teller, as_old, supervise

NO_CODE = "Source code required. Please pass in -c option"
USAGE, JAIL_FAILED = 2, 125


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: that of the service, unlike the old one's also after an error."""
    flags = flags_of(sys.argv[1:] if argv is None else argv)
    if not flags.get("c"):
        print(NO_CODE)
        return USAGE
    try:
        service = Service.of_code(os.fsencode(flags["c"]))
        request = request_of(flags.get("e", "{}"), service.deadline_ms)
        return supervise(service, request, "stderr")
    except JailError as error:
        Teller(as_old).tell(Error(type(error).__name__, str(error)))
        return USAGE if isinstance(error, ValueError) else JAIL_FAILED


def flags_of(words: Sequence[str]) -> dict[str, str]:
    """Flags and their values: `-c CODE`, `-c=CODE`, `--c CODE`, `--c=CODE`. Of several the last counts; what
    is no flag is passed over."""
    found: dict[str, str] = {}
    position = 0
    while position < len(words) and words[position] != "--":
        name, equals, value = words[position].partition("=")
        position += 1
        if not name.startswith("-") or len(name.strip("-")) != 1:
            continue
        if not equals and position < len(words):
            value = words[position]
            position += 1
        found[name.strip("-")] = value
    return found


def request_of(text: str, deadline_ms: int | None = None) -> Request:
    """What -e says, as a request. Raises SpecError."""
    try:
        env = json.loads(text)
    except ValueError as error:
        raise SpecError(f"not valid JSON: {error}", "-e") from None
    given = env.get("input") if isinstance(env, Mapping) else None
    known: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    headers = known.get("headers")
    fields = [
        (str(name), str(value))
        for name, values in (headers.items() if isinstance(headers, Mapping) else ())
        for value in (values if isinstance(values, list) else [values])
    ]
    if known.get("host") and not any(name.lower() == "host" for name, _ in fields):
        fields.append(("host", str(known["host"])))
    connection = known.get("connection")
    url = str(known.get("url") or "/")
    return Request(
        method=str(known.get("method") or "GET"),
        url=url,
        path=url.partition("?")[0],
        headers=tuple(fields),
        params=env.get("params") if isinstance(env, Mapping) else None,
        deadline_ms=deadline_ms,
        remote=str(connection.get("remoteAddress") or "") if isinstance(connection, Mapping) else "",
    )
