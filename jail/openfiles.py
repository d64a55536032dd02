"""The limit on open files of the whole jail. The kernel has none; it has these, which together hold one:

- a process has at most RLIMIT_NOFILE descriptors, hard, each in a number below it (setrlimit(2));
- there are at most so many processes and threads as RLIMIT_NPROC says. It is looked at before a fork copies a
  table of descriptors, other than the limit of a pids cgroup;
- while more than RLIMIT_NOFILE descriptors of a user are in messages that nobody has received, that user's
  next sendmsg(2) with some fails (ETOOMANYREFS of unix(7)). That is looked at once, when a message is made:
  each process may have one on its way that no longer would have been allowed.

So with `n` descriptors for each of `p` processes there are never more than p·n + n + p·253.
"""

from __future__ import annotations

from jail import defaults
from jail.directives import Enforced, Rlimit
from jail.errors import SpecError, UnsupportedError
from rlimits import INFINITY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jail.directives import Directive
    from jail.spec import Jail

IN_A_MESSAGE = 253
"""Descriptors, at most: SCM_MAX_FD of unix(7)."""
LEAST = 16
"""Descriptors of a process below which programs do not start."""
LAST_LISTENED = 66
"""The last of 64 sockets from 3 on, which is as many as a service manager can hand over (MAX_FDS)."""
FIELD = "limits.open_files"


def shared_out(jail: Jail, processes: int | None, listen_fds: bool) -> Iterator[Directive]:
    """What holds `open_files` where RLIMIT_NPROC holds the number of the jail's processes. Raises SpecError
    where the number does not suffice, UnsupportedError where nothing counts the processes."""
    limits = jail.limits
    if limits.pids == INFINITY:
        raise SpecError("the files are shared out among the processes, which have no limit: set pids", FIELD)
    if any(name == "nproc" for name, _, _ in limits.rlimits):
        raise SpecError("the files are shared out among the processes: set pids, not the rlimit nproc", FIELD)
    if processes is None:
        raise UnsupportedError(
            "open-files",
            "a kernel that counts processes by user namespace (Linux 5.14)",
            "run as root, or leave --open-files out",
        )
    each = _each(limits.open_files or 0, processes, limits.pids or defaults.PIDS)
    number = _asked(jail)
    if number is not None and not 0 <= number <= each:
        raise SpecError(
            f"of {limits.open_files} open files each of the processes can have {each}: "
            f"ask for a smaller nofile, more open_files or fewer pids", FIELD
        )
    if number is None:
        number = min(each, defaults.NOFILE)
    highest = max(*jail.pass_fds, LAST_LISTENED if listen_fds else 0, 0)
    if highest >= number:
        raise SpecError(
            f"descriptors up to {highest} are passed, and each process can have those below {number}: "
            "pass lower ones, or ask for more open_files or fewer pids", FIELD
        )
    yield Rlimit("nofile", number, number, exact=True)
    if limits.nofile is not None:
        yield Enforced("nofile", "rlimit")
    yield Enforced("open_files", "rlimit")


def _each(asked: int, processes: int, pids: int) -> int:
    """The descriptors of each process. Raises SpecError."""
    each = (asked - processes * IN_A_MESSAGE) // (processes + 1)
    if each >= LEAST:
        return each
    needed = processes * IN_A_MESSAGE + (processes + 1) * LEAST
    fit = (asked - LEAST) // (IN_A_MESSAGE + LEAST) - (processes - pids)
    fewer = f", or pids={fit}" if fit > 0 else ""
    raise SpecError(
        f"{asked} are too few for {pids} processes, with {LEAST} for each and {IN_A_MESSAGE} in a message "
        f"of each: ask for at least {needed}{fewer}", FIELD
    )


def _asked(jail: Jail) -> int | None:
    """The hard limit on each process that was asked for besides."""
    given = [hard for name, _, hard in jail.limits.rlimits if name == "nofile"]
    return given[0] if given else jail.limits.nofile
