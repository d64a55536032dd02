"""Policy files: TOML, read strictly.

    description = "what it is for"    # optional
    base = "default"                  # optional: a shipped profile, whose rules hold where this file has none
    strict = true                     # optional: with `base`, see `Policy.strict`
    default = "ENOSYS"                # what a call gets that no rule names; optional with `base`
    foreign = "kill"                  # what a call through another ABI gets (optional: kill)

    [[rule]]
    calls = ["socketpair", "@timer"]  # names, each in one rule only, and groups (see `seccomp.grouping`)
    without = ["times"]               # optional: members of the groups that this rule leaves out
    optional = ["a_new_call"]         # optional: calls like the others, but that need not be known here
    action = "allow"                  # allow, log, trap, kill (the process), kill-thread, an errno (EPERM)
    reason = "pairs are local"        # optional, shown to people
    when = [                          # optional: the action only if any of these alternatives holds;
      [{ arg = 0, is = 1 }, { arg = 1, mask = 0xf, is = [1, 2] }],    # one holds if all its conditions do
    ]
    otherwise = "EPERM"               # optional: what the call gets when none holds; else the default
    probed = true                     # optional: a strict policy keeps the errno instead of killing

`otherwise` may be a table of `action`, `when` and `otherwise` again.

A condition compares argument `arg` (0 to 5), masked by `mask` (optional; without it the lower 32 bits, which
is all that the kernel uses of an int; what it uses more of needs `width`, 64 or 32), by one of: `is`, a
number, or a list of which one must match; `not`, a number, or a list of which none may match; `below`,
`above`, `at-most`, `at-least`, a number, all compared unsigned.

Unknown keys, wrong types, unknown calls, actions and numbers out of range are errors that name the file and
the key.
"""

from __future__ import annotations

import os
import tomllib
from itertools import product
from typing import TYPE_CHECKING

from seccomp._errors import PolicyError
from seccomp._tables import Table
from seccomp._widths import WIDTH_32
from seccomp.grouping import groups, members
from seccomp.policy import Case, Condition, Policy, Rule, When
from seccomp.program import profiles, shipped_path

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAX_ALTERNATIVES = 256  # after lists are multiplied out: a program may have 4096 instructions
_COMPARISONS = {"is": "==", "not": "!=", "below": "<", "above": ">", "at-most": "<=", "at-least": ">="}


def read(path: str | os.PathLike[str]) -> Policy:
    """The policy in a file; OSError if it cannot be read."""
    source = os.fspath(path)
    with open(source, "rb") as file:
        return decode(file.read(), source)


def decode(raw: bytes, source: str | None = None) -> Policy:
    """The policy in a file's bytes; a Docker or OCI profile if the file's name says JSON.  Errors know the
    line.
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise PolicyError(f"not UTF-8 at byte {error.start}", file=source, line=line) from None
    is_json = source is not None and source.endswith(".json")
    try:
        return Policy.from_oci(text, source=source) if is_json else parse(text, source)
    except PolicyError as error:
        from seccomp._places import line_of

        line = line_of(text, error.key, error.message, is_json=is_json)
        raise PolicyError(error.message, file=source, key=error.key, line=line) from None


def shipped(profile: str) -> Policy:
    """A shipped profile by its name."""
    if profile not in profiles():
        raise PolicyError(f"no profile {profile!r}: there are {', '.join(profiles())}")
    return read(shipped_path(profile))


def parse(text: str, source: str | None = None) -> Policy:
    """The policy in a text; `source` is the file's name in messages."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"not TOML: {error}", file=source) from None
    top = Table(data, source, "")
    base = _base(top)
    rules = tuple(_rule(table) for table in top.tables("rule"))
    policy = top.build(
        Policy,
        rules=rules,
        default=top.action("default", base.default if base else None),
        foreign=top.action("foreign", base.foreign if base else "kill"),
        description=top.take("description", str, ""),
        source=source,
    )
    policy.table("x86_64")  # for the names, which no machine may lack all
    if base is None:
        return policy
    policy = Policy(base.rules, policy.default, policy.foreign, policy.description, source).extend(policy)
    return policy.strict() if top.data.get("strict") else policy


def _base(top: Table) -> Policy | None:
    """The policy that the file builds on: shipped ones only, so that a file means one thing everywhere."""
    name = top.take("base", str, "")
    strict = top.take("strict", bool, False)
    if not name:
        if strict:
            raise top.error("is for a policy with a base; write kill for the actions here", "strict")
        return None
    try:
        return shipped(name)
    except PolicyError as error:
        raise top.error(error.message, "base") from None


def _rule(table: Table) -> Rule:
    optional = table.strings("optional", [])
    calls = table.strings("calls", [] if optional else None)
    return table.build(
        Rule,
        calls=calls,
        action=table.action("action"),
        when=_alternatives(table, (*calls, *optional)),
        otherwise=_otherwise(table, (*calls, *optional)),
        reason=table.take("reason", str, ""),
        probed=table.take("probed", bool, False),
        without=table.strings("without", []),
        optional=optional,
    )


def _otherwise(table: Table, calls: tuple[str, ...]) -> str | Case | None:
    if "otherwise" not in table.data:
        return None
    if not isinstance(table.data["otherwise"], dict):
        return table.action("otherwise")
    case = table.table("otherwise")
    return case.build(
        Case,
        action=case.action("action"),
        when=_alternatives(case, calls),
        otherwise=_otherwise(case, calls),
    )


def _alternatives(table: Table, calls: tuple[str, ...]) -> When:
    """`when` with each list of values multiplied out."""
    result: list[tuple[Condition, ...]] = []
    for index, alternative in enumerate(table.take("when", list, [])):
        place = f"when[{index}]"
        if not isinstance(alternative, list) or not alternative:
            raise table.error("must be a list of conditions, and not empty", place)
        tables = [
            Table(item, table.source, f"{table.place}.{place}[{i}]") for i, item in enumerate(alternative)
        ]
        made = product(*(_conditions(item, calls) for item in tables))
        result.extend(tuple(c for part in parts for c in part) for parts in made)
        if len(result) > _MAX_ALTERNATIVES:
            raise table.error(
                f"has more than {_MAX_ALTERNATIVES} alternatives when its lists are multiplied out", "when"
            )
    return tuple(dict.fromkeys(result))


def _conditions(table: Table, calls: tuple[str, ...]) -> list[tuple[Condition, ...]]:
    """The alternatives that one condition stands for: one for each value in `is`, one of all in `not`."""
    arg = table.take("arg", int)
    given = [key for key in _COMPARISONS if key in table.data]
    if len(given) > 1:
        raise table.error(f"both {given[0]} and {given[1]}: write two conditions", given[1])
    key = given[0] if given else "is"
    table.known.update(_COMPARISONS)
    values = table.numbers(key) if key in ("is", "not") else (table.take(key, int),)
    if not {"width", "mask"} & table.data.keys() and (wide := wide_call(arg, calls)):
        raise table.error(
            f"{wide} has 64 bits in argument {arg}: width = 64 compares all of it, 32 the lower half", "width"
        )
    width = table.take("width", int, 32)
    if width not in (32, 64):
        raise table.error(f"must be 32 or 64, not {width}", "width")
    mask = table.take("mask", int, 2**width - 1)
    if mask >= 2**width:
        raise table.error(f"{mask:#x} is wider than {width} bits", "mask")
    op = _COMPARISONS[key]
    made = [table.build(Condition, arg=arg, value=value, mask=mask, op=op) for value in values]
    return [tuple(made)] if key == "not" else [(condition,) for condition in made]


def wide_call(arg: int, calls: Iterable[str]) -> str:
    """The first of these calls, and of groups' members, of which the kernel uses 64 bits of the argument, or
    "".
    """
    for call in calls if arg in range(6) else ():
        for name in members(call) if call in groups() else (call,):
            if arg not in WIDTH_32.get(name, (arg,)):
                return name
    return ""
