"""sd_notify(3): telling systemd how the gateway is."""

from __future__ import annotations

import os
import socket


class Notifier:
    """Sends to $NOTIFY_SOCKET, which no child gets to know; without one nothing is sent."""

    def __init__(self) -> None:
        address = os.environ.pop("NOTIFY_SOCKET", "")
        watchdog = os.environ.pop("WATCHDOG_USEC", "")
        meant = os.environ.pop("WATCHDOG_PID", "") in ("", str(os.getpid()))
        self.address = "\0" + address[1:] if address.startswith("@") else address
        self.interval = int(watchdog) / 2e6 if watchdog.isdigit() and meant and address else 0.0
        """Seconds between two signs of life, half of what is allowed; 0: none are wanted."""

    def send(self, *lines: str) -> None:
        """State assignments, such as READY=1. Who does not listen misses them."""
        if not self.address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
                out.sendto("\n".join(lines).encode(), self.address)
        except OSError:
            pass
