"""The payload gets the caller's own descriptors 0 to 2, of whatever kind, and nothing else: design §5."""

from __future__ import annotations

import itertools
import os
import pty
import socket
import subprocess

import pytest

SH = ("/bin/sh", "-c")
PYTHON = ("/usr/bin/python3", "-I", "-S", "-c")
COMBINATIONS = [c for n in (1, 2, 3) for c in itertools.combinations((0, 1, 2), n)]


def read_all(fd: int) -> bytes:
    """Everything until the last writer has gone; a terminal says EIO then."""
    got = b""
    while True:
        try:
            chunk = os.read(fd, 1 << 16)
        except OSError:
            chunk = b""
        if not chunk:
            return got
        got += chunk


def test_output_and_errors_apart(pyjail):
    r = pyjail.run("run", "--", *SH, "cat; echo err >&2", input=b"in\n")
    assert (r.stdout, r.stderr) == (b"in\n", b"err\n")


def test_the_offset_of_a_regular_file_is_shared(pyjail, place):
    """As in `(head -1; pyjail run …; cat) <file`: each goes on where the one before stopped."""
    file = place / "in"
    file.write_bytes(b"one\ntwo\nthree\n")
    out = place / "out"
    with open(file, "rb", buffering=0) as source, open(out, "wb", buffering=0) as sink:
        source.read(4)
        sink.write(b"before\n")
        r = pyjail.run("run", "--", *SH, "read line; echo jailed $line", stdin=source, stdout=sink)
        assert r.returncode == 0, r.stderr
        assert source.read() == b"three\n"
        sink.write(b"after\n")
    assert out.read_bytes() == b"before\njailed two\nafter\n"


def test_an_append_only_file(pyjail, place):
    log = place / "log"
    log.write_bytes(b"first\n")
    fd = os.open(log, os.O_WRONLY | os.O_APPEND)
    try:
        pyjail.run("run", "--", "/bin/echo", "second", stdout=fd)
        pyjail.run("run", "--", "/bin/echo", "third", stdout=fd)
    finally:
        os.close(fd)
    assert log.read_bytes() == b"first\nsecond\nthird\n"


def test_one_file_for_output_and_errors_keeps_their_order(pyjail, place):
    with open(place / "both", "w+b", buffering=0) as both:
        pyjail.run("run", "--", *SH, "echo 1; echo 2 >&2; echo 3", stdout=both, stderr=both)
        both.seek(0)
        assert both.read() == b"1\n2\n3\n"


def test_a_socket(pyjail):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with pyjail.popen("run", "--", "/bin/cat", stdin=theirs, stdout=theirs) as process:
            theirs.close()
            ours.sendall(b"through a socket\n")
            assert ours.recv(100) == b"through a socket\n"
            ours.shutdown(socket.SHUT_WR)
            assert ours.recv(100) == b""
        assert process.returncode == 0


def test_a_datagram_socket_keeps_its_boundaries(pyjail):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.send(b"abc")
        ours.send(b"defg")
        code = "import os; [os.write(1, os.read(0, 99)[::-1]) for _ in range(2)]"
        pyjail.run("run", "--", *PYTHON, code, stdin=theirs, stdout=theirs)
        assert (ours.recv(99), ours.recv(99)) == (b"cba", b"gfed")


def test_a_terminal(pyjail):
    master, slave = pty.openpty()
    os.fchmod(slave, 0o620)
    try:
        with pyjail.popen(
            "run",
            "--",
            *SH,
            "test -t 0 && test -t 1 && test -t 2 && stty size && read a && echo got $a",
            stdin=slave,
            stdout=slave,
            stderr=slave,
        ) as process:
            os.close(slave)
            slave = -1
            os.write(master, b"typed\n")
            text = read_all(master)
        assert process.returncode == 0, text
        assert b"got typed" in text
    finally:
        os.close(master)
        if slave != -1:
            os.close(slave)


def test_the_very_same_open_file(pyjail, place):
    """Not a copy: the inode behind stdout inside is the one outside."""
    with open(place / "same", "wb") as file:
        r = pyjail.run(
            "run", "--", *PYTHON, "import os, sys; sys.stderr.write(str(os.fstat(1).st_ino))", stdout=file
        )
    assert int(r.stderr) == (place / "same").stat().st_ino


@pytest.mark.parametrize("cache", ["cold", "cached"])
@pytest.mark.parametrize("closed", COMBINATIONS, ids=lambda c: "".join(map(str, c)))
def test_closed_descriptors_are_dev_null(pyjail, closed, cache):
    """What the caller has closed is /dev/null inside: never the plan, a lock or an outcome file.

    Two starts: the first fills the cache, so that the second goes the native way where `cached` is asked.
    """
    reader, writer = os.pipe()
    code = f"""
import os
os.write({writer}, '\\n'.join(os.readlink(f'/proc/self/fd/{{n}}') for n in (0, 1, 2)).encode())
"""
    option = () if cache == "cached" else ("--no-cache",)
    shut = " ".join(f"{n}{'<' if n == 0 else '>'}&-" for n in closed)
    script = f'exec "$@" {shut}'
    words = (
        "-c",
        script,
        "sh",
        pyjail.installation.pyjail,
        "run",
        "--pass-fd",
        str(writer),
        *option,
        "--",
        *PYTHON,
        code,
    )
    try:
        for _ in range(2):
            with pyjail.popen(
                *words,
                program="/bin/sh",
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[writer],
            ) as process:
                _, err = process.communicate(b"", 60)
            assert process.returncode == 0, err
            seen = os.read(reader, 4096).decode().split("\n")
            assert [seen[n] for n in closed] == ["/dev/null"] * len(closed)
            assert all(seen[n].startswith("pipe:") for n in {0, 1, 2} - set(closed))
    finally:
        os.close(reader)
        os.close(writer)


def test_what_dev_null_stands_in_for_can_be_used(pyjail):
    """Writing to it succeeds and reading says end of file: a program need not know."""
    script = 'exec <&- >&-; exec "$@"'
    r = pyjail.run(
        "-c",
        script,
        "sh",
        pyjail.installation.pyjail,
        "run",
        "--",
        *SH,
        "cat; echo lost; echo $? >&2",
        program="/bin/sh",
    )
    assert (r.returncode, r.stderr) == (0, b"0\n")


def test_no_other_descriptor_comes_along(pyjail, place):
    with open(place / "secret", "w+") as secret:
        high = os.dup2(secret.fileno(), 200)
        try:
            r = pyjail.run("run", "--", "/bin/ls", "/proc/self/fd", pass_fds=[secret.fileno(), high])
        finally:
            os.close(high)
    assert r.stdout.split() == [b"0", b"1", b"2", b"3"]  # 3 is the folder that ls reads


def test_a_passed_descriptor(pyjail, place):
    with open(place / "passed", "w+b", buffering=0) as file:
        os.dup2(file.fileno(), 77)
        try:
            r = pyjail.run(
                "run", "--pass-fd", "77", "--", *PYTHON, "import os; os.write(77, b'x')", pass_fds=[77]
            )
        finally:
            os.close(77)
        assert r.returncode == 0, r.stderr
        file.seek(0)
        assert file.read() == b"x"


def test_more_than_a_pipe_holds_to_a_reader_that_waits(pyjail):
    """Back-pressure: nothing is read until the writer has filled the pipe, then all of it is there."""
    size = 4 << 20
    with pyjail.popen(
        "run",
        "--",
        *SH,
        f"head -c {size} /dev/zero; echo done >&2",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        got = len(os.read(process.stdout.fileno(), 1))
        while chunk := os.read(process.stdout.fileno(), 4096):
            got += len(chunk)
        assert process.stderr.read() == b"done\n"
    assert (got, process.returncode) == (size, 0)


def test_a_reader_that_leaves_early(pyjail):
    """The payload dies of SIGPIPE as it would without a jail, and the status says so."""
    with pyjail.popen("run", "--", "/usr/bin/yes", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert os.read(process.stdout.fileno(), 2) == b"y\n"
        process.stdout.close()
        assert process.wait(60) == 128 + 13


def test_a_caller_that_ignores_sigpipe_does_not_pass_that_on(pyjail):
    """Python, as other launchers, ignores SIGPIPE: its children must not."""
    with pyjail.popen("run", "--", "/usr/bin/yes", stdout=subprocess.PIPE, restore_signals=False) as process:
        assert process.stdout is not None
        os.read(process.stdout.fileno(), 2)
        process.stdout.close()
        assert process.wait(60) == 128 + 13


def test_stdin_is_not_read_by_anyone_but_the_payload(pyjail):
    reader, writer = os.pipe()
    try:
        os.write(writer, b"untouched")
        assert pyjail.run("run", "--no-cache", "--", "/bin/true", stdin=reader).returncode == 0
        assert pyjail.run("run", "--", "/bin/true", stdin=reader).returncode == 0
        assert os.read(reader, 100) == b"untouched"
    finally:
        os.close(reader)
        os.close(writer)


def test_a_payload_that_does_not_read_does_not_wait_for_stdin(pyjail):
    """stdin stays open and silent, and the run ends all the same."""
    reader, writer = os.pipe()
    try:
        assert pyjail.run("run", "--", "/bin/echo", "done", stdin=reader).stdout == b"done\n"
    finally:
        os.close(reader)
        os.close(writer)


def test_end_of_file_reaches_the_caller_when_the_payload_ends(pyjail):
    """No process of the jail keeps the caller's pipe open after the payload, not even one it left behind."""
    with pyjail.popen("run", "--", *SH, "sleep 1000 & echo parent", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read() == b"parent\n"
    assert process.returncode == 0


def test_flags_of_the_open_file_are_left_alone(pyjail):
    """A pipe that blocks for the caller still blocks afterwards."""
    reader, writer = os.pipe()
    try:
        pyjail.run("run", "--", "/bin/echo", "x", stdout=writer)
        assert os.get_blocking(reader) and os.get_blocking(writer)
    finally:
        os.close(reader)
        os.close(writer)
