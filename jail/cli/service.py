"""`pyjail service run`: one service, one request, from stdin to stdout."""

from __future__ import annotations

import dataclasses
import os
import sys
from typing import NoReturn

from jail.build import build_plan
from jail.cli.parse import Parsed
from jail.host import Host
from jail.launch import exec_jailer, load_program
from jail.services.messages import grouped
from jail.services.request import Request
from jail.services.service import CODE, MAX_CODE, MESSAGES, REQUEST, Service, sealed
from jail.settings import RUN_OPTIONS, UsageError
from jail.tojail import choice, host_path, make_outcome

USAGE = "usage: pyjail service run [options] FILE|-|-c CODE"


def run_service(parsed: Parsed) -> int:
    """Run it; the exit status. Without a protocol this comes back only by an error: it becomes the jailer."""
    service = service_of(parsed)
    outcome = make_outcome(parsed.settings)
    if outcome in (MESSAGES, REQUEST, CODE):
        raise UsageError(f"--outcome-fd: descriptor {outcome} is the service's own: 3, 4 and 5 are taken")
    method = parsed.last("method")
    request = Request(
        method=method.text if method else "GET",
        params=params_of(parsed),
        deadline_ms=service.deadline_ms,
    )
    protocol = parsed.last("protocol")
    if protocol is None or protocol.text == "none":
        become(service, request, outcome)
    choice(protocol)
    from jail.services.supervised import supervise

    return supervise(service, request, protocol.text, outcome)


def service_of(parsed: Parsed) -> Service:
    """The service that the words name."""
    code, language, config = (parsed.last(name) for name in ("code", "language", "config"))
    if (code is None) == (not parsed.words) or len(parsed.words) > 1:
        raise UsageError(USAGE)
    named = language.text if language is not None else ""
    options = [setting for setting in parsed.settings if setting.option in RUN_OPTIONS]
    toml = host_path(config, config.text) if config is not None else None
    if code is not None:
        return Service.of_code(os.fsencode(code.text), named, options=options, config=toml)
    if parsed.words[0] != "-":
        return Service.load(parsed.words[0], language=named, options=options, config=toml)
    if sys.stdin is None:
        raise UsageError("the code was to be read from stdin, which is closed")
    text = sys.stdin.buffer.read(MAX_CODE + 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    return Service.of_code(text, named, options=options, config=toml)


def params_of(parsed: Parsed) -> dict[str, str | list[str]]:
    """The parameters; of several with one name a list."""
    pairs = []
    for setting in parsed.settings:
        if setting.option.name == "param":
            name, equals, value = setting.text.partition("=")
            if not name or not equals:
                raise UsageError(f"--param: expected NAME=VALUE, not {setting.text!r}")
            pairs.append((name, value))
    return grouped(pairs)


def become(service: Service, request: Request, outcome: int | str | None) -> NoReturn:
    """Become the jailer. What the service says on descriptor 3 is for nobody: what went wrong is in its log,
    on stderr, and the exit status is the supervisor's."""
    jail = service.jail
    env = () if service.has_runner else tuple(request.variables().items())
    numbers = {MESSAGES: os.open(os.devnull, os.O_WRONLY), REQUEST: sealed(request.to_json(), "request")}
    if service.code is not None:
        numbers[CODE] = sealed(service.code, "code")
    for number, descriptor in clear(numbers).items():
        os.dup2(descriptor, number)
    jail = dataclasses.replace(jail, env=(*jail.env, *env), pass_fds=(*jail.pass_fds, *numbers))
    plan = build_plan(jail, (), Host.probe(jail), outcome=outcome, program=load_program(jail))
    exec_jailer(plan, service.command)


def clear(numbers: dict[int, int]) -> dict[int, int]:
    """The same files by descriptors that are none of the numbers."""
    import fcntl

    return {
        number: fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, max(numbers) + 1)
        for number, descriptor in numbers.items()
    }
