"""`verdict`: what became of an answer, as the supervisor saw it. What the service says about itself only
fills in the words."""

from __future__ import annotations

from jail.outcome import Outcome
from jail.services.messages import Error

FAILURES = {
    100: ("ServiceError", "the service threw an error"),
    101: ("SyntaxError", "the service's code cannot be read"),
    102: ("UncaughtError", "the service threw an error after its function had returned"),
    103: ("UnhandledRejection", "a promise of the service was rejected, and nobody took notice"),
    104: ("NoResponse", "the service ended without a response"),
    105: ("ExitError", "the service ended itself before its response"),
    106: ("LoadError", "the service has no function that could be called"),
}
"""Exit statuses of the runners: what they mean where the service itself says nothing."""

ENDS = {
    "timed-out": ("TimeoutError", "the service ran out of its time"),
    "idle-timed-out": ("TimeoutError", "the service put nothing out for too long"),
    "cpu-exceeded": ("CpuError", "the service ran out of its CPU time"),
    "out-of-memory": ("MemoryError", "the service ran out of memory"),
    "output-exceeded": ("OutputError", "the service put out too much"),
    "killed": ("KilledError", "the service was ended from outside"),
    "setup-failed": ("SetupError", "the service's jail could not be set up"),
}


def verdict(outcome: Outcome, said: Error | None = None) -> Error | None:
    """None where the service ended with status 0; else what happened. `said` is the error that the service
    sent, which counts only where it ended by itself with another status."""
    if outcome.ok:
        return None
    if outcome.status in ENDS:
        name, message = ENDS[outcome.status]
        return Error(name, message)
    if outcome.signal is not None:
        return Error("SignalError", f"signal {outcome.signal} ended the service")
    if said is not None:
        return said
    if outcome.exit_code in FAILURES:
        return Error(*FAILURES[outcome.exit_code])
    if outcome.error is not None:
        return Error("ExecError", outcome.describe())
    return Error("ExitError", f"the service exited with status {outcome.exit_code}")
