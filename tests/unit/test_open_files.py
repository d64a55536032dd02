"""The limit on open files of the whole jail: how it is shared out, and what cannot be."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.test_build_plan import ROOT, USER, enforced, plan, rlimits

from jail import INFINITY, Host, Jail, Limits, SpecError, UnsupportedError
from jail import directives as d
from jail.openfiles import IN_A_MESSAGE, LEAST
from jail.resources import resources

OLD = dataclasses.replace(USER, kernel=(5, 13))


def made(host: Host = ROOT, jail: dict[str, Any] | None = None, **limits: Any) -> dict[str, d.Rlimit]:
    return rlimits(plan(Jail(limits=Limits(**limits), **(jail or {})), host))


def refusal(host: Host = ROOT, jail: dict[str, Any] | None = None, **limits: Any) -> str:
    with pytest.raises(SpecError) as caught:
        made(host, jail, **limits)
    assert caught.value.field == "limits.open_files"
    return str(caught.value)


@pytest.mark.parametrize(
    ("host", "each"),
    # Ten processes, and one that a cgroup of version 1 leaves room for: 4000 - 11·253 = 1217 for 12 parts.
    [(ROOT, 1217 // 12), (USER, (4000 - 10 * 253) // 11)],
    ids=["a cgroup", "an rlimit"],
)
def test_each_process_has_an_equal_part(host: Host, each: int) -> None:
    found = made(host, open_files=4000, pids=10)["nofile"]
    assert found == d.Rlimit("nofile", each, each, exact=True)
    assert enforced(plan(Jail(limits=Limits(open_files=4000, pids=10)), host))["open_files"] == "rlimit"


HOSTS = st.sampled_from([ROOT, USER])


@given(st.integers(1, 1 << 20), st.integers(1, 2000), HOSTS, st.sampled_from(["", "all"]))
def test_no_more_than_asked_for_can_be_open(asked: int, pids: int, host: Host, audit: str) -> None:
    """With every table full, and the most in messages that the kernel lets come about."""
    box = Jail(limits=Limits(open_files=asked, pids=pids), audit=audit)
    try:
        held = {each.name: each for each in resources(box, host) if isinstance(each, d.Rlimit)}
    except SpecError:
        held = None
    if held is None:
        processes = pids + 2
        assert asked < processes * IN_A_MESSAGE + (processes + 1) * LEAST
    else:
        processes, each = held["nproc"].hard - 1, held["nofile"].hard
        assert processes >= pids
        assert processes * each + each + processes * IN_A_MESSAGE <= asked
        assert LEAST <= each <= 1024


def test_an_error_says_what_would_do() -> None:
    text = refusal(open_files=4000)
    assert "256 processes" in text
    for part in text.replace(",", "").split():
        if part.startswith("pids="):
            fewer = int(part.removeprefix("pids="))
        elif part.isdigit():
            needed = int(part)  # the last number
    assert made(open_files=4000, pids=fewer)["nofile"].hard >= LEAST
    assert "open files" not in text or refusal(open_files=4000, pids=fewer + 1)
    assert made(open_files=needed)["nofile"].hard == LEAST
    assert refusal(open_files=needed - 1)
    assert "pids=" not in refusal(open_files=1, pids=1), "no number of processes would do"


def test_a_limit_on_each_process_may_be_lower_and_not_higher() -> None:
    limits = {"open_files": 4000, "pids": 10}
    assert made(**limits, nofile=50)["nofile"] == d.Rlimit("nofile", 50, 50, exact=True)
    assert made(**limits, rlimits=(("nofile", 20, 50),))["nofile"] == d.Rlimit("nofile", 20, 50, exact=True)
    for more in ({"nofile": 102}, {"nofile": INFINITY}, {"rlimits": (("nofile", 20, 102),)}):
        assert "101" in refusal(**limits, **more)
    both = enforced(plan(Jail(limits=Limits(**limits, nofile=50)), ROOT))
    assert (both["nofile"], both["open_files"]) == ("rlimit", "rlimit")


def test_without_a_limit_on_processes_there_is_nothing_to_share_out_by() -> None:
    assert "pids" in refusal(open_files=4000, pids=INFINITY)
    assert "nproc" in refusal(open_files=4000, pids=10, rlimits=(("nproc", 5, 5),))
    with pytest.raises(UnsupportedError) as caught:
        made(OLD, {"allow_weaker": frozenset({"pids"})}, open_files=4000, pids=10)
    assert (caught.value.feature, "root" in caught.value.remedy) == ("open-files", True)
    assert made(OLD, open_files=INFINITY)["nofile"] == d.Rlimit("nofile", 1024, 1024)


def test_descriptors_that_are_passed_are_among_those_that_count() -> None:
    limits = {"open_files": 4000, "pids": 10}
    assert made(ROOT, {"pass_fds": (100,)}, **limits)
    assert "descriptors up to 101" in refusal(ROOT, {"pass_fds": (5, 101)}, **limits)
    assert [*resources(Jail(limits=Limits(**limits)), ROOT, listen_fds=True)]
    with pytest.raises(SpecError, match="up to 66"):
        [*resources(Jail(limits=Limits(open_files=4000, pids=13)), ROOT, listen_fds=True)]


def test_of_two_the_smaller_holds() -> None:
    both = Limits(open_files=10) & Limits(open_files=7)
    assert (both.open_files, str(both)) == (7, "open-files=7")
    assert Limits.parse(open_files="7") == both
