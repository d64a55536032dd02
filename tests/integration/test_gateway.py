"""pyjail serve: requests and responses, by a real client and by raw sockets."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.gateway import Gateway, gateway, received

ECHO = "#!/bin/sh\nexec cat\n"
HEADED = "#!/bin/sh\ncat >/dev/null\nprintf '%s\\n' '{head}' >&3\n{then}\n"
MIB = 1 << 20


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("gateway"), ["--no-admin"]) as made:
        made.service("echo.sh", ECHO, max_body="1G", timeout="60s")
        made.service("small.sh", ECHO, max_body=1000)
        made.service(
            "request.py",
            "def handler(req, res):\n    return {'p': req.params, 'h': dict(req.headers)}\n",
        )
        made.service("loop.sh", "#!/bin/sh\nwhile :; do :; done\n", timeout="300ms")
        made.service(
            "eater.py", "def handler(req, res):\n    return str(len(bytearray(1 << 30)))\n", memory="64M"
        )
        made.service("fails.sh", "#!/bin/sh\nexit 3\n")
        made.service("late.sh", "#!/bin/sh\necho begun\nexit 3\n")
        made.service("killed.sh", "#!/bin/sh\nkill -9 $$\n")
        made.service("sleeper.sh", "#!/bin/sh\necho ready\nexec sleep 50\n", timeout="60s")
        made.service("posts.sh", ECHO, methods="POST")
        (made.folder / "posts.toml").write_text('methods = ["POST"]\n')
        made.service("one.sh", "#!/bin/sh\necho in\nread line\nexit 0\n", concurrency=1)
        made.service("rare.sh", ECHO, rate="1/h")
        yield made


def head(gate: Gateway, headers: dict[str, object], then: str = "printf body", status: int = 200) -> str:
    """Write a service that sends a head; its name."""
    text = json.dumps({"type": "head", "status": status, "headers": headers})
    gate.service("headed.sh", HEADED.format(head=text, then=then))
    return "/headed"


def test_a_body_goes_in_and_comes_out(served):
    with served.client() as client:
        answer = client.post("/echo", content=b"hello")
        assert (answer.status_code, answer.content) == (200, b"hello")
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert client.get("/echo").content == b""
        head_of = client.head("/echo")
        assert (head_of.status_code, head_of.content) == (200, b"")
        assert client.post("/echo", content=b"again, on the same connection").content.startswith(b"again")


def test_64_mib_chunked_both_ways_at_once_with_trailers(served):
    block = os.urandom(MIB)
    sent, got = hashlib.sha256(), hashlib.sha256()
    connection = served.raw()

    def send() -> None:
        connection.sendall(
            b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n"
        )
        for _ in range(64):
            sent.update(block)
            connection.sendall(b"%x\r\n%s\r\n" % (len(block), block))
        connection.sendall(b"0\r\nx-sum: 1\r\n\r\n")

    thread = threading.Thread(target=send)
    thread.start()
    import http.client

    answer = http.client.HTTPResponse(connection)
    answer.begin()
    size = 0
    while part := answer.read(1 << 16):
        got.update(part)
        size += len(part)
    thread.join()
    assert (size, got.hexdigest()) == (64 * MIB, sent.hexdigest())
    assert int(status_line(served.process.pid, "VmHWM")) < 100 * 1024


def status_line(pid: int, name: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(name))


def test_parameters_of_query_forms_and_json_are_merged(served):
    with served.client() as client:
        assert client.get("/request/x?a=1&a=2&b=%20").json()["p"] == {"a": ["1", "2"], "b": " "}
        assert client.post("/request?a=1&b=2", data={"b": "3"}).json()["p"] == {"a": "1", "b": "3"}
        assert client.post("/request?a=1", json={"a": {"x": [1]}}).json()["p"] == {"a": {"x": [1]}}
        assert client.post("/request", json=[1]).json()["p"] == {}
        broken = client.post("/request", content=b"{", headers={"content-type": "application/json"})
        assert (broken.status_code, broken.headers["content-type"]) == (400, "application/problem+json")
        form = client.post("/request?a=1&b=2", data={"b": "3", "c": "4"}, files={"f": b"." * 2 * MIB})
        assert form.json()["p"] == {"a": "1", "b": "3", "c": "4"}
        many = client.get("/request?" + "&".join(f"x{n}=" for n in range(2000)))
        assert many.status_code == 400


def test_fields_of_the_connection_and_our_cookie_are_not_passed_on(served):
    fields = {
        "connection": "keep-alive, x-secret",
        "x-secret": "1",
        "te": "trailers",
        "cookie": "a=1; pyjail-admin=2; b=3",
        "x-kept": "y",
    }
    with served.client() as client:
        seen = client.get("/request", headers=fields).json()["h"]
    assert seen["cookie"] == "a=1; b=3"
    assert seen["x-kept"] == "y"
    assert not {"connection", "x-secret", "te"} & set(seen)


@pytest.mark.parametrize(("path", "status", "outcome"), [
    ("/loop", 504, "timed-out"),
    ("/eater", 502, "out-of-memory"),
    ("/fails", 502, "exited"),
    ("/killed", 502, "signaled"),
])  # fmt: skip
def test_a_service_that_dies_before_its_head(served, path, status, outcome):
    with served.client() as client:
        answer = client.get(path)
    assert (answer.status_code, answer.json()["outcome"]) == (status, outcome)
    assert answer.json()["request"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("tcp", [True, False])
def test_a_service_that_dies_after_its_head_is_no_whole_response(served, tcp):
    with served.tcp() if tcp else served.client() as client, pytest.raises(httpx.RemoteProtocolError):
        client.get("/late")
    connection = served.raw(tcp)
    connection.sendall(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n")
    assert not received(connection).endswith(b"0\r\n\r\n")


def test_http_1_0_sees_a_reset(served):
    connection = served.raw(tcp=True)
    connection.sendall(b"GET /late HTTP/1.0\r\n\r\n")
    with pytest.raises(ConnectionResetError):
        received(connection)
    connection = served.raw(tcp=True)
    connection.sendall(b"POST /echo HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi")
    assert received(connection).endswith(b"\r\n\r\nhi")


def test_statuses_of_refusals(served):
    with served.client() as client:
        assert client.get("/nothing").status_code == 404
        assert client.get("/..%2fetc/passwd").status_code == 404
        refused = client.get("/posts")
        assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
        assert client.request("TRACE", "/echo").status_code == 405
        assert client.post("/small", content=b"x" * 1001).status_code == 413
        assert client.post("/small", content=iter([b"x" * 600] * 2)).status_code == 413
        assert client.post("/small", content=b"x" * 1000).status_code == 200
        assert client.get("/rare").status_code == 200
        often = client.get("/rare")
        assert (often.status_code, int(often.headers["retry-after"]) > 3000) == (429, True)
        page = client.get("/nothing", headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
        assert page.headers["content-type"].startswith("text/html")
        assert client.get("/-/").status_code == 404
        assert client.get("/-/health").json() == {"status": "ok"}


def test_one_at_a_time(served):
    first = served.raw()
    first.sendall(b"POST /one HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n")
    assert b"200 OK" in first.recv(4096)  # it runs
    with served.client() as client:
        assert client.get("/one").status_code == 429
        first.sendall(b"\n")
        received_until(first, b"0\r\n\r\n")
        assert client.get("/one").status_code == 200


def received_until(connection: socket.socket, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end):
        part = connection.recv(65536)
        assert part, data
        data += part
    return data


def test_hostile_heads_do_not_desynchronise(served):
    with served.client() as client:
        path = head(
            served,
            {
                "Transfer-Encoding": "identity",
                "Connection": "close, x-own",
                "X-Own": "1",
                "X-Bad\r\nSet-Cookie": "a",
            },
        )
        answer = client.get(path)
        assert answer.status_code == 200
        assert "x-own" not in answer.headers
        path = head(
            served,
            {
                "Connection": "x-own",
                "X-Own": "1",
                "X-Fine": "2",
                "Clear-Site-Data": '"*"',
                "Alt-Svc": "h2=:1",
                "Set-Cookie": [
                    "a=1; Path=/-/",
                    "b=2; Domain=example.org; Path=/headed/x; HttpOnly",
                    "c=3; path=/headed/../-/",
                ],
            },
        )
        answer = client.get(path)
        assert answer.headers["x-fine"] == "2"
        assert not {"x-own", "clear-site-data", "alt-svc"} & set(answer.headers)
        assert answer.headers.get_list("set-cookie") == [
            "a=1; Path=/headed",
            "b=2; HttpOnly; Path=/headed/x",
            "c=3; Path=/headed",
        ]
        assert answer.text == "body"
    for length, whole in (("2", False), ("9", False), ("4", True)):
        path = head(served, {"Content-Length": length})
        connection = served.raw()
        connection.sendall(
            b"GET /headed HTTP/1.1\r\nHost: x\r\n\r\n" * 2
        )  # pipelined: what follows must not mix in
        if whole:
            both = received_until(connection, b"body")
            both += b"" if both.count(b"body") == 2 else received_until(connection, b"body")
            assert both.count(b"HTTP/1.1 200 OK") == 2
        else:
            alone = received(connection)
            assert alone.count(b"HTTP/1.1") == 1
            assert alone.partition(b"\r\n\r\n")[2] == b"body"[: int(length)]


def test_a_status_without_a_body_has_none(served):
    path = head(served, {"X-A": "1"}, status=204)
    connection = served.raw()
    connection.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path.encode())
    answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 204")
    assert answer.endswith(b"\r\n\r\n")


def test_request_ids(served):
    with served.client() as client:
        assert client.get("/echo", headers={"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
        made = client.get("/echo", headers={"x-request-id": "a b"}).headers["x-request-id"]
    assert len(made) == 16
    assert "verdict=ok" in served.logged("request", "id=mine-1")


@pytest.mark.parametrize("uploading", [False, True])
def test_a_client_that_goes_away_ends_the_jail(served, uploading):
    connection = served.raw(tcp=True)
    name = f"gone-{uploading}"
    size = b"Content-Length: 50000000\r\n" if uploading else b""
    connection.sendall(
        b"POST /sleeper HTTP/1.1\r\nHost: x\r\nX-Request-Id: %s\r\n%s\r\n" % (name.encode(), size)
    )
    # What it leaves unread makes its close a reset, which does not wait behind what it has sent.
    assert b"200 OK" in connection.recv(4096, socket.MSG_PEEK if uploading else 0)
    if uploading:  # until nobody takes more: then only the connection's end can be seen
        connection.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                connection.send(bytes(65536))
    connection.close()
    assert "verdict=gone" in served.logged("request", f"id={name}")
    assert not [pid for pid in served.descendants() if "sleep" in command(pid)]


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def test_a_service_is_loaded_anew_when_it_changes(served):
    with served.client() as client:
        assert client.get("/changing").status_code == 404
        for text in ("one", "two"):
            served.service("changing.sh", f"#!/bin/sh\nprintf {text}\n")
            assert client.get("/changing").text == text
        (served.folder / "changing.toml").write_text("memroy = 1\n")
        assert client.get("/changing").status_code == 500
        assert "memory" in served.logged("error", "service=changing")
        (served.folder / "changing.toml").unlink()
        (served.folder / "changing.sh").unlink()
        assert client.get("/changing").status_code == 404
        (served.folder / "link.sh").symlink_to("/bin/true")
        assert client.get("/link").status_code == 404


def test_a_folder_is_a_service_while_it_has_an_index(served):
    folder = served.folder / "folder"
    folder.mkdir()
    with served.client() as client:
        assert client.get("/folder").status_code == 404
        (folder / "lib.js").write_text("exports.x = 'one';")
        (folder / "index.js").write_text("module.exports = (req) => require('./lib.js').x + req.path;")
        assert client.get("/folder/y").text == "one/y"
        (folder / "lib.js").write_text("exports.x = 'two';")
        assert client.get("/folder").text == "two/"
        (folder / "index.sh").write_text("printf x")
        assert client.get("/folder").status_code == 500
        (folder / "index.sh").unlink()
        (served.folder / "folder.toml").write_text('methods = ["POST"]\n')
        assert client.get("/folder").status_code == 405
        (folder / "index.js").unlink()
        assert client.post("/folder").status_code == 404


def test_what_is_not_http(served):
    for request, status in (
        (b"NONSENSE\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 70000, b"431"),
    ):
        connection = served.raw()
        connection.sendall(request)
        assert received(connection).split(b" ")[1] == status
