"""What `confine` refuses before it does anything; what it does is in tests/jailed."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from jail import ConfineError, Limits, SpecError, UnsupportedError, confine
from jail.confinement import Wanted, check_privilege, check_threads, number_of
from jail.landlock import rights
from rlimits import INFINITY, RESOURCES

WRONG = {
    "no such profile": ({"policy": "nosuch"}, "policy", "nosuch"),
    "no such file": ({"policy": "/nosuch/policy.toml"}, "policy", "No such policy file"),
    "a policy that is none": ({"policy": 7}, "policy", "7"),
    "a capability that is none": ({"capabilities": ["net_raw", "fly"]}, "capabilities", "'fly'"),
    "no names": ({"capabilities": 13}, "capabilities", "13"),
    "a number of one": ({"capabilities": [13]}, "capabilities", "13"),
    "limits that are none": ({"limits": {"nofile": 3}}, "limits", "nofile"),
    "a limit of a whole jail": ({"limits": Limits(memory=1 << 30)}, "limits.memory", "whole jail"),
    "a time limit": ({"limits": Limits(timeout=1.0)}, "limits.timeout", "whole jail"),
    "CPU time of a whole jail": ({"limits": Limits(cpu_time=1.0)}, "limits.cpu_time", "rlimits"),
    "CPUs": ({"limits": Limits(cpuset="0")}, "limits.cpuset", "whole jail"),
    "a rate of a disk": ({"limits": Limits(io_max=(("8:0", "rbps", 5),))}, "limits.io_max", "whole jail"),
    "a path that is not there": ({"landlock": {"/nosuch": "ro"}}, "landlock['/nosuch']", "No such file"),
    "a path with NUL": ({"landlock": {"/\0": "ro"}}, r"landlock['/\x00']", "null"),
    "a path that is none": ({"landlock": {7: "ro"}}, "landlock[7]", "int"),
    "an access that is none": ({"landlock": {"/usr": "rx"}}, "landlock['/usr']", "'rx'"),
    "a list of paths": ({"landlock": ["/usr"]}, "landlock", "mapping"),
}


def state():
    """What a step would have changed of this process."""
    return [
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith(("Cap", "NoN", "Sec"))
    ]


@pytest.mark.parametrize("case", WRONG)
def test_what_makes_no_sense_is_refused_before_anything_is_done(case):
    arguments, field, cause = WRONG[case]
    before = state()
    with pytest.raises(SpecError) as caught:
        # A capability that nobody has lost would not be noticed: keep all.
        confine(**{"capabilities": None, **arguments})
    assert caught.value.field == field
    assert cause in str(caught.value)
    assert state() == before


def test_landlock_is_refused_where_truncation_is_not_held():
    for version in 0, 1, 2:
        with pytest.raises(UnsupportedError) as caught:
            rights(version)
        assert caught.value.feature == "landlock"
        assert "6.2" in caught.value.remedy
    assert [rights(version).bit_length() for version in (3, 4, 5, 7, 8, 9, 20)] == [
        15,
        15,
        16,
        16,
        16,
        17,
        17,
    ]


NOTHING = Wanted(keep=None, no_new_privs=False, policy=False, landlock=None)
FULL = (1 << 41) - 1


def thread(held=0, bounding=FULL, nnp=0, filters=0):
    return {
        "Pid": 77, "CapPrm": held, "CapEff": held, "CapInh": 0, "CapBnd": bounding, "CapAmb": 0,
        "NoNewPrivs": nnp, "Seccomp_filters": filters,
    }  # fmt: skip


def want(**changes):
    return Wanted(**{**{name: getattr(NOTHING, name) for name in NOTHING.__match_args__}, **changes})


SPREADS = [
    (want(no_new_privs=True, policy=True, keep=0), thread()),
    (want(no_new_privs=True, landlock=8), thread()),
    (want(no_new_privs=True), thread(nnp=1)),
    (want(no_new_privs=True, policy=True, keep=1 << 10), thread(held=1 << 10)),
    (want(policy=True), thread(held=FULL)),
]
DOES_NOT = [
    (want(no_new_privs=True), thread(), "no_new_privs"),
    (want(no_new_privs=True, landlock=7), thread(nnp=1), "landlock"),
    (want(no_new_privs=True, policy=True, landlock=7), thread(), "landlock"),
    (want(no_new_privs=True, policy=True, keep=0), thread(held=1), "capabilities"),
    (want(no_new_privs=False, policy=True, keep=0), thread(bounding=1), "capabilities"),
    (want(policy=True, no_new_privs=True), thread(filters=1), "policy"),
]


@pytest.mark.parametrize(("wanted", "other"), SPREADS)
def test_what_reaches_the_other_threads(wanted, other):
    check_threads(wanted, thread(), [other])


@pytest.mark.parametrize(("wanted", "other", "feature"), DOES_NOT)
def test_what_does_not_reach_them_is_refused(wanted, other, feature):
    check_threads(wanted, thread(), [])
    with pytest.raises(UnsupportedError, match="77") as caught:
        check_threads(wanted, thread(), [thread(nnp=1), other])
    assert caught.value.feature == feature


def test_a_capability_that_python_prctl_cannot_drop_is_refused():
    with pytest.raises(UnsupportedError, match="capability 50"):
        check_privilege(want(keep=0, no_new_privs=True), thread(held=1 << 50 | 1))
    check_privilege(want(keep=0, no_new_privs=True), thread(held=1, bounding=1 << 50 | 1))


def test_a_filter_without_no_new_privs_needs_sys_admin_among_what_is_kept():
    admin = 1 << 21
    check_privilege(want(policy=True), thread(held=admin))
    check_privilege(want(policy=True, keep=admin), thread(held=FULL))
    check_privilege(want(landlock=7), thread(nnp=1))
    for wanted in want(policy=True, keep=0), want(landlock=7, keep=1):
        with pytest.raises(SpecError, match="no_new_privs"):
            check_privilege(wanted, thread(held=FULL))


def test_the_error_names_what_is_in_force():
    error = ConfineError("landlock", 1, "Operation not permitted", ("limits", "no_new_privs"))
    assert (error.errno, error.step, error.done) == (1, "landlock", ("limits", "no_new_privs"))
    assert str(error).startswith(
        "landlock: Operation not permitted; in force until here: limits, no_new_privs;"
    )
    assert "until here: nothing" in str(ConfineError("limits", 1, "x", ()))


def test_importing_jail_loads_nothing_of_it():
    heavy = ("prctl", "cffi", "seccomp", "jail.confinement")
    code = f"import sys, jail; print([name for name in {heavy} if name in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert ended.stdout == "[]\n"


def test_the_numbers_of_the_limits_are_the_kernel_s():
    for name in RESOURCES:
        assert getattr(resource, f"RLIMIT_{name.upper()}", number_of(name)) == number_of(name)
    assert INFINITY == resource.RLIM_INFINITY
