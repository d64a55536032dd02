"""The page at /-/: who may see it, what it shows, in a real browser too."""

from __future__ import annotations

import html
import json
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import markupsafe
import pytest
from support.gateway import Gateway, gateway

TOKEN = "0123456789abcdef0123456789abcdef"
HOSTILE = "<script>document.title='owned'</script>&amp;"
SCRIPT = f'#!/bin/sh\ncat >/dev/null\nprintf %s "{HOSTILE}"\nprintf %s "{HOSTILE}" >&2\n'


@pytest.fixture(scope="module")
def open_one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("page"), ["--audit"]) as made:
        made.service("hostile.sh", SCRIPT)
        made.service("slow.sh", "#!/bin/sh\necho first\nsleep 1\necho last\n")
        made.service("wrong.sh", "#!/bin/sh\n", memory="none <b>")
        made.service("refused.sh", "#!/bin/sh\nunshare -U true 2>/dev/null\nexit 0\n")
        yield made


@pytest.fixture
def closed_one(tmp_path: Path) -> Iterator[Gateway]:
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    token.chmod(0o600)
    with gateway(tmp_path, ["--token-file", str(token)]) as made:
        yield made


def form_key(client: httpx.Client, path: str = "/-/") -> str:
    return client.get(path).text.partition('name="key" value="')[2].partition('"')[0]


def test_the_loopback_sees_it_by_its_name_alone(open_one):
    with open_one.tcp() as client:
        page = client.get("/-/")
        assert page.status_code == 200
        assert "default-src 'none'" in page.headers["content-security-policy"]
        for fields in (
            {"host": "evil.example"},
            {"x-forwarded-for": "127.0.0.1"},
            {"forwarded": "for=x"},
            {"host": ""},
        ):
            for path in ("/-/", "/-/metrics", "/-/live", "/-/requests/x"):
                assert client.get(path, headers=fields).status_code == 403, (path, fields)
        assert client.get("/-/health", headers={"host": "evil.example"}).status_code == 200
    with open_one.client() as client:
        assert client.get("/-/").status_code == 403


def test_a_token_opens_it(closed_one):
    with closed_one.tcp() as client:
        assert client.get("/-/metrics").status_code == 403
        assert client.get("/-/", headers={"accept": "text/html"}).headers["location"] == "/-/login"
        assert client.get("/-/metrics", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
        assert client.get("/-/metrics", headers={"authorization": f"Bearer {TOKEN}x"}).status_code == 403
        key = form_key(client, "/-/login")
        for fields in ({"token": TOKEN}, {"token": TOKEN, "key": "x"}, {"token": "wrong", "key": key}):
            assert client.post("/-/login", data=fields).status_code == 403
        inside = client.post("/-/login", data={"token": TOKEN, "key": key})
        cookie = inside.headers["set-cookie"].lower()
        assert (inside.status_code, TOKEN in cookie) == (303, False)
        assert all(word in cookie for word in ("httponly", "samesite=strict", "path=/-/"))
        assert client.get("/-/").status_code == 200
        client.cookies.set("pyjail-admin", "0" * 64, path="/-/")
    with closed_one.client() as client:
        assert client.get("/-/", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_a_form_of_another_page_is_refused(open_one):
    with open_one.tcp() as client:
        fields = {"service": "hostile", "method": "GET", "path": "/", "query": "", "body": ""}
        key = form_key(client)
        assert client.post("/-/run", data=fields).status_code == 403
        for header in (
            {"origin": "null"},
            {"origin": "http://evil.example"},
            {"sec-fetch-site": "cross-site"},
        ):
            assert client.post("/-/run", data=fields | {"key": key}, headers=header).status_code == 403
        shown = client.post("/-/run", data=fields | {"key": key})
    assert html.escape(HOSTILE) in shown.text
    assert "<script" not in shown.text
    assert "ok ·" in shown.text


def test_what_is_hostile_is_escaped_everywhere(open_one):
    with open_one.tcp() as client:
        answer = client.get("/hostile/<b>", headers={"x-request-id": "hostile-1"})
        assert answer.text == HOSTILE
        assert answer.headers["content-security-policy"].startswith("sandbox")
        assert "allow-same-origin" not in answer.headers["content-security-policy"]
        for path in ("/-/", "/-/live", "/-/requests/hostile-1"):
            text = client.get(path).text
            assert "<script>" not in text
            assert "<b>'" not in text
        assert str(markupsafe.escape(HOSTILE)) in text
        assert client.get("/-/requests/unknown").status_code == 404


def test_numbers_for_prometheus(open_one):
    with open_one.tcp() as client:
        assert client.get("/refused").status_code == 200
        text = client.get("/-/metrics").text
    assert 'pyjail_requests_total{service="refused",status="200"} 1.0' in text
    denied = next(
        line
        for line in text.splitlines()
        if line.startswith('pyjail_denied_syscalls_total{service="refused"')
    )
    assert float(denied.rpartition(" ")[2]) >= 1


def test_a_service_in_the_hosts_network_closes_it(tmp_path):
    with gateway(tmp_path) as made, made.tcp() as client:
        assert client.get("/-/").status_code == 200
        made.service("net.sh", "#!/bin/sh\n", net="host")
        assert client.get("/-/").status_code == 403


class Browser:
    """Headless Chromium by its driver (W3C WebDriver), in as many lines as these tests need."""

    def __init__(self) -> None:
        driver, browser = shutil.which("chromedriver"), shutil.which("chromium")
        if driver is None or browser is None:
            pytest.skip("no browser: scripts/setup --test installs Debian's, chromium and chromium-driver")
        try:  # where the driver finds its browser
            socket.getaddrinfo("localhost", None)
        except socket.gaierror:
            pytest.skip("this host does not know localhost: /etc/hosts has no line for it")
        self.process = subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = next(line for line in self.process.stdout if "started successfully on port" in line)
        port = line.rpartition("port ")[2].strip(" .\n")
        self.base = f"http://127.0.0.1:{port}/session"
        options = {
            "binary": browser,
            "args": ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        }
        wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
        self.base += "/" + self.call("POST", "", wanted)["sessionId"]

    def call(self, method: str, path: str, body: object = None) -> Any:
        data = json.dumps({} if body is None else body).encode() if method == "POST" else None
        request = urllib.request.Request(
            self.base + path, data, {"content-type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def run(self, script: str) -> Any:
        return self.call("POST", "/execute/sync", {"script": script, "args": []})

    def wait(self, script: str) -> Any:
        """The first true value of the expression."""
        self.call("POST", "/timeouts", {"script": 30000})
        look = f"const v = {script}; v ? done(v) : requestAnimationFrame(look);"
        poll = f"const done = arguments[0]; (function look() {{ {look} }})()"
        return self.call("POST", "/execute/async", {"script": poll, "args": []})

    def close(self) -> None:
        try:
            self.call("DELETE", "")
        finally:
            self.process.terminate()
            self.process.wait()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    made = Browser()
    try:
        yield made
    finally:
        made.close()


def test_in_a_browser(open_one, browser):
    browser.call("POST", "/url", {"url": f"http://localhost:{open_one.port}/-/"})
    assert "DejaVu Sans" in browser.run(
        "return getComputedStyle(document.body).fontFamily"
    )  # the style was let in
    browser.run(
        "document.querySelector('[name=service]').value = 'slow'; document.querySelector('button').click()"
    )
    shown = "frames.output.document.querySelector('.output')?.textContent"
    first = browser.wait(f"({shown} || '').includes('first') && {shown}")
    assert "last" not in first, "the output is shown as it comes"
    assert "slow" in browser.wait(
        "document.getElementById('requests').textContent.includes('slow') && 'slow'"
    )
    assert "last" in browser.wait(f"{shown}?.includes('last') && {shown}")
    browser.wait("frames.output.document.querySelector('.end')?.textContent.includes('ok')")
    browser.run(
        "document.querySelector('[name=service]').value = 'hostile'; document.querySelector('button').click()"
    )
    browser.wait("(frames.output.document.body?.textContent || '').includes('owned')")
    assert browser.run("return document.title + frames.output.document.title") == "pyjailpyjail"
    assert browser.wait("document.getElementById('services').textContent.includes('hostile') && 1") == 1


def test_a_hostile_page_is_a_stranger_to_this_one(open_one, browser):
    probe = (
        "let seen = ''; try { seen += document.cookie; } catch (e) { seen += 'no cookies, '; }"
        "fetch('/-/').then(r => r.text()).then(t => document.title = 'read ' + t.length,"
        " () => document.title = seen + 'refused');"
    )
    head = json.dumps({"type": "head", "status": 200, "headers": {"Content-Type": "text/html"}})
    open_one.service(
        "page.sh", f"#!/bin/sh\nprintf '%s\\n' '{head}' >&3\ncat <<'END'\n<script>{probe}</script>\nEND\n"
    )
    browser.call("POST", "/url", {"url": f"http://localhost:{open_one.port}/page"})
    assert browser.wait("document.title") == "no cookies, refused"
