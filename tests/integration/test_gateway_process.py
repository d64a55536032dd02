"""pyjail serve as a process: its words, its patience, how it is started and ended."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

import httpx
import pytest
from support.gateway import COMMAND, gateway, received

ECHO = "#!/bin/sh\nexec cat\n"


def test_a_slow_head_and_a_slow_body_are_given_up(tmp_path):
    with gateway(tmp_path, ["--header-timeout", "200ms", "--stall-timeout", "300ms"]) as made:
        made.service("echo.sh", ECHO)
        connection = made.raw()
        connection.sendall(b"GET / HT")
        assert received(connection).split(b" ")[1] == b"408"
        assert received(made.raw()) == b""
        connection = made.raw()
        connection.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
        assert b"abc" in received(connection)
        assert "408" in made.logged("request") or "took too long" in made.logged("request")


def test_sigterm_lets_requests_end_within_a_time(tmp_path):
    with gateway(tmp_path, ["--drain-timeout", "400ms"]) as made:
        made.service("one.sh", "#!/bin/sh\necho in\nread line\necho out\n")
        made.service("sleeper.sh", "#!/bin/sh\necho ready\nexec sleep 50\n")
        ends, stays = made.raw(), made.raw()
        for connection, name in ((ends, b"one"), (stays, b"sleeper")):
            connection.sendall(b"POST /%s HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n" % name)
            connection.recv(4096)
        made.process.send_signal(signal.SIGTERM)
        made.logged("stopping")
        with pytest.raises(OSError, match="refused"):
            made.raw()
        ends.sendall(b"\n")
        assert received(ends).endswith(b"0\r\n\r\n")
        assert not received(stays).endswith(b"0\r\n\r\n")
        assert made.process.wait(30) == 0


def test_systemd_passes_sockets_and_is_told(tmp_path):
    (tmp_path / "services").mkdir()
    (tmp_path / "services" / "echo.sh").write_text(ECHO)
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(str(tmp_path / "notify"))
    notify.settimeout(30)
    listener = socket.create_server(("127.0.0.1", 0))
    as_systemd = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3);"
        "os.environ |= {'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': '1', 'NOTIFY_SOCKET': sys.argv[2]};"
        "os.environ['WATCHDOG_USEC'] = '200000'; os.execv(sys.argv[3], sys.argv[3:])"
    )
    told = [str(listener.fileno()), str(tmp_path / "notify")]
    words = [sys.executable, "-c", as_systemd, *told, *COMMAND, str(tmp_path / "services")]
    process = subprocess.Popen(words, pass_fds=[listener.fileno()], stderr=subprocess.DEVNULL)
    try:
        assert notify.recv(100) == b"READY=1"
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/echo"
        assert httpx.post(url, content=b"x").content == b"x"
        assert notify.recv(100) == b"WATCHDOG=1"
        process.send_signal(signal.SIGTERM)
        while (last := notify.recv(100)) == b"WATCHDOG=1":
            pass
        assert last == b"STOPPING=1"
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def test_one_file_answers_every_path(tmp_path):
    file = tmp_path / "only.py"
    file.write_text("def handler(req, res):\n    return req.path\n")
    with gateway(tmp_path, path=file) as made, made.client() as client:
        assert client.get("/a/b%20c").text == "/a/b c"


def test_what_makes_no_sense_is_told(tmp_path):
    for words, said in (
        ([str(tmp_path / "nothing")], "No such file"),
        ([str(tmp_path), "--listen", "nowhere"], "expected HOST:PORT"),
        ([str(tmp_path), "--listen", "fd:99"], "no socket"),
        ([str(tmp_path), "--stall-timeout", "infinity"], "does not wait for ever"),
    ):
        done = subprocess.run([*COMMAND, *words], capture_output=True, text=True)
        assert (done.returncode, said in done.stderr, done.stderr.count("\n")) == (2, True, 1), done.stderr
