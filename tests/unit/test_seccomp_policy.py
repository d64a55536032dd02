"""Policies: what their files may say, what they mean, and that the compiled programs mean the same."""

from __future__ import annotations

from itertools import product
from math import prod
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seccomp import Case, Condition, Policy, PolicyError, Rule, _calls, action_name, action_number, evaluate
from seccomp.policy import When
from seccomp.program import _PROFILES, profiles

MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
HIGH = 0xDEADBEEF << 32
DEFAULT = Policy.from_file(f"{_PROFILES}/default.toml")

WRONG = {
    "not TOML": ("default = ", ""),
    "no default": ("", "default"),
    "unknown key": ('default = "EPERM"\ncolour = 1', "colour"),
    "unknown key in a rule": (
        'default = "EPERM"\n[[rule]]\ncalls = ["read"]\naction = "allow"\nif = 1',
        "rule[0].if",
    ),
    "unknown action": ('default = "maybe"', "default"),
    "errno out of reach": ('default = "ENOTANERRNO"', "default"),
    "wrong type": ("default = 1", "default"),
    "unknown call": ('default = "EPERM"\n[[rule]]\ncalls = ["raed"]\naction = "allow"', "rule[0].calls"),
    "no calls": ('default = "EPERM"\n[[rule]]\ncalls = []\naction = "allow"', "rule[0].calls"),
    "no action": ('default = "EPERM"\n[[rule]]\ncalls = ["read"]', "rule[0].action"),
    "twice": ('default = "EPERM"\n[[rule]]\ncalls = ["read", "read"]\naction = "allow"', ""),
    "unknown base": ('base = "nosuch"', "base"),
    "strict without a base": ('default = "EPERM"\nstrict = true', "strict"),
    "unknown group": ('default = "EPERM"\n[[rule]]\ncalls = ["@x"]\naction = "allow"', "rule[0].calls"),
    "left out of nothing": (
        'default = "EPERM"\n[[rule]]\ncalls = ["@timer"]\nwithout = ["read"]\naction = "allow"',
        "rule[0].without",
    ),
    "two groups with one call": (
        'default = "EPERM"\n[[rule]]\ncalls = ["@timer"]\naction = "allow"\n[[rule]]\ncalls = ["@process"]\n'
        'action = "kill"',
        "rule[1].calls",
    ),
    "a wrong case": (
        'default = "EPERM"\n[[rule]]\ncalls = ["read"]\naction = "allow"\nwhen = [[{ arg = 0, is = 1 }]]\n'
        'otherwise = { action = "EPERM" }',
        "rule[0].otherwise",
    ),
    "otherwise alone": (
        'default = "EPERM"\n[[rule]]\ncalls = ["read"]\naction = "allow"\notherwise = "EPERM"',
        "rule[0]",
    ),
}
CONDITIONS = {
    "argument 6": ("{ arg = 6, is = 1 }", "rule[0].when[0][0]"),
    "negative": ("{ arg = 0, is = -1 }", "rule[0].when[0][0]"),
    "too wide": ("{ arg = 0, is = 0x100000000 }", "rule[0].when[0][0]"),
    "outside of the mask": ("{ arg = 0, mask = 1, is = 2 }", "rule[0].when[0][0]"),
    "mask 0": ("{ arg = 0, mask = 0, is = 0 }", "rule[0].when[0][0]"),
    "wide mask": ("{ arg = 0, mask = 0x100000000, is = 0 }", "rule[0].when[0][0].mask"),
    "width": ("{ arg = 0, width = 16, is = 0 }", "rule[0].when[0][0].width"),
    "boolean": ("{ arg = 0, is = true }", "rule[0].when[0][0].is"),
    "no value": ("{ arg = 0 }", "rule[0].when[0][0].is"),
    "empty list": ("{ arg = 0, is = [] }", "rule[0].when[0][0].is"),
    "two comparisons": ("{ arg = 0, is = 1, not = 2 }", "rule[0].when[0][0].not"),
    "a list to be below": ("{ arg = 0, below = [1] }", "rule[0].when[0][0].below"),
    "unknown key": ("{ arg = 0, is = 1, equals = 2 }", "rule[0].when[0][0].equals"),
    "not a table": ("1", "rule[0].when[0][0]"),
    "nothing": ("", "rule[0].when[0]"),
}


@pytest.mark.parametrize(("text", "key"), WRONG.values(), ids=WRONG)
def test_a_wrong_file_is_refused_with_file_and_key(text: str, key: str) -> None:
    with pytest.raises(PolicyError) as caught:
        Policy.from_toml(text, source="p.toml")
    assert (caught.value.file, caught.value.key) == ("p.toml", key)
    assert str(caught.value).startswith(f"p.toml: {key}")


@pytest.mark.parametrize(("condition", "key"), CONDITIONS.values(), ids=CONDITIONS)
def test_a_wrong_condition_is_refused_with_file_and_key(condition: str, key: str) -> None:
    text = f'default = "EPERM"\n[[rule]]\ncalls = ["read"]\naction = "allow"\nwhen = [[{condition}]]'
    with pytest.raises(PolicyError) as caught:
        Policy.from_toml(text, source="p.toml")
    assert (caught.value.file, caught.value.key) == ("p.toml", key)


def test_too_many_alternatives_are_refused() -> None:
    numbers = list(range(17))
    text = f"""default = "EPERM"\n[[rule]]\ncalls = ["read"]\naction = "allow"
        when = [[{{ arg = 0, is = {numbers} }}, {{ arg = 1, width = 64, is = {numbers} }}]]"""
    with pytest.raises(PolicyError, match="more than 256"):
        Policy.from_toml(text)


def test_lists_are_multiplied_out_and_the_rest_is_read() -> None:
    policy = Policy.from_toml("""
        description = "d"
        default = "kill"
        foreign = "EPERM"
        [[rule]]
        calls = ["socket"]
        action = "allow"
        otherwise = "EACCES"
        reason = "r"
        probed = true
        when = [
            [{ arg = 0, is = [1, 2] }, { arg = 1, mask = 0xf, is = 3 }],
            [{ arg = 2, width = 64, is = 9 }],
        ]
    """)
    a, b, c = Condition(0, 1), Condition(0, 2), Condition(1, 3, 0xF)
    when = ((a, c), (b, c), (Condition(2, 9, 2**64 - 1),))
    assert policy == Policy((Rule(("socket",), "allow", when, "EACCES", "r", True),), "kill", "EPERM", "d")


def test_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_bytes(b'default = "\xff"')
    with pytest.raises(PolicyError, match="not UTF-8"):
        Policy.from_file(path)


@pytest.mark.parametrize("action", ["allow", "log", "trap", "kill", "kill-thread", "EPERM", "ENOSYS"])
def test_actions_have_one_name_and_number(action: str) -> None:
    assert action_name(action_number(action)) == action


def edges(rule: Rule | None) -> list[tuple[int, ...]]:
    """Arguments around each comparison of the rule, each with the upper half clear and set."""
    values: list[set[int]] = (
        [{0, 0xFFFFFFFF, 2**64 - 1, 1 << 63} for _ in range(3)] + [{0, 2**64 - 1}] + [{0}] * 2
    )
    whens = [when for when, _ in rule.cases("kill")[0]] if rule else []
    for condition in [c for when in whens for alternative in when for c in alternative]:
        near = {
            condition.value,
            condition.value + 1,
            condition.value - 1 & 2**64 - 1,
            condition.value | condition.mask,
        }
        values[condition.arg] |= near | {value ^ HIGH for value in near}
    columns = [sorted(column) for column in values]
    count = prod(map(len, columns))
    if count <= 4000:
        return list(product(*columns))
    return [_point(columns, index) for index in range(0, count, count // 4000)]


def _point(columns: list[list[int]], index: int) -> tuple[int, ...]:
    """One element of the columns' product, which may be too large to be made."""
    point = []
    for column in columns:
        index, place = divmod(index, len(column))
        point.append(column[place])
    return tuple(point)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("profile", profiles())
def test_each_profile_compiles_to_what_it_says(profile: str, machine: str, strict: bool) -> None:
    policy = Policy.named(profile).strict() if strict else Policy.named(profile)
    program, table = policy.compile(machine), policy.table(machine)
    for number in range(601):
        rule = table.get(number)
        points = edges(rule) if rule and rule.when else [(0,) * 6, (2**64 - 1,) * 6]
        for args in points:
            wanted = rule.decide(args, policy.default) if rule else policy.default
            assert action_name(evaluate(program, number, args, MACHINES[machine])) == wanted, (number, args)


@pytest.mark.parametrize("arch", [0x40000003, 0x40000028, 0, 0xC00000B7])
def test_foreign_calls_kill(arch: int) -> None:
    assert evaluate(DEFAULT.compile("x86_64"), 0, (), arch) == action_number("kill")


def test_x32_calls_kill() -> None:
    program = DEFAULT.compile("x86_64")
    for number in (0, 59, 512, 600):
        assert evaluate(program, 0x40000000 | number) == action_number("kill")


DECISIONS = [
    ("read", (), "allow"),
    ("clone3", (), "ENOSYS"),
    ("openat2", (), "ENOSYS"),
    ("fchmodat2", (), "ENOSYS"),
    ("seccomp", (), "ENOSYS"),
    ("clone", (0x11,), "allow"),
    ("clone", (0x3D0F00,), "allow"),  # pthread_create
    ("clone", (0x10000011,), "EPERM"),
    ("clone", (0x10000011 | HIGH,), "EPERM"),
    ("clone", (0x20000,), "EPERM"),
    ("ioctl", (0, 0x5401), "allow"),
    ("ioctl", (0, 0x5412), "EPERM"),
    ("ioctl", (0, 0x5412 | HIGH), "EPERM"),
    ("ioctl", (0, 0x541C | 1 << 32), "EPERM"),
    ("socket", (1, 0x80801, 0), "allow"),
    ("socket", (1 | HIGH, 1, 0), "allow"),
    ("socket", (2, 1, 6), "allow"),
    ("socket", (2, 3, 1), "EPERM"),
    ("socket", (2, 3 | 0x80000, 1), "EPERM"),
    ("socket", (2, 1, 132), "EPERM"),
    ("socket", (2, 2, 115), "EPERM"),
    ("socket", (16, 3, 0), "allow"),
    ("socket", (16, 3, 12), "EPERM"),
    ("socket", (17, 3, 0x300), "EPERM"),
    ("socket", (38, 5, 0), "EPERM"),
    ("socket", (40, 1, 0), "EPERM"),
    ("socketpair", (1, 1, 0), "allow"),
    ("socketpair", (2, 1, 0), "EPERM"),
    ("personality", (0xFFFFFFFF,), "allow"),
    ("personality", (0x40000,), "EPERM"),
    ("chmod", (0, 0o1777), "allow"),
    ("chmod", (0, 0o4755), "EPERM"),
    ("fchmodat", (0, 0, 0o2755), "EPERM"),
    ("open", (0, 0, 0o6777), "allow"),
    ("open", (0, 0o100, 0o4755), "EPERM"),
    ("openat", (0, 0, 0o101, 0o644), "allow"),
    ("openat", (0, 0, 0o101, 0o2644), "EPERM"),
    ("openat", (0, 0, 0o20200002, 0o4700), "EPERM"),
    ("mknod", (0, 0o010644), "allow"),
    ("mknod", (0, 0o020666), "EPERM"),
    ("mknodat", (0, 0, 0o060666), "EPERM"),
    ("mknodat", (0, 0, 0o104755), "EPERM"),
]


@pytest.mark.parametrize(("call", "args", "action"), DECISIONS)
def test_what_the_default_profile_decides(call: str, args: tuple[int, ...], action: str) -> None:
    assert DEFAULT.decide(call, args) == action


def test_strict_kills_for_every_refusal_but_the_probed() -> None:
    strict = DEFAULT.strict()
    for call, args, action in DECISIONS:
        kept = action == "allow" or call in ("clone3", "openat2", "fchmodat2")
        assert strict.decide(call, args) == (action if kept else "kill")
    assert strict.decide(1000) == "kill"
    assert DEFAULT.decide(1000) == "ENOSYS"


NUMBERS = st.integers(0, 2**32 - 1)
ACTIONS = st.sampled_from(["allow", "log", "trap", "kill", "kill-thread", "EPERM", "ENOSYS", "EACCES"])


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    mask = draw(st.sampled_from([0xFFFFFFFF, 0xF, 0x7E020000, 2**64 - 1]) | st.integers(1, 2**64 - 1))
    op = draw(st.sampled_from(["==", "==", "!=", "<", "<=", ">", ">="]))
    value = draw(NUMBERS | st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 2**32, 2**64 - 1]))
    return Condition(draw(st.integers(0, 5)), value & mask, mask, op)


@st.composite
def cases(draw: st.DrawFn, depth: int = 2) -> str | Case | None:
    """What a rule does otherwise: nothing, an action, or one step after another."""
    if depth == 0 or draw(st.booleans()):
        return draw(st.none() | ACTIONS)
    return Case(draw(ACTIONS), draw(whens(1)), draw(cases(depth - 1)))


def whens(least: int) -> st.SearchStrategy[When]:
    alternative = st.lists(conditions(), min_size=1, max_size=3).map(tuple)
    return st.lists(alternative, min_size=least, max_size=2).map(tuple)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    names = draw(
        st.lists(st.sampled_from(["read", "write", "socket", "ioctl", "clone"]), unique=True, max_size=4)
    )
    rules = []
    for name in names:
        when = draw(whens(0))
        rules.append(Rule((name,), draw(ACTIONS), when, draw(cases()) if when else None))
    return Policy(tuple(rules), draw(ACTIONS), draw(ACTIONS))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(policies(), st.lists(st.tuples(*[st.integers(0, 2**64 - 1)] * 6), max_size=5))
def test_any_policy_compiles_to_its_meaning(policy: Policy, extra: list[tuple[int, ...]]) -> None:
    program, table = policy.compile("x86_64"), policy.table("x86_64")
    for number in (*table, 999):
        rule = table.get(number)
        for args in [*edges(rule)[:200], *extra]:
            wanted = rule.decide(args, policy.default) if rule else policy.default
            assert action_name(evaluate(program, number, args)) == wanted


def test_a_machine_that_is_not_known_is_refused() -> None:
    with pytest.raises(PolicyError, match="vax"):
        DEFAULT.compile("vax")


@pytest.mark.parametrize("machine", _calls.MACHINES)
def test_every_call_has_a_number_of_its_own(machine: str) -> None:
    numbers = [_calls.number(call, machine) for rule in DEFAULT.rules for call in rule.calls]
    known = [number for number in numbers if number is not None]
    assert len(set(known)) == len(known)
    assert len(known) > 300
    assert _calls.number("socket", machine) is not None
    assert [n for n in known if _calls.number(_calls.name(n, machine) or "", machine) != n] == []
