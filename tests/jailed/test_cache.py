"""A cached start is the native path with no Python, and its plan is never stale or foreign: design §1.

Each test starts `pyjail` through a copy of the installation's `bin` whose interpreter is a spy: a script of
the shell that notes its start in a file and becomes the real one. So "no Python ran" is read off that file.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.launcher import Completed, Launcher

SH = ("/bin/sh", "-c")
SETTLED = (
    2.0  # seconds: what changed less long ago may change again unseen, so a plan made from it is not kept
)


@dataclass
class Spied:
    """`pyjail` with an interpreter that tells when it was started, and a cache folder of its own."""

    launcher: Launcher
    program: Path
    starts: Path
    cache: Path

    def run(self, *words: str | bytes | Path, **options) -> Completed:
        options.setdefault("env", {})
        options["env"] = {"XDG_CACHE_HOME": str(self.cache.parent), **options["env"]}
        with self.launcher.popen(
            *words, program=self.program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
        ) as process:
            out, err = process.communicate(timeout=60)
        return Completed(words, process.returncode, out, err, None)

    def pythons(self) -> int:
        """How many times Python was started so far."""
        return len(self.starts.read_bytes())

    def native(self, *words: str | bytes | Path, **options) -> Completed:
        """A run that must not start Python."""
        before = self.pythons()
        r = self.run(*words, **options)
        assert r.returncode == 0, r.stderr
        assert self.pythons() == before, "Python was started"
        return r

    def built(self, *words: str | bytes | Path, **options) -> Completed:
        """A run whose plan must be built anew."""
        before = self.pythons()
        r = self.run(*words, **options)
        assert self.pythons() == before + 1, "a cached plan was used"
        return r

    def plans(self) -> list[Path]:
        folder = self.cache / "plans"
        return sorted(folder.iterdir()) if folder.is_dir() else []

    def plan(self) -> Path:
        (only,) = self.plans()
        return only


@pytest.fixture
def spied(pyjail, place):
    bin_folder = place / "spied"
    bin_folder.mkdir()
    program = Path(shutil.copy(pyjail.installation.pyjail, bin_folder / "pyjail"))
    starts = place / "starts"
    starts.touch()
    starts.chmod(0o666)
    spy = bin_folder / "python3"
    spy.write_text(f'#!/bin/sh\nprintf x >>{starts}\nexec {pyjail.installation.python} "$@"\n')
    spy.chmod(0o755)
    (bin_folder / "pyjail-python").write_text(f"#!{spy}\n")
    cache = place / "cache" / "pyjail"
    pyjail.user.owns(_made(cache.parent))
    return Spied(pyjail, program, starts, cache)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def settle(*paths: Path) -> None:
    """Wait until the last change of `paths` is long enough ago for a plan made from them to be kept."""
    end = max(path.lstat().st_ctime for path in paths) + SETTLED
    while (left := end - time.time()) > -0.05:
        time.sleep(left + 0.05)


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
    """The environment, the mounts and the limits inside are equal, line for line."""
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
        "env | sort; ulimit -a; cut -d' ' -f5- /proc/self/mountinfo; cat /etc/passwd; pwd; id",
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
    (place / "current").symlink_to("v1")
    (place / "link.toml").symlink_to("current/jail.toml")
    settle(place / "v1" / "jail.toml", place / "v2" / "jail.toml", place / "current", place / "link.toml")
    for config in (place / "current" / "jail.toml", place / "link.toml"):
        words = ("run", "--config", config, "--", *SH, "echo $A")
        (place / "current").unlink()
        (place / "current").symlink_to("v1")
        settle(place / "current")
        assert spied.built(*words).stdout == b"v1\n"
        assert spied.native(*words).stdout == b"v1\n"
        (place / "current").unlink()
        (place / "current").symlink_to("v2")
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


# It is ours


def plant(spied: Spied) -> None:
    """Put a mark into the cached plan that would show if the plan were used."""
    spied.built("run", "--", "/bin/true")
    plan = spied.plan()
    plan.write_bytes(plan.read_bytes() + b"env PLANTED=yes\n")
    assert spied.native("run", "--", *SH, "echo $PLANTED").stdout == b"yes\n"


def clean(spied: Spied) -> None:
    """The planted plan is not used."""
    assert spied.built("run", "--", *SH, "echo $PLANTED").stdout == b"\n"


@pytest.mark.parametrize("which", ["cache", "plans", "plan"])
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o720])
def test_others_could_have_written_there(spied, which, mode):
    plant(spied)
    path = {"cache": spied.cache, "plans": spied.cache / "plans", "plan": spied.plan()}[which]
    path.chmod(mode)
    clean(spied)


@pytest.mark.parametrize("which", ["cache", "plans", "plan"])
def test_it_belongs_to_somebody_else(spied, which, root_user):
    plant(spied)
    path = {"cache": spied.cache, "plans": spied.cache / "plans", "plan": spied.plan()}[which]
    if spied.launcher.user.is_root:
        os.chown(path, 4242, 4242)
    else:
        os.chown(path, 0, 0)
        path.chmod(0o755 if path.is_dir() else 0o644)
    clean(spied)


@pytest.mark.parametrize("which", ["cache", "plans", "plan"])
def test_it_is_a_link(spied, which, place):
    plant(spied)
    path = {"cache": spied.cache, "plans": spied.cache / "plans", "plan": spied.plan()}[which]
    away = place / "away"
    path.rename(away)
    path.symlink_to(away)
    if which == "cache":
        os.chown(path, spied.launcher.user.uid, spied.launcher.user.gid, follow_symlinks=False)
    clean(spied)


def test_it_is_a_fifo(spied):
    """Nothing waits for a writer that never comes."""
    plant(spied)
    plan = spied.plan()
    plan.unlink()
    os.mkfifo(plan, 0o600)
    spied.launcher.user.owns(plan)
    clean(spied)


def test_another_users_cache(installation, root_user, ordinary_user, spied):
    """Root with an ordinary user's cache folder in its environment, and the other way round."""
    plant(spied)
    for user in (root_user, ordinary_user):
        if user.uid != spied.launcher.user.uid:
            foreign = Spied(Launcher(installation, user), spied.program, spied.starts, spied.cache)
            assert foreign.run("run", "--", *SH, "echo $PLANTED").stdout == b"\n"


# It is never in the way


@pytest.mark.parametrize("home", [None, "", "relative", "/no/such/home", "/proc/1", "/dev/null"])
def test_no_usable_cache_folder(spied, home):
    names = {} if home is None else {"HOME": home, "XDG_CACHE_HOME": home}
    for _ in range(2):
        r = spied.launcher.run(
            "-i",
            *(f"{n}={v}" for n, v in names.items()),
            spied.program,
            "run",
            "--",
            "/bin/echo",
            "x",
            program="/usr/bin/env",
        )
        assert (r.returncode, r.stdout, r.stderr) == (0, b"x\n", b"")


def test_environment_without_path(spied):
    words = ("-i", f"XDG_CACHE_HOME={spied.cache.parent}", spied.program, "run", "--", "echo", "x")
    for _ in range(2):
        r = spied.launcher.run(*words, program="/usr/bin/env")
        assert (r.returncode, r.stdout) == (0, b"x\n"), r.stderr
    assert len(spied.plans()) == 1
    assert spied.pythons() == 1


def test_it_is_private(spied):
    spied.built("run", "--", "/bin/true")
    assert {p.stat().st_mode & 0o7777 for p in (spied.cache, spied.cache / "plans")} == {0o700}
    assert spied.plan().stat().st_mode & 0o7777 == 0o600
    assert spied.plan().stat().st_uid == spied.launcher.user.uid


def test_many_first_starts_at_once(spied):
    """All succeed, one whole plan is left and nothing else."""
    results: list[Completed] = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(spied.run("run", "--", "/bin/echo", str(n))))
        for n in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(r.stdout for r in results) == sorted(f"{n}\n".encode() for n in range(12))
    assert len(spied.plans()) == 1
    spied.native("run", "--", "/bin/true")


def test_clear_and_path(spied):
    spied.built("run", "--", "/bin/true")
    spied.built("run", "--nofile", "99", "--", "/bin/true")
    assert len(spied.plans()) == 2
    r = spied.run("cache", "path")
    assert r.stdout.decode().strip() == str(spied.cache)
    assert spied.run("cache", "clear").returncode == 0
    assert spied.plans() == []
    spied.built("run", "--", "/bin/true")
    assert spied.run("cache", "clear").returncode == 0
    assert spied.run("cache", "clear").returncode == 0


def test_its_size_is_bounded(spied):
    spied.built("run", "--", "/bin/true")
    for number in range(300):
        (spied.cache / "plans" / f"{number:016x}").write_bytes(b"")
    spied.built("run", "--nofile", "99", "--", "/bin/true")
    assert len(spied.plans()) <= 256
    spied.native("run", "--nofile", "99", "--", "/bin/true")
