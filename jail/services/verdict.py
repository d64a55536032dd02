"""`verdict`: what became of an answer, as the supervisor saw it. What the service says about itself only
fills in the words."""

from __future__ import annotations

import dataclasses

from jail.outcome import Outcome
from jail.services.messages import Error

FAILURES = {
    100: Error("ServiceError", "the service threw an error", kind="throw"),
    101: Error("SyntaxError", "the service's code cannot be read", kind="syntax"),
    102: Error("ServiceError", "the service threw an error that nothing caught", kind="async-throw"),
    103: Error("ServiceError", "a promise was rejected, and the service took no notice", kind="rejection"),
    104: Error("NoResponse", "the service came to its end without a response", kind="no-response"),
    105: Error("ExitError", "the service ended itself before its response had ended", kind="exit"),
    106: Error("LoadError", "the service has no function to call", kind="load"),
    141: Error("ClosedError", "nobody read the response any more", kind="closed"),
}
"""Exit statuses of the runners: what they mean where the service itself says nothing."""

ENDS = {
    "timed-out": Error("TimeoutError", "the service ran out of its time", kind="timeout"),
    "idle-timed-out": Error("TimeoutError", "the service put nothing out for too long", kind="timeout"),
    "cpu-exceeded": Error("CpuError", "the service ran out of its CPU time", kind="cpu"),
    "out-of-memory": Error("MemoryError", "the service ran out of memory", kind="memory"),
    "output-exceeded": Error("OutputError", "the service put out too much", kind="output"),
    "killed": Error("KilledError", "the service was ended from outside", kind="killed"),
    "setup-failed": Error("SetupError", "the service's jail could not be set up", kind="setup"),
}
"""How the supervisor ended it. A service cannot bring these about by what it says."""


def verdict(outcome: Outcome, said: Error | None = None) -> Error | None:
    """None where the service ended with status 0; else what happened. `said` is the error that the service
    sent, which counts only where it ended by itself with another status; the kind is never its own word."""
    if outcome.ok:
        return None
    if outcome.status in ENDS:
        return ENDS[outcome.status]
    if outcome.signal is not None:
        return Error("SignalError", f"signal {outcome.signal} ended the service", kind="signal")
    if outcome.error is not None:
        return Error("ExecError", outcome.describe(), kind="exec")
    ended = Error("ExitError", f"the service exited with status {outcome.exit_code}", kind="exit")
    found = FAILURES.get(outcome.exit_code or 0, ended)
    return found if said is None else dataclasses.replace(said, kind=found.kind)
