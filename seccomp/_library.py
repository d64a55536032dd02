"""libseccomp itself: the extension module, or the reason why it is not there."""

from __future__ import annotations

from seccomp._errors import LibraryMissingError

try:
    from seccomp._libseccomp import ffi, lib
except ImportError as error:
    if "libseccomp.so" in str(error):
        raise LibraryMissingError(
            "seccomp: the library libseccomp is not installed: apt-get install libseccomp2"
        ) from error
    raise LibraryMissingError(
        f"seccomp: its extension module cannot be loaded ({error}): "
        "apt-get install gcc libseccomp-dev, then install again"
    ) from error

__all__ = ["ffi", "lib"]
