"""Why a call is refused, and the rule that allows it and nothing more."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unit.test_seccomp_policy import DECISIONS, DEFAULT, edges, policies

from seccomp import Condition, Policy, PolicyError, Rule, diff, explain
from seccomp.describe import describe_steps
from seccomp.explanation import allowing, looked_at
from seccomp.selectors import SELECTORS, meanings, number


@pytest.mark.parametrize(("call", "args", "action"), DECISIONS)
def test_with_all_arguments_it_says_what_the_policy_decides(
    call: str, args: tuple[int, ...], action: str
) -> None:
    found = explain(DEFAULT, call, (*args, *[0] * (6 - len(args))))
    assert found.actions == (action,)
    assert (found.remedy is None) == (action == "allow")


def test_without_arguments_it_says_what_is_possible() -> None:
    assert explain(DEFAULT, "socket").actions == ("allow", "EPERM")
    assert explain(DEFAULT, "socket", [1, None]).actions == ("allow", "EPERM")
    assert explain(DEFAULT, "socket", [40, None, None]).actions == ("EPERM",)
    assert explain(DEFAULT, "socket", [1, 1]).actions == ("allow",)  # the protocol does not matter
    assert explain(DEFAULT, "ioctl", [None, 0x5412]).actions == ("EPERM",)
    assert explain(DEFAULT, "read").actions == ("allow",)
    assert explain(DEFAULT, "vserver").actions == ("ENOSYS",)


def test_unknown_calls_come_with_those_that_are_alike() -> None:
    with pytest.raises(PolicyError, match=r"no such system call: 'ptrase'; did you mean ptrace"):
        explain(DEFAULT, "ptrase")
    with pytest.raises(PolicyError, match="@sync is a group; name one of its calls: fdatasync"):
        explain(DEFAULT, "@sync")
    with pytest.raises(PolicyError, match="@nosuch"):
        explain(DEFAULT, "@nosuch")


def test_a_call_of_another_machine_has_no_number() -> None:
    assert explain(DEFAULT, "open", arch="aarch64").number is None
    assert explain(DEFAULT, "open", arch="x86_64").number == 2


@pytest.mark.parametrize(("call", "args"), [(c, a) for c, a, action in DECISIONS if action != "allow"])
def test_the_remedy_allows_these_arguments_and_no_others(call: str, args: tuple[int, ...]) -> None:
    whole = (*args, *[0] * (6 - len(args)))
    found = explain(DEFAULT, call, whole)
    assert found.remedy is not None
    cured = DEFAULT.extend([found.remedy])
    assert cured.decide(call, whole) == "allow"
    if found.remedy.when:
        for other in edges(DEFAULT.rule_of(call)):
            assert cured.decide(call, other) in ("allow", DEFAULT.decide(call, other))
        assert [each.call for each in diff(DEFAULT, cured)] == [call]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(policies(), st.tuples(*[st.integers(0, 2**64 - 1)] * 6))
def test_of_any_rule_the_remedy_changes_only_what_it_must(policy: Policy, args: tuple[int, ...]) -> None:
    for rule in policy.rules:
        call = rule.calls[0]
        cured = policy.extend([allowing(rule, call, args)])
        assert cured.decide(call, args) == "allow"
        for other in edges(rule)[:200]:
            same = all((args[arg] ^ other[arg]) & mask == 0 for arg, mask in looked_at(rule).items())
            if rule.when and not same:
                assert cured.decide(call, other) == policy.decide(call, other)


def test_where_arguments_are_unknown_the_remedy_allows_all() -> None:
    for args in ([], [17], [17, None, 0]):
        remedy = explain(DEFAULT, "socket", args).remedy
        assert remedy is not None
        assert remedy.when == ()


@pytest.mark.parametrize(("text", "value"), [
    ("5", 5), ("0x10", 16), ("0o17", 15), ("-1", 2**64 - 1), ("AF_INET", 2),
    ("SOCK_STREAM|SOCK_CLOEXEC", 0x80001), ("O_RDWR | O_CREAT", 0o102),
    ("CLONE_NEWUSER|SIGCHLD", 0x10000011), ("TIOCSTI", 0x5412), ("PR_SET_SECCOMP", 22), ("F_SETFL", 4),
])  # fmt: skip
def test_numbers_and_constants(text: str, value: int) -> None:
    assert number(text) == value


@pytest.mark.parametrize("text", ["", "nothing", "AF_NOTHING", "path", "5|", "os"])
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(ValueError, match="is no number and no constant"):
        number(text)


def test_names_of_selecting_values() -> None:
    assert meanings("ioctl", 1, (0x5401, 0x5413, 0x9999)) == "TCGETS, TIOCGWINSZ, 0x9999"
    assert meanings("socket", 1, (1,), 0xF) == "SOCK_STREAM"
    assert meanings("socket", 1, (1,), 0x1) == ""  # not enough of it is looked at
    assert meanings("clone", 0, (0x3D0F00, 0x1200000, 0x4100)) == (
        "a thread, a process, a process that shares memory (vfork)"
    )
    assert meanings("read", 0, (1,)) == meanings("ioctl", 1, (0x9999,)) == ""


def test_every_selector_is_compared_on_the_width_that_the_kernel_uses() -> None:
    from seccomp._widths import WIDTH_32

    for call, selectors in SELECTORS.items():
        assert all(each.arg in WIDTH_32[call] and each.mask <= 0xFFFFFFFF for each in selectors)


def test_rules_in_lines() -> None:
    rule = Rule(("socket",), "allow", tuple((Condition(0, f), Condition(1, 1, 0xF)) for f in (1, 2)), "EPERM")
    assert describe_steps(rule, "ENOSYS", "socket") == [
        "allow if argument 0 in {AF_UNIX, AF_INET} and argument 1 & 0xf == SOCK_STREAM",
        "else EPERM",
    ]
    assert describe_steps(rule, "ENOSYS")[0] == "allow if argument 0 in {1, 2} and argument 1 & 0xf == 1"
