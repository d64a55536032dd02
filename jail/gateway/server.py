"""The server's life: uvicorn with our connections, told by signals, telling systemd."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import signal
import socket
from collections.abc import Generator
from typing import Any

import uvicorn

from jail.errors import UnsupportedError
from jail.gateway.config import Config
from jail.gateway.connection import Connection, Hangups
from jail.gateway.listen import described
from jail.gateway.log import Bridge, Log
from jail.gateway.notify import Notifier

DESCRIPTORS_EACH = 14
"""That a request under way takes: pipes, what watches the jail, the connection."""


class Server(uvicorn.Server):
    """SIGTERM and SIGINT let requests end; a second one does not."""

    def __init__(self, app: Any, config: Config, log: Log) -> None:
        self.notifier = Notifier()
        self.log = log
        logger = logging.getLogger("uvicorn.error")
        logger.handlers, logger.propagate = [Bridge(log)], False
        super().__init__(
            uvicorn.Config(
                app,
                http=_connections(config),
                ws="none",
                lifespan="off",
                loop="asyncio",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=config.stall_timeout,  # type: ignore[arg-type]
                timeout_graceful_shutdown=config.drain_timeout,  # type: ignore[arg-type]
                timeout_notify=self.notifier.interval or 1,  # type: ignore[arg-type]
                callback_notify=self._alive if self.notifier.interval else None,
            )
        )

    async def _alive(self) -> None:
        self.notifier.send("WATCHDOG=1")

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        Connection.hangups = Hangups(asyncio.get_running_loop())
        await super().startup(sockets)
        for each in sockets or ():
            self.log.write("listening", at=described(each))
        self.notifier.send("READY=1")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.log.write("stopping", requests=len(self.server_state.tasks))
        self.notifier.send("STOPPING=1")
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """The end that they ask for is a good one: the exit status is 0."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked)
        yield

    def _asked(self) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True


def _connections(config: Config) -> type[Connection]:
    class Configured(Connection):
        header_timeout = config.header_timeout
        most = config.connections

    return Configured


def reserve_descriptors(config: Config) -> None:
    """Room for all that may be open at a time. Raises UnsupportedError."""
    wanted = config.connections + DESCRIPTORS_EACH * config.concurrency + 64
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise UnsupportedError(
            "pyjail serve",
            f"{wanted} open files for {config.connections} connections and {config.concurrency} requests; "
            f"the limit is {hard}",
            "raise it (ulimit -Hn; LimitNOFILE= in a unit), or lower --connections and --concurrency",
        )
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
