"""What lies at /-/: health for everybody; the page, its form and the numbers for who may see them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import jinja2
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from jail.gateway.access import Access
from jail.gateway.app import Gateway
from jail.gateway.catalogue import Site
from jail.gateway.head import COOKIE
from jail.gateway.ledger import Entry, Summary
from jail.gateway.message import Receive, Scope, Send
from jail.gateway.problem import Problem
from jail.gateway.trial import Trial

HERE = Path(__file__).parent
OPEN = ("/-/health", "/-/login", "/-/style.css")
MAX_FIELDS = 2 << 20
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; frame-ancestors 'self'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Admin:
    """The ASGI application."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.access = Access(gateway.config)
        self.templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.templates.filters |= {"ms": milliseconds, "size": size, "clock": clock}
        self.app = Starlette(
            routes=[
                Route("/-/health", self.health),
                Route("/-/", self.page),
                Route("/-/live", self.live),
                Route("/-/metrics", self.metrics),
                Route("/-/login", self.login, methods=["GET", "POST"]),
                Route("/-/run", self.run, methods=["POST"]),
                Route("/-/requests/{id}", self.request),
                Route("/-/style.css", self.static("style.css", "text/css")),
                Route("/-/page.js", self.static("page.js", "text/javascript")),
            ],
            middleware=[Middleware(Guarded, admin=self)],
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)

    async def health(self, request: Request) -> Response:
        """That it answers."""
        return JSONResponse({"status": "ok"})

    async def metrics(self, request: Request) -> Response:
        """For Prometheus."""
        return Response(self.gateway.ledger.exposition(), media_type=CONTENT_TYPE_LATEST)

    async def page(self, request: Request) -> Response:
        """Everything."""
        return self._render("index.html", self._state() | {"form_key": self.access.form_key})

    async def live(self, request: Request) -> Response:
        """The part of the page that changes."""
        return self._render("live.html", self._state())

    async def request(self, request: Request) -> Response:
        """One request that has ended."""
        wanted = request.path_params["id"]
        entry = next((each for each in self.gateway.ledger.recent if each.id == wanted), None)
        if entry is None:
            return PlainTextResponse("this request is not among the last ones\n", 404)
        return self._render(
            "request.html", {"entry": entry, "stderr": entry.stderr.decode("utf-8", "replace")}
        )

    async def login(self, request: Request) -> Response:
        """The token, for a cookie."""
        if request.method == "GET":
            return self._login_page(wrong=False)
        fields = await form_fields(request)
        ours = self.access.is_form(request.scope, fields.get("key", ""))
        if not ours or not self.access.is_token(fields.get("token", "")):
            return self._login_page(wrong=True)
        response = RedirectResponse("/-/", 303)
        response.set_cookie(
            COOKIE,
            self.access.cookie,
            path="/-/",
            httponly=True,
            samesite="strict",
            secure=request.headers.get("x-forwarded-proto") == "https",
        )
        return response

    async def run(self, request: Request) -> Response:
        """Run a service and show what it puts out as it comes."""
        fields = await form_fields(request)
        if not self.access.is_form(request.scope, fields.get("key", "")):
            return PlainTextResponse("the form is not of this page as it is now: reload it\n", 403)
        trial = Trial(self.gateway, request.scope, fields)
        return StreamingResponse(self._shown(trial), media_type="text/html; charset=utf-8")

    async def _shown(self, trial: Trial) -> AsyncIterator[str]:
        before, _, after = self.templates.get_template("output.html").render().partition("@")
        yield before
        async with trial:
            async for text in trial.output():
                yield text
        yield after.replace("@", trial.verdict())

    def static(self, name: str, kind: str) -> Any:
        """A file of ours."""
        content = (HERE / "static" / name).read_bytes()

        async def answer(request: Request) -> Response:
            return Response(content, media_type=kind)

        return answer

    def networked(self) -> bool:
        """Whether a service has the host's network."""
        return any(site.service is not None and site.service.jail.network == "host" for site in self._sites())

    def _sites(self) -> list[Site]:
        try:
            return self.gateway.catalogue.all()
        except Problem:
            return []

    def _state(self) -> dict[str, object]:
        ledger, sites = self.gateway.ledger, self._sites()
        live: list[Entry] = sorted(ledger.live.values(), key=lambda entry: entry.began)
        return {
            "sites": [(site, ledger.services.get(site.name, Summary())) for site in sites],
            "live": live,
            "recent": list(ledger.recent)[:50],
            "path": self.gateway.catalogue.path,
            "single": self.gateway.catalogue.single,
        }

    def _login_page(self, *, wrong: bool) -> Response:
        values = {"form_key": self.access.form_key, "wrong": wrong}
        return self._render("login.html", values, 403 if wrong else 200)

    def _render(self, template: str, values: Mapping[str, object], status: int = 200) -> Response:
        return HTMLResponse(self.templates.get_template(template).render(values), status)


class Guarded:
    """Middleware: nobody gets in who may not, and every answer carries HEADERS."""

    def __init__(self, app: Any, admin: Admin) -> None:
        self.app = app
        self.admin = admin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                ours = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *ours]}
            await send(message)

        refusal = self._refusal(scope)
        await (self.app if refusal is None else refusal)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        path = scope["path"]
        if path == "/-/health":
            return None
        if not self.admin.gateway.config.admin:
            return PlainTextResponse("not found\n", 404)
        if path in OPEN and self.admin.access.config.token:
            return None
        why = self.admin.access.why_not(scope, self.admin.networked())
        if not why:
            return None
        accept = dict(scope["headers"]).get(b"accept", b"")
        if self.admin.access.config.token and scope["method"] == "GET" and b"text/html" in accept:
            return RedirectResponse("/-/login", 303)
        return PlainTextResponse(why + "\n", 403)


async def form_fields(request: Request) -> dict[str, str]:
    """The fields of a form of ours; {} where it is none."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_FIELDS:
            return {}
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=20))
    except ValueError:
        return {}


def milliseconds(seconds: float | None) -> str:
    """A time that is easy to compare in a column."""
    if seconds is None:
        return "–"
    if seconds >= 10:
        return f"{seconds:.1f} s"
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.1 else f"{seconds * 1000:.1f} ms"


def size(number: int | None) -> str:
    """Bytes in a readable unit."""
    if number is None:
        return "–"
    value = float(number)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def clock(at: float) -> str:
    """The time of the day, of this host."""
    return time.strftime("%H:%M:%S", time.localtime(at))
