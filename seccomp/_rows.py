"""Conditions as people write them: alternatives that differ in one value are one, with a list."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seccomp.policy import Condition, When

    Term = tuple[int, int, str, tuple[int, ...]]  # argument, mask, comparison, values
    Row = tuple[Term, ...]


def factored(when: When) -> list[Row]:
    """The alternatives, those that differ in one value only made one with a list."""
    rows = [_row(alternative) for alternative in when]
    size = 0
    while len(rows) != size:
        size = len(rows)
        for position in range(max(map(len, rows))):
            rows = _gathered(rows, position)
    return rows


def _row(alternative: tuple[Condition, ...]) -> Row:
    """The conditions of one alternative; all that a value must not be in one list."""
    terms: dict[tuple[object, ...], Term] = {}
    for c in alternative:
        key = (c.arg, c.mask, c.op) if c.op == "!=" else (c,)
        values = (*terms[key][3], c.value) if key in terms and c.op == "!=" else (c.value,)
        terms[key] = (c.arg, c.mask, c.op, values)
    return tuple(terms.values())


def _gathered(rows: list[Row], position: int) -> list[Row]:
    """The rows that differ in the values at one position only, as one row; all stay in their order."""
    found: dict[object, tuple[Row, dict[int, None]]] = {}
    for row in rows:
        key: object = row
        values: tuple[int, ...] = ()
        if position < len(row) and row[position][2] == "==":
            arg, mask, _, values = row[position]
            key = (row[:position], arg, mask, row[position + 1 :])
        found.setdefault(key, (row, {}))[1].update(dict.fromkeys(values))
    return [
        (*row[:position], (*row[position][:3], tuple(values)), *row[position + 1 :]) if values else row
        for row, values in found.values()
    ]
