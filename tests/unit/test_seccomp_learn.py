"""From recorded calls to policies."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import seccomp
from seccomp import Policy, diff, learned
from seccomp.learn import ALWAYS, MAX_VALUES, Learned, Seen, learn, seen_in

BASE = Policy.named("default")


def call(name: str, *args: int | None, count: int = 1, error: int = 0) -> dict[str, Any]:
    """One record, as an outcome has it."""
    action = "errno" if error else "allow"
    values = [*args, *[0] * (6 - len(args))] if args else None
    return {"name": name, "number": 0, "args": values, "action": action, "errno": error, "count": count}


def from_calls(*calls: dict[str, Any], base: Policy = BASE, earlier: tuple[Learned, ...] = ()) -> Learned:
    return learn(base, seen_in(calls), "node hello.js", earlier)


def test_what_was_seen_is_allowed_and_little_else() -> None:
    policy = from_calls(call("openat2", error=38), call("getdents64", count=3), call("pipe2")).policy
    assert [policy.decide(name) for name in ("getdents64", "pipe2", "openat2", "readv")] == [
        "allow", "allow", "ENOSYS", "ENOSYS"]  # fmt: skip
    assert (policy.default, policy.foreign) == ("ENOSYS", "kill")
    assert len(policy.compile()) < len(BASE.compile())


def test_what_any_program_needs_is_allowed_as_far_as_the_base_allows_it() -> None:
    assert all(from_calls().policy.decide(name) == "allow" for name in ALWAYS)
    policy = from_calls(base=BASE.deny("futex", "write")).policy
    assert [policy.decide(name) for name in ("futex", "write", "mmap")] == ["ENOSYS", "ENOSYS", "allow"]


def test_every_call_that_is_always_allowed_is_one_of_the_default_policy() -> None:
    assert {name for name in ALWAYS if BASE.decide(name) != "allow"} == set()


@pytest.mark.parametrize(("calls", "yes", "no"), [
    ([("socket", 1, 0x80001, 0), ("socket", 2, 2, 17)], [(1, 1, 0), (1, 0x801, 0), (2, 2, 17)],
     [(2, 1, 0), (1, 2, 0), (10, 2, 17), (17, 3, 0)]),
    ([("prctl", 15, 77)], [(15, 0), (15 | 1 << 32, 5)], [(22, 2), (38, 1)]),
    ([("fcntl", 3, 1), ("fcntl", 7, 4)], [(0, 1), (0, 4), (0, 3)], [(0, 2), (0, 1030)]),
    ([("ioctl", 0, 0x5421)], [(9, 0x5421), (0, 0x5401), (0, 0x5413)], [(0, 0x5412), (0, 0x5402)]),
    ([("clone", 0x1200011)], [(0x1200011,), (0x1200000,)], [(0x3D0F00,), (0x11200011,), (0,)]),
    ([("personality", 0xFFFFFFFF)], [(0xFFFFFFFF,)], [(0,), (0x40000,)]),
])  # fmt: skip
def test_selecting_arguments_are_compared(
    calls: list[tuple[Any, ...]], yes: list[tuple[int, ...]], no: list[tuple[int, ...]]
) -> None:
    policy = from_calls(*[call(*each) for each in calls]).policy
    name = calls[0][0]
    assert {policy.decide(name, args) for args in yes} == {"allow"}
    assert {policy.decide(name, args) for args in no} == {"EPERM"}


def test_others_keep_the_conditions_of_the_base() -> None:
    # The mode is whatever the register held where no file is made, so it must not be learned.
    rule = from_calls(call("openat", 3, 7, 0, 0o7777)).policy.rule_of("openat")
    base = BASE.rule_of("openat")
    assert rule is not None
    assert base is not None
    assert (rule.when, rule.otherwise) == (base.when, base.otherwise)


@pytest.mark.parametrize("args", [(), (None, None), (None, 0x5401)])
def test_unknown_arguments(args: tuple[int | None, ...]) -> None:
    policy = from_calls(call("ioctl", *args), call("ioctl", 1, 0x5413)).policy
    assert policy.decide("ioctl", (0, 0x5412)) == "EPERM"  # as in the base
    assert policy.decide("ioctl", (0, 0x1234)) == ("EPERM" if args == (None, 0x5401) else "allow")


def test_too_many_values_are_not_listed() -> None:
    policy = from_calls(*[call("prctl", number) for number in range(MAX_VALUES + 1)]).policy
    assert policy.decide("prctl", (1000,)) == "allow"


def test_arguments_that_only_the_base_asks_for_are_compared_too() -> None:
    base = BASE.extend(Policy.from_toml("""default = "EPERM"
        [[rule]]
        calls = ["prctl"]
        action = "allow"
        otherwise = "EACCES"
        when = [[{ arg = 0, is = 15 }, { arg = 1, width = 64, not = 0 }]]"""))
    policy = from_calls(call("prctl", 15, 7), base=base).policy
    assert [policy.decide("prctl", args) for args in [(15, 7), (15, 0), (15, 8), (16, 7)]] == [
        "allow", "EACCES", "EACCES", "EACCES"]  # fmt: skip
    # The record has not got the second one: the base's rule stays.
    policy = from_calls(call("prctl", 15, None), base=base).policy
    assert [policy.decide("prctl", args) for args in [(15, 8), (15, 0)]] == ["allow", "EACCES"]


def test_refused_calls_stay_refused_as_they_were() -> None:
    result = from_calls(call("mbind", error=1, count=4), call("clone3", error=38),
                        call("socket", 17, 3, 0, error=1), call("socket", 1, 1, 0))  # fmt: skip
    decided = [result.policy.decide(name) for name in ("mbind", "clone3", "vserver")]
    assert decided == ["EPERM", "ENOSYS", "ENOSYS"]
    assert result.policy.decide("socket", (17, 3, 0)) == "EPERM"
    assert result.policy.decide("socket", (1, 1, 0)) == "allow"
    assert result.refused == {"mbind": {"EPERM": 4}, "clone3": {"ENOSYS": 1}, "socket": {"EPERM": 1}}


def test_what_programs_only_try_is_still_no_reason_to_kill_them() -> None:
    policy = again(from_calls(call("clone3", error=38), call("keyctl", error=1))).policy
    assert [policy.decide(name) for name in ("clone3", "keyctl")] == ["ENOSYS", "EPERM"]
    assert [policy.strict().decide(name) for name in ("clone3", "keyctl")] == ["ENOSYS", "kill"]


def test_children_are_awaited_and_ended_in_an_order_of_their_own() -> None:
    for made in (call("clone", 0x1200011), call("clone"), call("vfork")):
        assert from_calls(made).policy.decide("kill") == "allow"
    for made in (call("clone", 0x3D0F00), call("getppid")):
        assert from_calls(made).policy.decide("kill") == "ENOSYS"


def test_a_record_never_allows_what_the_base_refuses() -> None:
    calls = (call("ptrace"), call("ioctl", 0, 0x5412), call("syscall_999"), call("unheard_of"))
    policy = from_calls(*calls).policy
    assert policy.decide("ptrace") == "EPERM"
    assert policy.decide("ioctl", (0, 0x5412)) == "EPERM"
    policy.compile()


def test_the_default_is_the_bases() -> None:
    assert from_calls(base=BASE.strict()).policy.default == "kill"
    assert from_calls(call("prctl", 15), base=BASE.strict()).policy.decide("prctl", (16,)) == "kill"
    assert from_calls(base=Policy((), "allow")).policy.default == "ENOSYS"


def test_no_record() -> None:
    for wrong in ({}, {**call("read"), "args": [1, "x"]}, {**call("read"), "count": None}, None):
        with pytest.raises(ValueError, match="not a recorded call"):
            seen_in([wrong])  # type: ignore[list-item]


def again(found: Learned) -> Learned:
    """What the file of it says."""
    return learned.read(learned.write(found, "default"), "p.toml")


ONE = [call("read", count=30), call("prctl", 15), call("mbind", error=1, count=2), call("socket", 1, 1, 0),
       call("ioctl", 0, 0x5421), call("openat", 1, 2, 0, 0), call("kill")]  # fmt: skip
TWO = [call("read", count=5), call("prctl", 38), call("socket", 2, 1, 6), call("getdents64"), call("ioctl"),
       call("clone3", error=38)]  # fmt: skip


def test_the_file_is_read_as_the_same() -> None:
    found = from_calls(*ONE)
    back = again(found)
    assert diff(found.policy, back.policy) == []
    assert back.policy.compile() == found.policy.compile()
    assert (back.counts, back.refused, back.runs) == (found.counts, found.refused, found.runs)
    assert learned.write(back, "default") == learned.write(found, "default")


def test_runs_add_up_in_any_order() -> None:
    together = from_calls(*ONE, *TWO)
    for first, second in ((ONE, TWO), (TWO, ONE)):
        result = from_calls(*second, earlier=(again(from_calls(*first)),))
        assert diff(together.policy, result.policy) == []
        assert result.counts == together.counts
        assert result.refused == together.refused
    merged = learn(BASE, [], "", [again(from_calls(*ONE)), again(from_calls(*TWO))])
    assert diff(together.policy, merged.policy) == []


def test_the_same_run_again_changes_only_the_counts() -> None:
    once = from_calls(*ONE)
    twice = from_calls(*ONE, earlier=(again(once),))
    assert diff(once.policy, twice.policy) == []
    assert twice.counts["read"] == 60
    assert twice.runs == ("node hello.js",)


def test_rules_that_were_added_by_hand_stay() -> None:
    text = learned.write(from_calls(*ONE), "default")
    text += '[[rule]]\naction = "allow"\ncalls = ["sync"]\n'
    text += '[[rule]]\naction = "EACCES"\ncalls = ["chdir"]\n'
    result = from_calls(*TWO, earlier=(learned.read(text),))
    assert [result.policy.decide(name) for name in ("sync", "chdir", "kill")] == ["allow", "EACCES", "allow"]
    result = from_calls(call("chdir"), earlier=(learned.read(text),))
    assert result.policy.decide("chdir") == "allow"


def test_a_denial_by_hand_is_not_undone_by_what_is_always_allowed() -> None:
    policy = from_calls(*ONE, earlier=(Learned(Policy((), "ENOSYS").deny("mremap"), {}, {}),)).policy
    assert policy.decide("mremap") == "EPERM"


def test_a_policy_of_another_making_gives_its_rules_only() -> None:
    text = 'default = "EPERM"\n[[rule]]\naction = "allow"\ncalls = [\n  "sync",  # 5\n]\n'
    assert learned.read(text).counts == {}
    assert not learned.is_learned(text)
    assert from_calls(earlier=(learned.read(text),)).policy.decide("sync") == "allow"


def test_the_file_is_readable() -> None:
    text = learned.write(from_calls(*ONE, call("getpid", count=7)), "default")
    assert text.startswith(learned.HEAD)
    assert "#   $ node hello.js\n" in text
    assert '  "read",  # 30\n' in text
    assert '  "getpid",  # 7\n' in text
    assert "# AF_UNIX; SOCK_STREAM" in text
    assert "#   mbind  EPERM 2\n" in text
    assert max(map(len, text.splitlines())) <= 140


CALLS = st.sampled_from(["read", "socket", "ioctl", "fcntl", "clone", "prctl", "openat", "mount", "sync"])
NUMBERS = st.sampled_from([0, 1, 2, 10, 15, 17, 0x5401, 0x5412, 0x3D0F00, 0x10000011, 0x80001, 2**64 - 1])
ARGS = st.none() | st.tuples(*[NUMBERS] * 6)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(CALLS, ARGS, st.integers(1, 9)), max_size=12), st.sampled_from(seccomp.profiles()))
def test_it_allows_what_was_seen_within_the_base(uses: list[tuple[str, Any, int]], profile: str) -> None:
    base = Policy.named(profile)
    seen = [Seen(name, args, base.decide(name, args or ()), count) for name, args, count in uses]
    policy = again(learn(base, seen, "x")).policy
    for each in seen:
        for args in (each.args or (0,) * 6, (2, 1, 6, 0, 0, 0), (0x10000011, 0x5412, 0, 0o4000, 0, 0)):
            decided = policy.decide(each.name, args)
            if base.decide(each.name, args) != "allow":
                assert decided != "allow"
            elif args is each.args:
                assert decided == "allow"
