"""Policy files: TOML, read strictly.

    description = "what it is for"    # optional
    default = "ENOSYS"                # what a call gets that no rule names
    foreign = "kill"                  # what a call through another ABI gets (optional: kill)

    [[rule]]
    calls = ["socketpair"]            # names; each in one rule only
    action = "allow"                  # allow, log, trap, kill (the process), kill-thread, an errno (EPERM)
    reason = "pairs are local"        # optional, shown to people
    when = [                          # optional: the action only if any of these alternatives holds;
      [{ arg = 0, is = 1 }, { arg = 1, mask = 0xf, is = [1, 2] }],    # one holds if all its conditions do
    ]
    otherwise = "EPERM"               # optional: what the call gets when none holds; else the default
    probed = true                     # optional: a strict policy keeps the errno instead of killing

A condition compares argument `arg` (0 to 5), masked by `mask` (optional; without it the lower 32 bits, which
is all that the kernel uses of an int; `width = 64` for pointers and sizes), with `is`: a number, or a list of
which one must match.

Unknown keys, wrong types, unknown calls, actions and numbers out of range are errors that name the file and
the key.
"""

from __future__ import annotations

import os
import tomllib
from itertools import product
from typing import Any, TypeVar

from seccomp._errors import PolicyError
from seccomp.policy import Condition, Policy, Rule, action_number

_T = TypeVar("_T")
_MAX_ALTERNATIVES = 256  # after lists are multiplied out: a program may have 4096 instructions


def read(path: str | os.PathLike[str]) -> Policy:
    """The policy in a file; OSError if it cannot be read."""
    source = os.fspath(path)
    with open(source, "rb") as file:
        return decode(file.read(), source)


def decode(raw: bytes, source: str | None = None) -> Policy:
    """The policy in a file's bytes."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise PolicyError(f"not UTF-8 at byte {error.start}", file=source) from None
    return parse(text, source)


def parse(text: str, source: str | None = None) -> Policy:
    """The policy in a text; `source` is the file's name in messages."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"not TOML: {error}", file=source) from None
    top = _Table(data, source, "")
    rules = [_rule(table) for table in top.tables("rule")]
    policy = top.build(
        Policy,
        rules=tuple(rules),
        default=top.action("default"),
        foreign=top.action("foreign", "kill"),
        description=top.take("description", str, ""),
        source=source,
    )
    policy.table("x86_64")  # for the names, which no machine may lack all
    return policy


class _Table:
    """A TOML table that knows its place, and in the end that nothing in it was left unread."""

    def __init__(self, data: Any, source: str | None, place: str) -> None:
        self.source, self.place = source, place
        if not isinstance(data, dict):
            raise PolicyError("must be a table", file=source, key=place)
        self.data: dict[str, Any] = data
        self.known: set[str] = set()

    def error(self, message: str, key: str = "") -> PolicyError:
        return PolicyError(
            message, file=self.source, key=".".join(part for part in (self.place, key) if part)
        )

    def take(self, key: str, kind: type[_T], default: _T | None = None) -> _T:
        """The value of a key of that type; without a default it must be there."""
        self.known.add(key)
        if key not in self.data:
            if default is None:
                raise self.error("is missing", key)
            return default
        value = self.data[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.error(f"must be {_KINDS[kind]}, not {value!r}", key)
        return value

    def action(self, key: str, default: str | None = None) -> str:
        action = self.take(key, str, default)
        try:
            action_number(action)
        except PolicyError as error:
            raise self.error(error.message, key) from None
        return action

    def strings(self, key: str) -> tuple[str, ...]:
        values = self.take(key, list)
        if not values or not all(isinstance(value, str) for value in values):
            raise self.error("must be a list of strings, and not empty", key)
        return tuple(values)

    def numbers(self, key: str) -> tuple[int, ...]:
        """A number, or a list of them."""
        value = self.data.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            self.known.add(key)
            return (value,)
        values = self.take(key, list)
        if not values or not all(isinstance(item, int) and not isinstance(item, bool) for item in values):
            raise self.error("must be a number or a list of numbers, and not empty", key)
        return tuple(values)

    def tables(self, key: str) -> list[_Table]:
        values: list[Any] = self.take(key, list, [])
        place = f"{self.place}.{key}" if self.place else key
        return [_Table(value, self.source, f"{place}[{index}]") for index, value in enumerate(values)]

    def build(self, kind: type[_T], **fields: Any) -> _T:
        """The record, with what its own checks say placed in the file; unknown keys are errors."""
        for key in self.data:
            if key not in self.known:
                raise self.error(f"no such key; known are {', '.join(sorted(self.known))}", key)
        try:
            return kind(**fields)
        except PolicyError as error:
            raise self.error(error.message) from None


_KINDS: dict[type, str] = {str: "a string", list: "a list", bool: "true or false", int: "a number"}


def _rule(table: _Table) -> Rule:
    return table.build(
        Rule,
        calls=table.strings("calls"),
        action=table.action("action"),
        when=_alternatives(table),
        otherwise=table.action("otherwise") if "otherwise" in table.data else None,
        reason=table.take("reason", str, ""),
        probed=table.take("probed", bool, False),
    )


def _alternatives(table: _Table) -> tuple[tuple[Condition, ...], ...]:
    """`when` with each list of values multiplied out."""
    result: list[tuple[Condition, ...]] = []
    for index, alternative in enumerate(table.take("when", list, [])):
        place = f"when[{index}]"
        if not isinstance(alternative, list) or not alternative:
            raise table.error("must be a list of conditions, and not empty", place)
        tables = [
            _Table(item, table.source, f"{table.place}.{place}[{i}]") for i, item in enumerate(alternative)
        ]
        result.extend(product(*(_conditions(item) for item in tables)))
        if len(result) > _MAX_ALTERNATIVES:
            raise table.error(
                f"has more than {_MAX_ALTERNATIVES} alternatives when its lists are multiplied out", "when"
            )
    return tuple(dict.fromkeys(result))


def _conditions(table: _Table) -> list[Condition]:
    """One condition for each value in `is`."""
    arg, values = table.take("arg", int), table.numbers("is")
    width = table.take("width", int, 32)
    if width not in (32, 64):
        raise table.error(f"must be 32 or 64, not {width}", "width")
    mask = table.take("mask", int, 2**width - 1)
    if mask >= 2**width:
        raise table.error(f"{mask:#x} is wider than {width} bits", "mask")
    return [table.build(Condition, arg=arg, value=value, mask=mask) for value in values]
