"""The plan's text: what is written is read back the same, and what is malformed is refused with its line."""

from __future__ import annotations

import os
import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jail import Plan, SpecError
from jail import directives as d

HEAD = "jailer 1\nids 0 0 caller\nnetwork none\nmount tmpfs / - \\000\n"

raw = st.binary(max_size=12).map(lambda data: os.fsdecode(data.replace(b"\0", b"x")))
name = st.text(string.ascii_letters, min_size=1, max_size=8)
path = raw.map(lambda text: "/" + text)
inside = name.map(lambda text: f"/{text}/ü \n\\{text}")
ident = st.integers(0, 2**32 - 2)
fact = st.none() | st.integers(0, 2**64 - 1)
mode = st.integers(0, 0o7777)
amount = st.integers(0, 2**63 - 1)
duration = st.integers(1, 3660 * 86400 * 1000)
flags = st.lists(st.sampled_from(("ro", "nosuid", "nodev", "noexec")), unique=True).map(tuple)
pools = st.none() | st.tuples(st.integers(1, 2**31), st.integers(1, 1 << 20), path)
resource = st.sampled_from(("cpu", "as", "nofile", "rttime"))
pair = st.tuples(amount, amount).map(sorted)

ONCE: tuple[st.SearchStrategy[Any], ...] = (
    st.builds(d.Key, raw),
    st.builds(d.Hostname, st.text(string.ascii_letters, max_size=64)),
    st.builds(d.Capabilities, st.integers(0, 2**64 - 1)),
    st.builds(d.LandlockNeed, st.booleans()),
    st.builds(d.Seccomp, raw, st.binary(min_size=1, max_size=9).map(lambda data: data * 8)),
    st.builds(d.Umask, st.integers(0, 0o777)),
    st.builds(d.Cwd, path),
    st.builds(d.Timeout, duration),
    st.builds(d.Grace, duration),
    st.builds(d.IdleTimeout, duration),
    st.builds(d.CpuTime, duration),
    st.builds(d.MaxOutput, st.sampled_from(["both", "stdout", "stderr"]), amount),
    st.just(d.Stats()),
    st.just(d.Notify()),
    st.just(d.ListenFds()),
    st.builds(d.OutcomeTo, path | st.integers(3, 65535)),
    st.builds(lambda name, two, exact: d.Rlimit(name, *two, exact), resource, pair, st.booleans()),
    st.builds(d.PassFd, st.integers(3, 65535)),
    st.builds(d.LifeFd, st.integers(3, 65535)),
    st.builds(d.ControlFd, st.integers(3, 65535)),
    st.just(d.AwaitBegin()),
    st.builds(d.Freezer, path, path),
    st.builds(d.Name, st.from_regex("[a-zA-Z_][a-zA-Z0-9._-]{0,63}", fullmatch=True)),
)
MANY: tuple[st.SearchStrategy[Any], ...] = (
    st.builds(d.Depends, st.just("absent"), path),
    st.builds(
        d.Depends, st.sampled_from(("file", "dir", "symlink", "other")), path, fact, fact, fact, fact, fact
    ),
    st.builds(d.Mount, st.sampled_from(("tmpfs", "proc", "devpts")), inside, flags, raw),
    st.builds(d.Mount, st.just("bind"), inside, flags.map(lambda some: (*some, "rec", "owner")), path),
    st.builds(d.Mask, inside),
    st.builds(d.Dir, inside, mode),
    st.builds(d.File, inside, mode, raw),
    st.builds(d.Symlink, inside, path),
    st.builds(d.Landlock, st.booleans(), path),
    st.builds(d.Env, name, raw),
    st.builds(d.EnvPass, name),
    st.builds(d.Enforced, raw, raw),
    st.builds(d.Argv, raw),
)
CGROUP = (
    d.Cgroup(1, "memory", "/sys/fs/cgroup/memory", "/"),
    d.Cgroup(2, "pids,io", "/sys/fs/cgroup/unified", "/"),
    d.CgroupSet("memory", "memory.limit_in_bytes", "1"),
    d.CgroupSet("io", "io.max", "8:16 rbps=1", required=False),
    d.Scope("/bin/call"),
    d.Scope("%p"),
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    first = [
        d.Ids(draw(ident), draw(ident), draw(pools)),
        d.Network(draw(st.booleans())),
        draw(st.sampled_from((d.Mount("tmpfs", "/", ("ro",), "size=1"), d.Mount("bind", "/", (), "/srv")))),
    ]
    once = [draw(one) for one in draw(st.lists(st.sampled_from(ONCE), unique=True))]
    if any(isinstance(one, d.Seccomp) for one in once):
        once += draw(st.lists(st.builds(d.Audit, st.sampled_from(("refused", "all"))), max_size=1))
    many = draw(st.lists(st.one_of(MANY), max_size=12))
    if any(isinstance(one, d.Mount) and one.type == "devpts" for one in many):
        once += draw(st.lists(st.just(d.Pty()), max_size=1))
    return Plan((*first, *once, *many, *draw(st.sampled_from(((), CGROUP)))))


@given(plans())
@settings(max_examples=100, deadline=None)
def test_a_plan_survives_its_text(plan: Plan) -> None:
    text = plan.to_bytes()
    assert Plan.from_bytes(text) == plan
    assert Plan.from_bytes(b"#!/opt/jailer run\n" + text) == plan
    assert Plan.from_bytes(text).to_bytes() == text


@given(st.binary(max_size=40))
def test_any_bytes_are_a_plan_or_a_spec_error(noise: bytes) -> None:
    refused = None
    try:
        Plan.from_bytes(HEAD.encode() + noise + b"\nend\n")
    except SpecError as error:
        refused = error
    assert refused is None or (refused.field == "plan" and refused.line > 0)


def test_the_text_is_as_documented() -> None:
    plan = Plan(
        (
            d.Ids(1000, 100, (5, 6, "/run/lock")),
            d.Network(False),
            d.Mount("tmpfs", "/", ("ro", "nodev"), ""),
            d.Env("A", "b c\n"),
            d.File("/x", 0o644, "\x7f\\"),
            d.Umask(0o22),
            d.Rlimit("as", 5, -1, True),
            d.Seccomp("s", b"\x01\x02\x03\x04\x05\x06\x07\x08"),
            d.Depends("dir", "/usr", 1, 2),
            d.OutcomeTo(7),
            d.Argv("é"),
        )
    )
    assert plan.to_bytes().decode() == (
        "jailer 1\nids 1000 100 pool 5 6 /run/lock\nnetwork host\nmount tmpfs / ro,nodev \\000\n"
        "env A=b\\040c\\012\nfile /x 644 \\177\\134\numask 22\nrlimit as 5 infinity exact\n"
        "seccomp s 0201030408070605\n"
        "depends dir /usr 1 2 - - -\noutcome fd 7\nargv é\nend\n"
    )


def test_comments_and_empty_lines_are_passed_over() -> None:
    assert Plan.from_bytes(f"{HEAD}\n# a\tcomment\numask 22\nend\n".encode()).of(d.Umask) == (d.Umask(0o22),)


def test_values_that_no_field_can_hold_are_refused() -> None:
    for text in ("a\0b", "\ud800"):
        with pytest.raises(SpecError):
            Plan((d.Argv(text),)).to_bytes()


WRONG_LINES = (
    "audit",
    "audit all",
    "seccomp x 0000000000000000\naudit some",
    "seccomp x 0000000000000000\naudit all\naudit all",
    "nonsense 1",
    "life-fd 2",
    "control-fd 2",
    "await-begin 1",
    "name a/b",
    "name .a",
    "name -a",
    "name 12",
    "name \\000",
    "name a\\040b",
    "name " + "a" * 65,
    "umask",
    "umask 22 22",
    "umask 8",
    "umask 1000",
    "umask -1",
    "umask +22",
    "umask 0x1",
    "umask \\000",
    "ids 0 0 caller",
    "network none",
    "hostname " + "a" * 65,
    "mount tmpfs / - \\000",
    "mount tmpfs a - \\000",
    "mount tmpfs /a/../b - \\000",
    "mount tmpfs /. - \\000",
    "mount ext4 /a - /dev/sda",
    "mount tmpfs /a ro,xx \\000",
    "mount tmpfs /a ro, \\000",
    "mount tmpfs /a rec \\000",
    "mount proc /a device \\000",
    "mount bind /a ro src",
    "mount bind /a  /src",
    "mount bind /a ro /src x",
    "mask proc",
    "mask /",
    "dir /a 9",
    "dir /a 77777",
    "dir a 755",
    "file /a 644",
    "file /.. 644 x",
    "symlink /a \\000",
    "symlink // x",
    "rlimit cpus 1 1 exact",
    "rlimit as 1 1 about",
    "rlimit as 2 1 exact",
    "rlimit as infinity 1 exact",
    "rlimit as -1 1 exact",
    "rlimit as 9223372036854775808 infinity exact",
    "cgroup v3 memory /sys /",
    "cgroup memory /sys /",
    "cgroup v1 a/b /sys /",
    "cgroup v1 memory sys /",
    "cgroup-set memory limit 1 required",
    "scope busctl",
    "scope /bin/a b",
    "capabilities 0x1",
    "capabilities FF",
    "capabilities 10000000000000000",
    "landlock wo /",
    "landlock ro x",
    "landlock-need maybe",
    "seccomp x \\000",
    "seccomp x 0102",
    "seccomp x 010203040506070G",
    "seccomp x " + "00" * 8 * 4097,
    "cwd here",
    "env A",
    "env =v",
    "env \\000",
    "env-pass A=b",
    "env-pass \\000",
    "pass-fd 2",
    "pass-fd 65536",
    "timeout 0",
    "timeout 1.5",
    "timeout 316224000001",
    "outcome fd 65536",
    "outcome fd 2",
    "outcome fd x",
    "outcome file x",
    "outcome pipe 3",
    "depends absent /a 1",
    "depends file /a 1 2 3 4",
    "depends thing /a",
    "depends absent a",
    "argv",
    "argv a\\8b",
    "argv a\\04",
    "argv \\000a",
    "argv a\\000",
    "argv \\400",
    "argv a  b",
    "argv a ",
    " argv a",
    "argv a\tb",
    "argv \x7f",
    "\t",
    "pty",
    "pty 1",
)
TWICE = (
    "cgroup v1 memory /sys /",
    "cgroup v2 memory /sys /",
    "key a",
    "hostname a",
    "capabilities 0",
    "landlock-need optional",
    "umask 22",
    "cwd /",
    "timeout 1",
    "grace 1",
    "outcome fd 3",
    "seccomp x 0000000000000000",
    "rlimit as 1 1 exact",
    "pass-fd 3",
    "life-fd 3",
    "stats",
    "notify",
    "listen-fds",
    "control-fd 3",
    "await-begin",
    "name a",
)
RIGHT_LINES = (
    *TWICE,
    "seccomp x 0000000000000000\naudit refused",
    "pty\nmount devpts /dev/pts - \\000",
    "argv \\000",
    "argv \\101",
    "scope /bin/call\nscope call\nscope call",
    "umask 0022",
    "life-fd 3\ncontrol-fd 4",
    "name a.-_Z9",
    "name " + "1" * 63 + "a",
    "env A=",
    "env A==",
    "mount tmpfs //a// - \\000",
    "mount bind /a ro,rec,optional,owner,device,nosuid,nodev,noexec /",
    "mask //proc//x",
    "#\x01",
    "grace 0",
    "hostname \\000",
    "depends other /a 1 2 3 4 5",
    "ids\\040 1",
    "file /a 7777 \\000",
)[:-2]


@pytest.mark.parametrize("line", [*WRONG_LINES, *(f"{line}\n{line}" for line in TWICE)])
def test_a_wrong_line_is_refused_with_its_number(line: str) -> None:
    with pytest.raises(SpecError) as caught:
        Plan.from_bytes(f"{HEAD}#\n{line}\nend\n".encode())
    assert caught.value.line == 5 + len(line.split("\n"))
    assert str(caught.value).startswith(f"plan: line {caught.value.line}: ")


@pytest.mark.parametrize("line", RIGHT_LINES)
def test_right_lines_are_read(line: str) -> None:
    Plan.from_bytes(f"{HEAD}{line}\nend\n".encode())


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 1),
        ("\n", 1),
        ("jailer 2\n", 1),
        ("#!x\njailer 2\n", 2),
        ("\njailer 1\n", 1),
        ("#!x\n", 2),
        (HEAD, 4),
        (HEAD + "end", 5),
        (HEAD + "end\n\n", 6),
        (HEAD + "end\nend\n", 6),
        (HEAD + "argv a\0\nend\n", 5),
        ("jailer 1\nmask /a\nend\n", 2),
        ("jailer 1\nmount bind /a - /b\nend\n", 2),
        ("jailer 1\nmount proc / - a\nend\n", 2),
        ("jailer 1\nids 0 0 pool 0 5 /x\nend\n", 2),
        ("jailer 1\nids 0 0 pool 1 5\nend\n", 2),
        ("jailer 1\nids 0 0\nend\n", 2),
        ("jailer 1\nids 0 0 pool 4294967294 2 /x\nend\n", 2),
        ("jailer 1\nids 4294967295 0 caller\nend\n", 2),
    ],
)
def test_a_wrong_frame_is_refused(text: str, line: int) -> None:
    with pytest.raises(SpecError) as caught:
        Plan.from_bytes(text.encode())
    assert caught.value.line == line


@pytest.mark.parametrize("lost", ["ids 0 0 caller\n", "network none\n", "mount tmpfs / - \\000\n"])
def test_what_a_plan_must_have(lost: str) -> None:
    with pytest.raises(SpecError, match=r"no (ids|network|mount) line"):
        Plan.from_bytes((HEAD.replace(lost, "") + "end\n").encode())
