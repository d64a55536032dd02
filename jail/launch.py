"""What every start of a jailer needs, and `exec_jailer`, which becomes one. `Process` starts them:
spawn.py."""

from __future__ import annotations

import errno
import os

from jail.errors import LaunchError, SpecError, UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from jail.plan import Plan
    from jail.spec import Jail
    from seccomp import Program

ABOUT_THE_FILE = (errno.ENOENT, errno.ENOEXEC, errno.EACCES, errno.EPERM)
JAILER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "jailer", "jailer")


def jailer_path() -> str:
    """The jailer's executable. Raises UnsupportedError where it is not installed."""
    if not os.access(JAILER, os.X_OK):
        raise UnsupportedError(
            "jailer", f"the executable {JAILER}", "run scripts/setup in a checkout, or reinstall pyjail-linux"
        )
    return JAILER


def load_program(jail: Jail) -> Program | None:
    """The filter that the jail names, or None for `off`. Raises SpecError."""
    if jail.seccomp == "off":
        return None
    import seccomp

    try:
        return seccomp.load(jail.seccomp, jail.strict)
    except (ValueError, OSError) as error:
        raise SpecError(str(error), "seccomp") from error
    except ImportError as error:
        raise UnsupportedError("seccomp", str(error), "install it, or use a shipped profile") from error


def exec_jailer(plan: Plan, words: Sequence[str | bytes] = ()) -> NoReturn:
    """Become the jailer, which runs the plan with the words added to its command. Raises LaunchError."""
    path = jailer_path()
    descriptor = memory_file(plan.to_bytes())
    os.set_inheritable(descriptor, True)
    try:
        os.execv(path, ["jailer", "run-fd", str(descriptor), *words])
    except OSError as error:
        os.close(descriptor)
        raise not_started(error) from None


def memory_file(text: bytes) -> int:
    """A descriptor, above the standard ones, from which the text can be read."""
    descriptor = os.memfd_create("pyjail-plan")
    low = []
    while descriptor <= 2:  # free numbers because the caller closed them; they must stay so
        low.append(descriptor)
        descriptor = os.dup(descriptor)
    for number in low:
        os.close(number)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(text)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def not_started(error: OSError) -> LaunchError:
    """The error of an exec of the jailer that failed."""
    return LaunchError(
        f"cannot start the jailer {JAILER!r}: {error.strerror}",
        "jailer",
        error.errno or 0,
        "reinstall pyjail-linux for this machine" if error.errno in ABOUT_THE_FILE else "",
        JAILER,
    )
