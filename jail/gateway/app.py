"""The ASGI application: who answers a request, whether it is let in, and what is noted of it."""

from __future__ import annotations

import asyncio
import re
import secrets
from typing import Any
from urllib.parse import unquote

from jail.errors import SpecError
from jail.gateway.catalogue import Catalogue, Site
from jail.gateway.config import Config
from jail.gateway.head import COOKIE, HOP_BY_HOP
from jail.gateway.ledger import MAX_TARGET, Entry, Ledger
from jail.gateway.message import Body, Broken, Gone, Receive, Reply, Scope, Send
from jail.gateway.params import MAX_FORM, body_params, form_kind, query_params
from jail.gateway.problem import Problem
from jail.gateway.turn import Turn
from jail.services.request import Request
from jail.services.service import Service

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
ADMIN = "/-"
NEVER = ("CONNECT", "TRACE")
USUAL = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Gateway:
    """Answers requests. `admin`: the application behind /-/, set later, since it needs this one."""

    def __init__(self, catalogue: Catalogue, config: Config, ledger: Ledger) -> None:
        self.catalogue = catalogue
        self.config = config
        self.ledger = ledger
        self.admin: Any = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path == ADMIN or path.startswith(ADMIN + "/"):
            await self.admin(scope, receive, send)
            return
        try:
            await self.answer(self.entry_of(scope), scope, receive, send)
        except Broken:
            scope["state"]["connection"].break_off()

    def entry_of(self, scope: Scope) -> Entry:
        """What is noted of a request that has come."""
        headers = header_map(scope)
        return Entry(
            id=request_id(headers.get("x-request-id", "")),
            client=self.client_of(scope, headers),
            method=scope["method"],
            target=scope["raw_path"].decode("ascii", "replace")[:MAX_TARGET],
        )

    async def answer(self, entry: Entry, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer by a service. Raises Broken where the response has begun and is not whole."""
        headers = header_map(scope)
        reply = Reply(send, self.config.stall_timeout, entry)
        self.ledger.begin(entry)
        try:
            await self._answer(scope, receive, reply, entry, headers)
        except Problem as problem:
            entry.verdict = entry.verdict or ("refused" if problem.status < 500 else "failed")
            entry.detail = entry.detail or problem.detail
            if reply.started:
                entry.broken = True
                raise Broken(problem.detail) from None
            await reply.problem(problem, headers.get("accept", ""))
        except Gone as gone:
            entry.verdict, entry.broken = "gone", reply.started
            entry.detail = str(gone)
            raise Broken from None
        except Broken as broken:
            entry.broken = True
            entry.verdict = "failed" if entry.verdict in ("", "ok") else entry.verdict
            entry.detail = entry.detail or str(broken)
            raise
        except asyncio.CancelledError:
            entry.verdict, entry.broken = "stopped", reply.started
            raise
        except BaseException:
            entry.verdict, entry.broken = "failed", reply.started
            raise
        finally:
            self.ledger.end(entry)

    async def _answer(
        self, scope: Scope, receive: Receive, reply: Reply, entry: Entry, headers: dict[str, str]
    ) -> None:
        if len(self.ledger.live) > self.config.concurrency:
            raise Problem(503, "too many requests are under way", headers=[(b"retry-after", b"1")])
        site, prefix, rest = self.catalogue.find(origin_form(scope["raw_path"].decode("ascii")))
        entry.service = site.name
        service = self._service(site, scope["method"])
        assert site.gate is not None
        if int(headers.get("content-length", "0")) > service.settings.max_body:
            raise Problem(413, f"the body is larger than {service.settings.max_body} bytes")
        with site.gate.passed(entry.client):
            body = Body(receive, service.settings.max_body, self.config.stall_timeout, entry)
            params = query_params(scope["query_string"])
            content_type = headers.get("content-type", "")
            kind = form_kind(content_type)
            if kind:
                await body.begin(MAX_FORM)
                params |= await body_params(kind, content_type, body)
            request = self._request(scope, service, entry.id, rest, params)
            turn = Turn(
                body,
                reply,
                entry,
                prefix=prefix,
                sandboxed=self.config.admin,
                head_only=scope["method"] == "HEAD",
            )
            await turn.take(site.open(service, request), scope["state"]["connection"].gone.wait())
        # Only now: who has seen the end may come again, and finds its place free.
        await reply.finish()

    def _service(self, site: Site, method: str) -> Service:
        """The service, if it can be run and answers the method. Raises Problem."""
        if site.service is None:
            self.ledger.log.write("error", service=site.name, message=str(site.error))
            raise Problem(500, "the service is not in order; the gateway's log says why")
        allowed = site.service.settings.methods
        if method in NEVER or (allowed and method not in allowed):
            allow = ", ".join(allowed or USUAL).encode()
            raise Problem(405, f"the service does not answer {method}"[:80], headers=[(b"allow", allow)])
        return site.service

    def _request(
        self, scope: Scope, service: Service, name: str, rest: str, params: dict[str, Any]
    ) -> Request:
        query = scope["query_string"].decode("ascii", "replace")
        url = scope["raw_path"].decode("ascii") + (f"?{query}" if query else "")
        try:
            return Request(
                id=name,
                method=scope["method"],
                url=url,
                path=unquote(rest),
                headers=service_headers(scope),
                params=params,
                deadline_ms=service.deadline_ms,
            )
        except SpecError as error:
            raise Problem(400, f"the request cannot be handed to a service: {error}"[:300]) from None

    def client_of(self, scope: Scope, headers: dict[str, str]) -> str:
        """The client's address, as the last proxy that is to be trusted has it."""
        if self.config.proxies:
            named = [each.strip() for each in headers.get("x-forwarded-for", "").split(",")]
            if len(named) >= self.config.proxies:
                return named[-self.config.proxies][:64]
        peer = scope.get("client")
        return str(peer[0]) if peer and peer[0] else "unix"


def origin_form(target: str) -> str:
    """The path of a request target, which may also be absolute (RFC 9112, 3.2.2)."""
    if target.startswith("/"):
        return target
    scheme, mark, rest = target.partition("://")
    if not mark or scheme.lower() not in ("http", "https"):
        raise Problem(400, "the request's target is no path")
    _, slash, path = rest.partition("/")
    return slash + path or "/"


def header_map(scope: Scope) -> dict[str, str]:
    """Header fields by name, in lower case; several of one name are joined."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def service_headers(scope: Scope) -> tuple[tuple[str, str], ...]:
    """The fields that a service gets: neither those of the connection nor the key to /-/."""
    pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    named = {
        token.strip().lower() for name, value in pairs if name == "connection" for token in value.split(",")
    }
    found = []
    for name, value in pairs:
        if name in HOP_BY_HOP or name in named:
            continue
        if name == "cookie":
            kept = [each for each in value.split(";") if each.partition("=")[0].strip() != COOKIE]
            value = ";".join(kept).strip()
        if value or name != "cookie":
            found.append((name, value))
    return tuple(found)


def request_id(given: str) -> str:
    """The client's own, if it is a plain word, else a new one."""
    return given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
