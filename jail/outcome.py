"""`Outcome`: how a run ended and what it used, as the supervisor saw it. See docs/plan.md."""

from __future__ import annotations

import json

from jail._record import record
from jail.errors import LaunchError, PayloadFailed
from jail.launch import JAILER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

STATUSES = (
    "exited",
    "signaled",
    "timed-out",
    "idle-timed-out",
    "cpu-exceeded",
    "out-of-memory",
    "output-exceeded",
    "killed",
    "setup-failed",
)
FIXED = {
    "timed-out": 124,
    "idle-timed-out": 124,
    "cpu-exceeded": 124,
    "setup-failed": 125,
    "out-of-memory": 128 + 9,
    "killed": 128 + 9,
    "output-exceeded": 128 + 25,
}
"""Exit statuses that do not depend on how the payload took its end."""
DECODER = json.JSONDecoder()
CAPTURED = ("stdout", "stderr")
"""What the caller adds, which is no part of the line."""


@record(frozen=True)
class Failure:
    """What could not be set up: the `step`, on which `object`, the plan's `line` or 0, `errno` or 0, and a
    `hint`. With the step `exec` the jail was fine and the command could not be started."""

    step: str = ""
    object: str = ""
    errno: int = 0
    errno_name: str = ""
    line: int = 0
    message: str = ""
    hint: str = ""


@record(frozen=True)
class Call:
    """A system call that an audit heard of, `count` times. `args`: six, of which those that mean nothing as
    numbers (addresses, sizes, descriptors) are None; None for all of them where none is kept, or more than 32
    were different. `action`: `errno` (with `errno`), `kill`, or with a full audit `allow` and `log`."""

    name: str
    """`syscall_N` for a number that is no call, `foreign_N` for another architecture's."""
    number: int
    args: tuple[int | None, ...] | None
    action: str
    errno: int
    count: int


@record(frozen=True)
class Outcome:
    """How a run ended. What this host does not measure is None. Nothing that the payload writes can change
    it. The file outcome.schema.json describes the JSON form."""

    status: str
    """`exited`, `signaled`, `timed-out`, `idle-timed-out`, `cpu-exceeded`, `out-of-memory`,
    `output-exceeded`, `killed` (the caller asked for the end) or `setup-failed` (the payload never ran). The
    first limit that was reached counts."""
    exit_code: int | None = None
    signal: int | None = None
    wall_seconds: float | None = None
    cpu_user_seconds: float | None = None
    cpu_system_seconds: float | None = None
    peak_memory_bytes: int | None = None
    oom_kills: int | None = None
    pids_peak: int | None = None
    limits_hit: tuple[str, ...] = ()
    """The limits of `Limits` that the run was seen to run into, also where it went on: `memory` and `pids`
    where a cgroup holds them, what the supervisor itself holds, and `tmp_size` and `tmp_inodes` where a
    folder in memory was still full in the end."""
    denied: tuple[tuple[str, int], ...] | None = None
    """System calls that were refused, by name, and how often; None without an audit."""
    enforced: tuple[tuple[str, str], ...] = ()
    """Limits and the mechanism that held each: `cgroup-v1`, `rlimit`, `supervisor`, `tmpfs`."""
    error: Failure | None = None
    calls: tuple[Call, ...] | None = None
    """What an audit heard, in the order of the first of each; None without one."""
    calls_lost: int | None = None
    """How many it heard and had no room to keep: a program that makes up numbers."""
    stdout: Any = None
    """What was captured, bytes or text; None where it was not. The caller's part, not the supervisor's: it is
    not in the line of JSON."""
    stderr: Any = None

    @property
    def ok(self) -> bool:
        """Whether the payload ran to its end and exited with 0."""
        return self.status == "exited" and self.exit_code == 0

    @property
    def returncode(self) -> int:
        """The exit status of `pyjail run`: the payload's own, 128+N for signal N, 124 for a time limit, 125
        where the jail could not be set up, 137 if memory ran out, 153 after too much output."""
        if self.status in FIXED:
            return FIXED[self.status]
        return 128 + self.signal if self.signal is not None else self.exit_code or 0

    def check(self) -> Outcome:
        """This outcome, if `ok`; raises PayloadFailed otherwise."""
        if not self.ok:
            raise PayloadFailed(self)
        return self

    def describe(self) -> str:
        """One sentence for people."""
        if self.error is not None:
            return "; ".join(
                part for part in (self.error.message or self.error.step, self.error.hint) if part
            )
        if self.status == "exited":
            return f"the payload exited with status {self.exit_code}"
        because = {
            "timed-out": "ran out of its wall time",
            "idle-timed-out": "put nothing out for too long",
            "output-exceeded": "put out too much",
            "cpu-exceeded": "ran out of its CPU time",
            "out-of-memory": "ran out of memory",
            "killed": "was ended at the caller's request",
        }
        ended = f" (signal {self.signal})" if self.signal is not None else ""
        return f"the payload {because.get(self.status, 'was killed')}{ended}"

    def to_json(self) -> str:
        """One line, as the jailer writes it."""
        names = (name for name in self.__match_args__ if name not in CAPTURED)
        values: dict[str, object] = {name: getattr(self, name) for name in names}
        values["denied"] = None if self.denied is None else dict(self.denied)
        values["enforced"] = dict(self.enforced)
        values["calls"] = None if self.calls is None else [_fields(call) for call in self.calls]
        values["error"] = None if self.error is None else _fields(self.error)
        return json.dumps(values, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Outcome:
        """The outcome that a line holds. Fields of later versions are passed over. Raises ValueError."""
        line = (text if isinstance(text, str) else text.decode("utf-8", "surrogatepass")).strip(" \t\r\n")
        values, end = DECODER.raw_decode(line)
        if end != len(line) or not isinstance(values, dict) or values.get("status") not in STATUSES:
            raise ValueError(f"not an outcome: {text!r}")
        known = _known(cls, values)
        denied, calls, error = values.get("denied"), values.get("calls"), values.get("error")
        known["denied"] = None if denied is None else tuple(denied.items())
        known["limits_hit"] = tuple(values.get("limits_hit") or ())
        known["enforced"] = tuple((values.get("enforced") or {}).items())
        known["calls"] = None if calls is None else tuple(_call(**_known(Call, call)) for call in calls)
        known["error"] = Failure(**_known(Failure, error)) if error else None
        return cls(**known)


def _call(args: list[int | None] | None = None, **fields: Any) -> Call:
    return Call(args=None if args is None else tuple(args), **fields)


def _fields(value: Call | Failure) -> dict[str, object]:
    return {name: getattr(value, name) for name in value.__match_args__}


def _known(kind: type[Outcome] | type[Call] | type[Failure], values: Mapping[str, object]) -> dict[str, Any]:
    """The values of the fields that the record has; null is as good as absent in those that are never
    None."""
    return {
        name: values[name]
        for name in kind.__match_args__
        if name in values and name not in CAPTURED and (kind is Outcome or values[name] is not None)
    }


def outcome_of(text: bytes) -> Outcome:
    """What the jailer reported, as an outcome or a LaunchError."""
    if not text:
        raise LaunchError("the jailer ended and reported nothing", "jailer", object=JAILER)
    try:
        outcome = Outcome.from_json(text)
    except ValueError:
        raise LaunchError(
            f"the jailer reported what is no outcome: {text!r}", "jailer", object=JAILER
        ) from None
    error = outcome.error
    if outcome.status == "setup-failed":
        if error is None:
            raise LaunchError("the jail could not be set up", "unknown")
        raise LaunchError(
            error.message or error.step, error.step, error.errno, error.hint, error.object, error.line
        )
    return outcome
