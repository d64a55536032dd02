"""`limits_hit` in the outcome and the line of `--stats`."""

from __future__ import annotations

import re

import pytest

SH = ("/bin/sh", "-c")
PYTHON = ("/usr/bin/python3", "-I", "-S", "-c")


def test_a_refused_fork_is_told_where_a_cgroup_counts(cgroup_pyjail):
    forks = "import os, signal\ntry:\n while True: os.fork() or signal.pause()\nexcept OSError: pass"
    r = cgroup_pyjail.run("run", "--pids", "10", "--memory", "256M", "--", *PYTHON, forks)
    assert (r.returncode, r.outcome["status"]) == (0, "exited")
    assert r.outcome["limits_hit"] == ["pids"]


@pytest.mark.parametrize("folder", ["/tmp", "/dev/shm", "/work", "/tmp/below"])
@pytest.mark.parametrize(
    ("code", "hit"),
    [
        ("head -c 2M /dev/zero >$0/f; :", ["tmp_size"]),
        ("head -c 900K /dev/zero >$0/f", []),
        ("head -c 2M /dev/zero >$0/f; rm $0/f", []),
    ],
    ids=["full", "room left", "made room"],
)
def test_a_folder_in_memory_that_is_full_in_the_end(pyjail, folder, code, hit):
    words = ("--tmp-size", "1M", "--tmpfs", "/work", "--tmpfs", "/tmp/below:1M")
    r = pyjail.run("run", *words, "--", *SH, code, folder)
    assert r.outcome["status"] == "exited"
    assert r.outcome["limits_hit"] == hit


def test_a_folder_in_memory_that_takes_no_more_files(pyjail):
    code = "import os\nfor n in range(70000): os.close(os.open(f'/tmp/{n}', os.O_CREAT))"
    r = pyjail.run("run", "--", *PYTHON, code)
    assert (r.returncode, r.outcome["limits_hit"]) == (1, ["tmp_inodes"])
    assert b"No space left" in r.stderr


def test_a_folder_that_was_moved_is_still_the_one_that_is_looked_at(pyjail):
    """The payload can rename what is above a mount, and put something else in its place."""
    code = "head -c 2M /dev/zero >/tmp/a/b/f; mv /tmp/a /tmp/c; mkdir -p /tmp/a/b"
    r = pyjail.run("run", "--tmpfs", "/tmp/a/b:1M", "--", *SH, code)
    assert (r.returncode, r.outcome["limits_hit"]) == (0, ["tmp_size"]), r.stderr


@pytest.mark.parametrize(
    ("code", "words", "timeout"),
    [
        ("exit 3", "exited 3", "1h"),
        ("kill -9 $$", "killed by signal 9", "1h"),
        ("exec sleep 1000", "timed-out", "1s"),
    ],
)
def test_statistics_are_one_line(pyjail, code, words, timeout):
    r = pyjail.run("run", "--stats", "--timeout", timeout, "--", *SH, f"echo out; {code}")
    lines = r.stderr.decode().splitlines()
    number = r"\d+\.\d\d s"
    pattern = rf"pyjail: {words} in {number}; cpu {number} user, {number} system(; .*)?"
    assert len(lines) == 1
    assert re.fullmatch(pattern, lines[0]), lines
    assert r.stdout == b"out\n"
    if pyjail.user.is_root and r.outcome["peak_memory_bytes"] is not None:
        assert re.search(r"; peak memory \d+ (KiB|MiB); \d+ process", lines[0])


def test_statistics_name_the_limit(pyjail):
    r = pyjail.run("run", "--stats", "--max-output", "10", "--", "/usr/bin/yes")
    assert r.stderr.decode().endswith("; limits hit: max_output\n")


def test_without_the_option_nothing_is_said(pyjail):
    assert pyjail.run("run", "--", "/bin/true").stderr == b""
