"""Signals, Ctrl-C, Ctrl-Z and fg work on a jailed program as on any other."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest
from jailed.terminal import Terminal
from support.processes import alive_after, descendants

PYTHON = ("/usr/bin/python3", "-I", "-S", "-u", "-c")
REPORT = """
import signal, sys
def tell(number, frame):
    print('got', number, flush=True)
    if number == signal.SIGTERM: sys.exit(3)
for number in (1, 2, 3, 10, 12, 15, 18, 28): signal.signal(number, tell)
print('up', flush=True)
while True: signal.pause()
"""


@pytest.mark.parametrize("name", ["HUP", "INT", "QUIT", "USR1", "USR2", "WINCH", "CONT"])
def test_forwarded(pyjail, name):
    number = signal.Signals["SIG" + name]
    with pyjail.popen(
        "run", "--", *PYTHON, REPORT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"up\n"
        process.send_signal(number)
        assert process.stdout.readline() == b"got %d\n" % number
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == b"got 15\n"
        assert process.wait(60) == 3


@pytest.mark.parametrize("name", ["HUP", "INT", "QUIT", "USR1", "USR2", "TERM"])
def test_the_payload_dies_of_what_it_does_not_catch(pyjail, name):
    number = signal.Signals["SIG" + name]
    with pyjail.popen(
        "run", "--", "/bin/sh", "-c", "echo up; exec sleep 1000", stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"up\n"
        process.send_signal(number)
        assert process.wait(60) == 128 + number


def test_ignored_by_the_payload_goes_on(pyjail):
    script = "trap '' HUP INT QUIT USR1; echo up; read x; echo $x"
    with pyjail.popen(
        "run", "--", "/bin/sh", "-c", script, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"up\n"
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1):
            process.send_signal(number)
        assert process.communicate(b"went on\n", 60)[0] == b"went on\n"
    assert process.returncode == 0


def test_term_then_kill_after_the_grace(pyjail):
    """A TERM that the payload ignores ends it nevertheless, when the grace is over."""
    deaf = "import signal\nsignal.signal(15, signal.SIG_IGN)\nprint('up')\nwhile True: signal.pause()"
    reader, writer = os.pipe()
    try:
        with pyjail.popen(
            "run",
            "--grace",
            "0.2",
            "--outcome-fd",
            str(writer),
            "--",
            *PYTHON,
            deaf,
            stdout=subprocess.PIPE,
            pass_fds=[writer],
        ) as process:
            assert process.stdout.readline() == b"up\n"
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 137
        assert b'"status":"killed"' in os.read(reader, 65536)
    finally:
        os.close(reader)
        os.close(writer)


def test_stopped_and_continued_by_signals(pyjail):
    """STOP cannot be caught, so TSTP is what is passed on: the payload stops too, and CONT continues both."""
    with pyjail.popen("run", "--", *PYTHON, REPORT, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"up\n"
        payload = descendants(process.pid)[-1]
        process.send_signal(signal.SIGTSTP)
        waited = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        assert waited is not None
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        with open(f"/proc/{payload}/stat") as file:
            assert file.read().rpartition(")")[2].split()[0] == "T"
        process.send_signal(signal.SIGCONT)
        assert process.stdout.readline() == b"got 18\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 3


def test_nohup_is_respected(pyjail):
    """Started with HUP ignored, a hangup does not end the jail, although inside HUP is at its default."""
    with pyjail.popen(
        pyjail.installation.pyjail,
        "run",
        "--",
        "/bin/sh",
        "-c",
        "echo up; read x; echo $x",
        program="/usr/bin/nohup",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGHUP)
        assert process.communicate(b"went on\n", 60)[0] == b"went on\n"
    assert process.returncode == 0


def test_background_of_a_plain_shell_ignores_interrupts(pyjail):
    """`sh -c 'cmd &'` starts cmd with INT and QUIT ignored: they do not end the jail then."""
    with pyjail.popen(
        "-c",
        '"$0" run -- /bin/sh -c "echo up; read x; echo \\$x" <&3 & echo $!; wait',
        pyjail.installation.pyjail,
        program="/bin/sh",
        stdout=subprocess.PIPE,
        pass_fds=[],
        stdin=subprocess.PIPE,
        preexec_fn=lambda: os.dup2(0, 3),
    ) as process:
        pid = int(process.stdout.readline())
        assert process.stdout.readline() == b"up\n"
        os.kill(pid, signal.SIGINT)
        assert process.communicate(b"went on\n", 60)[0] == b"went on\n"


# On a terminal


def test_ctrl_c(pyjail):
    with Terminal(pyjail) as terminal:
        terminal.line('"$pyjail" run -- /bin/sh -c "echo u\\p; sleep 1000"; echo status=$?.')
        terminal.until(b"up")
        terminal.key(b"\x03")
        # bash ends the whole list when its foreground job dies of INT, as it would without a jail
        terminal.until(b"ready> ")
        terminal.line("echo status=$?.")
        terminal.until(b"status=130.")


def test_ctrl_c_reaches_the_payload_once(pyjail):
    code = (
        "import signal; signal.signal(2, lambda *a: print('caught', flush=True)); print('u'+'p', flush=True)"
    )
    with Terminal(pyjail) as terminal:
        terminal.line(
            f"\"$pyjail\" run -- /usr/bin/python3 -I -S -c \"{code}; sys.stdin.readline(); print('en'+'d')\""
        )
        terminal.until(b"up")
        terminal.key(b"\x03")
        between = terminal.until(b"caught")
        terminal.key(b"\n")
        rest = terminal.until(b"end")
        assert b"caught" not in between + rest


def test_ctrl_z_and_fg(pyjail):
    with Terminal(pyjail) as terminal:
        terminal.line('"$pyjail" run -- /bin/sh -c "echo u\\p; read x; echo read \\$x"')
        terminal.until(b"up")
        terminal.key(b"\x1a")
        terminal.until(b"Stopped")
        terminal.until(b"ready> ")
        terminal.line("jobs")
        terminal.until(b"Stopped")
        terminal.until(b"ready> ")
        terminal.line("fg")
        terminal.until(b"\n")
        terminal.line("typed")
        terminal.until(b"read typed")
        terminal.until(b"ready> ")


def test_ctrl_z_and_bg(pyjail):
    with Terminal(pyjail) as terminal:
        terminal.line('mkfifo go; "$pyjail" run -- /bin/sh -c "echo u\\p; cat" <>go')
        terminal.until(b"up")
        terminal.key(b"\x1a")
        terminal.until(b"Stopped")
        terminal.until(b"ready> ")
        terminal.line("bg; echo flow'ed' >go")
        terminal.until(b"flowed")
        terminal.line("kill %1; wait %1; echo status=$?.")
        terminal.until(b"status=143.")


def test_resizing(pyjail):
    code = (
        "import os,signal,sys; signal.signal(28, lambda *a: print(*os.get_terminal_size(0), flush=True));"
        "print('u'+'p', flush=True); sys.stdin.readline()"
    )
    with Terminal(pyjail) as terminal:
        terminal.line(f'"$pyjail" run -- /usr/bin/python3 -I -S -c "{code}"')
        terminal.until(b"up")
        terminal.resize(33, 77)
        terminal.until(b"77 33")
        terminal.key(b"\n")
        terminal.until(b"ready> ")


def test_hangup_of_the_terminal_ends_the_jail(pyjail):
    """The window is closed: HUP goes to the session, and the payload dies of it."""
    terminal = Terminal(pyjail)
    with terminal:
        terminal.line('"$pyjail" run -- /bin/sh -c "echo u\\p; sleep 1000"')
        terminal.until(b"up")
        held = [os.pidfd_open(pid) for pid in descendants(terminal.shell.pid)]
    assert len(held) >= 3
    assert alive_after(held, 60) == []
