"""A request's parameters: the query's, and those of a form or a JSON object in the body, which win.

The body goes to the service's stdin all the same. Only the beginning of it is ever held in memory: a form
that is larger than MAX_FORM is not looked into.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

from jail.gateway.problem import Problem
from jail.services.request import MAX_PARAMS

MAX_FORM = 1 << 20
"""Bytes of a body that are read before the service starts."""


def form_kind(content_type: str) -> str:
    """`form`, `json`, or "" for a body that holds no parameters."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        return "form"
    return "json" if kind == "application/json" or kind.endswith("+json") else ""


def query_params(query: bytes) -> dict[str, Any]:
    """The parameters of a query or a form; of several with one name, a list. Raises Problem."""
    found: dict[str, Any] = {}
    try:
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_PARAMS)
    except ValueError:
        raise Problem(400, f"more than {MAX_PARAMS} parameters") from None
    for name, value in pairs:
        if name not in found:
            found[name] = value
        elif isinstance(found[name], list):
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    return found


def body_params(kind: str, body: bytes) -> dict[str, Any]:
    """The parameters in a whole body. JSON that is no object holds none. Raises Problem where it is not what
    its type says."""
    if kind == "form":
        return query_params(body)
    if not body.strip():
        return {}
    try:
        value = json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise Problem(400, "the body is not JSON, which its Content-Type says it is") from None
    return value if isinstance(value, dict) else {}


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
