"""A request's parameters: the query's, and those of a form or a JSON object in the body, which win.

The body goes to the service's stdin all the same. Only the beginning of it is ever held in memory: a form
that is larger than MAX_FORM is not looked into, but for the text fields that begin one with files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from jail.gateway.message import Body
from jail.gateway.multipart import text_fields
from jail.gateway.problem import Problem
from jail.services.request import MAX_PARAMS

MAX_FORM = 1 << 20
"""Bytes of a body that are read before the service starts."""
FORMS = {"application/x-www-form-urlencoded": "form", "multipart/form-data": "multipart"}


def form_kind(content_type: str) -> str:
    """`form`, `multipart`, `json`, or "" for a body that holds no parameters."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind in FORMS:
        return FORMS[kind]
    return "json" if kind == "application/json" or kind.endswith("+json") else ""


def query_params(query: bytes) -> dict[str, Any]:
    """The parameters of a query or a form. Raises Problem."""
    try:
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_PARAMS)
    except ValueError:
        raise Problem(400, f"more than {MAX_PARAMS} parameters") from None
    return _by_name(pairs)


async def body_params(kind: str, content_type: str, body: Body) -> dict[str, Any]:
    """The parameters in what was read ahead of a body. JSON that is no object holds none; of a body that is
    larger, only multipart/form-data has any. Raises Problem where it is not what its type says."""
    read, whole = body.read[:MAX_FORM], body.whole and len(body.read) <= MAX_FORM
    if kind == "multipart":
        return _by_name(await text_fields(content_type, read, whole))
    if not whole:
        return {}
    return query_params(read) if kind == "form" else json_params(read)


def json_params(body: bytes) -> dict[str, Any]:
    """The parameters in JSON, if it is an object. Raises Problem where it is no JSON."""
    if not body.strip():
        return {}
    try:
        value = json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise Problem(400, "the body is not JSON, which its Content-Type says it is") from None
    return value if isinstance(value, dict) else {}


def _by_name(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Of several with one name, a list."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name not in found:
            found[name] = value
        elif isinstance(found[name], list):
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
