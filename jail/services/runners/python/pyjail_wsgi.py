"""A WSGI application (PEP 3333) as a service."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from urllib.parse import unquote_to_bytes

from pyjail_http import Request, Response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def environ_of(request: Request) -> dict[str, Any]:
    """What the application is told."""
    host, _, port = request.headers.get("host", "localhost").partition(":")
    environ: dict[str, Any] = {
        **request.env,
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(request.path).decode("latin-1"),
        "QUERY_STRING": request.url.partition("?")[2],
        "REMOTE_ADDR": request.remote,
        "SERVER_NAME": host,
        "SERVER_PORT": port or "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": request.stream,
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": True,
    }
    for name, value in request.headers.items():
        key = name.upper().replace("-", "_")
        environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
    return environ


def serve_wsgi(app: Callable[..., Iterable[bytes]], request: Request, response: Response) -> None:
    def start_response(
        status: str, fields: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        if exc_info and response.head_sent:
            raise exc_info[1].with_traceback(exc_info[2])
        response.status = int(status.split(" ", 1)[0])
        response.headers = grouped(fields)
        return response.write

    parts = app(environ_of(request), start_response)
    try:
        for part in parts:
            if part:
                response.write(part)
    finally:
        close = getattr(parts, "close", None)
        if close is not None:
            close()
    response.flush()
    response.end()


def grouped(fields: Iterable[tuple[str, str]]) -> dict[str, str | list[str]]:
    """Fields by name; of several with one name a list."""
    found: dict[str, str | list[str]] = {}
    for name, value in fields:
        before = found.get(name)
        found[name] = value if before is None else [*([before] if isinstance(before, str) else before), value]
    return found
