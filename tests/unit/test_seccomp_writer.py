"""Policies written as TOML are read back as the same."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from unit.test_seccomp_oci import DOCKER
from unit.test_seccomp_policy import edges, policies

from seccomp import Case, Condition, Policy, Rule, diff, profiles
from seccomp.writer import rule_lines, when_lines


@pytest.mark.parametrize("profile", profiles())
def test_a_shipped_profile_comes_back_as_the_same_program(profile: str) -> None:
    policy = Policy.named(profile)
    text = policy.to_toml()
    again = Policy.from_toml(text)
    assert again.compile() == policy.compile()
    assert again.strict().compile() == policy.strict().compile()  # `probed` is kept
    assert again.to_toml() == text


def test_a_docker_profile_becomes_a_policy_file() -> None:
    policy = Policy.from_oci(json.dumps(DOCKER), arch="x86_64", kernel="6.1")
    again = Policy.from_toml(policy.to_toml())
    assert diff(policy, again) == []
    assert again.compile("x86_64") == policy.compile("x86_64")
    assert "no namespaces" in policy.to_toml()


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(policies())
def test_any_policy_comes_back_deciding_the_same(policy: Policy) -> None:
    again = Policy.from_toml(policy.to_toml())
    assert (again.default, again.foreign) == (policy.default, policy.foreign)
    for rule in policy.rules:
        for args in edges(rule)[:300]:
            assert again.decide(rule.calls[0], args) == policy.decide(rule.calls[0], args)


def test_values_of_one_argument_become_a_list_with_their_names() -> None:
    when = tuple(
        (Condition(0, family), Condition(1, kind, 0xF), Condition(2, 0))
        for family in (2, 10)
        for kind in (1, 2)
    )
    assert when_lines(when, ["socket"]) == [
        "when = [",
        "  # AF_INET, AF_INET6; SOCK_STREAM, SOCK_DGRAM",
        "  [{ arg = 0, is = [2, 0xa] }, { arg = 1, mask = 0xf, is = [1, 2] }, { arg = 2, is = 0 }],",
        "]",
    ]


def test_what_is_no_product_stays_apart() -> None:
    when = ((Condition(0, 1), Condition(1, 1)), (Condition(0, 2), Condition(1, 2)))
    assert len(when_lines(when)) == 4


def test_refused_values_and_wide_masks() -> None:
    when = ((Condition(0, 1, op="!="), Condition(0, 2, op="!="), Condition(1, 1 << 40, 2**64 - 1, ">")),)
    line = "  [{ arg = 0, not = [1, 2] }, { arg = 1, width = 64, above = 0x10000000000 }],"
    assert when_lines(when)[1] == line


def test_where_the_kernel_uses_more_the_width_is_written() -> None:
    when = ((Condition(0, 1), Condition(1, 2, 0xF)),)
    assert "[{ arg = 0, is = 1 }, { arg = 1, mask = 0xf, is = 2 }]" in when_lines(when, ["socket", "kill"])[1]
    assert "{ arg = 0, width = 32, is = 1 }" in when_lines(when, ["socket", "mmap"])[1]


def test_further_cases_are_tables() -> None:
    rest = Case("EPERM", ((Condition(0, 2),),), Case("trap", ((Condition(0, 3),),), "log"))
    policy = Policy((Rule(("kill",), "allow", ((Condition(0, 1),),), rest),), "EACCES")
    text = policy.to_toml()
    assert "[rule.otherwise]" in text
    assert "[rule.otherwise.otherwise]" in text
    assert Policy.from_toml(text) == policy


REASONS = ['a "quoted" \\ word', "tab\tand\nline", "\x7f\x01", "größer → 💡", "half \ud800"]


@pytest.mark.parametrize("reason", REASONS)
def test_reasons_of_any_kind(reason: str) -> None:
    policy = Policy((Rule(("read",), "allow", reason=reason),), "EPERM", description=reason)
    again = Policy.from_toml(policy.to_toml())
    assert again.description == again.rules[0].reason == reason.replace("\ud800", "?")


def test_optional_calls_stay_optional() -> None:
    rule = Rule((), "allow", optional=("a_call_of_the_future",))
    assert rule_lines(rule) == ["[[rule]]", 'action = "allow"', 'optional = ["a_call_of_the_future"]']
    assert Policy.from_toml(Policy((rule,)).to_toml()) == Policy((rule,))


def test_long_lists_are_lines_that_fit() -> None:
    text = Policy.named("default").to_toml()
    lists = [line for line in text.splitlines() if line.startswith(" ")]
    assert max(map(len, lists)) <= 110
