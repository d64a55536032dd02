"""From the service's source to its answer: finding its function, calling it, writing what it returns."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import AsyncIterable, Callable, Coroutine

import pyjail_tell as tell
from pyjail_http import Request, Response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MODULE = "service"
ITERATES = (types.GeneratorType, map, filter, zip)


def serve(source: bytes, name: str, request: Request, response: Response) -> int:
    """Answer; the exit status."""
    try:
        code = compile(source, name, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        return tell.fail("syntax", error)
    watch_threads()
    module = load(code, source, name)
    kind, function = found_in(module)
    if kind == "handler":
        answer(function, request, response)
    elif kind == "wsgi":
        from pyjail_wsgi import serve_wsgi

        serve_wsgi(function, request, response)
    elif kind == "asgi":
        from pyjail_asgi import serve_asgi

        run(serve_asgi(function, request, response))
    else:
        message = f"{name} has neither handler(req, res) nor a WSGI or ASGI app called app or application"
        return tell.refuse("load", "LoadError", message)
    if not response.ended:
        if not response.head_sent:
            return tell.refuse("no-response", "NoResponse", "the service returned nothing and wrote nothing")
        response.end()
    tell.tell(type="end")
    return 0


def load(code: types.CodeType, source: bytes, name: str) -> types.ModuleType:
    """The service as a module, whose lines tracebacks can show wherever they came from."""
    import linecache

    lines = source.decode("utf-8", "replace").splitlines(keepends=True)
    linecache.cache[name] = (len(source), None, lines, name)
    module = sys.modules[MODULE] = types.ModuleType(MODULE)
    module.__file__ = name
    exec(code, module.__dict__)
    return module


def found_in(module: types.ModuleType) -> tuple[str, Callable[..., Any]]:
    """What there is to call, and how."""
    handler = getattr(module, "handler", None)
    if callable(handler):
        return "handler", handler
    for name in ("application", "app"):
        app = getattr(module, name, None)
        if callable(app):
            return "asgi" if is_async(app) else "wsgi", app
    return "", answer


def is_async(app: Callable[..., Any]) -> bool:
    import inspect

    call = app if inspect.isroutine(app) else type(app).__call__
    return inspect.iscoroutinefunction(call)


def answer(handler: Callable[..., Any], request: Request, response: Response) -> None:
    """Call the handler with as many of request and response as it takes, and write what it returns."""
    arguments = (request, response)[: parameters_of(handler)]
    returned = handler(*arguments)
    if isinstance(returned, Coroutine):
        run(finish(returned, response))
    elif isinstance(returned, AsyncIterable):
        run(write_all(returned, response))
    else:
        write(returned, response)


def parameters_of(handler: Callable[..., Any]) -> int:
    code = getattr(handler, "__code__", None)
    if code is None or code.co_flags & 4:  # *args
        return 2
    return int(code.co_argcount) - isinstance(handler, types.MethodType)


async def finish(coroutine: Coroutine[Any, Any, Any], response: Response) -> None:
    returned = await coroutine
    if isinstance(returned, AsyncIterable):
        await write_all(returned, response)
    else:
        write(returned, response)


async def write_all(parts: AsyncIterable[Any], response: Response) -> None:
    async for part in parts:
        response.write(part)
    response.end()


def write(value: Any, response: Response) -> None:
    """A returned value as the body; None says nothing."""
    if value is None or value is response or response.ended:
        return
    if isinstance(value, (str, bytes, bytearray, memoryview)):
        response.write(value)
        response.end()
    elif isinstance(value, ITERATES):
        for part in value:
            response.write(part)
        response.end()
    elif response.head_sent:
        response.end(json.dumps(value))
    else:
        response.json(value)


def run(coroutine: Coroutine[Any, Any, Any]) -> None:
    """In an event loop that takes errors which nobody awaits as the end."""
    import asyncio

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(nobody_awaits)
        await coroutine

    asyncio.run(watched())


def nobody_awaits(_loop: object, context: dict[str, Any]) -> None:
    error = context.get("exception") or RuntimeError(context["message"])
    tell.leave(tell.fail("rejection" if "future" in context else "async-throw", error))


def watch_threads() -> None:
    """An error that ends a thread ends the service."""
    import threading

    def ended(arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_value is not None and not isinstance(arguments.exc_value, SystemExit):
            tell.leave(tell.fail("async-throw", arguments.exc_value))

    threading.excepthook = ended
