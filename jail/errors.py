"""What can go wrong, by whose fault it is."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jail.outcome import Outcome


class JailError(Exception):
    """The base of all errors of this package."""


class SpecError(JailError, ValueError):
    """What was asked for makes no sense; found before anything was done.

    `field` names the part of the request, e.g. `limits.memory`; `line` is a plan's line, or 0.
    """

    def __init__(self, message: str, field: str = "", line: int = 0) -> None:
        where = f"{field}: line {line}" if field and line else field or (f"line {line}" if line else "")
        super().__init__(f"{where}: {message}" if where else message)
        self.field = field
        self.line = line


class UnsupportedError(JailError):
    """This host cannot hold what was asked for: `feature`, what it `needs`, and the `remedy`."""

    def __init__(self, feature: str, needs: str, remedy: str) -> None:
        super().__init__(f"{feature}: this host lacks {needs}; {remedy}")
        self.feature = feature
        self.needs = needs
        self.remedy = remedy


class LaunchError(JailError, OSError):
    """The jail could not be set up; the payload never ran. (But where the step is `jailer` and the hint says
    that it may have: somebody killed the jailer between the two.)

    `step` is what failed, on which `object`, with `errno` (0 where none applies); `line` is the plan's line
    or 0; `hint` says what to do about it, or is "".
    """

    def __init__(
        self,
        message: str,
        step: str = "",
        errno: int = 0,
        hint: str = "",
        object: str = "",  # noqa: A002
        line: int = 0,
    ) -> None:
        super().__init__(errno, message)
        self.step = step
        self.hint = hint
        self.object = object
        self.line = line

    def __str__(self) -> str:
        return f"{self.strerror}; {self.hint}" if self.hint else str(self.strerror)


class PayloadFailed(JailError):  # noqa: N818 - not an error of ours
    """The payload ran and did not exit with 0; raised by `Outcome.check` only. `outcome` tells how it
    ended."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.describe())
        self.outcome = outcome


class ConfineError(JailError, OSError):
    """`confine` got stuck half-way: `step` failed with `errno`, perhaps after a part of it; the steps in
    `done` are in force and stay so.

    The process is neither what it was nor what was asked for: it should end.
    """

    def __init__(self, step: str, errno: int, reason: str, done: tuple[str, ...]) -> None:
        super().__init__(errno, reason)
        self.step = step
        self.done = done

    def __str__(self) -> str:
        force = ", ".join(self.done) or "nothing"
        return f"{self.step}: {self.strerror}; in force until here: {force}; this process should end"


class CopyError(JailError):
    """A file or folder was not copied into or out of a Workdir: `path` is what, as far as it is known
    where."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path!r}: {why}")
        self.path = path


class RemoteError(JailError):
    """A function that `call` ran in a jail raised an exception. All of it is text that the jail wrote: `type`
    is the exception's name, `message` what it said, `traceback` where."""

    def __init__(self, type: str, message: str, traceback: str = "") -> None:  # noqa: A002
        super().__init__(f"{type}: {message}" if message else type)
        self.type = type
        self.message = message
        self.traceback = traceback
        if traceback:
            self.add_note(f"in the jail:\n{traceback}")
