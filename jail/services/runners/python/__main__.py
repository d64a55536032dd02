"""Runs one Python service for one request; docs/services.md has the convention. The standard library alone.

    python3 -I <this folder> FILE NAME

FILE is where the service's code is, NAME what it is called in messages. The request is read from descriptor
4, up to its end: whoever starts this ahead of time holds that end back, and meanwhile what takes time is
imported. Only then is the service's code looked at.
"""

from __future__ import annotations

import json
import os
import select
import sys

import pyjail_call as call
import pyjail_tell as tell
from pyjail_http import Request, Response

REQUEST = 4
OFTEN_NEEDED = ("asyncio", "dataclasses", "datetime", "inspect", "linecache", "pathlib", "typing")
HERE = os.path.dirname(os.path.abspath(__file__))


def main() -> None:
    _, file, name = sys.argv
    if not select.select([REQUEST], [], [], 0)[0]:  # started ahead
        for module in OFTEN_NEEDED:
            __import__(module)
    with open(REQUEST, "rb") as stream:
        asked = json.loads(stream.read())
    sys.argv[:] = [name]
    sys.path[:] = [*(path for path in sys.path if path != HERE), os.path.dirname(name), HERE]
    os.environ.update(asked["env"])
    sys.stdout = sys.stderr  # what a service prints for its author is log
    response = Response()
    try:
        with open(file, "rb") as code:
            source = code.read()
        tell.leave(call.serve(source, name, Request(asked), response))
    except BrokenPipeError as error:
        tell.leave(tell.fail("throw", error) if response.open else tell.STATUS["closed"])
    except SystemExit as error:
        tell.leave(tell.exit_status(error, response.ended))
    except BaseException as error:
        tell.leave(tell.fail("throw", error))


main()
