"""The head of a response, out of what a service asks for. The fields' names and values are well-formed when
they come (jail/services/messages.py); which of them a service may set is decided here."""

from __future__ import annotations

from jail.services.messages import Head

Headers = list[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
"""Fields of one connection, which is not the service's (RFC 9110, 7.6.1)."""

OF_THE_ORIGIN = frozenset(
    (
        "alt-svc",
        "clear-site-data",
        "nel",
        "origin-agent-cluster",
        "public-key-pins",
        "report-to",
        "service-worker-allowed",
        "strict-transport-security",
    )
)
"""Fields whose effect is not bounded by the service's own path: they would reach other services and /-/."""

TO_A_PROXY = (
    "surrogate-control",
    "x-accel-",
    "x-envoy-",
    "x-lighttpd-",
    "x-litespeed-",
    "x-reproxy-",
    "x-sendfile",
)
"""How fields begin by which what stands behind a proxy has it send files of its own, keep an answer, or take
all that stands there for ill."""

OURS = frozenset(("date", "server", "x-request-id", "content-length", "set-cookie"))
COOKIE = "pyjail-admin"
"""The key to /-/, which a service neither gets nor sets: one that answers every path could lock people
out."""
DEFAULT_TYPE = b"text/plain; charset=utf-8"
SANDBOX = b"sandbox allow-downloads allow-forms allow-modals allow-popups allow-scripts"
"""A page of a service gets an origin of its own: its scripts are strangers to /-/ and to other services."""
BODILESS = (204, 304)


def response_head(head: Head, prefix: str, sandboxed: bool) -> tuple[Headers, int | None]:
    """The header fields, and the body's length where the service promised one that can be held to.
    `prefix`: the path that the service answers, without a slash at its end."""
    named = {
        token.strip().lower()
        for name, value in head.headers
        if name == "connection"
        for token in value.split(",")
    }
    passed_over = HOP_BY_HOP | OF_THE_ORIGIN | OURS | named
    fields = [
        (name.encode("ascii"), value.encode("latin-1"))
        for name, value in head.headers
        if name not in passed_over and not name.startswith(TO_A_PROXY)
    ]
    fields += [
        (b"set-cookie", cookie(value, prefix).encode("latin-1"))
        for name, value in head.headers
        if name == "set-cookie" and not is_key(value)
    ]
    if head.status not in BODILESS and not any(name == b"content-type" for name, _ in fields):
        fields += [(b"content-type", DEFAULT_TYPE), (b"x-content-type-options", b"nosniff")]
    if sandboxed:
        fields.append((b"content-security-policy", SANDBOX))
    length = None if head.status in BODILESS else body_length(head)
    if length is not None:
        fields.append((b"content-length", b"%d" % length))
    return fields, length


def body_length(head: Head) -> int | None:
    """The one Content-Length that is a number; None where there is none, or several that differ."""
    values = {value for name, value in head.headers if name == "content-length"}
    if len(values) != 1:
        return None
    text = values.pop()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def is_key(value: str) -> bool:
    """Whether a cookie would come back as the key to /-/; one without a name comes back as its value."""
    return value.lstrip(" \t=").partition("=")[0].strip() == COOKIE


def cookie(value: str, prefix: str) -> str:
    """A cookie for the service's own path: never for other services or /-/, and not for other hosts."""
    pair, *attributes = (part.strip() for part in value.split(";"))
    kept, path = [], ""
    for attribute in attributes:
        name, _, text = attribute.partition("=")
        if name.strip().lower() == "path":
            path = text.strip()
        elif name.strip().lower() != "domain":
            kept.append(attribute)
    within = path == prefix or (path.startswith(f"{prefix}/") and "/../" not in f"{path}/")
    return "; ".join((pair, *kept, f"Path={path if within else prefix or '/'}"))
