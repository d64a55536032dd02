"""Nothing of the caller's surroundings leaks in unless it is passed by name: design §7."""

from __future__ import annotations

import json
import os
import signal

import pytest

PYTHON = ("/usr/bin/python3", "-I", "-S", "-c")
SHOW_ENV = "import os, json; print(json.dumps({k: v for k, v in os.environ.items() if k != 'LC_CTYPE'}))"


def environment(r):
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout)


def test_only_the_default_variables(pyjail):
    hostile = {"SECRET": "x", "LD_LIBRARY_PATH": "/x", "PYTHONPATH": "/x", "LANG": "xx", "TERM": "vt100"}
    seen = environment(pyjail.run("run", "--", *PYTHON, SHOW_ENV, env=hostile))
    assert seen == {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "TERM": "vt100",
    }


def test_unset_term_stays_unset(pyjail):
    r = pyjail.run(
        "-u", "TERM", pyjail.installation.pyjail, "run", "--", *PYTHON, SHOW_ENV, program="/usr/bin/env"
    )
    assert "TERM" not in environment(r)


def test_a_given_value(pyjail):
    assert environment(pyjail.run("run", "--env", "A=b=c d", "--", *PYTHON, SHOW_ENV))["A"] == "b=c d"


def test_an_empty_value_is_a_value(pyjail):
    assert environment(pyjail.run("run", "--env", "A=", "--", *PYTHON, SHOW_ENV))["A"] == ""


def test_a_passed_name_takes_the_callers_value_at_each_run(pyjail):
    for value in ("one", "two words", "three\nlines\t\\040"):
        seen = environment(pyjail.run("run", "--env", "A", "--", *PYTHON, SHOW_ENV, env={"A": value}))
        assert seen["A"] == value


def test_a_passed_name_that_is_unset_stays_unset(pyjail):
    assert "A" not in environment(pyjail.run("run", "--env", "A", "--", *PYTHON, SHOW_ENV))


def test_the_last_of_one_name_wins(pyjail):
    assert environment(pyjail.run("run", "--env", "A=1", "--env", "A=2", "--", *PYTHON, SHOW_ENV))["A"] == "2"


@pytest.mark.parametrize("name", ["PATH", "HOME", "LANG", "TERM"])
def test_defaults_can_be_replaced(pyjail, name):
    assert (
        environment(pyjail.run("run", "--env", f"{name}=/usr/bin", "--", *PYTHON, SHOW_ENV))[name]
        == "/usr/bin"
    )


def test_the_command_is_found_through_the_jails_path(pyjail, place):
    program = place / "greet"
    program.write_text("#!/bin/sh\necho greeted\n")
    program.chmod(0o755)
    r = pyjail.run("run", "--ro-bind", f"{place}:/opt/tools", "--env", "PATH=/opt/tools:/bin", "--", "greet")
    assert (r.returncode, r.stdout) == (0, b"greeted\n")
    outside = pyjail.run("run", "--", "greet", env={"PATH": str(place)})
    assert outside.returncode == 127


def test_working_folder(pyjail, place):
    assert pyjail.run("run", "--", "/bin/pwd", cwd=place).stdout == b"/tmp\n"
    assert pyjail.run("run", "--cwd", "/usr", "--", "/bin/pwd", cwd=place).stdout == b"/usr\n"


def test_umask(pyjail, place):
    old = os.umask(0o077)
    try:
        r = pyjail.run("run", "--", "/bin/sh", "-c", "umask; : >f; mkdir d; stat -c %a f d")
    finally:
        os.umask(old)
    assert r.stdout.split() == [b"0022", b"644", b"755"]


def test_ignored_and_blocked_signals(pyjail):
    """A caller with everything ignored and blocked: the payload starts with neither."""
    every = set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}

    def hostile() -> None:
        for number in range(1, 65):
            if number not in (signal.SIGKILL, signal.SIGSTOP, 32, 33):
                signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, every)

    r = pyjail.run("run", "--", "/bin/cat", "/proc/self/status", preexec_fn=hostile)
    assert r.returncode == 0, r.stderr
    status = dict(line.split(":\t", 1) for line in r.stdout.decode().splitlines() if ":\t" in line)
    assert int(status["SigBlk"], 16) == 0
    assert int(status["SigIgn"], 16) == 0


def test_groups(pyjail):
    r = pyjail.run("run", "--", "/bin/sh", "-c", "id -u; id -g; id -G; grep Groups /proc/self/status")
    uid, gid, groups, line = r.stdout.decode().splitlines()
    assert (uid, gid) == ("1000", "1000")
    # Only a privileged caller may drop its further groups; those that stay have no number inside.
    assert set(groups.split()) | set(line.split()[1:]) <= {"1000", "65534"}


def test_chosen_ids(pyjail):
    r = pyjail.run("run", "--uid", "7", "--gid", "8", "--", "/bin/sh", "-c", "id -u; id -g; id -un")
    assert r.stdout.split()[:2] == [b"7", b"8"]
    assert r.returncode == 0, r.stderr


def test_capabilities_and_no_new_privileges(pyjail):
    status = pyjail.run("run", "--", "/bin/cat", "/proc/self/status").stdout.decode()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert {int(fields[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")


def test_host_name(pyjail):
    assert pyjail.run("run", "--", "/bin/hostname").stdout == b"jail\n"
    assert pyjail.run("run", "--hostname", "box-7", "--", "/bin/hostname").stdout == b"box-7\n"


def test_its_parent_is_the_jails_init(pyjail):
    assert pyjail.run("run", "--", "/bin/sh", "-c", "echo $PPID").stdout == b"1\n"


def test_caller_limits_do_not_raise_the_jails(pyjail):
    assert pyjail.run("run", "--", "/bin/sh", "-c", "ulimit -Hn").stdout == b"1024\n"


def test_nice_and_scheduling_cannot_be_raised(pyjail):
    r = pyjail.run(
        "run", "--", *PYTHON, "import os\ntry: os.nice(-1)\nexcept PermissionError: print('refused')"
    )
    assert r.stdout == b"refused\n"


def test_nothing_of_the_caller_in_init(pyjail):
    """Init is a fresh program: no argument, variable or memory of the caller is in its /proc."""
    look = "cat /proc/1/environ /proc/1/cmdline /proc/1/maps | tr '\\0' ' '"
    r = pyjail.run("run", "--", "/bin/sh", "-c", look, env={"SECRET": "do-not-tell"})
    assert b"do-not-tell" not in r.stdout
    assert b"SECRET" not in r.stdout
