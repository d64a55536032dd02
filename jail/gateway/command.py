"""`pyjail serve`: from the command line to a server that runs."""

from __future__ import annotations

import gc

from jail.cli.parse import Parsed
from jail.errors import UnsupportedError


def serve(path: str, parsed: Parsed) -> int:
    """Answer requests until SIGTERM or SIGINT; the exit status. Raises UsageError, JailError."""
    try:
        import jinja2  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UnsupportedError(
            "pyjail serve", f"the package {error.name}", "pip install 'pyjail-linux[serve]'"
        ) from None
    from jail.gateway.admin import Admin
    from jail.gateway.app import Gateway
    from jail.gateway.catalogue import Catalogue
    from jail.gateway.config import Config
    from jail.gateway.ledger import Ledger
    from jail.gateway.listen import listeners
    from jail.gateway.log import Log
    from jail.gateway.server import Server, reserve_descriptors
    from jail.services.ahead import Ahead

    config = Config.of(parsed)
    log = Log(config.log_format)
    ahead = Ahead()
    catalogue = Catalogue(path, config.options, ahead.open)
    reserve_descriptors(config)
    gateway = Gateway(catalogue, config, Ledger(log))
    gateway.admin = Admin(gateway)
    for site in catalogue.all():
        if site.error is not None:
            log.write("error", service=site.name, message=str(site.error))
    server = Server(gateway, config, log)
    gc.freeze()  # what is there now stays: no request waits for a look through it
    try:
        server.run(listeners(config.listen))
    finally:
        ahead.close()
        log.close()
    return 0
