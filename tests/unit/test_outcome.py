"""`Outcome`: from the jailer's line, to an exit status and a sentence."""

from __future__ import annotations

import dataclasses
import json
import pickle

import pytest

from jail import Outcome, PayloadFailed
from jail.outcome import Call, Failure

LINE = """{"status":"exited","exit_code":0,"signal":null,"wall_seconds":0.004,"cpu_user_seconds":0.001,
 "cpu_system_seconds":0.001,"peak_memory_bytes":1234567,"oom_kills":0,"pids_peak":null,"limits_hit":["pids"],
 "denied":{"ptrace":2},
 "calls":[{"name":"ptrace","number":101,"args":[16,null,null,null,null,null],"action":"errno","errno":1,"count":2}],
 "calls_lost":0,"enforced":{"memory":"cgroup-v1"},"error":null}"""


def test_the_documented_line() -> None:
    outcome = Outcome.from_json(LINE)
    assert outcome == Outcome(
        "exited",
        0,
        None,
        0.004,
        0.001,
        0.001,
        1234567,
        0,
        None,
        ("pids",),
        (("ptrace", 2),),
        (("memory", "cgroup-v1"),),
        None,
        (Call("ptrace", 101, (16, None, None, None, None, None), "errno", 1, 2),),
        0,
    )
    assert outcome.ok
    assert outcome.check() is outcome


def test_what_was_captured_is_not_the_supervisors_to_tell() -> None:
    outcome = dataclasses.replace(Outcome.from_json(LINE), stdout=b"\xff", stderr="text")
    assert json.loads(outcome.to_json()) == json.loads(LINE)
    assert Outcome.from_json(LINE[:-1] + ',"stdout":"forged"}').stdout is None


def test_a_line_survives_both_ways() -> None:
    assert json.loads(Outcome.from_json(LINE).to_json()) == json.loads(LINE)
    failed = Outcome(
        "setup-failed", error=Failure("source", "/nope", 2, "ENOENT", 14, "cannot open '/nope'", "make it")
    )
    assert Outcome.from_json(failed.to_json()) == failed
    assert pickle.loads(pickle.dumps(failed)) == failed


def test_without_an_audit_nothing_is_known_of_calls() -> None:
    outcome = Outcome.from_json('{"status":"exited","denied":null,"calls":null,"calls_lost":null}')
    assert (outcome.denied, outcome.calls, outcome.calls_lost) == (None, None, None)
    heard = Outcome.from_json('{"status":"exited","denied":{},"calls":[],"calls_lost":0}')
    assert (heard.denied, heard.calls, heard.calls_lost) == ((), (), 0)
    assert Outcome.from_json(heard.to_json()) == heard


def test_fields_of_later_versions_are_passed_over() -> None:
    assert Outcome.from_json('{"status":"exited","exit_code":3,"mood":"good"}').exit_code == 3


FINE = '{"status":"exited"}'


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"status":"fine"}', "{", "null", FINE + "x", FINE + "\0", FINE + "\u00a0", FINE * 2],
)
def test_what_is_no_outcome_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Outcome.from_json(text)


@pytest.mark.parametrize(
    ("outcome", "status", "words"),
    [
        (Outcome("exited", 3), 3, "exited with status 3"),
        (
            Outcome(
                "exited", 127, error=Failure("exec", "x", 2, message="cannot execute 'x'", hint="bind it")
            ),
            127,
            "cannot execute 'x'; bind it",
        ),
        (Outcome("signaled", signal=11), 139, r"was killed \(signal 11\)"),
        (Outcome("timed-out", signal=15), 124, "ran out of its wall time"),
        (Outcome("cpu-exceeded", signal=24), 124, "ran out of its CPU time"),
        (Outcome("out-of-memory", signal=9), 137, "ran out of memory"),
        (Outcome("idle-timed-out", signal=15), 124, "put nothing out for too long"),
        (Outcome("output-exceeded", signal=9), 153, "put out too much"),
        (Outcome("out-of-memory", 3), 137, "ran out of memory"),
        (Outcome("killed"), 137, "at the caller's request"),
        (Outcome("setup-failed", error=Failure("clone")), 125, "clone"),
    ],
)
def test_statuses_and_sentences(outcome: Outcome, status: int, words: str) -> None:
    assert outcome.returncode == status
    assert not outcome.ok
    with pytest.raises(PayloadFailed, match=words) as caught:
        outcome.check()
    assert caught.value.outcome is outcome
