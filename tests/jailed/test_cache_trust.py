"""Only a cache that nobody else could have written is used, and the cache is never in the way: design §1."""

from __future__ import annotations

import os
import threading

import pytest
from jailed.spied import Spied
from support.launcher import Completed, Launcher

SH = ("/bin/sh", "-c")


# It is ours


def plant(spied: Spied) -> None:
    """Put a mark into the cached plan that would show if the plan were used."""
    spied.built("run", "--", "/bin/true")
    plan = spied.plan()
    plan.write_bytes(plan.read_bytes().replace(b"\nend\n", b"\nenv PLANTED=yes\nend\n"))
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


@pytest.mark.parametrize("home", [None, "", "relative", "/proc/no/home", "/proc/1", "/dev/null"])
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


def test_a_missing_home_is_not_made(spied, place):
    """Users without a home have one that does not exist (`/nonexistent`), and it has to stay so."""
    home = place / "nonexistent"
    r = spied.launcher.run(
        "-i", f"HOME={home}", spied.program, "run", "--", "/bin/echo", "x", program="/usr/bin/env"
    )
    assert (r.returncode, r.stdout, r.stderr) == (0, b"x\n", b"")
    assert not home.exists()


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
