"""`--rlimit`: every resource of setrlimit(2), as root and as an ordinary user."""

from __future__ import annotations

import pytest
from support.processes import status

from rlimits import RESOURCES

SHOW = (
    "/usr/bin/python3",
    "-I",
    "-S",
    "-c",
    "import resource, sys; print(*resource.prlimit(0, int(sys.argv[1])))",
)
ASKED = {
    "cpu": ("90s:2m", (90, 120)),
    "fsize": ("1M", (1 << 20, 1 << 20)),
    "data": ("100M:200M", (100 << 20, 200 << 20)),
    "stack": ("4M", (4 << 20, 4 << 20)),
    "core": ("0", (0, 0)),
    "rss": ("1G", (1 << 30, 1 << 30)),
    "nproc": ("50:60", (50, 60)),
    "nofile": ("64:128", (64, 128)),
    "memlock": ("32K", (32 << 10, 32 << 10)),
    "as": ("4G", (4 << 30, 4 << 30)),
    "locks": ("10", (10, 10)),
    "sigpending": ("100", (100, 100)),
    "msgqueue": ("4K", (4096, 4096)),
    "nice": ("0", (0, 0)),
    "rtprio": ("0", (0, 0)),
    "rttime": ("200ms:1s", (200_000, 1_000_000)),
}


def test_all_are_tried():
    assert set(ASKED) == set(RESOURCES)


@pytest.mark.parametrize("name", RESOURCES)
def test_each_resource_is_limited_as_asked(pyjail, name):
    text, (soft, hard) = ASKED[name]
    r = pyjail.run("run", "--rlimit", f"{name}={text}", "--", *SHOW, str(list(RESOURCES).index(name)))
    assert (r.returncode, r.stdout) == (0, b"%d %d\n" % (soft, hard)), r.stderr
    assert r.outcome["enforced"][f"rlimit {name}"] == "rlimit"


def test_several_at_once_and_the_last_of_one_counts(pyjail):
    words = ("--rlimit", "nofile=64", "--rlimit", "core=7", "--rlimit", "nofile=32:infinity")
    if not pyjail.user.is_root:
        words = (*words[:-1], "nofile=32:100")
    r = pyjail.run("run", *words, "--", "/bin/sh", "-c", "ulimit -n; ulimit -Hn")
    assert r.stdout.split() == [b"32", b"unlimited" if pyjail.user.is_root else b"100"] or r.returncode == 125
    assert pyjail.user.is_root or r.returncode == 0


def test_root_can_raise_a_hard_limit(root_pyjail):
    """Where root has CAP_SYS_RESOURCE; it often lacks in containers."""
    words = ("run", "--rlimit", "memlock=1M", "--", "/bin/sh", "-c", "ulimit -l")
    command = (str(root_pyjail.installation.pyjail), *words)
    r = root_pyjail.run("-c", 'ulimit -l 64; exec "$@"', "sh", *command, program="/bin/sh")
    capabilities = int(status("self")["CapEff"], 16)
    if capabilities >> 24 & 1:
        assert (r.returncode, r.stdout) == (0, b"1024\n"), r.stderr
    else:
        assert (r.returncode, r.stdout) == (125, b"")
        assert b"memlock" in r.stderr


def test_an_ordinary_user_cannot(ordinary_pyjail):
    r = ordinary_pyjail.run("run", "--rlimit", "rtprio=50", "--", "/bin/echo", "ran")
    assert (r.returncode, r.stdout) == (125, b"")
    assert b"rtprio" in r.stderr
    assert b"ulimit -H" in r.stderr


def test_a_limit_with_an_option_of_its_own_is_given_once(pyjail):
    r = pyjail.run("run", "--nofile", "64", "--rlimit", "nofile=64", "--", "/bin/echo", "ran")
    assert (r.returncode, r.stdout) == (125, b"")
    assert b"--nofile" in r.stderr
    assert b"--rlimit nofile" in r.stderr


def test_from_a_configuration_file(pyjail, place):
    (place / "jail.toml").write_text('rlimit = ["nofile=64:128", "core=9"]\n')
    words = ("--config", place / "jail.toml", "--rlimit", "nofile=50")
    r = pyjail.run("run", *words, "--", "/bin/sh", "-c", "ulimit -n")
    assert r.stdout == b"50\n", r.stderr
