"""Services: programs that answer one request each, in a jail of their own. See docs/services.md.

`Service` says what is run and in which jail, `Request` what it is asked, `Exchange` is one answer under way.
"""

from __future__ import annotations

from jail import _importer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jail.services.ahead import Ahead
    from jail.services.exchange import Exchange, open_exchange
    from jail.services.messages import End, Error, Head, Log, Message, MessageReader
    from jail.services.request import Request
    from jail.services.service import Service
    from jail.services.settings import Settings

__all__ = [
    "Ahead",
    "End",
    "Error",
    "Exchange",
    "Head",
    "Log",
    "Message",
    "MessageReader",
    "Request",
    "Service",
    "Settings",
    "open_exchange",
]

_HOMES = {
    "jail.services.ahead": ("Ahead",),
    "jail.services.exchange": ("Exchange", "open_exchange"),
    "jail.services.messages": ("End", "Error", "Head", "Log", "Message", "MessageReader"),
    "jail.services.request": ("Request",),
    "jail.services.service": ("Service",),
    "jail.services.settings": ("Settings",),
}

__getattr__ = _importer(globals(), _HOMES)
