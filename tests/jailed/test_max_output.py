"""`--max-output`, `--max-stdout`, `--max-stderr`: as many bytes reach the caller, and then the jail ends."""

from __future__ import annotations

import os
import pty
import socket
import subprocess

import pytest

SH = ("/bin/sh", "-c")
PYTHON = ("/usr/bin/python3", "-I", "-S", "-c")
RELAYED = ("run", "--max-output", "100M")
LIMIT = 1 << 20


OPTIONS = {"--max-output": (1, 2), "--max-stdout": (1,), "--max-stderr": (2,)}


@pytest.mark.parametrize(
    ("written", "status"),
    [
        (LIMIT * 95 // 100, "exited"),
        (LIMIT, "exited"),
        (LIMIT + 1, "output-exceeded"),
        (LIMIT * 105 // 100, "output-exceeded"),
    ],
)
@pytest.mark.parametrize(("option", "stream"), [(option, fd) for option in OPTIONS for fd in OPTIONS[option]])
def test_exactly_as_much_as_the_limit_passes(pyjail, option, stream, written, status):
    code = f"exec head -c {written} /dev/zero >&{stream}"
    r = pyjail.run("run", option, "1M", "--", *SH, code)
    assert (len((r.stdout, r.stderr)[stream - 1]), r.outcome["status"]) == (min(written, LIMIT), status)
    assert r.returncode == (0 if status == "exited" else 153)
    assert r.outcome["limits_hit"] == ([] if status == "exited" else [option[2:].replace("-", "_")])


@pytest.mark.parametrize(("option", "other"), [("--max-stdout", 2), ("--max-stderr", 1)])
def test_a_limit_on_one_stream_leaves_the_other_alone(pyjail, option, other):
    r = pyjail.run("run", option, "0", "--", *SH, f"exec head -c 3M /dev/zero >&{other}")
    assert (len((r.stdout, r.stderr)[other - 1]), r.outcome["limits_hit"]) == (3 << 20, [])


def test_of_several_limits_the_one_that_is_reached_is_named(pyjail):
    words = ("--max-output", "1000", "--max-stdout", "700", "--max-stderr", "400")
    for code, lengths, hit in (
        ("head -c 700 /dev/zero; head -c 300 /dev/zero >&2", (700, 300), []),
        ("head -c 701 /dev/zero; sleep 100", (700, 0), ["max_stdout"]),
        ("head -c 401 /dev/zero >&2; sleep 100", (0, 400), ["max_stderr"]),
        ("head -c 700 /dev/zero; head -c 301 /dev/zero >&2; sleep 100", None, ["max_output"]),
    ):
        r = pyjail.run("run", *words, "--", *SH, code)
        assert r.outcome["limits_hit"] == hit, code
        assert lengths in ((len(r.stdout), len(r.stderr)), None)
        assert len(r.stdout) + len(r.stderr) <= 1000


def test_streams_are_told_apart_where_both_go_to_the_same_place(pyjail):
    code = "head -c 2000 /dev/zero; head -c 11 /dev/zero >&2; sleep 100"
    r = pyjail.run("run", "--max-stderr", "10", "--", *SH, code, stderr=subprocess.STDOUT)
    assert (len(r.stdout), r.outcome["limits_hit"]) == (2010, ["max_stderr"])


def test_both_streams_count_together(pyjail):
    code = "head -c 600 /dev/zero; head -c 600 /dev/zero >&2; sleep 100"
    r = pyjail.run("run", "--max-output", "1000", "--", *SH, code)
    assert r.outcome["status"] == "output-exceeded"
    assert sorted((len(r.stdout), len(r.stderr))) == [400, 600], "each stream is passed on as it comes"


def test_no_output_at_all(pyjail):
    assert pyjail.run("run", "--max-output", "0", "--", "/bin/true").returncode == 0
    r = pyjail.run("run", "--max-output", "0", "--", "/bin/echo")
    assert (r.stdout, r.outcome["status"]) == (b"", "output-exceeded")


def test_what_ignores_every_signal_ends_as_well(pyjail):
    code = "import signal, os\nsignal.signal(15, signal.SIG_IGN); signal.signal(13, signal.SIG_IGN)\n"
    code += "while True:\n try: os.write(1, b'x' * 4096)\n except OSError: pass"
    r = pyjail.run("run", "--max-output", "10000", "--", *PYTHON, code)
    assert (len(r.stdout), r.outcome["status"]) == (10000, "output-exceeded")


@pytest.mark.parametrize("kind", ["terminal", "socket"])
def test_standard_input_is_no_way_around_it(pyjail, kind):
    """Of a terminal or a socket the payload gets what can only be read: writing would not be counted."""
    code = "import os\ntry: os.write(0, b'x' * 5000)\nexcept OSError as e: print(e.errno)\n"
    code += "print(os.read(0, 9).decode())"
    if kind == "terminal":
        ours, theirs = pty.openpty()
        os.fchown(theirs, pyjail.user.uid, -1)
    else:
        ours, theirs = (end.detach() for end in socket.socketpair())
    with pyjail.popen("run", "--max-output", "1000", "--", *PYTHON, code, stdin=theirs, stdout=-1) as process:
        os.close(theirs)
        os.write(ours, b"typed\n")
        assert process.stdout.read().split() == [b"9", b"typed"]  # EBADF
    assert process.returncode == 0
    os.close(ours)


def test_a_socket_as_stdin_comes_to_its_end(pyjail):
    ours, theirs = socket.socketpair()
    with ours, pyjail.popen(*RELAYED, "--", "/usr/bin/wc", "-c", stdin=theirs, stdout=-1) as process:
        theirs.close()
        ours.sendall(bytes(300000))
        ours.shutdown(socket.SHUT_WR)
        assert process.stdout.read() == b"300000\n"
