"""Signals, Ctrl-C, Ctrl-Z and fg work on a jailed program as on any other."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest
from jailed.terminal import Terminal
from support.processes import alive_after, descendants

PYTHON = ("/usr/bin/python3", "-I", "-S", "-u", "-c")
# Waits for signals that it has blocked, so that none can fall between a handler and a wait.
REPORT = """
import signal, sys
expected = {1, 2, 3, 10, 12, 15, 18, 28}
signal.pthread_sigmask(signal.SIG_BLOCK, expected)
print('up', flush=True)
number = 0
while number != signal.SIGTERM:
    number = signal.sigwait(expected)
    print('got', int(number), flush=True)
sys.exit(3)
"""


def state_of(pid: int) -> str:
    """The letter of proc_pid_stat(5): T is stopped."""
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


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
        while state_of(payload) != "T":  # told before we are, but its init has to be scheduled
            os.sched_yield()
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
    script = 'exec 3<&0; "$0" run -- /bin/sh -c "echo up; read x; echo \\$x" <&3 & echo $!; wait'
    words = ("-c", script, pyjail.installation.pyjail)
    with pyjail.popen(*words, program="/bin/sh", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        pid = int(process.stdout.readline())
        assert process.stdout.readline() == b"up\n"
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGQUIT)
        assert process.communicate(b"went on\n", 60)[0] == b"went on\n"
    assert process.returncode == 0


# On a terminal


def test_ctrl_c(pyjail):
    with Terminal(pyjail) as terminal:
        terminal.line('"$pyjail" run -- /bin/sh -c "echo u\\p; exec sleep 1000"; echo status=$?.')
        terminal.until(b"up")
        terminal.key(b"\x03")
        terminal.until(b"status=130.")


def test_ctrl_c_reaches_the_payload_once(pyjail):
    code = (
        "import signal; signal.pthread_sigmask(0, {2}); print('u'+'p', flush=True); signal.sigwait({2});"
        "print('cau'+'ght', flush=True); input(); print('again', 2 in signal.sigpending())"
    )
    with Terminal(pyjail) as terminal:
        terminal.line(f'"$pyjail" run -- /usr/bin/python3 -I -S -c "{code}"')
        terminal.until(b"up")
        terminal.key(b"\x03")
        terminal.until(b"caught")
        terminal.key(b"\n")
        terminal.until(b"again False")


def test_ctrl_c_reaches_what_the_payload_started(pyjail):
    """The terminal tells the whole foreground group; a shell waits for its child to die of it first."""
    with Terminal(pyjail) as terminal:
        # Not a shell's own child that says so: a shell between fork and exec loses a signal, jailed or not.
        code = 'import time; print(chr(117)+chr(112), flush=True); time.sleep(9)'
        child = rf'/usr/bin/python3 -I -S -c \"{code}\"'
        terminal.line(f'"$pyjail" run -- /bin/sh -c "{child}; echo unreached"')
        terminal.until(b"up")
        terminal.key(b"\x03")
        assert b"unreached" not in terminal.until(b"ready> ")


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


def test_ctrl_z_within_a_vfork(pyjail):
    """Its child is stopped before it comes to its program, and so the payload is stuck in the kernel."""
    code = (
        "import os; os.mkfifo('/tmp/f'); own = f'/proc/{os.getpid()}/stat'\n"
        "if os.fork() == 0:\n  while ' D ' not in open(own).read(): pass\n"
        "  print('u'+'p', flush=True)\n  os._exit(0)\n"
        "actions = [(os.POSIX_SPAWN_OPEN, 0, '/tmp/f', os.O_RDONLY, 0)]\n"
        "os.posix_spawn('/bin/true', ['true'], {}, file_actions=actions)"
    )
    with Terminal(pyjail) as terminal:
        terminal.line(f'"$pyjail" run -- /usr/bin/python3 -I -S -c "{code}"')
        terminal.until(b"up")
        terminal.key(b"\x1a")
        terminal.until(b"Stopped")
        terminal.until(b"ready> ")
        terminal.line("kill -KILL %1; wait; echo go''ne")  # to a hang-up it is deaf, and would stay
        terminal.until(b"gone")


def test_resizing(pyjail):
    code = (
        "import os,signal,sys; signal.pthread_sigmask(0, [28]); print('u'+'p', flush=True);"
        "signal.sigwait([28]); print(*os.get_terminal_size(0), flush=True); sys.stdin.readline()"
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


def test_stopped_and_told_to_go_on_at_once(pyjail):
    """The word to go on may overtake the news that the jail has stopped: pyjail must not stop after it."""
    words = ("run", "--", "/bin/sh", "-c", "echo up; read word; echo $word")
    with pyjail.popen(*words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as jail:
        assert jail.stdout.readline() == b"up\n"
        for _ in range(50):
            jail.send_signal(signal.SIGTSTP)
            jail.send_signal(signal.SIGCONT)
        assert jail.communicate(b"on\n", timeout=60)[0] == b"on\n"
        assert jail.returncode == 0
