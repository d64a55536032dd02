"""Good services are answered among hostile ones, and nothing of those is left."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from support.gateway import COMMAND, Gateway, gateway

HOSTILE = ("loop", "flood", "fork", "eat")


def make_services(made: Gateway) -> None:
    made.service("loop.sh", "while :; do :; done\n", timeout="1s", concurrency=2)
    made.service("flood.sh", "exec yes\n", max_output="4M", concurrency=2)
    made.service("fork.sh", "f() { f & f; }; f; sleep 5\n", timeout="1s", pids=32, concurrency=2)
    eater = "x = bytearray(1 << 30)\n\n\ndef handler(req, res):\n    return ''\n"
    made.service("eat.py", eater, memory="64M", concurrency=2)
    good = {"timeout": "60s", "client_concurrency": 64}
    made.service("echo.sh", "exec cat\n", **good)
    made.service("add.py", "def handler(req, res):\n    return str(sum(range(1000)))\n", **good)


def test_good_requests_among_hostile_ones(tmp_path):
    with gateway(tmp_path, ["--drain-timeout", "5s"]) as made:
        make_services(made)

        def ask(number: int) -> str:
            with made.client() as client:
                if number % 4 == 0:
                    try:
                        status = client.get(f"/{HOSTILE[number // 4 % 4]}").status_code
                    except httpx.RemoteProtocolError:
                        return "broken"
                    return "hostile" if status in (429, 502, 504) else f"hostile {status}"
                if number % 2:
                    return client.post("/echo", content=str(number)).text.replace(str(number), "good")
                return client.get("/add").text.replace("499500", "good")

        with ThreadPoolExecutor(32) as threads:
            found = list(threads.map(ask, range(48)))
        assert [each for number, each in enumerate(found) if number % 4 and each != "good"] == []
        assert {each for number, each in enumerate(found) if number % 4 == 0} == {"broken", "hostile"}
        jailers = made.descendants()
        assert made.stop() == 0
        assert [pid for pid in jailers if Path(f"/proc/{pid}").exists()] == []


def test_a_log_that_nobody_reads_holds_up_nobody(tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "echo.sh").write_text("exec cat\n")
    address = tmp_path / "socket"
    reader, writer = os.pipe()
    words = [*COMMAND, str(tmp_path), "--listen", f"unix:{address}"]
    process = subprocess.Popen(words, stderr=writer)
    os.close(writer)
    try:
        with open(reader, "rb", buffering=0) as log:
            assert b"listening" in log.read(1 << 16)
            filled = fcntl.fcntl(log, fcntl.F_SETPIPE_SZ, 4096)
            transport = httpx.HTTPTransport(uds=str(address))
            with httpx.Client(transport=transport, base_url="http://x", timeout=60) as client:
                for number in range(filled // 50):  # each line is longer
                    assert client.get(f"/absent-{number}").status_code == 404
                assert client.post("/echo", content=b"hello").content == b"hello"
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
