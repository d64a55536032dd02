"""`--pty` and `pyjail shell`: a terminal of the jail's own, which the caller's stands for."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from jailed.patience import SLOWNESS
from jailed.terminal import Terminal
from support.launcher import Completed, Launcher
from support.processes import alive_after, descendants

BASH = '"$pyjail" run --pty --env "PS1=inside> " -- /bin/bash --norc --noediting -i'
RAW, COOKED = False, True


def inside(pyjail: Launcher, script: str, *options: str, **more: object) -> Completed:
    """A script of the shell's, at a terminal of its own, from and to pipes."""
    return pyjail.run("run", "--pty", *options, "--", "/bin/sh", "-c", script, **more)


def mode(terminal: Terminal) -> bool:
    """Whether the caller's terminal takes lines and echoes them."""
    return bool(termios.tcgetattr(terminal.master)[3] & termios.ICANON)


@contextmanager
def shell_inside(pyjail: Launcher) -> Iterator[Terminal]:
    with Terminal(pyjail) as terminal:
        terminal.line(BASH)
        terminal.until(b"inside> ")
        yield terminal


# From and to pipes


def test_the_payload_has_a_terminal(pyjail: Launcher) -> None:
    script = "tty; stty size; test -t 1 && test -t 2 && cut -d' ' -f6-8 /proc/self/stat; echo to it >/dev/tty"
    done = inside(pyjail, script)
    assert done.stderr == b""
    place, size, numbers, last = done.stdout.decode().split("\r\n")[:-1]
    assert (place, size, last) == ("/dev/pts/0", "24 80", "to it")
    session, device, group = map(int, numbers.split())
    assert (session, device >> 8, group) == (session, 136, session)


@pytest.mark.parametrize(
    ("typed", "script", "expected"),
    [
        (b"one\ntwo", "cat; echo end", "one\r\ntwoend\r\n"),
        (b"", "cat; cat; echo end", "end\r\n"),
        (b"first\nsecond\n", "read x; cat; cat; echo $x", "second\r\nfirst\r\n"),
    ],
)
def test_the_end_of_the_input_is_the_end_inside(
    pyjail: Launcher, typed: bytes, script: str, expected: str
) -> None:
    done = inside(pyjail, script, input=typed)
    assert (done.returncode, done.stdout.decode()) == (0, expected)


def test_a_script_that_is_typed(pyjail: Launcher) -> None:
    done = pyjail.run("run", "--pty", "--", "/bin/sh", input=b"echo $((6*7)); exit 3\n")
    assert done.returncode == 3
    assert b"42\r\n" in done.stdout


def test_the_end_comes_through_to_who_takes_single_keys(pyjail: Launcher) -> None:
    """A shell that edits lines is not in the mode in which the terminal itself knows of an end."""
    done = pyjail.run("run", "--pty", "--", "/bin/bash", "--norc", "-i", input=b"echo $((6*7))\n", timeout=60)
    assert done.returncode == 0
    assert b"42\r\n" in done.stdout


def test_no_byte_is_lost_at_the_end(pyjail: Launcher) -> None:
    done = inside(pyjail, "seq 200000")
    assert done.stdout == b"".join(b"%d\r\n" % number for number in range(1, 200001))


def test_much_input_is_taken_line_by_line(pyjail: Launcher) -> None:
    lines = b"".join(b"%d\n" % number for number in range(100000))
    done = inside(pyjail, "wc -l; tail -n 1", input=lines)
    assert done.stdout.split() == [b"100000"]


@pytest.mark.parametrize(("script", "status"), [("exit 7", 7), ("kill -9 $$", 137), ("/nowhere", 127)])
def test_the_status_is_the_payloads(pyjail: Launcher, script: str, status: int) -> None:
    assert inside(pyjail, script).returncode == status


def test_a_command_that_is_not_there(pyjail: Launcher) -> None:
    done = pyjail.run("run", "--pty", "--", "/nowhere")
    assert (done.returncode, done.stdout) == (127, b"")
    assert b"/nowhere" in done.stderr


def test_stderr_is_the_same_terminal(pyjail: Launcher) -> None:
    done = inside(pyjail, "echo out; echo err >&2; echo out")
    assert (done.stdout, done.stderr) == (b"out\r\nerr\r\nout\r\n", b"")


def test_what_stays_behind_does_not_hold_the_run(pyjail: Launcher) -> None:
    done = inside(pyjail, "setsid sleep 1000 & echo started")
    assert (done.returncode, done.stdout) == (0, b"started\r\n")


def test_closed_by_all_for_a_while_and_opened_again(pyjail: Launcher) -> None:
    script = "exec 3>/dev/null <&- >&- 2>&-; sleep 0.1; exec >/dev/pts/0; echo again"
    assert inside(pyjail, script).stdout == b"again\r\n"


def test_a_reader_that_goes_away_hangs_up(pyjail: Launcher) -> None:
    with pyjail.popen("run", "--pty", "--", "/usr/bin/yes", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(3) == b"y\r\n"
        process.stdout.close()
        assert process.wait(60) == 128 + signal.SIGHUP


def test_a_reader_that_sleeps_does_not_keep_the_clock_from_running(pyjail: Launcher) -> None:
    words = ("run", "--pty", "--timeout", str(0.5 * SLOWNESS), "--grace", "0.1", "--", "/usr/bin/yes")
    with pyjail.popen(*words, stdout=subprocess.PIPE) as process:
        assert process.wait(60) == 124
        assert process.stdout is not None
        assert process.stdout.read(3) == b"y\r\n"


def test_with_a_limit_on_output(pyjail: Launcher) -> None:
    done = inside(pyjail, "yes", "--max-output", "10000")
    assert (done.returncode, len(done.stdout)) == (153, 10000)


def test_with_a_limit_on_silence(pyjail: Launcher) -> None:
    done = inside(pyjail, "echo up; exec sleep 1000", "--idle-timeout", str(0.3 * SLOWNESS))
    assert (done.returncode, done.stdout) == (124, b"up\r\n")


def test_with_an_audit(pyjail: Launcher) -> None:
    done = inside(pyjail, "unshare --user true; tty", "--audit")
    assert done.stdout.endswith(b"/dev/pts/0\r\n")
    assert done.outcome is not None
    assert done.outcome["denied"] == {"unshare": 1}


@pytest.mark.parametrize("options", [("--net", "host"), ("--no-proc",), ("--no-landlock", "--strict")])
def test_of_other_jails(pyjail: Launcher, options: tuple[str, ...]) -> None:
    assert inside(pyjail, "tty; echo it >/dev/tty", *options).stdout == b"/dev/pts/0\r\nit\r\n"


def test_a_terminal_within_the_terminal(pyjail: Launcher) -> None:
    code = "import os, pty; print(os.ttyname(pty.openpty()[1])); pty.spawn(['/usr/bin/tty'])"
    done = pyjail.run("run", "--pty", "--", "/usr/bin/python3", "-I", "-c", code)
    assert done.stdout.split() == [b"/dev/pts/1", b"/dev/pts/2"]


def test_compiled(pyjail: Launcher, place: os.PathLike[str]) -> None:
    made = pyjail.run("compile", "-o", f"{place}/tty.jail", "--pty", "--", "/usr/bin/tty")
    assert made.returncode == 0, made.stderr
    done = pyjail.run(program=f"{place}/tty.jail")
    assert done.stdout == b"/dev/pts/0\r\n"


def test_mounts_that_would_cover_it_are_refused(pyjail: Launcher) -> None:
    done = inside(pyjail, "tty", "--tmpfs", "/dev/pts")
    assert done.returncode == 125
    assert b"/dev/pts" in done.stderr


def test_from_the_library(scripts: object) -> None:
    found = scripts.answer(  # type: ignore[attr-defined]
        """
done = jail.run(["/bin/sh"], jail=Jail(pty=True), input=b"tty; test -t 2 && echo yes >&2; exit 3\\n",
                stdout=PIPE, stderr=PIPE)
answer(status=done.exit_code, out=done.stdout.decode(), err=done.stderr.decode())
"""
    )
    assert (found["status"], found["err"]) == (3, "")
    assert found["out"].endswith("/dev/pts/0\r\nyes\r\n")


# At a terminal


def test_job_control_inside(pyjail: Launcher) -> None:
    with shell_inside(pyjail) as terminal:
        terminal.line("tty; echo $-")
        assert b"m" in terminal.until(b"inside> ").split(b"\r\n")[1]
        terminal.line("sh -c 'echo u\\p; exec cat'")
        terminal.until(b"up\r\n")
        terminal.key(b"\x1a")
        terminal.until(b"Stopped")
        terminal.until(b"inside> ")
        terminal.line("fg")
        terminal.until(b"\n")
        terminal.line("typed at cat")
        terminal.until(b"typed at cat\r\n")
        terminal.key(b"\x03")
        terminal.until(b"inside> ")
        terminal.line("sleep 1000 & jobs")
        terminal.until(b"Running")
        terminal.until(b"inside> ")
        terminal.line("kill %1; wait %1; echo status=$?.")
        terminal.until(b"status=143.")
        terminal.until(b"inside> ")
        terminal.key(b"\x04")
        terminal.until(b"ready> ")


def test_the_size_is_the_callers(pyjail: Launcher) -> None:
    code = (
        "import os, signal; signal.pthread_sigmask(0, [28]); size = os.get_terminal_size;"
        "print('si'+'ze', *size(), flush=True); signal.sigwait([28]); print('size', *size(), flush=True)"
    )
    with Terminal(pyjail) as terminal:
        terminal.resize(30, 90)
        terminal.line(f'"$pyjail" run --pty -- /usr/bin/python3 -I -S -c "{code}"')
        terminal.until(b"size 90 30")
        terminal.resize(33, 77)
        terminal.until(b"size 77 33")
        terminal.until(b"ready> ")


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "ALRM", "SEGV", "RTMIN"])
def test_the_terminal_is_as_before_when_a_signal_ends_it(pyjail: Launcher, name: str) -> None:
    with Terminal(pyjail) as terminal:
        before = termios.tcgetattr(terminal.master)
        terminal.line('"$pyjail" run --pty -- /bin/sh -c "echo u\\p; exec sleep 1000"')
        terminal.until(b"up")
        assert mode(terminal) == RAW
        os.kill(descendants(terminal.shell.pid)[0], signal.Signals["SIG" + name])
        terminal.until(b"ready> ")
        assert termios.tcgetattr(terminal.master) == before


@pytest.mark.parametrize("script", ["exit", "stty raw -echo; exit 3", "exec /nowhere", "kill -9 $$"])
def test_the_terminal_is_as_before(pyjail: Launcher, script: str) -> None:
    with Terminal(pyjail) as terminal:
        before = termios.tcgetattr(terminal.master)
        terminal.line(f"\"$pyjail\" run --pty --stats -- /bin/sh -c '{script}'")
        terminal.until(b"ready> ")
        assert termios.tcgetattr(terminal.master) == before


def test_stopped_from_outside_and_continued(pyjail: Launcher) -> None:
    with shell_inside(pyjail) as terminal:
        supervisor = descendants(terminal.shell.pid)[0]
        os.kill(supervisor, signal.SIGTSTP)
        terminal.until(b"Stopped")
        terminal.until(b"ready> ")
        assert mode(terminal) == COOKED
        terminal.resize(41, 97)
        terminal.line("fg")
        terminal.until(b"\n")
        terminal.line("stty size")
        terminal.until(b"41 97")
        assert mode(terminal) == RAW
        terminal.line("exit 5")
        terminal.until(b"ready> ")
        terminal.line("echo status=$?.")
        terminal.until(b"status=5.")


def test_in_the_background_it_leaves_the_terminal_alone(pyjail: Launcher) -> None:
    with Terminal(pyjail) as terminal:
        terminal.line('"$pyjail" run --pty -- /bin/sh -c "echo u\\p; read x; echo got \\$x" &')
        terminal.until(b"up")
        assert mode(terminal) == COOKED
        terminal.key(b"\n")
        terminal.line("jobs")
        while b"Stopped" not in terminal.until(b"pyjail"):
            terminal.line("jobs")
        assert mode(terminal) == COOKED
        terminal.until(b"ready> ")
        terminal.line("fg")
        terminal.until(b"\n")
        terminal.line("a line")
        terminal.until(b"got a line")


def test_a_closed_window_ends_the_jail(pyjail: Launcher) -> None:
    terminal = Terminal(pyjail)
    with terminal:
        terminal.line('"$pyjail" run --pty -- /bin/sh -c "echo u\\p; exec sleep 1000"')
        terminal.until(b"up")
        held = [os.pidfd_open(pid) for pid in descendants(terminal.shell.pid)]
    assert len(held) >= 3
    assert alive_after(held, 60) == []


def test_a_lost_line_hangs_up_who_does_not_hear_of_it(pyjail: Launcher) -> None:
    """No session's terminal, so that the kernel tells nobody; and a payload that does not care."""
    master, follower = pty.openpty()
    script = "trap '' HUP; echo up; while :; do read x; done"
    words = ("run", "--pty", "--grace", "0.2", "--", "/bin/sh", "-c", script)
    with pyjail.popen(*words, stdin=follower, stdout=follower, start_new_session=True) as process:
        os.close(follower)
        assert os.read(master, 2) == b"up"
        os.close(master)
        assert process.wait(60) in (128 + signal.SIGTERM, 128 + signal.SIGKILL)


def test_keys_of_a_terminal_that_only_shows(pyjail: Launcher) -> None:
    """Ctrl-C where stdin is a pipe: the terminal's group gets it, and so does the one inside."""
    with Terminal(pyjail) as terminal:
        script = 'trap "echo caught; exit 4" INT; echo u\\p; read x'
        terminal.line(f"mkfifo keys; \"$pyjail\" run --pty -- /bin/sh -c '{script}' <>keys; echo status=$?.")
        terminal.until(b"up")
        assert mode(terminal) == COOKED
        terminal.key(b"\x03")
        terminal.until(b"caught")
        terminal.until(b"status=4.")


def test_a_shell(pyjail: Launcher) -> None:
    with Terminal(pyjail) as terminal:
        terminal.line('SHELL=/nowhere/sh "$pyjail" shell --hostname cell --env "PS1=\\h> "')
        terminal.until(b"cell> ")
        terminal.line("echo $BASH $HOME $TERM $(tty)")
        terminal.until(b"/bin/bash /tmp dumb /dev/pts/0")
        terminal.line("exit 6")
        terminal.until(b"ready> ")
        terminal.line("echo status=$?.")
        terminal.until(b"status=6.")
        terminal.line('"$pyjail" shell -- /bin/echo a command')
        terminal.until(b"a command")
