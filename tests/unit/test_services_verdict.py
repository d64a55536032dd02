"""What became of an answer: by the outcome alone."""

from __future__ import annotations

import pytest

from jail.outcome import FIXED, STATUSES, Failure, Outcome
from jail.services.messages import Error
from jail.services.verdict import ENDS, FAILURES, verdict

LIE = Error("Lie", "all is well", "stack", kind="timeout")


def test_a_service_that_ended_well_did_whatever_it_said() -> None:
    assert verdict(Outcome("exited", 0), LIE) is None


@pytest.mark.parametrize("status", sorted(set(STATUSES) - {"exited", "signaled"}))
def test_what_the_supervisor_ended_is_told_in_its_words(status: str) -> None:
    found = verdict(Outcome(status, signal=9), LIE)
    assert found == verdict(Outcome(status, signal=9)) == ENDS[status]
    assert status in FIXED


def test_a_signal() -> None:
    assert verdict(Outcome("signaled", signal=11), LIE) == Error(
        "SignalError", "signal 11 ended the service", kind="signal"
    )


@pytest.mark.parametrize("status", [1, 255, *FAILURES])
def test_the_kind_is_the_exit_statuss_and_the_words_the_services(status: int) -> None:
    bare, told = verdict(Outcome("exited", status)), verdict(Outcome("exited", status), LIE)
    assert bare is not None and told is not None
    assert bare.kind == told.kind == (FAILURES[status].kind if status in FAILURES else "exit")
    assert (told.name, told.message, told.stack) == ("Lie", "all is well", "stack")


def test_a_program_that_could_not_be_executed() -> None:
    failed = verdict(Outcome("exited", 126, error=Failure("exec", message="no")), LIE)
    assert failed == Error("ExecError", "no", kind="exec")


def test_kinds_are_distinct() -> None:
    kinds = [error.kind for error in FAILURES.values()]
    assert len(kinds) == len(set(kinds))
