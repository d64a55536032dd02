"""What a caller may have set up, carelessly or in attack, must not shape what runs inside: signal masks,
ignored signals, umask, limits, working folder, environment, loader variables, OOM protection, priorities,
core dumps."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support.launcher import Completed, Launcher


def status_of(result: Completed) -> dict[str, str]:
    return dict(line.split(":\t", 1) for line in result.answer["status"].splitlines() if ":\t" in line)


def test_signal_state_is_clean(pyjail: Launcher) -> None:
    def spoil() -> None:
        for number in (
            signal.SIGPIPE,
            signal.SIGCHLD,
            signal.SIGTERM,
            signal.SIGINT,
            signal.SIGHUP,
            signal.SIGXFSZ,
        ):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))

    # cat, not Python: that sets dispositions of its own.
    result = pyjail.run("run", "--", "/bin/cat", "/proc/self/status", preexec_fn=spoil, restore_signals=False)
    assert result.returncode == 0, result.stderr
    status = dict(line.split(":\t", 1) for line in result.stdout.decode().splitlines() if ":\t" in line)
    assert status["SigBlk"] == "0" * 16
    assert status["SigIgn"] == "0" * 16
    assert status["ShdPnd"] == status["SigPnd"] == "0" * 16


def test_exit_is_seen_though_sigchld_was_ignored_and_blocked(pyjail: Launcher) -> None:
    def spoil() -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))

    assert (
        pyjail.run("run", "--", "/bin/sh", "-c", "exit 7", preexec_fn=spoil, restore_signals=False).returncode
        == 7
    )


def test_umask_and_folder_are_the_plans(pyjail: Launcher, place: Path) -> None:
    result = pyjail.python("answer(mask=os.umask(0), cwd=os.getcwd())", cwd=place, umask=0o777)
    assert result.answer == {"mask": 0o022, "cwd": "/tmp"}


@pytest.mark.parametrize("mask", [0o000, 0o777])
def test_the_callers_umask_does_not_reach_the_root(pyjail: Launcher, mask: int) -> None:
    result = pyjail.python(
        """
import stat
answer(modes={p: stat.S_IMODE(os.stat(p).st_mode) for p in ("/", "/etc", "/tmp", "/dev", "/etc/passwd",
       "/etc/hosts")})
""",
        umask=mask,
    )
    modes = result.answer["modes"]
    assert modes["/"] == modes["/etc"] == modes["/dev"] == 0o755
    assert modes["/etc/passwd"] == modes["/etc/hosts"] == 0o644
    assert modes["/tmp"] & 0o777 in (0o700, 0o755, 0o777)


def test_the_environment_holds_what_was_passed_and_no_more(pyjail: Launcher) -> None:
    result = pyjail.run(
        "run",
        "--env",
        "PASSED",
        "--env",
        "SET=1",
        "--env",
        "UNSET",
        "--",
        "/usr/bin/env",
        env={
            "PASSED": "yes",
            "AWS_SECRET_ACCESS_KEY": "x",
            "LD_LIBRARY_PATH": "/tmp",
            "PYTHONPATH": "/tmp",
            "IFS": "x",
            "GLIBC_TUNABLES": "glibc.malloc.check=3",
            "BASH_ENV": "/tmp/x",
            "LANG": "de_DE",
        },
    )
    names = {line.split("=")[0] for line in result.stdout.decode().splitlines()}
    assert names == {"PATH", "HOME", "LANG", "TERM", "PASSED", "SET"}, result.stderr


def test_hostile_variables_of_the_caller_do_not_run_code(pyjail: Launcher, place: Path) -> None:
    """Neither on a cache hit nor on a miss: Python is started isolated, the programs found without PATH."""
    marker = place / "marker"
    (place / "sitecustomize.py").write_text(f"open({str(marker)!r}, 'w')\n")
    (place / "jail.py").write_text(f"open({str(marker)!r}, 'w')\n")
    for name in ("python3", "jailer", "pyjail-python", "pyjail", "env", "sh"):
        (place / name).write_text(f"#!/bin/sh\ntouch {marker}\n")
        (place / name).chmod(0o755)
    hostile = {
        "PATH": str(place),
        "PYTHONPATH": str(place),
        "PYTHONHOME": "",
        "PYTHONSTARTUP": str(place / "jail.py"),
        "LD_LIBRARY_PATH": str(place),
        "PYTHONUSERBASE": str(place),
        "PYTHONBREAKPOINT": "jail.x",
        "PYTHONEXECUTABLE": "x",
    }
    for options in ([], ["--no-cache"], []):
        result = pyjail.run("run", *options, "--", "/bin/true", env=hostile, cwd=place)
        assert result.returncode == 0, result.stderr
    assert not marker.exists()


def test_a_preloaded_library_stays_outside(pyjail: Launcher) -> None:
    """The command is static; LD_PRELOAD must not pass on to the payload (the library would be missing, or
    worse, not)."""
    result = pyjail.run(
        "run",
        "--",
        "/bin/cat",
        "/proc/self/environ",
        env={"LD_PRELOAD": "libc.so.6", "LD_AUDIT": "libc.so.6"},
    )
    assert b"LD_" not in result.stdout
    assert result.stderr == b""


def test_the_callers_limits_are_not_kept_where_the_plan_says_otherwise(pyjail: Launcher) -> None:
    code = """
import resource
names = "NOFILE FSIZE CORE MEMLOCK NPROC RTPRIO NICE MSGQUEUE SIGPENDING STACK".split()
answer(**{name: resource.getrlimit(getattr(resource, "RLIMIT_" + name)) for name in names})
"""
    found = pyjail.python(
        code, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512))
    ).answer
    assert all(hard != -1 for _, hard in found.values()), found
    assert found["CORE"][1] in (0, 1)
    assert found["RTPRIO"] == [0, 0]
    assert found["NOFILE"][1] <= 1024


def test_a_dump_is_not_written(pyjail: Launcher, place: Path) -> None:
    """A core in a writable bind, or piped to a program on the host (core(5): a limit of 1 stops that too)."""
    result = pyjail.python(
        "os.chdir('/data')\nos.kill(os.getpid(), 11)",
        options=["--bind", f"{place}:/data"],
        preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2
        ),
    )
    assert result.returncode == 128 + 11
    assert list(place.iterdir()) == []


def test_no_protection_from_the_oom_killer_is_inherited(pyjail: Launcher) -> None:
    def protect() -> None:
        with contextlib.suppress(OSError):  # only root in the initial user namespace may
            Path("/proc/self/oom_score_adj").write_text("-500")

    result = pyjail.python(
        """
answer(score=int(read("/proc/self/oom_score_adj")), init=attempt(os.open, "/proc/1/oom_score_adj",
       os.O_WRONLY))
""",
        preexec_fn=protect,
    )
    assert result.answer["score"] >= 0


def test_priorities_are_not_raised(jailed: Callable[..., Completed]) -> None:
    found = jailed("""
answer(nice=attempt(os.setpriority, 0, 0, -1), fifo=attempt(os.sched_setscheduler, 0, os.SCHED_FIFO,
       os.sched_param(1)),
       io=call(251, 1, 0, 1 << 13), lock=attempt(lambda: None))
""").answer
    assert found["nice"] in ("EPERM", "EACCES")
    assert found["fifo"] in ("EPERM", "ENOSYS")
    assert found["io"] in ("EPERM", "ENOSYS")


def test_a_closed_standard_stream_is_an_empty_one(pyjail: Launcher, place: Path) -> None:
    """Else the first file that is opened becomes the payload's stdout."""
    report = place / "report"
    code = "open('/data/report', 'w').write(repr([os.readlink('/proc/self/fd/%d' % fd) for fd in (0, 1, 2)]))"
    command = [*pyjail.words(code, options=["--bind", f"{place}:/data"])]
    with pyjail.popen(
        "-c", 'exec "$@" <&- >&- 2>&-', "sh", str(pyjail.installation.pyjail), *command, program="/bin/sh"
    ) as shell:
        assert shell.wait(60) == 0
    assert report.read_text() == repr(["/dev/null"] * 3)


def test_the_outcome_does_not_go_to_a_stray_descriptor(pyjail: Launcher) -> None:
    """The descriptor that --outcome-fd names is closed: an error before the payload runs, not a file opened
    by chance."""
    with pyjail.popen("run", "--outcome-fd", "77", "--", "/bin/true", stderr=subprocess.PIPE) as process:
        err = process.communicate(timeout=60)[1]
    assert process.returncode == 125
    assert b"77" in err


def test_nothing_of_the_caller_is_in_the_jails_memory(pyjail: Launcher) -> None:
    """argv, environment and auxiliary vector of init are fixed and empty."""
    secret = f"needle{os.getpid()}"
    result = pyjail.python(
        """
found = []
for name in ("cmdline", "environ", "maps", "auxv"):
    for pid in ("1", "self"):
        if pid == "self" and name in ("cmdline", "environ"):
            continue
        if sys.stdin.read().strip() in read("/proc/%s/%s" % (pid, name)):
            found.append(name)
answer(found=found, init=read("/proc/1/cmdline"))
""",
        input=secret.encode(),
        env={"NEEDLE": secret},
        options=["--hostname", "needle"],
    )
    assert "needle" not in result.answer["init"]
