"""`build_plan`: what is asked for and what the host is decide what will be done. Hosts are fakes."""

from __future__ import annotations

import dataclasses

import pytest

from jail import Bind, Host, Jail, Plan, SpecError, Tmpfs, UnsupportedError, build_plan
from jail import directives as d
from rlimits.cgroup import Controller
from seccomp import Program

MERGED = (("/bin", "usr/bin"), ("/lib", "usr/lib"), ("/etc/localtime", "/usr/share/zoneinfo/Etc/UTC"))
CGROUPS = tuple(
    Controller(1, name, f"/sys/fs/cgroup/{name}", "/", f"/sys/fs/cgroup/{name}/me", True)
    for name in ("memory", "pids")
)
USER = Host(
    (6, 1),
    "x86_64",
    1000,
    1000,
    facts=tuple(d.Depends("symlink", path, 1, 2, 3, 4, 5) for path, _ in MERGED),
    links=MERGED,
)
ROOT = dataclasses.replace(USER, euid=0, egid=0, pool=(1_879_048_192, 65_536), controllers=CGROUPS)
OLD_USER = dataclasses.replace(USER, kernel=(5, 10))


def plan(jail: Jail | None = None, host: Host = USER, command: tuple[str | bytes, ...] = ("true",)) -> Plan:
    jail = dataclasses.replace(jail or Jail(), seccomp="off")
    made = build_plan(jail, command, host)
    assert Plan.from_bytes(made.to_bytes()) == made, "every plan that is built can be read"
    return made


def mounts(made: Plan) -> dict[str, d.Mount]:
    found = {mount.target: mount for mount in made.of(d.Mount)}
    assert len(found) == len(made.of(d.Mount)), "no target is mounted on twice"
    return found


def rlimits(made: Plan) -> dict[str, d.Rlimit]:
    return {limit.name: limit for limit in made.of(d.Rlimit)}


def enforced(made: Plan) -> dict[str, str]:
    return {held.limit: held.mechanism for held in made.of(d.Enforced)}


# ---- what holds for every plan ----


@pytest.mark.parametrize("host", [USER, ROOT])
def test_the_default_is_closed(host: Host) -> None:
    made = plan(host=host)
    assert made.of(d.Network) == (d.Network(True),)
    assert made.of(d.Capabilities) == ()
    assert made.of(d.PassFd) == ()
    found = mounts(made)
    assert all("nosuid" in mount.flags for mount in found.values())
    assert all("nodev" in mount.flags for mount in found.values() if "device" not in mount.flags)
    writable = [mount for mount in found.values() if "ro" not in mount.flags]
    assert {mount.target for mount in writable} == {"/tmp", "/dev/shm"}
    assert all(mount.type == "tmpfs" and "size=268435456,nr_inodes=65536" in mount.data for mount in writable)
    assert {mount.data for mount in found.values() if mount.type == "bind"} == {
        "/usr",
        "/etc/ld.so.cache",
        "/etc/ssl/certs",
        "/etc/alternatives",
        "/dev/null",
        "/dev/zero",
        "/dev/full",
        "/dev/random",
        "/dev/urandom",
    }


def test_a_plan_is_a_function_of_its_inputs() -> None:
    assert plan(host=ROOT).to_bytes() == plan(host=ROOT).to_bytes()


def test_the_payloads_ids_are_mapped_as_the_host_allows() -> None:
    assert plan().of(d.Ids) == (d.Ids(1000, 1000),)
    assert plan(Jail(uid=0, gid=7), ROOT).of(d.Ids) == (
        d.Ids(0, 7, (1_879_048_192, 65_536, "/run/pyjail-ids.lock")),
    )


def test_what_was_looked_at_is_what_the_plan_depends_on() -> None:
    assert plan().of(d.Depends) == USER.facts
    assert plan(Jail(root="/srv/root")).of(d.Depends) == ()


@pytest.mark.parametrize("host", [USER, ROOT])
def test_a_terminal_is_made_where_one_is_asked_for(host: Host) -> None:
    made = plan(Jail(pty=True), host)
    assert made.of(d.Pty) == (d.Pty(),)
    assert made.of(d.Symlink).count(d.Symlink("/dev/ptmx", "pts/ptmx")) == 1
    found = mounts(made)
    assert found["/dev/pts"].type == "devpts"
    assert "nodev" not in found["/dev/pts"].flags
    assert "device" in found["/dev/tty"].flags
    assert plan(host=host).of(d.Pty) == ()
    assert not {"/dev/pts", "/dev/tty"} & mounts(plan(host=host)).keys()


# ---- the root ----


def test_a_merged_usr_is_links_and_another_is_folders() -> None:
    assert d.Symlink("/bin", "usr/bin") in plan().of(d.Symlink)
    split = dataclasses.replace(
        USER, facts=(d.Depends("dir", "/bin", 1, 2), d.Depends("absent", "/lib")), links=()
    )
    found = mounts(plan(host=split))
    assert found["/bin"] == d.Mount("bind", "/bin", ("ro", "nosuid", "nodev", "rec"), "/bin")
    assert "/lib" not in found


def test_a_link_that_leads_elsewhere_is_bound() -> None:
    odd = dataclasses.replace(
        USER, links=(("/bin", "../opt/bin"), ("/lib", "/usr/../opt"), ("/etc/localtime", "/x"))
    )
    found = mounts(plan(host=odd))
    assert {"/bin", "/lib", "/etc/localtime"} <= set(found)
    assert {link.path for link in plan(host=odd).of(d.Symlink)}.isdisjoint(found)


def test_generated_files_know_the_payload() -> None:
    files = {file.path: file.content for file in plan(Jail(uid=5, gid=6, hostname="box")).of(d.File)}
    assert "jail:x:5:6:jail:/tmp:/bin/sh\n" in files["/etc/passwd"]
    assert "jail:x:6:\n" in files["/etc/group"]
    assert "127.0.0.1 localhost box\n" in files["/etc/hosts"]
    assert "hosts: files\n" in files["/etc/nsswitch.conf"]


@pytest.mark.parametrize("uid", [0, 1000, 65534])
def test_no_id_has_two_names(uid: int) -> None:
    files = {file.path: file.content for file in plan(Jail(uid=uid, gid=uid)).of(d.File)}
    for path in ("/etc/passwd", "/etc/group"):
        numbers = [line.split(":")[2] for line in files[path].splitlines()]
        assert len(numbers) == len(set(numbers))
        assert str(uid) in numbers


def test_the_hosts_network_brings_its_resolver() -> None:
    made = plan(Jail(network="host"))
    assert made.of(d.Network) == (d.Network(False),)
    assert {"/etc/resolv.conf", "/etc/hosts"} <= set(mounts(made))
    assert "optional" in mounts(made)["/etc/resolv.conf"].flags


def test_a_folder_as_root_is_read_only() -> None:
    made = plan(Jail(root="/srv/root"))
    assert made.of(d.Mount)[0] == d.Mount("bind", "/", ("ro", "nosuid", "nodev", "rec"), "/srv/root")
    assert [
        mount.data for mount in mounts(made).values() if mount.type == "bind" and "device" not in mount.flags
    ] == ["/srv/root"]
    assert made.of(d.File) == ()
    assert {"/dev", "/proc", "/tmp", "/dev/shm"} <= set(mounts(made))


def test_masks_come_after_the_device_that_they_are_made_of() -> None:
    kinds = [(type(line), getattr(line, "target", "")) for line in plan().directives]
    assert (
        kinds.index((d.Mount, "/dev/null"))
        < kinds.index((d.Mount, "/proc"))
        < kinds.index((d.Mask, "/proc/keys"))
    )


@pytest.mark.parametrize(
    ("word", "target"), [("proc", "/proc"), ("tmp", "/tmp"), ("shm", "/dev/shm"), ("etc", "/etc/ssl/certs")]
)
def test_parts_can_be_left_out(word: str, target: str) -> None:
    assert target in mounts(plan())
    made = plan(Jail(without=frozenset({word})))
    assert target not in mounts(made)
    assert not [file.path for file in made.of(d.File) if file.path.startswith(target)]


def test_without_tmp_the_payload_is_at_home_in_the_root() -> None:
    made = plan(Jail(without=frozenset({"tmp"})))
    assert made.of(d.Cwd) == (d.Cwd("/"),)
    assert d.Env("HOME", "/") in made.of(d.Env)


# ---- mounts that the caller asks for ----


def test_binds_are_read_only_unless_asked() -> None:
    jail = Jail(
        mounts=(
            Bind("/srv/in", "/in"),
            Bind("/srv/out", "/out", writable=True),
            Bind("/srv/maybe", "/maybe", optional=True),
        )
    )
    found = mounts(plan(jail))
    assert found["/in"] == d.Mount("bind", "/in", ("ro", "nosuid", "nodev", "rec"), "/srv/in")
    assert found["/out"] == d.Mount("bind", "/out", ("nosuid", "nodev", "rec"), "/srv/out")
    assert found["/maybe"].flags == ("ro", "nosuid", "nodev", "rec", "optional")
    as_root = mounts(plan(jail, ROOT))
    assert "owner" in as_root["/out"].flags
    assert "owner" not in as_root["/in"].flags


def test_mounts_come_last_and_in_order() -> None:
    jail = Jail(mounts=(Tmpfs("/a"), Bind("/b", "/a/b"), Tmpfs("/a/b/c", 4096)))
    assert [mount.target for mount in plan(jail).of(d.Mount)][-3:] == ["/a", "/a/b", "/a/b/c"]
    assert mounts(plan(jail))["/a/b/c"].data == "size=4096,nr_inodes=65536,mode=1777"


def test_a_mount_of_the_callers_takes_the_place_of_a_private_one() -> None:
    jail = Jail(
        mounts=(Tmpfs("/tmp/", 4096), Bind("/srv/shm", "/dev/shm", writable=True), Tmpfs("/var/tmp/x"))
    )
    made = plan(jail)
    assert "/tmp" not in mounts(made)
    assert mounts(made)["/tmp/"].data.startswith("size=4096,")
    assert mounts(made)["/dev/shm"].type == "bind"
    assert "/var/tmp" not in {link.path for link in made.of(d.Symlink)}, (
        "a mount through the link would cover /tmp"
    )


def test_there_is_room_for_the_targets_of_a_thousand_binds() -> None:
    jail = Jail(mounts=tuple(Bind("/srv", f"/data/{number}/deep") for number in range(1000)))
    size = next(part for part in mounts(plan(jail))["/"].data.split(",") if part.startswith("nr_inodes="))
    assert int(size.partition("=")[2]) >= 2001


# ---- the payload's surroundings ----


def test_the_environment_is_short() -> None:
    made = plan(Jail(env=(("A", "1"), ("B", None), ("PATH", "/x"))))
    assert [line for line in made.directives if isinstance(line, (d.Env, d.EnvPass))] == [
        d.Env("PATH", "/usr/local/bin:/usr/bin:/bin"),
        d.Env("LANG", "C.UTF-8"),
        d.Env("HOME", "/tmp"),
        d.EnvPass("TERM"),
        d.Env("A", "1"),
        d.EnvPass("B"),
        d.Env("PATH", "/x"),
    ]


def test_words_are_bytes_or_text() -> None:
    made = plan(command=(b"\xff", "\udcff", "ü", ""))
    assert [word.word for word in made.of(d.Argv)] == ["\udcff", "\udcff", "ü", ""]
    assert plan(command=()).of(d.Argv) == ()


@pytest.mark.parametrize("command", ["true", b"true", ("a\0b",), (b"a\0",)])
def test_wrong_commands(command: object) -> None:
    with pytest.raises(SpecError, match="command: "):
        build_plan(Jail(seccomp="off"), command, USER)  # type: ignore[arg-type]


def test_outcome_goes_where_it_is_asked() -> None:
    jail = Jail(seccomp="off")
    assert build_plan(jail, ("x",), USER, outcome=7).of(d.OutcomeTo) == (d.OutcomeTo(7),)
    assert build_plan(jail, ("x",), USER, outcome="/o").of(d.OutcomeTo) == (d.OutcomeTo("/o"),)
    for wrong in (2, 65536, "o"):
        with pytest.raises(SpecError, match="outcome: "):
            build_plan(jail, ("x",), USER, outcome=wrong)


def test_a_filter_that_is_not_given_is_an_error_and_not_left_out() -> None:
    with pytest.raises(SpecError, match="seccomp: no program was given for 'default'"):
        build_plan(Jail(), ("x",), USER)


def test_an_audit_stands_behind_its_filter() -> None:
    program = Program("p", bytes(8))
    for calls in ("refused", "all"):
        made = build_plan(Jail(audit=calls), ("x",), USER, program=program)
        assert made.of(d.Audit) == (d.Audit(calls),)
        assert Plan.from_bytes(made.to_bytes()) == made
    assert build_plan(Jail(), ("x",), USER, program=program).of(d.Audit) == ()


def test_an_audit_needs_a_kernel_that_notifies() -> None:
    old = dataclasses.replace(USER, kernel=(5, 4))
    with pytest.raises(UnsupportedError) as caught:
        build_plan(Jail(audit="refused"), ("x",), old, program=Program("p", bytes(8)))
    assert caught.value.feature == "audit"
    build_plan(Jail(), ("x",), old, program=Program("p", bytes(8)))


def test_an_audit_has_room_for_its_helper() -> None:
    program = Program("p", bytes(8))
    most = {
        audit: [
            setting.value
            for setting in build_plan(Jail(audit=audit), ("x",), ROOT, program=program).of(d.CgroupSet)
            if setting.file == "pids.max"
        ]
        for audit in ("", "refused")
    }
    assert [int(value) + 1 for value in most[""]] == [int(value) for value in most["refused"]] != []


def test_landlock_says_what_the_mounts_say() -> None:
    jail = Jail(
        mounts=(
            Bind("/s", "/in"),
            Bind("/s", "/out", writable=True),
            Tmpfs("/tmp/x"),
            Tmpfs("/out/y"),
            Tmpfs("/tmpfoo"),
        )
    )
    assert plan(jail).of(d.Landlock) == (
        d.Landlock(False, "/"),
        d.Landlock(True, "/dev"),
        d.Landlock(True, "/tmp"),
        d.Landlock(True, "/out"),
        d.Landlock(True, "/tmpfoo"),
    )
    assert plan(Jail(without=frozenset({"landlock"}))).of(d.Landlock) == ()


def test_there_is_an_end_to_landlock_rules() -> None:
    many = tuple(Tmpfs(f"/data/{number}") for number in range(62))
    assert len(plan(Jail(mounts=many[:61])).of(d.Landlock)) == 64
    with pytest.raises(SpecError, match="mounts: 64 writable places are more than the 63"):
        plan(Jail(mounts=many))
    plan(Jail(mounts=many, without=frozenset({"landlock"})))
