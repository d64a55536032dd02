"""Profiles of Docker, Podman and the OCI specification."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import seccomp
from seccomp import Policy, PolicyError, action_name, evaluate

HIGH = 1 << 32
# In Docker's form, with each of the things that its own default profile has.
DOCKER: dict[str, Any] = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 1,
    "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}],
    "syscalls": [
        {
            "names": ["read", "write", "cachestat", "futex_wait", "mseal", "umount"],
            "action": "SCMP_ACT_ALLOW",
        },
        {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
        {"names": ["getpid"], "action": "SCMP_ACT_ALLOW", "excludes": {"minKernel": "4.8"}},
        {
            "names": ["socket"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_NE"}],
        },
        *[
            {
                "names": ["personality"],
                "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 0, "value": value, "valueTwo": 0, "op": "SCMP_CMP_EQ"}],
            }
            for value in (0, 8, 0xFFFFFFFF)
        ],
        {
            "names": ["mount", "clone", "clone3"],
            "action": "SCMP_ACT_ALLOW",
            "includes": {"caps": ["CAP_SYS_ADMIN"]},
        },
        {
            "names": ["clone"],
            "action": "SCMP_ACT_ALLOW",
            "comment": "no namespaces",
            "args": [{"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}],
            "excludes": {"caps": ["CAP_SYS_ADMIN"], "arches": ["s390", "s390x"]},
        },
        {
            "names": ["clone3"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": 38,
            "excludes": {"caps": ["CAP_SYS_ADMIN"]},
        },
        {"names": ["arch_prctl"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64", "x32"]}},
        {"names": ["brk"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}},
        {"names": ["dup"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1},
    ],
}


def policy(data: Any = DOCKER, **options: Any) -> Policy:
    options = {"arch": "x86_64", "kernel": "6.1.0-13-amd64", "source": "p.json", **options}
    return Policy.from_oci(json.dumps(data), **options)


DECISIONS = [
    ("read", (), "allow"),
    ("mseal", (), "allow"),
    ("ptrace", (), "allow"),
    ("getpid", (), "EPERM"),
    ("socket", (1,), "allow"),
    ("socket", (40,), "EPERM"),
    ("socket", (40 | HIGH,), "EPERM"),
    ("personality", (8,), "allow"),
    ("personality", (9,), "EPERM"),
    ("personality", (8 | HIGH,), "allow"),
    ("clone", (0x11,), "allow"),
    ("clone", (0x10000011,), "EPERM"),
    ("clone", (0x10000011 | HIGH,), "EPERM"),
    ("clone3", (), "ENOSYS"),
    ("mount", (), "EPERM"),
    ("arch_prctl", (), "allow"),
    ("brk", (), "EPERM"),
    ("dup", (), "EPERM"),
    ("close", (), "EPERM"),
]


@pytest.mark.parametrize(("call", "args", "wanted"), DECISIONS)
def test_what_a_docker_profile_decides(call: str, args: tuple[int, ...], wanted: str) -> None:
    made = policy()
    assert made.decide(call, args) == wanted
    numbers = {**{call: number for number, rule in made.table("x86_64").items() for call in [rule.calls[0]]}}
    if call in numbers:
        assert action_name(evaluate(made.compile("x86_64"), numbers[call], args)) == wanted


def test_null_is_as_good_as_absent() -> None:
    """Docker's own file has it, where Go's encoder wrote a slice without elements."""
    riscv = {"architecture": "SCMP_ARCH_RISCV64", "subArchitectures": None}
    empty = dict.fromkeys(("args", "comment", "includes", "excludes", "errnoRet"))
    made = policy({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": None, "flags": None,
                   "architectures": None, "archMap": [*DOCKER["archMap"], riscv],
                   "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", **empty}]})  # fmt: skip
    assert [made.decide(call) for call in ("read", "write")] == ["allow", "EPERM"]
    with pytest.raises(PolicyError, match=r"p\.json: defaultAction: is missing"):
        policy({"defaultAction": None})
    with pytest.raises(PolicyError, match=r"p\.json: nothing: no such key"):
        policy({"defaultAction": "SCMP_ACT_ERRNO", "nothing": None})


def test_capabilities_kernels_and_machines() -> None:
    admin = policy(capabilities=["CAP_SYS_ADMIN"])
    assert [admin.decide(call, (0x10000000,)) for call in ("mount", "clone", "clone3")] == ["allow"] * 3
    old = policy(kernel="4.4.0")
    assert (old.decide("ptrace"), old.decide("getpid")) == ("EPERM", "allow")
    with pytest.raises(PolicyError, match=r"p\.json: archMap: .*AARCH64"):
        policy(arch="aarch64")
    arm = policy({**DOCKER, "archMap": []}, arch="aarch64")
    assert (arm.decide("brk"), arm.decide("arch_prctl")) == ("allow", "EPERM")


def test_calls_of_other_interfaces_kill() -> None:
    program = policy().compile("x86_64")
    assert evaluate(program, 3, (), 0x40000003) == evaluate(program, 0x40000000) == 0x80000000


def test_an_oci_configuration_and_podmans_words() -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrno": "ENOSYS",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"name": "read", "action": "SCMP_ACT_ERRNO", "errno": "EACCES"}],
    }
    made = policy({"ociVersion": "1.0", "linux": {"seccomp": profile}, "process": {}})
    assert (made.default, made.decide("read")) == ("ENOSYS", "EACCES")


def with_entry(**entry: Any) -> dict[str, Any]:
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", **entry}],
    }


def arg(**fields: Any) -> dict[str, Any]:
    return with_entry(args=[{"index": 0, "value": 1, "op": "SCMP_CMP_EQ", **fields}])


WRONG = {
    "not a profile": ([], ""),
    "no default": ({}, "defaultAction"),
    "unknown key": ({**with_entry(), "colour": 1}, "colour"),
    "flags": ({**with_entry(), "flags": ["SECCOMP_FILTER_FLAG_LOG"]}, "flags"),
    "a listener": ({**with_entry(), "listenerPath": "/x"}, "listenerPath"),
    "notify": (with_entry(action="SCMP_ACT_NOTIFY"), "syscalls[0].action"),
    "trace": ({"defaultAction": "SCMP_ACT_TRACE"}, "defaultAction"),
    "errno": (with_entry(action="SCMP_ACT_ERRNO", errnoRet=5000), "syscalls[0].errnoRet"),
    "errno 0": (with_entry(action="SCMP_ACT_ERRNO", errnoRet=0), "syscalls[0].errnoRet"),
    "unknown call": (with_entry(names=["raed"]), "syscalls[0].names"),
    "unknown key of an entry": (with_entry(priority=1), "syscalls[0].priority"),
    "both names": (with_entry(name="read"), "syscalls[0].names"),
    "argument": (arg(index=6), "syscalls[0].args[0].index"),
    "comparison": (arg(op="SCMP_CMP_XX"), "syscalls[0].args[0].op"),
    "negative": (arg(value=-1), "syscalls[0].args[0].value"),
    "unknown key of an argument": (arg(width=3), "syscalls[0].args[0].width"),
    "outside of the mask": (arg(op="SCMP_CMP_MASKED_EQ", value=1, valueTwo=2), "syscalls[0].args"),
    "wider than the kernel's": (
        {
            **arg(value=1 << 40),
            "syscalls": [
                {
                    "names": ["socket"],
                    "action": "SCMP_ACT_ALLOW",
                    "args": [{"index": 0, "value": 1 << 40, "op": "SCMP_CMP_EQ"}],
                }
            ],
        },
        "syscalls[0].args",
    ),
    "kernel": (with_entry(includes={"minKernel": "six"}), "syscalls[0].includes.minKernel"),
    "unknown condition": (with_entry(includes={"moon": "full"}), "syscalls[0].includes.moon"),
    "two decisions": (
        {
            "defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [
                {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
                {"names": ["read"], "action": "SCMP_ACT_TRAP"},
            ],
        },
        "syscalls[1].action",
    ),
}


@pytest.mark.parametrize(("data", "key"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_said_is_refused_with_file_and_key(data: Any, key: str) -> None:
    with pytest.raises(PolicyError) as caught:
        policy(data)
    assert (caught.value.file, caught.value.key) == ("p.json", key), str(caught.value)


def test_not_json() -> None:
    for text in ("{", "[" * 100000):
        with pytest.raises(PolicyError, match="not JSON"):
            Policy.from_oci(text)


def test_a_profile_is_loaded_by_its_file(tmp_path: Path) -> None:
    path = tmp_path / "docker.json"
    path.write_text(json.dumps({**DOCKER, "archMap": []}))
    assert seccomp.load(path).bpf == Policy.from_file(path).compile()
    assert seccomp.load(path, cache_dir=str(tmp_path / "cache")) == seccomp.load(
        path, cache_dir=str(tmp_path / "cache")
    )
