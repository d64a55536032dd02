"""In the jail: import what was asked for, wait for one job, be it.

Given to `python3 -I -c`, so that no file of it has to be there. A jail whose policy knows no sockets reads
and writes only; then nothing but the job comes on the channel.
"""

from __future__ import annotations

import builtins
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

FEW, MOST = 16, 253  # the sizes that a job begins with; SCM_MAX_FD
COARSE = 10_000_000  # nanoseconds by which the times of files are behind the clock at most


def stamp(path: str) -> tuple[int, ...] | None:
    """What changes when a file does."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def files() -> set[str]:
    """What the modules, and the interpreter, were read from; those that are part of it have no file."""
    read = {
        getattr(module, "__file__", None)
        for module in list(sys.modules.values())
        if getattr(getattr(module, "__spec__", None), "origin", None) != "frozen"
    }
    return {sys.executable} | {path for path in read if isinstance(path, str)}


class Job:
    """Its words, its text or None, whether it came with streams, which are in their places, and what waits
    for the word that it may begin."""

    def __init__(
        self, words: list[bytes], code: bytes | None, placed: bool, begin: Callable[[], None]
    ) -> None:
        self.words, self.code, self.placed, self.begin = words, code, placed, begin


def wait(channel: int, receives: bool, imports: Sequence[str]) -> Job:
    """The job."""
    import fcntl  # noqa: F401 - for `place`
    import gc
    import io  # noqa: F401 - for `stream`

    begun = time.time_ns() - COARSE
    try:
        for name in imports:
            __import__(name)
    except BaseException as error:
        os.write(channel, f"e{type(error).__name__}: {error}".encode(errors="replace"))
        raise SystemExit(1) from None
    stamps = [(path, stamp(path)) for path in files()]
    # What was changed meanwhile may have been read before that.
    unsure = any(known and begun <= known[-1] <= time.time_ns() for _, known in stamps)
    # So that none of what it takes is done for the first time later.
    exec(compile(b"pass", "", "exec"), {})
    for number in range(3):
        stream(number, getattr(sys, ("stdin", "stdout", "stderr")[number]))
    gc.collect()
    gc.freeze()  # what is there by now stays
    take = taking(channel) if receives else lambda: (os.read(channel, 1 << 16), [])
    os.write(channel, b"r")
    first, descriptors = take()
    if not first:
        os._exit(0)
    changed = unsure or any(stamp(path) != known for path, known in stamps)
    text = bytearray(first)

    def more(size: int) -> None:
        while len(text) < size:
            part = os.read(channel, size - len(text))
            if not part:
                os._exit(0)
            text.extend(part)

    more(FEW)
    head, code = int(text[:8], 16), int(text[8:FEW], 16)
    more(FEW + head + code)
    kind, numbers, variables, *words = bytes(text[FEW : FEW + head]).split(b"\0")
    places = [int(number) for number in numbers.split(b",") if number]
    if len(places) != len(descriptors):
        os._exit(0)
    for variable in words[: int(variables)]:
        key, _, value = variable.partition(b"=")
        os.environb[key] = value
    program = bytes(text[FEW + head : FEW + head + code]) if kind == b"code" else None
    channel = place(descriptors, places, channel)

    def begin() -> None:
        more(FEW + head + code + 1)  # the word that it is for us
        os.write(channel, b"s" if changed else b"a")
        if changed:
            os._exit(0)
        os.close(channel)

    return Job(words[int(variables) :], program, bool(places), begin)


def taking(channel: int) -> Callable[[], tuple[bytes, list[int]]]:
    """What takes the first part of a job, and the descriptors that come with it."""
    import _socket

    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, channel)

    def take() -> tuple[bytes, list[int]]:
        first, given, _, _ = connection.recvmsg(1 << 16, 24 + 4 * MOST)
        connection.detach()
        return first, [
            int.from_bytes(data[at : at + 4], sys.byteorder)
            for _, _, data in given for at in range(0, len(data) // 4 * 4, 4)
        ]

    return take


def place(descriptors: Sequence[int], numbers: Sequence[int], channel: int) -> int:
    """Put the descriptors where they are wanted; the channel, which may have been there."""
    if not numbers:
        return channel
    import fcntl

    top = max(numbers) + 1
    clear = []
    for descriptor in (*descriptors, channel):
        clear.append(descriptor if descriptor >= top else fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, top))
        if descriptor < top:
            os.close(descriptor)
    channel = clear.pop()
    for number in {0, 1, 2} - set(numbers):
        try:
            os.close(number)
        except OSError:
            pass
    for descriptor, number in zip(clear, numbers, strict=True):
        os.dup2(descriptor, number)
        os.close(descriptor)
    return channel


def stream(number: int, like: Any) -> Any:
    """A standard stream as the interpreter makes it at its start."""
    import io

    writes = number > 0
    try:
        raw: Any = io.FileIO(number, "w" if writes else "r", closefd=False)
    except OSError:
        return None
    raw.name = ("<stdin>", "<stdout>", "<stderr>")[number]
    found: Any = io.TextIOWrapper(
        io.BufferedWriter(raw) if writes else io.BufferedReader(raw),
        encoding=like.encoding,
        errors=like.errors,
        newline="\n" if writes else None,
        line_buffering=number == 2,
    )
    found.mode = "w" if writes else "r"
    return found


def main() -> None:
    number, streams, *imports = sys.argv[1:]
    job = wait(int(number), streams == "receive", imports)
    if job.placed:
        for index, name in enumerate(("stdin", "stdout", "stderr")):
            made = stream(index, getattr(sys, name))
            setattr(sys, name, made)
            setattr(sys, f"__{name}__", made)
    sys.argv[:] = [word.decode(sys.getfilesystemencoding(), "surrogateescape") for word in job.words]
    module: Any = type(sys)("__main__")
    module.__builtins__ = builtins
    sys.modules["__main__"] = module
    job.begin()
    code = job.code
    try:
        if code is None:
            module.__file__ = sys.argv[0]
            with open(sys.argv[0], "rb") as file:
                code = file.read()
        exec(compile(code, sys.argv[0], "exec", dont_inherit=True), module.__dict__)
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:
        trace: Any = error.__traceback__
        below = trace.tb_next  # without this file
        sys.excepthook(type(error), error.with_traceback(below), below)
        raise SystemExit(1) from None


main()
