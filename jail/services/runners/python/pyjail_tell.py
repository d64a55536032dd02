"""Messages on descriptor 3, errors among them, and the ways out."""

from __future__ import annotations

import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

MESSAGES = 3
MAX_TEXT = 8192
STATUS = {
    "throw": 100,
    "syntax": 101,
    "async-throw": 102,
    "rejection": 103,
    "no-response": 104,
    "exit": 105,
    "load": 106,
    "closed": 141,
}
HERE = os.path.dirname(os.path.abspath(__file__))


def tell(**message: object) -> None:
    """A message. That nobody listens is no fault of the service's."""
    line = json.dumps(message).encode() + b"\n"
    try:
        while line:
            line = line[os.write(MESSAGES, line) :]
    except OSError:
        pass


def fail(kind: str, error: BaseException, message: str = "") -> int:
    """Say what went wrong, in a message and in the log; the exit status."""
    name = type(error).__name__
    stack = _stack(error)
    tell(type="error", kind=kind, name=name[:MAX_TEXT], message=(message or _text(error))[:MAX_TEXT],
         stack=stack[-MAX_TEXT:])  # fmt: skip
    log(stack)
    return STATUS[kind]


def refuse(kind: str, name: str, message: str) -> int:
    """The same where nothing was raised."""
    tell(type="error", kind=kind, name=name, message=message, stack="")
    log(f"{name}: {message}\n")
    return STATUS[kind]


def exit_status(error: SystemExit, ended: bool) -> int:
    """What a service that called sys.exit ends with. 0 is only for one that has answered."""
    code = error.code
    if isinstance(code, str):
        log(code + "\n")
    status = 0 if code is None else code & 0xFF if isinstance(code, int) else 1
    if ended:
        return status
    tell(type="error", kind="exit", name="ExitError", stack="",
         message=f"the service called sys.exit({code!r:.100}) before its response had ended")  # fmt: skip
    return status or STATUS["exit"]


def log(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError):
        pass


def leave(status: int) -> NoReturn:
    """End at once: nothing that the service left behind, such as a thread, is waited for. All of the body has
    been written by now."""
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        pass
    os._exit(status)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "an error that cannot be shown"


def _stack(error: BaseException) -> str:
    """The traceback from the service's own first line on."""
    import traceback

    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(HERE):
        frames = frames.tb_next
    try:
        return "".join(traceback.format_exception(type(error), error, frames))
    except Exception:
        return f"{type(error).__name__}: {_text(error)}\n"
