"""Where a limit on output asks for it, the supervisor stands between the payload's output and the caller. How
many bytes may pass is in test_max_output.py."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import subprocess

import pytest
from jailed.patience import SLOWNESS
from support.processes import alive_after, descendants, hold

SH = ("/bin/sh", "-c")
PYTHON = ("/usr/bin/python3", "-I", "-S", "-c")
RELAYED = ("run", "--max-output", "100M")
SOON = str(0.3 * SLOWNESS)  # seconds: until then a payload has said its first words


def count(path) -> int:
    return os.stat(path).st_size


# ---- what passes ----


@pytest.mark.parametrize("option", [("--max-output", "100M"), ("--idle-timeout", "100s")])
def test_bytes_and_status_come_through(pyjail, option):
    r = pyjail.run("run", *option, "--", *SH, "cat; echo err >&2; exit 7", input=b"in\0\xff\n")
    assert (r.returncode, r.stdout, r.stderr) == (7, b"in\0\xff\n", b"err\n")
    assert list(r.outcome["enforced"].values()).count("supervisor") == 1


def test_every_byte_written_before_the_end_arrives(pyjail):
    r = pyjail.run(*RELAYED, "--", *SH, "seq 1000000; seq 300000 >&2")
    assert r.stdout == b"".join(b"%d\n" % n for n in range(1, 1000001))
    assert r.stderr == b"".join(b"%d\n" % n for n in range(1, 300001))


def test_what_the_caller_reads_after_the_end_is_all_there(pyjail):
    """More than its pipe holds: the rest waits in ours when all of the jail is gone."""
    reader, writer = os.pipe()
    code = "echo ready >&2; read a; exec head -c 100000 /dev/zero"
    with pyjail.popen(*RELAYED, "--", *SH, code, stdin=-1, stdout=writer, stderr=-1) as process:
        os.close(writer)
        assert process.stderr.readline() == b"ready\n"
        held = hold(descendants(process.pid))
        process.stdin.close()
        assert alive_after(held, 60) == []
        with open(reader, "rb") as source:
            assert len(source.read()) == 100000
    assert process.returncode == 0


def test_order_is_kept_where_both_streams_are_one(pyjail):
    code = "import os\nfor n in range(20000): os.write(1 + n % 2, b'%d\\n' % n)"
    r = pyjail.run(*RELAYED, "--", *PYTHON, code, stderr=subprocess.STDOUT)
    assert r.stdout == b"".join(b"%d\n" % n for n in range(20000))


def test_a_line_arrives_while_the_payload_goes_on(pyjail):
    with pyjail.popen(*RELAYED, "--", *SH, "echo ready; read a; echo $a", stdin=-1, stdout=-1) as process:
        assert process.stdout.readline() == b"ready\n"
        process.stdin.write(b"answer\n")
        process.stdin.flush()
        assert process.stdout.read() == b"answer\n"


def test_files_are_written_at_their_offset_and_appended_to(pyjail, place):
    with open(place / "out", "wb", buffering=0) as out, open(place / "log", "ab", buffering=0) as log:
        out.write(b"before\n")
        (place / "log").write_bytes(b"first\n")
        pyjail.run(*RELAYED, "--", *SH, "echo out; echo log >&2", stdout=out, stderr=log)
        out.write(b"after\n")
    assert (place / "out").read_bytes() == b"before\nout\nafter\n"
    assert (place / "log").read_bytes() == b"first\nlog\n"


def test_the_file_size_limit_holds_on_the_callers_own_file(pyjail, place):
    with open(place / "out", "wb") as out:
        flood = ("/usr/bin/head", "-c", "5M", "/dev/zero")
        r = pyjail.run(*RELAYED, "--file-size", "1M", "--", *flood, stdout=out)
    assert count(place / "out") == 1 << 20
    assert r.outcome["status"] == "signaled"


def test_a_nonblocking_descriptor_of_the_caller(pyjail):
    reader, writer = os.pipe2(os.O_NONBLOCK)
    flags = fcntl.fcntl(writer, fcntl.F_GETFL)
    with pyjail.popen(*RELAYED, "--", "/usr/bin/head", "-c", "2M", "/dev/zero", stdout=writer) as process:
        assert fcntl.fcntl(writer, fcntl.F_GETFL) == flags, "the caller's descriptors stay as they are"
        os.close(writer)
        size = 0
        while select.select([reader], [], []) and (chunk := os.read(reader, 4096)):
            size += len(chunk)
    os.close(reader)
    assert (process.returncode, size) == (0, 2 << 20)


def test_a_blocking_descriptor_of_the_caller_stays_so(pyjail):
    reader, writer = os.pipe()
    with open(reader, "rb") as source:
        with pyjail.popen(*RELAYED, "--", *SH, "echo x; read a", stdout=writer, stdin=-1) as process:
            assert source.read(1) == b"x"
            assert os.get_blocking(writer)
            process.stdin.close()
        os.close(writer)


def test_a_reader_that_leaves_is_a_sigpipe(pyjail):
    reader, writer = os.pipe()
    with pyjail.popen(*RELAYED, "--", "/usr/bin/yes", stdout=writer) as process:
        os.close(writer)
        os.read(reader, 10)
        os.close(reader)
    assert process.returncode == 128 + signal.SIGPIPE


def test_a_payload_that_polls_learns_that_its_reader_has_left(pyjail):
    code = """
import select, os
poll = select.poll(); poll.register(1, 0); os.write(1, b'x')
while not poll.poll(): pass
"""
    reader, writer = os.pipe()
    with pyjail.popen(*RELAYED, "--", *PYTHON, code, stdout=writer) as process:
        os.close(writer)
        os.read(reader, 1)
        os.close(reader)
    assert process.returncode == 0


def test_standard_output_can_be_opened_by_its_name(pyjail):
    r = pyjail.run(*RELAYED, "--", *SH, "echo out >/dev/stdout; echo err >/dev/stderr")
    assert (r.stdout, r.stderr) == (b"out\n", b"err\n")


def test_a_terminal(pyjail):
    master, slave = pty.openpty()
    os.fchown(slave, pyjail.user.uid, -1)
    streams = {"stdin": slave, "stdout": slave, "stderr": slave}
    with pyjail.popen(*RELAYED, "--", *SH, "read a; echo got $a", **streams) as run:
        os.write(master, b"typed\n")
        seen = b""
        while b"got typed" not in seen:
            seen += os.read(master, 1000)
    os.close(slave)
    os.close(master)
    assert run.returncode == 0


# ---- the limit on silence ----


def test_silence_is_timed_out(pyjail):
    r = pyjail.run("run", "--idle-timeout", SOON, "--", *SH, "echo out; exec sleep 1000")
    assert (r.returncode, r.stdout, r.outcome["status"]) == (124, b"out\n", "idle-timed-out")
    assert (r.outcome["signal"], r.outcome["limits_hit"]) == (15, ["idle_timeout"])
    assert r.outcome["wall_seconds"] >= float(SOON)


def test_output_of_either_stream_counts(pyjail):
    """Eight times 0.3 s of silence, together more than the limit."""
    code = "for i in 1 2 3 4 5 6 7 8; do sleep 0.3; echo $i >&2; done"
    r = pyjail.run("run", "--idle-timeout", "2.2", "--", *SH, code)
    assert (r.returncode, r.outcome["status"]) == (0, "exited")


def test_it_ends_a_payload_that_has_closed_its_output(pyjail):
    r = pyjail.run("run", "--idle-timeout", SOON, "--", *SH, "exec >&- 2>&-; exec sleep 1000")
    assert r.outcome["status"] == "idle-timed-out"


def test_a_deaf_payload_is_killed_after_the_grace(pyjail):
    words = ("--idle-timeout", SOON, "--grace", "0.2")
    r = pyjail.run("run", *words, "--", *SH, "trap '' TERM; sleep 1000; sleep 1000")
    assert (r.returncode, r.outcome["status"]) == (124, "idle-timed-out")


def test_last_words_after_the_warning_arrive(pyjail):
    code = "trap 'echo bye; exit 3' TERM; sleep 1000 & wait"
    r = pyjail.run("run", "--idle-timeout", SOON, "--", *SH, code)
    assert (r.stdout, r.outcome["status"], r.outcome["exit_code"]) == (b"bye\n", "idle-timed-out", 3)


def test_the_first_limit_counts(pyjail):
    words = ("--idle-timeout", "0.2", "--timeout", "0.5", "--grace", "0.6")
    r = pyjail.run("run", *words, "--", *SH, "trap '' TERM; sleep 1000; sleep 1000")
    assert (r.outcome["status"], r.outcome["limits_hit"]) == ("idle-timed-out", ["idle_timeout"])


def test_waiting_for_the_caller_is_not_idle(pyjail):
    """The caller reads nothing for longer than the limit; then all arrives."""
    reader, writer = os.pipe()
    words = ("run", "--idle-timeout", SOON, "--", "/usr/bin/head", "-c", "1M", "/dev/zero")
    with pyjail.popen(*words, stdout=writer) as process:
        os.close(writer)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(SLOWNESS)
        with open(reader, "rb") as source:
            assert len(source.read()) == 1 << 20
    assert process.returncode == 0


# ---- a caller that does not read ----


@pytest.mark.parametrize("payload", ["yes", "head -c 100000 /dev/zero"])
def test_a_caller_that_never_reads_does_not_outlast_the_time_limit(pyjail, payload):
    """Also where the payload has ended and only its output waits."""
    reader, writer = os.pipe()
    words = ("--max-output", "1G", "--timeout", SOON, "--grace", "0.1")
    r = pyjail.run("run", *words, "--", *SH, payload, stdout=writer)
    os.close(writer)
    assert (r.returncode, r.outcome["status"]) == (124, "timed-out")
    with open(reader, "rb") as source:
        assert 0 < len(source.read()) <= 65536


def test_a_signal_ends_the_wait_for_a_caller_that_does_not_read(pyjail):
    """The jail is gone, and cannot obey any more: stopped and ended is what holds the terminal up."""
    reader, writer = os.pipe()
    words = (*RELAYED, "--", *SH, "echo ready >&2; read go; head -c 100000 /dev/zero")
    with pyjail.popen(*words, stdin=-1, stdout=writer, stderr=-1) as process:
        os.close(writer)
        assert process.stderr.readline() == b"ready\n"
        held = hold(descendants(process.pid))
        process.stdin.write(b"go\n")
        process.stdin.close()
        assert alive_after(held, 60) == []
        process.send_signal(signal.SIGTSTP)
        assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGINT)
        process.wait(60)
    os.close(reader)


def test_a_signal_ends_the_wait_for_room_for_our_own_words(pyjail):
    """Of a run without a relay, whose payload has filled the pipe that is our stderr too."""
    reader, writer = os.pipe()
    with pyjail.popen("run", "--stats", "--", *SH, "exec yes", stdout=writer, stderr=writer) as process:
        os.close(writer)
        assert os.read(reader, 1)
        held = hold(descendants(process.pid))
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
        assert alive_after(held, 60) == []
    os.close(reader)


def test_signals_reach_the_payload_meanwhile(pyjail):
    reader, writer = os.pipe()
    code = "trap 'exit 5' TERM; yes & echo ready >&2; wait"
    with pyjail.popen(*RELAYED, "--", *SH, code, stdout=writer, stderr=-1) as process:
        os.close(writer)
        assert process.stderr.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        with open(reader, "rb") as source:
            source.read()
    assert process.returncode == 5


def test_nothing_outlives_a_supervisor_that_is_killed_while_it_passes_on(pyjail):
    code = "sleep 1000 & echo ready; exec yes >&2"
    with pyjail.popen(*RELAYED, "--", *SH, code, stdout=-1, stderr=-1) as process:
        assert process.stdout.readline() == b"ready\n"
        held = hold(descendants(process.pid))
        assert len(held) == 3
        process.kill()
        assert alive_after(held, 60) == []


def test_a_start_that_fails_is_told_in_full_whatever_the_file_size(pyjail, place):
    """The limit on the payload's files is the relay's too, but not that of the outcome."""
    source, file, outcome = place / "source", place / "failing", place / "outcome"
    source.mkdir()
    options = ["--ro-bind", f"{source}:/x", "--max-output", "1M", "--file-size", "10"]
    options += ["--outcome", str(outcome)]
    assert pyjail.run("compile", "-o", str(file), *options, "--", "/bin/true").returncode == 0
    source.rmdir()
    assert pyjail.run(program=file).returncode == 125
    assert json.loads(outcome.read_text())["status"] == "setup-failed"
