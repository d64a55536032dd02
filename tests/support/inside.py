"""Put before the code that a test runs inside a jail: raw system calls and a JSON answer.

Stands alone: it is sent as text to the system's Python in the jail, which cannot see the tests.
"""

import ctypes
import errno
import json
import os
import sys  # noqa: F401 - for the code that follows

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def call(number, *arguments):
    """A raw system call: its result, or the name of its error ("EPERM")."""
    words = []
    for argument in arguments:
        if argument is None or isinstance(argument, int):
            words.append(ctypes.c_ulong((argument or 0) & (2**64 - 1)))
        elif isinstance(argument, bytes):
            words.append(ctypes.c_char_p(argument))
        else:
            words.append(ctypes.byref(argument))
    result = libc.syscall(ctypes.c_long(number), *words)
    return result if result != -1 else errno.errorcode.get(ctypes.get_errno(), ctypes.get_errno())


def attempt(function, *arguments, **options):
    """What a call comes to: "ok", or the name of the error that refused it."""
    try:
        function(*arguments, **options)
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
    except Exception as error:
        return type(error).__name__
    return "ok"


def read(path, size=1 << 16):
    """A file's first bytes as text, or the name of the error."""
    try:
        with open(path, "rb", buffering=0) as file:
            return (file.read(size) or b"").decode("utf-8", "backslashreplace")
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))


def in_child(function, *arguments):
    """Run function in a fork: the text it returned, or "signal N"."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.write(writer, str(function(*arguments)).encode())
        os._exit(0)
    os.close(writer)
    answer = b"".join(iter(lambda: os.read(reader, 65536), b"")).decode()
    os.close(reader)
    status = os.waitpid(child, 0)[1]
    return "signal %d" % os.WTERMSIG(status) if os.WIFSIGNALED(status) else answer


def answer(**found):
    """Tell the test what was found: one JSON line on stdout."""
    os.write(1, (json.dumps(found) + "\n").encode())
