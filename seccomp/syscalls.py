"""System calls that neither libc nor Python has functions for, by number: seccomp(2), landlock(7).

Through the extension, so that C and Python meet in one place.
"""

from __future__ import annotations

import os

from seccomp._library import ffi, lib


def system_call(number: int, *arguments: int | bytes) -> int:
    """The call's result; OSError where it fails.  Other threads run meanwhile.

    `arguments`: at most four.  Bytes are passed by address, for the kernel to read, never to write.
    """
    words = []
    buffers = []  # what the addresses point to has to live until the call is over
    for argument in arguments:
        if isinstance(argument, bytes):
            buffers.append(ffi.from_buffer(argument))
            words.append(int(ffi.cast("uintptr_t", buffers[-1])))
        else:
            words.append(argument % 2**64)
    result = int(lib.system_call(number, *words, *[0] * (4 - len(words))))
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result


def address(data: bytes) -> int:
    """Where the bytes lie, for a structure that points to them; the caller keeps them alive."""
    return int(ffi.cast("uintptr_t", ffi.from_buffer(data)))
