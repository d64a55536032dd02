"""Policies made of others."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from unit.test_seccomp_policy import edges, policies

from seccomp import (
    Condition,
    Difference,
    Policy,
    PolicyError,
    Rule,
    action_name,
    action_number,
    diff,
    evaluate,
)
from seccomp.describe import describe_rule

BASE = Policy((Rule(("read", "write"), "allow", reason="data"), Rule(("socket",), "EACCES")), "EPERM")


def test_policies_do_not_change() -> None:
    before = (BASE.rules, BASE.default)
    BASE.allow("close").deny("read").extend([Rule(("brk",), "log")]).intersect(BASE.strict())
    assert (BASE.rules, BASE.default) == before
    with pytest.raises(AttributeError):
        BASE.default = "allow"  # type: ignore[misc]


def test_allow_and_deny() -> None:
    made = BASE.allow("socket", "@sync", reason="asked for").deny("write", action="ENOSYS")
    assert [made.decide(call) for call in ("read", "write", "socket", "fsync")] == [
        "allow",
        "ENOSYS",
        "allow",
        "allow",
    ]
    assert made.rule_of("fsync").reason == "asked for"
    assert made.allow("write").decide("write") == "allow"
    assert made.allow() is made.deny() is made
    with pytest.raises(PolicyError, match="does not deny"):
        BASE.deny("read", action="log")
    with pytest.raises(PolicyError, match="@nosuch"):
        BASE.allow("@nosuch")


def test_extend_by_a_policy_and_by_rules() -> None:
    other = Policy((Rule(("write", "close"), "kill"),), "allow")
    for made in (BASE.extend(other), BASE.extend(other.rules)):
        assert [made.decide(call) for call in ("read", "write", "close", "brk")] == [
            "allow",
            "kill",
            "kill",
            "EPERM",
        ]


def test_intersection_takes_the_stricter() -> None:
    unix = Policy((Rule(("socket",), "allow", ((Condition(0, 1),),), "EPERM"),), "kill")
    stream = Policy(
        (Rule(("socket", "read"), "allow", ((Condition(1, 1, 0xF),),), "ENOSYS"),), "allow", "EPERM"
    )
    both = unix.intersect(stream)
    assert [both.decide("socket", args) for args in ((1, 1), (1, 2), (2, 1), (2, 2))] == [
        "allow",
        "ENOSYS",
        "EPERM",
        "EPERM",
    ]
    assert (both.default, both.foreign, both.decide("read", (0, 1))) == ("kill", "kill", "kill")


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
@given(policies(), policies(), st.lists(st.tuples(*[st.integers(0, 2**64 - 1)] * 6), max_size=3))
def test_intersection_is_both_filters_at_once(
    one: Policy, other: Policy, extra: list[tuple[int, ...]]
) -> None:
    """As the kernel decides with both loaded: the lowest action, signed; of two errnos the first policy's."""
    try:
        both = one.intersect(other)
        program = both.compile("x86_64")
    except PolicyError:
        assume(False)
    for call, number in (
        ("read", 0),
        ("write", 1),
        ("socket", 41),
        ("ioctl", 16),
        ("clone", 56),
        ("brk", 12),
    ):
        rules = [policy.rule_of(call) for policy in (one, other)]
        for args in [*edges(rules[0])[:60], *edges(rules[1])[:60], *extra]:
            results = [action_number(policy.decide(call, args)) for policy in (one, other)]
            ranks = [(result & 0xFFFF0000) - (2**32 if result >= 2**31 else 0) for result in results]
            wanted = action_name(results[1] if ranks[1] < ranks[0] else results[0])
            assert both.decide(call, args) == wanted
            assert action_name(evaluate(program, number, args)) == wanted


def test_too_many_alternatives_are_an_error() -> None:
    def many(arg: int) -> Policy:
        return Policy(
            (Rule(("read",), "allow", tuple((Condition(arg, value),) for value in range(20)), "EPERM"),)
        )

    with pytest.raises(PolicyError, match=r"read: .*256"):
        many(0).intersect(many(1))


def test_differences_in_words() -> None:
    other = BASE.allow("close").extend(
        [Rule(("socket",), "allow", ((Condition(0, 1), Condition(1, 2, 0xF)),))]
    )
    assert diff(BASE, other, "x86_64") == [
        Difference("close", "EPERM", "allow"),
        Difference("socket", "EACCES", "allow if arg0 == 0x1 and arg1 & 0xf == 0x2, else EPERM"),
    ]
    assert str(diff(BASE, BASE.strict())[0]) == "default: EPERM → kill"
    assert diff(BASE, BASE) == []


def test_the_order_of_conditions_is_no_difference() -> None:
    a, b = Condition(0, 1), Condition(1, 2)
    one, other = (Policy((Rule(("read",), "allow", when),)) for when in (((a, b), (b,)), ((b,), (b, a))))
    assert diff(one, other) == []
    assert diff(Policy((Rule(("read",), "EPERM"),), "EPERM"), Policy((), "EPERM")) == []


def test_wide_arguments_are_named_as_such() -> None:
    rule = Rule(("read",), "allow", ((Condition(2, 9, 2**64 - 1, ">="),),), "EPERM")
    assert describe_rule(rule, "kill") == "allow if arg2:64 >= 0x9, else EPERM"
