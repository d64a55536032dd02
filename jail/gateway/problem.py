"""Refusals and failures as a client sees them: problem details (RFC 9457) in JSON, or a page for who prefers
one. Nothing that a service wrote is in them."""

from __future__ import annotations

import html
import json
from http import HTTPStatus

from jail.outcome import Outcome
from jail.services.verdict import verdict

Headers = list[tuple[bytes, bytes]]

BY_STATUS = {
    "timed-out": 504,
    "idle-timed-out": 504,
    "cpu-exceeded": 504,
    "out-of-memory": 502,
    "output-exceeded": 502,
    "killed": 502,
    "setup-failed": 500,
}
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>{status} {title}</title>
<style>body {{ font: 1rem/1.5 system-ui, sans-serif; margin: 15vh auto; max-width: 34rem; padding: 0 1rem }}
h1 {{ font-size: 1.4rem }} code {{ opacity: .7 }}</style>
<h1>{status} {title}</h1><p>{detail}</p><p><code>{request}</code></p></html>
"""


class Problem(Exception):  # noqa: N818
    """The answer to a request that no service answers, or whose service failed."""

    def __init__(
        self, status: int, detail: str, *, outcome: str = "", headers: Headers | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.outcome = outcome
        self.headers = headers or []

    @property
    def title(self) -> str:
        """The status in words."""
        return HTTPStatus(self.status).phrase

    def response(self, accept: str, request: str) -> tuple[int, Headers, bytes]:
        """Status, header fields and body, for what the client accepts; `request`: its id."""
        if prefers_html(accept):
            values = {"status": self.status, "title": self.title, "detail": self.detail, "request": request}
            kind, text = (
                "text/html; charset=utf-8",
                PAGE.format(**{name: html.escape(str(value)) for name, value in values.items()}),
            )
        else:
            members = {"type": "about:blank", "title": self.title, "status": self.status}
            members |= {"detail": self.detail, "request": request}
            if self.outcome:
                members["outcome"] = self.outcome
            kind, text = "application/problem+json", json.dumps(members) + "\n"
        body = text.encode()
        return (
            self.status,
            [
                (b"content-type", kind.encode()),
                (b"content-length", b"%d" % len(body)),
                (b"cache-control", b"no-store"),
                (b"x-content-type-options", b"nosniff"),
                (b"vary", b"accept"),
                *self.headers,
            ],
            body,
        )


def of_outcome(outcome: Outcome) -> Problem | None:
    """What a client is told of a service that has ended so; None where it ended well."""
    error = verdict(outcome)
    if error is None:
        return None
    not_started = outcome.error is not None  # with exit status 126 and 127 too
    status = 500 if not_started else BY_STATUS.get(outcome.status, 502)
    detail = "the service could not be started" if not_started else error.message
    return Problem(status, detail, outcome=outcome.status)


def prefers_html(accept: str) -> bool:
    """Whether a page is wanted rather than JSON: by the weights of RFC 9110, JSON where both are as good."""
    best = {"html": 0.0, "json": 0.0}
    for item in accept.lower().split(",")[:32]:
        kind, *parameters = (part.strip() for part in item.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = float(parameter[2:])
                except ValueError:
                    weight = 0.0
        if kind in ("text/html", "application/xhtml+xml"):
            best["html"] = max(best["html"], weight)
        elif kind in ("application/json", "application/problem+json"):
            best["json"] = max(best["json"], weight)
    return best["html"] > best["json"]
