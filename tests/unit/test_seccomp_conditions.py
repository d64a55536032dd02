"""What policy files say beyond one action a call: comparisons, cases, groups, bases, optional calls."""

from __future__ import annotations

import pytest
from unit.test_seccomp_policy import edges

import seccomp
from seccomp import Case, Condition, Policy, PolicyError, Rule, action_name, evaluate
from seccomp.grouping import members

HIGH = 1 << 32


def policy(rules: str, default: str = "EPERM") -> Policy:
    return Policy.from_toml(f'default = "{default}"\n{rules}')


def rule(calls: str, more: str = "", action: str = "allow") -> str:
    return f'[[rule]]\ncalls = {calls}\naction = "{action}"\n{more}\n'


COMPARISONS = [
    ("is = 5", {5, 5 | HIGH}, {4, 6, 5 ^ 0x100}),
    ("is = [5, 7]", {5, 7 | HIGH}, {6}),
    ("not = 5", {4, 6}, {5, 5 | HIGH}),
    ("not = [5, 7]", {4, 6, 8}, {5, 7, 7 | HIGH}),
    ("below = 5", {0, 4, 4 | HIGH}, {5, 6, 0xFFFFFFFF}),
    ("at-most = 5", {0, 5, 5 | HIGH}, {6, 0xFFFFFFFF}),
    ("above = 5", {6, 0xFFFFFFFF, 6 | HIGH}, {0, 5, 5 | HIGH}),
    ("at-least = 5", {5, 0xFFFFFFFF}, {0, 4, 4 | HIGH}),
    ("not = 5, width = 64", {4, 5 | HIGH}, {5}),
    ("below = 0x200000005, width = 64", {0, 5, HIGH | 9, 2 * HIGH | 4}, {2 * HIGH | 5, 3 * HIGH, 2**64 - 1}),
    ("at-most = 0x200000005, width = 64", {2 * HIGH | 5, HIGH | 0xFFFFFFFF}, {2 * HIGH | 6, 3 * HIGH}),
    ("above = 0x200000005, width = 64", {2 * HIGH | 6, 3 * HIGH, 2**64 - 1}, {2 * HIGH | 5, 0xFFFFFFFF, 0}),
    ("at-least = 0x200000005, width = 64", {2 * HIGH | 5, 3 * HIGH}, {2 * HIGH | 4, HIGH | 0xFFFFFFFF}),
    ("mask = 0xff00, above = 0x0500", {0x600, 0x6FF | HIGH}, {0x5FF, 0x1_0000}),
    (
        "mask = 0xff00000000, at-least = 0x500000000, width = 64",
        {5 * HIGH, 5 * HIGH | 9},
        {4 * HIGH, 0xFFFFFFFF},
    ),
    ("mask = 0xff00000000, not = 0, width = 64", {HIGH}, {0, 9}),
]


@pytest.mark.parametrize(("condition", "yes", "no"), COMPARISONS, ids=[text for text, _, _ in COMPARISONS])
def test_comparisons(condition: str, yes: set[int], no: set[int]) -> None:
    made = policy(rule('["socket"]', f"when = [[{{ arg = 1, {condition} }}]]"))
    program = made.compile("x86_64")
    for value in yes | no:
        wanted = "allow" if value in yes else "EPERM"
        assert made.decide("socket", (0, value)) == wanted
        assert action_name(evaluate(program, 41, (0, value))) == wanted


def test_conditions_on_one_argument_hold_together() -> None:
    made = policy(
        rule(
            '["socket"]', "when = [[{ arg = 0, at-least = 3 }, { arg = 0, below = 6 }, { arg = 0, not = 4 }]]"
        )
    )
    program = made.compile("x86_64")
    assert [value for value in range(9) if evaluate(program, 41, (value,)) == 0x7FFF0000] == [3, 5]


def test_cases_are_asked_in_their_order() -> None:
    made = policy(
        rule(
            '["kill"]',
            """when = [[{ arg = 1, is = 0 }]]
[rule.otherwise]
action = "EACCES"
when = [[{ arg = 0, above = 5 }]]
otherwise = { action = "log", when = [[{ arg = 1, is = 9 }]] }""",
        )
    )
    program = made.compile("x86_64")
    for args, wanted in {
        (9, 0): "allow",
        (9, 1): "EACCES",
        (1, 9): "log",
        (9, 9): "EACCES",
        (1, 1): "EPERM",
    }.items():
        assert made.decide("kill", args) == wanted
        assert action_name(evaluate(program, 62, args)) == wanted
    strict = made.strict()
    assert [strict.decide("kill", args) for args in ((9, 0), (9, 1), (1, 9), (1, 1))] == [
        "allow",
        "kill",
        "log",
        "kill",
    ]


# ---------------------------------------------------------------- groups


def test_every_group_has_calls_that_are_known() -> None:
    for group in seccomp.groups():
        assert members(group)
        Policy((Rule((group,), "allow"),)).table("x86_64")


def test_a_group_within_a_group() -> None:
    assert set(members("@chown")) < set(members("@privileged"))
    assert "chroot" in members("@privileged")


def test_a_rule_with_groups() -> None:
    made = policy(
        rule('["@timer", "@sync"]', 'without = ["alarm", "@sync"]') + rule('["times"]', action="kill")
    )
    assert made.decide("timer_create") == "allow"
    assert made.decide("times") == "kill"  # named: goes before the group
    assert made.decide("alarm") == made.decide("fsync") == "EPERM"
    assert not any(call.startswith("@") for rule in made.rules for call in rule.calls)


def test_groups_that_agree_may_share_calls() -> None:
    """`times` is a timer and a part of processes."""
    made = policy(rule('["@timer"]') + rule('["@process"]'))
    assert made.decide("times") == "allow"
    made.compile("x86_64")


def test_rules_made_in_python_have_groups_too() -> None:
    assert Policy((Rule(("@mount",), "kill"),), "allow").decide("pivot_root") == "kill"
    with pytest.raises(PolicyError, match="@nosuch"):
        Policy((Rule(("@nosuch",), "kill"),), "allow")


# ---------------------------------------------------------------- optional, and newer than the library


def test_optional_calls_need_not_exist() -> None:
    made = policy(rule('["read"]', 'optional = ["frobnicate", "write"]'))
    assert made.table("x86_64").keys() == {0, 1}
    assert made.decide("frobnicate") == made.decide("write") == "allow"
    alone = policy('[[rule]]\noptional = ["frobnicate"]\naction = "allow"')
    assert alone.table("x86_64") == {}
    with pytest.raises(PolicyError, match="frobnicate"):
        policy(rule('["frobnicate"]'))


@pytest.mark.parametrize(
    ("call", "machine", "number"),
    [
        ("listns", "x86_64", 470),
        ("mseal", "aarch64", 462),
        ("uretprobe", "x86_64", 335),
        ("uretprobe", "aarch64", None),
        ("riscv_hwprobe", "riscv64", 258),
        ("memfd_secret", "x86_64", 447),
        ("cachestat", "ppc64le", 451),
    ],
)
def test_calls_newer_than_the_library_work_by_number(call: str, machine: str, number: int | None) -> None:
    made = policy(rule(f'["{call}"]'))
    assert list(made.table(machine)) == ([] if number is None else [number])
    assert number is None or call in seccomp.disassemble(made.compile(machine))


# ---------------------------------------------------------------- bases


def test_a_file_with_a_base() -> None:
    made = Policy.from_toml('base = "default"\n' + rule('["socket"]', action="EACCES") + rule('["ptrace"]'))
    default = Policy.named("default")
    assert made.default == default.default
    assert (made.decide("socket", (1, 1)), made.decide("ptrace")) == ("EACCES", "allow")
    assert made.decide("clone", (0x10000000,)) == default.decide("clone", (0x10000000,)) == "EPERM"
    assert {d.call for d in seccomp.diff(default, made, "x86_64")} == {"socket", "ptrace"}


def test_strict_is_the_default_profile_made_strict() -> None:
    assert seccomp.diff(Policy.named("strict"), Policy.named("default").strict()) == []
    assert (
        seccomp.load("strict").bpf == seccomp.load("default", strict=True).bpf != seccomp.load("default").bpf
    )


def test_compute_lets_nothing_be_opened_for_writing() -> None:
    compute = Policy.named("compute")
    for flags in (1, 2, 3, 0o100, 0o1000, 0o20200000, 0o101, 1 | HIGH):
        assert compute.decide("openat", (0, 0, flags)) == compute.decide("open", (0, flags)) == "EPERM"
    for flags in (0, 0o2000000, 0o200000, HIGH):
        assert compute.decide("openat", (0, 0, flags)) == compute.decide("open", (0, flags)) == "allow"


@pytest.mark.parametrize("name", sorted({*seccomp.profiles()} - {"default", "network"}))
def test_only_network_allows_more_than_the_default(name: str) -> None:
    default, made = Policy.named("default"), Policy.named(name)
    defaults, table = default.table("x86_64"), made.table("x86_64")
    for number in range(601):
        for args in edges(table.get(number))[:300]:
            pairs = (defaults.get(number), default), (table.get(number), made)
            before, after = (rule.decide(args, p.default) if rule else p.default for rule, p in pairs)
            assert after != "allow" or before == "allow", (number, args)


def test_wrong_conditions_are_refused() -> None:
    with pytest.raises(PolicyError, match="=~"):
        Condition(0, 1, op="=~")
    with pytest.raises(PolicyError, match="case"):
        Case("allow", ())
