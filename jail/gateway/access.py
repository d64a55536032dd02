"""Who may see the pages at /-/.

With a token: who shows it, as a bearer or by the cookie that the login gives. Without one: who comes over
the loopback, by a name of the loopback (a page of the web that has its name point there, DNS rebinding, does
not), and with no sign of a proxy, before which anybody may stand.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from jail.gateway.app import header_map
from jail.gateway.config import Config
from jail.gateway.head import COOKIE
from jail.gateway.message import Scope

PROXIED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")


class Access:
    """The decision, and the secrets that it takes. They change with each start of the gateway."""

    def __init__(self, config: Config) -> None:
        self.config = config
        key = secrets.token_bytes(32)
        self.cookie = hmac.new(key, b"cookie" + config.token, hashlib.sha256).hexdigest()
        self.form_key = hmac.new(key, b"form", hashlib.sha256).hexdigest()
        """What each form of the page holds, so that no other page can send it."""

    def why_not(self, scope: Scope, networked: bool) -> str:
        """Why a request may not see the pages; "" where it may. `networked`: a service has the host's
        network, from where the loopback is open to it."""
        headers = header_map(scope)
        if self.config.token:
            return "" if self._shows_token(headers) else "a token is needed"
        if networked:
            return "a service has the host's network and so the loopback: start with --token-file"
        peer = scope.get("client")
        if not peer or not is_loopback(str(peer[0])):
            return "only over the loopback; for others start with --token-file"
        if self.config.proxies or any(name in headers for name in PROXIED):
            return "a proxy stands in front: start with --token-file"
        host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
        if host != "localhost" and not is_loopback(host):
            return "only by the name localhost or its address"
        return ""

    def is_token(self, given: str) -> bool:
        """In constant time."""
        return bool(self.config.token) and hmac.compare_digest(
            hashlib.sha256(given.encode("utf-8", "replace")).digest(),
            hashlib.sha256(self.config.token).digest(),
        )

    def is_form(self, scope: Scope, given: str) -> bool:
        """Whether a form is one of ours, sent from our page."""
        headers = header_map(scope)
        origin = headers.get("origin")
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return False
        if origin is not None and urlsplit(origin).netloc != headers.get("host", ""):
            return False
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.form_key.encode())

    def _shows_token(self, headers: dict[str, str]) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.is_token(given.strip()):
            return True
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return found is not None and hmac.compare_digest(found.value.encode(), self.cookie.encode())


def is_loopback(host: str) -> bool:
    """Whether it is an address of the loopback."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
