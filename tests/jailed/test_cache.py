"""A cached start is the native path with no Python, and its plan is never stale or foreign: design §1."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from jailed.spied import settle

SH = ("/bin/sh", "-c")

# It is used


def test_the_second_start_runs_no_python(spied):
    assert spied.built("run", "--", "/bin/echo", "one").stdout == b"one\n"
    assert spied.native("run", "--", "/bin/echo", "one").stdout == b"one\n"


def test_one_plan_serves_every_command(spied):
    spied.built("run", "--", "/bin/true")
    assert spied.native("run", "--", "/bin/echo", "two words", "", "--", "-x").stdout == b"two words  -- -x\n"
    assert spied.native("run", "--", *SH, "exit 0; echo $1", "--", "--no-cache").stdout == b""
    assert spied.native("run", "--", b"/bin/echo", b"\xff\xfe").stdout == b"\xff\xfe\n"


def test_both_ways_do_the_same(spied):
    """The environment, the mounts and the limits inside are equal, but for the run's own host id
    and the order in which supervisor and jail have made the mounts."""
    look = (
        "run",
        "--env",
        "A=x y",
        "--nofile",
        "99",
        "--tmpfs",
        "/scratch:1M",
        "--",
        *SH,
        "env | sort; ulimit -a; cut -d' ' -f5- /proc/self/mountinfo | sed 's/id=[0-9]*//g' | sort; id",
    )
    cold, cached = spied.built(*look), spied.native(*look)
    assert cold.stdout == cached.stdout


def test_status_of_a_cached_start(spied):
    spied.built("run", "--", "/bin/true")
    before = spied.pythons()
    assert spied.run("run", "--", *SH, "exit 9").returncode == 9
    assert spied.run("run", "--", "/no/such").returncode == 127
    assert spied.run("run", "--", "/etc/passwd").returncode == 126
    assert spied.run("run", "--", *SH, "kill -9 $$").returncode == 137
    assert spied.pythons() == before


# It is the right one


def test_other_options_are_another_plan(spied):
    spied.built("run", "--env", "A=1", "--", "/bin/true")
    assert spied.built("run", "--env", "A=2", "--", *SH, "echo $A").stdout == b"2\n"
    assert spied.native("run", "--env", "A=1", "--", *SH, "echo $A").stdout == b"1\n"


def test_words_cannot_be_shifted_across_their_borders(spied):
    """`--env 'A=1 --env' B` and the like: the key keeps the words apart."""
    spied.built("run", "--env", "A=1\n--env\nB=2", "--", "/bin/true")
    assert spied.built("run", "--env", "A=1", "--env", "B=2", "--", *SH, 'echo "$A"').stdout == b"1\n"
    spied.built("run", "--env", "C=\\012", "--", "/bin/true")
    assert spied.built("run", "--env", "C=\n", "--", *SH, 'printf %s "$C"').stdout == b"\n"


def test_a_passed_variable_is_of_this_run(spied):
    spied.built("run", "--env", "A", "--", "/bin/true", env={"A": "secret-one"})
    assert spied.native("run", "--env", "A", "--", *SH, "echo $A", env={"A": "two"}).stdout == b"two\n"
    assert spied.native("run", "--env", "A", "--", *SH, "echo ${A-unset}").stdout == b"unset\n"
    assert b"secret-one" not in spied.plan().read_bytes()


def test_the_command_is_not_kept(spied):
    spied.built("run", "--", "/bin/echo", "private-word")
    assert b"private-word" not in spied.plan().read_bytes()


def test_another_folder(spied, place):
    """A relative path means another thing elsewhere."""
    for name in ("one", "two"):
        (place / name).mkdir()
        (place / name / name).touch()
    words = ("run", "--ro-bind", ".:/data", "--", "/bin/ls", "/data")
    assert spied.run(*words, cwd=place / "one").stdout == b"one\n"
    assert spied.run(*words, cwd=place / "two").stdout == b"two\n"
    assert spied.native(*words, cwd=place / "one").stdout == b"one\n"


def test_the_same_folder_name_with_another_content(spied, place):
    """The current folder renamed away and another put in its place."""
    (place / "here").mkdir()
    (place / "here" / "one").touch()
    words = ("run", "--ro-bind", ".:/data", "--", "/bin/ls", "/data")
    spied.run(*words, cwd=place / "here")
    (place / "here").rename(place / "away")
    (place / "here").mkdir()
    (place / "here" / "two").touch()
    assert spied.run(*words, cwd=place / "here").stdout == b"two\n"


def test_without_dashes_nothing_is_kept(spied):
    """`run echo -- x` has its command before the dashes: kept under those words, it would lose it."""
    for tail in ("x", "y"):
        assert spied.built("run", "/bin/echo", "a", "--", tail).stdout == f"a -- {tail}\n".encode()
    assert spied.plans() == []


def test_dashes_as_the_value_of_an_option(spied):
    r = spied.built("run", "--env", "--", "/bin/echo", "ran")
    assert r.returncode == 125
    assert spied.plans() == []


def test_no_cache(spied):
    for _ in range(2):
        assert spied.built("run", "--no-cache", "--", "/bin/echo", "x").stdout == b"x\n"
    assert spied.plans() == []


def test_an_error_is_not_kept(spied):
    for _ in range(2):
        assert spied.built("run", "--memory", "10X", "--", "/bin/true").returncode == 125
    assert spied.plans() == []


# It is fresh


def test_configuration_edited(spied, place):
    config = place / "jail.toml"
    config.write_text('env = ["A=1"]\n')
    settle(config)
    words = ("run", "--config", config, "--", *SH, "echo $A")
    assert spied.built(*words).stdout == b"1\n"
    assert spied.native(*words).stdout == b"1\n"
    facts = config.stat()
    config.write_text('env = ["A=2"]\n')  # the same inode and size,
    os.utime(config, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # and the time of change put back
    assert spied.built(*words).stdout == b"2\n"


def test_configuration_replaced(spied, place):
    config, other = place / "jail.toml", place / "other.toml"
    config.write_text('env = ["A=1"]\n')
    other.write_text('env = ["A=2"]\n')
    settle(config, other)
    words = ("run", "--config", config, "--", *SH, "echo $A")
    spied.built(*words)
    other.rename(config)
    assert spied.built(*words).stdout == b"2\n"


def test_configuration_just_written_is_not_kept(spied, place):
    """Two edits within one tick of the file system's clock look the same."""
    config = place / "jail.toml"
    words = ("run", "--config", config, "--", *SH, "echo $A")
    for number in range(3):
        config.write_text(f'env = ["A={number}"]\n')
        assert spied.built(*words).stdout == f"{number}\n".encode()


def test_a_link_to_the_configuration_switched(spied, place):
    """Deployments switch `current` from one release to the next; file, link and folder link alike."""
    for name in ("v1", "v2"):
        (place / name).mkdir()
        (place / name / "jail.toml").write_text(f'env = ["A={name}"]\n')
    current, other, link = place / "current", place / "other", place / "link.toml"
    current.symlink_to("v1")
    other.symlink_to("v1")
    link.symlink_to("other/jail.toml")
    settle(place / "v1" / "jail.toml", place / "v2" / "jail.toml", current, other, link)
    for folder, config in ((current, current / "jail.toml"), (other, link)):
        words = ("run", "--config", config, "--", *SH, "echo $A")
        assert spied.built(*words).stdout == b"v1\n"
        assert spied.native(*words).stdout == b"v1\n"
        folder.unlink()
        folder.symlink_to("v2")
        assert spied.built(*words).stdout == b"v2\n"


def test_configuration_removed(spied, place):
    config = place / "jail.toml"
    config.write_text('env = ["A=1"]\n')
    settle(config)
    words = ("run", "--config", config, "--", "/bin/echo", "ran")
    spied.built(*words)
    config.unlink()
    r = spied.built(*words)
    assert (r.returncode, r.stdout) == (125, b"")


def test_bind_source_changes_its_kind(spied, place):
    source = place / "source"
    words = ("run", "--ro-bind", f"{source}:/data", "--", *SH, "test -d /data && echo folder || cat /data")
    source.write_text("file\n")
    assert spied.run(*words).stdout == b"file\n"
    assert spied.run(*words).stdout == b"file\n"
    source.unlink()
    source.mkdir()
    assert spied.run(*words).stdout == b"folder\n"
    source.rmdir()
    r = spied.run(*words)
    assert (r.returncode, r.stdout) == (125, b"")
    assert str(source).encode() in r.stderr


def test_an_optional_source_appears(spied, place):
    source = place / "source"
    words = ("run", "--ro-bind-try", f"{source}:/data", "--", *SH, "cat /data 2>/dev/null || echo none")
    assert spied.run(*words).stdout == b"none\n"
    source.write_text("here\n")
    assert spied.run(*words).stdout == b"here\n"
    source.unlink()
    assert spied.run(*words).stdout == b"none\n"


@pytest.mark.parametrize("as_user", ["root"], indirect=True)
def test_another_owner_of_a_bind_source(spied, place):
    """Root's jails map the owner's id: it is looked at anew in every run."""
    source = place / "source"
    source.mkdir()
    words = ("run", "--bind", f"{source}:/data", "--", "/usr/bin/touch", "/data/f")
    for owner in (4242, 4343):
        os.chown(source, owner, owner)
        r = spied.run(*words)
        assert r.returncode == 0, r.stderr
        assert (source / "f").stat().st_uid == owner
        (source / "f").unlink()


def test_another_installation(spied, place):
    """A plan made by another pyjail's modules is not this one's."""
    spied.built("run", "--", "/bin/true")
    text = spied.plan().read_bytes()
    modules = [line for line in text.splitlines() if line.startswith(b"depends file") and b".py" in line]
    assert modules
    replaced = text.replace(modules[0], modules[0][:-1] + (b"1" if modules[0][-1:] != b"1" else b"2"))
    spied.plan().write_bytes(replaced)
    assert spied.built("run", "--", "/bin/echo", "ok").stdout == b"ok\n"
    assert spied.plan().read_bytes() == text


def test_another_kernel_or_boot(spied):
    """The key names both; a plan with another key in this one's place is not used and is replaced."""
    spied.built("run", "--", "/bin/true")
    key = next(line for line in spied.plan().read_bytes().splitlines() if line.startswith(b"key "))
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip().encode()
    for part in (os.uname().release.encode(), boot):
        assert part in key
        text = spied.plan().read_bytes()
        changed = bytes([part[0] ^ 1]) + part[1:]
        spied.plan().write_bytes(text.replace(key, key.replace(part, changed)))
        assert spied.built("run", "--", "/bin/echo", "ok").stdout == b"ok\n"
        assert spied.plan().read_bytes() == text
        spied.native("run", "--", "/bin/true")


@pytest.mark.parametrize("damage", ["empty", "half", "noise", "no newline", "nul", "huge"])
def test_a_damaged_plan(spied, damage):
    """It takes a broken disk, as plans are written whole. Built anew or refused, never a crash."""
    spied.built("run", "--", "/bin/true")
    text = spied.plan().read_bytes()
    spied.plan().write_bytes({
        "empty": b"", "half": text[: len(text) // 2], "noise": os.urandom(4096), "no newline": text[:-1],
        "nul": text.replace(b"hostname", b"host\0ame"), "huge": text + b"# \n" * 3_000_000,
    }[damage])  # fmt: skip
    r = spied.run("run", "--", "/bin/echo", "ok")
    assert (r.returncode, r.stdout) in ((0, b"ok\n"), (125, b"")), r.stderr
