"""The end of a run, whoever asks for it: nothing lives on, at whatever moment the supervisor is killed."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support.installation import SYSTEM_PYTHON
from support.launcher import Launcher
from support.processes import abandoned, alive_after, cgroup_folders, descendants, hold

ORPHANS = Path(__file__).parents[1] / "support" / "orphans.py"
READY = "os.write(1, b'ready\\n')\n"
WAIT = "signal = __import__('signal')\nwhile True: signal.pause()"
IGNORE = "signal = __import__('signal')\nfor n in (1, 2, 3, 10, 12, 15): signal.signal(n, signal.SIG_IGN)\n"


def started(pyjail: Launcher, code: str, *options: str) -> subprocess.Popen[bytes]:
    """A jail whose payload has said that it is ready."""
    process = pyjail.popen(
        *pyjail.words(code, options=options), stdout=subprocess.PIPE, stdin=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def sweep(pyjail: Launcher, last: int, count: int, *command: str) -> dict[str, object]:
    """Kill `command` after 0 … `last` µs, `count` times; what lived on for more than a second."""
    code = ORPHANS.read_text()  # as text: the user may not be able to enter the checkout
    with pyjail.popen(
        "-I",
        "-S",
        "-c",
        code,
        "1",
        str(last),
        str(count),
        "--",
        *command,
        program=SYSTEM_PYTHON,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        out = process.communicate(timeout=600)[0]
    found: dict[str, object] = json.loads(out)
    return found


@pytest.mark.alone
def test_sigkill_of_the_supervisor_at_any_moment_leaves_nothing(pyjail: Launcher) -> None:
    """From before its first instruction to long after the payload runs."""
    words = ["run", "--", "/bin/sh", "-c", "cat & cat & setsid cat & cat"]
    assert pyjail.run("run", "--", "/bin/true").returncode == 0  # the plan is cached from here on
    before = cgroup_folders()
    assert sweep(pyjail, 12_000, 400, str(pyjail.installation.pyjail), *words) == {
        "survived": [],
        "runs": 400,
    }
    assert (
        pyjail.run("run", "--", "/bin/true").returncode == 0
    )  # the next start clears what the dead could not
    left = {folder for folder in cgroup_folders() - before if abandoned(folder)}
    assert not left


def test_sigkill_during_a_cold_start_leaves_nothing(pyjail: Launcher) -> None:
    words = ["run", "--no-cache", "--", "/bin/cat"]
    found = sweep(pyjail, 60_000, 30, str(pyjail.installation.pyjail), *words)
    assert found == {"survived": [], "runs": 30}


def test_the_sweep_can_fail(pyjail: Launcher) -> None:
    """The same eyes find a process that outlives its parent."""
    found = sweep(pyjail, 200_000, 2, "/bin/sh", "-c", "sleep 60 & cat")
    assert found["survived"]


@pytest.mark.parametrize("who", [1, 2], ids=["init", "payload"])
def test_a_kill_of_one_of_its_processes_from_outside_ends_the_run(pyjail: Launcher, who: int) -> None:
    with started(pyjail, READY + WAIT) as process:
        inside = descendants(process.pid)
        held = hold(inside)
        signal.pidfd_send_signal(held[who - 1], signal.SIGKILL)
        process.wait(60)
    assert alive_after(held, 1) == []
    assert process.returncode in (137, 125)


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        signal.SIGINT,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGWINCH,
        signal.SIGCONT,
    ],
)
def test_signals_reach_the_payload(pyjail: Launcher, number: signal.Signals) -> None:
    code = f"""
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [{int(number)}])
{READY}
os.write(1, b"got %d\\n" % signal.sigwait([{int(number)}]))
os._exit(40)
"""
    with started(pyjail, code) as process:
        process.send_signal(number)
        out = process.communicate(timeout=60)[0]
    assert out == b"got %d\n" % number
    assert process.returncode == 40


def test_term_kills_a_payload_that_does_not_handle_it(pyjail: Launcher) -> None:
    with started(pyjail, "signal = __import__('signal')\nsignal.signal(15, 0)\n" + READY + WAIT) as process:
        process.terminate()
        assert process.wait(60) == 128 + 15


@pytest.mark.parametrize(
    "code", [IGNORE, IGNORE + "if os.fork(): os.kill(os.getpid(), 19)\n"], ids=["ignored", "stopped"]
)
def test_an_ignored_term_becomes_a_kill_after_the_grace(pyjail: Launcher, code: str) -> None:
    ready = code.replace("if os.fork()", READY + "if os.fork()") if "fork" in code else code + READY
    with started(pyjail, ready + WAIT, "--grace", "0.2s") as process:
        held = hold(descendants(process.pid))
        process.terminate()
        assert process.wait(60) == 137
    assert alive_after(held, 1) == []


def test_the_grace_is_given(pyjail: Launcher) -> None:
    """What the payload does on TERM is finished, if it takes less than the grace."""
    code = f"""
import signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, [15])
{READY}
signal.sigwait([15])
time.sleep(0.3)  # not synchronisation: the work that the grace is for
os.write(1, b"saved\\n")
"""
    with started(pyjail, code, "--grace", "60s") as process:
        process.terminate()
        assert process.communicate(timeout=60)[0] == b"saved\n"
    assert process.returncode == 0


@pytest.mark.parametrize("code", ["", IGNORE], ids=["obeys", "ignores"])
def test_a_timeout_is_124(pyjail: Launcher, code: str) -> None:
    result = pyjail.python(code + WAIT, options=["--timeout", "0.2s", "--grace", "0.1s"])
    assert result.returncode == 124
    assert result.outcome is not None
    assert result.outcome["status"] == "timed-out"


def test_a_run_shorter_than_its_timeout_is_itself(pyjail: Launcher) -> None:
    result = pyjail.run("run", "--timeout", "100s", "--", "/bin/sh", "-c", "exit 3")
    assert result.returncode == 3
    assert result.outcome is not None
    assert result.outcome["status"] == "exited"


def test_an_end_asked_for_is_told_as_killed(pyjail: Launcher, place: Path) -> None:
    file = place / "outcome"
    words = pyjail.words(IGNORE + READY + WAIT, options=["--grace", "0.1s", "--outcome", str(file)])
    with pyjail.popen(*words, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        process.wait(60)
    assert json.loads(file.read_text())["status"] == "killed"


def test_the_end_of_the_terminal_ends_the_jail(pyjail: Launcher) -> None:
    """HUP, as a shell sends it."""
    with started(pyjail, "signal = __import__('signal')\nsignal.signal(1, 0)\n" + READY + WAIT) as process:
        held = hold(descendants(process.pid))
        process.send_signal(signal.SIGHUP)
        assert process.wait(60) == 128 + 1
    assert alive_after(held, 1) == []


def test_a_thread_that_started_it_may_end(pyjail: Launcher) -> None:
    """PDEATHSIG fires when the parent's thread ends: the jailer's own parent must not matter, its supervisor
    must."""
    made: list[subprocess.Popen[bytes]] = []
    thread = threading.Thread(
        target=lambda: made.append(started(pyjail, READY + "sys.stdin.read()\nos._exit(9)"))
    )
    thread.start()
    thread.join()
    with made[0] as process:
        process.communicate(timeout=60)
    assert process.returncode == 9


def test_a_normal_end_leaves_no_cgroup(pyjail: Launcher, require: Callable[[str], None]) -> None:
    require("cgroup")
    with started(pyjail, READY + "sys.stdin.read()") as process:
        during = {folder for folder in cgroup_folders() if str(process.pid) in folder}
        assert during or not pyjail.user.is_root  # an ordinary user's default limits make none
        process.communicate(timeout=60)
    assert not during & cgroup_folders()
