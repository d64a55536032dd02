"""The line of a file that a key of it stands in, for messages.  Only errors come here."""

from __future__ import annotations

import json
import re
import tomllib

_RULE = re.compile(r"^[ \t]*\[\[[ \t]*rule[ \t]*\]\]", re.MULTILINE)


def parts(key: str) -> list[str | int]:
    """`rule[3].calls` as `rule`, 3, `calls`."""
    words = re.findall(r"[^.\[\]]+|\[\d+\]", key)
    return [int(word[1:-1]) if word.startswith("[") else word for word in words]


def line_of(text: str, key: str, message: str = "", *, is_json: bool = False) -> int:
    """The line, from 1 on, of a key such as `rule[3].calls`; 0 if it cannot be told.

    Where the key's value is long, the line of what the message quotes in it.
    """
    if not key:
        return 0
    try:
        start, end = (_json if is_json else _toml)(text, parts(key))
    except (ValueError, IndexError, TypeError):
        return 0
    quoted = re.search(r"'(\w+)'", message)
    inner = re.compile(rf"""["']{quoted[1]}["']""").search(text, start, end) if quoted else None
    return text.count("\n", 0, inner.start() if inner else start) + 1


def _toml(text: str, path: list[str | int]) -> tuple[int, int]:
    """Where the key begins and its table ends."""
    heads = [found.start() for found in _RULE.finditer(text)]
    if len(heads) != len(tomllib.loads(text).get("rule", [])):
        raise ValueError("written in a way of its own")
    start, end = 0, heads[0] if heads else len(text)
    rest = path
    if path[0] == "rule":
        index = int(path[1])
        start, end = heads[index], [*heads, len(text)][index + 1]
        start = text.index("[", start)
        rest = path[2:]
    for part in rest:
        if isinstance(part, str):
            head = re.compile(rf"^[ \t]*(\[rule\.)?\b{re.escape(part)}\b", re.MULTILINE)
            found = head.search(text, start, end)
            if not found:
                break  # the key is missing: its table is the place
            start = found.end()
    return start, end


def _json(text: str, path: list[str | int]) -> tuple[int, int]:
    at, end = 0, len(text)
    decoder = json.JSONDecoder()
    for part in path:
        found = _entered(text, at, part, decoder)
        if found is None:
            break
        at, end = found
    return _space(text, at), end


def _entered(text: str, at: int, part: str | int, decoder: json.JSONDecoder) -> tuple[int, int] | None:
    """Where a member of the object, or an element of the array, that stands at `at` begins and ends."""
    at = _space(text, at)
    is_object = text[at] == "{"
    at += 1
    index = 0
    while text[at := _space(text, at)] not in "]}":
        name: str | int = index
        if is_object:
            name, at = decoder.raw_decode(text, at)
            at = _space(text, at) + 1
        start = _space(text, at)
        _, at = decoder.raw_decode(text, start)
        if name == part:
            return start, at
        at = _space(text, at)
        at += text[at] == ","
        index += 1
    return None


def _space(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at
