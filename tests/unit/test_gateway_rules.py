"""What the gateway decides without a server: heads, cookies, parameters, rates, who is let in."""

from __future__ import annotations

import pytest

pytest.importorskip("uvicorn", reason="pyjail-linux[serve] is not installed")

from jail.cli.options import COMMANDS
from jail.cli.parse import parse
from jail.gateway.access import Access
from jail.gateway.app import origin_form, request_id
from jail.gateway.config import Config
from jail.gateway.gate import Gate, client_key
from jail.gateway.head import SANDBOX, cookie, response_head
from jail.gateway.log import shown
from jail.gateway.params import form_kind, json_params, query_params
from jail.gateway.problem import Problem, of_outcome, prefers_html
from jail.outcome import STATUSES, Outcome
from jail.services.messages import Head
from jail.services.settings import Settings
from jail.settings import UsageError


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ((("content-length", "5"),), 5),
        ((("content-length", "5"), ("content-length", "5")), 5),
        ((("content-length", "5"), ("content-length", "6")), None),
        ((("content-length", "5, 5"),), None),
        ((("content-length", "+5"),), None),
        ((("content-length", "٥"),), None),
        ((("content-length", "9" * 30),), None),
    ],
)
def test_a_length_counts_where_it_is_one_number(headers: tuple[tuple[str, str], ...], length: int) -> None:
    fields, promised = response_head(Head(200, headers), "/x", False)
    assert promised == length
    assert [value for name, value in fields if name == b"content-length"] == ([b"5"] if length else [])


@pytest.mark.parametrize(
    "name",
    [
        "x-accel-redirect",
        "x-accel-buffering",
        "x-sendfile",
        "x-reproxy-url",
        "x-litespeed-location",
        "x-envoy-immediate-health-check-fail",
        "surrogate-control",
    ],
)
def test_what_a_proxy_would_obey_is_left_out(name: str) -> None:
    fields, _ = response_head(Head(200, ((name, "/etc/passwd"), ("x-own", "1"))), "/a", False)
    assert [field for field, _ in fields if field.startswith((b"x-", b"s"))] == [
        b"x-own",
        b"x-content-type-options",
    ]


def test_a_service_page_is_put_apart() -> None:
    head = Head(200, (("content-security-policy", "default-src *"), ("content-type", "text/html")))
    fields, _ = response_head(head, "/x", True)
    policies = [value for name, value in fields if name == b"content-security-policy"]
    assert policies == [b"default-src *", SANDBOX]


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("a=1", "a=1; Path=/x"),
        ("a=1; Path=/", "a=1; Path=/x"),
        ("a=1; PATH=/x/y; secure", "a=1; secure; Path=/x/y"),
        ("a=1; path=/xy", "a=1; Path=/x"),
        ("a=1; path=/x/../-/", "a=1; Path=/x"),
        ("a=1; path=/x; path=/-/", "a=1; Path=/x"),
        ("a=1; Domain=.example.org", "a=1; Path=/x"),
    ],
)
def test_a_cookie_stays_with_its_service(given: str, made: str) -> None:
    assert cookie(given, "/x") == made


@pytest.mark.parametrize("given", ["pyjail-admin=x", " pyjail-admin =x; path=/", "=pyjail-admin=x"])
def test_the_key_to_the_pages_is_not_a_services_to_set(given: str) -> None:
    fields, _ = response_head(Head(200, (("set-cookie", given), ("set-cookie", "a=pyjail-admin"))), "", True)
    cookies = [value.partition(b";")[0] for name, value in fields if name == b"set-cookie"]
    assert cookies == [b"a=pyjail-admin"]


def test_parameters() -> None:
    assert query_params(b"a=1&b&a=%C3%A4") == {"a": ["1", "ä"], "b": ""}
    assert [form_kind(kind) for kind in ("Application/JSON; charset=x", "a/b+json", "text/json")] == [
        "json",
        "json",
        "",
    ]
    for text in (b"{", b'{"a": NaN}', b"[" * 100_000, b"\xff"):
        with pytest.raises(Problem):
            json_params(text)


def test_a_rate_and_its_way_back() -> None:
    now = [0.0]
    gate = Gate(Settings(concurrency=2, client_concurrency=2, rate=2.0, client_rate=1.0), lambda: now[0])
    with gate.passed("a"):
        pass
    with pytest.raises(Problem) as refused, gate.passed("a"):
        pass
    assert refused.value.headers == [(b"retry-after", b"1")]
    with gate.passed("b"), pytest.raises(Problem), gate.passed("c"):
        pass  # the service's own two are used up: the client c gets its one back
    now[0] = 1.0
    with gate.passed("c"), gate.passed("a"), pytest.raises(Problem), gate.passed("d"):
        pass
    assert gate.own.live == 0


def test_clients_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jail.gateway.gate.MAX_CLIENTS", 3)
    gate = Gate(Settings())
    with gate.passed("first"):
        for number in range(10):
            with gate.passed(str(number)):
                pass
        assert set(gate.clients) == {"first", "8", "9"}


def test_who_is_one_client() -> None:
    assert client_key("2001:db8::1") == client_key("2001:db8::ffff") != client_key("2001:db8:0:1::1")
    assert client_key("::ffff:192.0.2.1") == client_key("192.0.2.1") == "192.0.2.1"


def test_each_end_has_a_status() -> None:
    for status in STATUSES:
        problem = of_outcome(Outcome(status, exit_code=1 if status == "exited" else None))
        assert problem is not None
        assert problem.status in (500, 502, 504)
    assert of_outcome(Outcome("exited", exit_code=0)) is None


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        ("text/html,*/*;q=0.8", True),
        ("", False),
        ("*/*", False),
        ("text/html;q=0.5, application/json", False),
        ("text/html;q=x", False),
    ],
)
def test_a_page_for_who_prefers_one(accept: str, page: bool) -> None:
    assert prefers_html(accept) is page


def test_targets_and_ids() -> None:
    assert origin_form("/a?") == "/a?"
    assert origin_form("HTTP://host/a/b") == "/a/b"
    assert origin_form("http://host") == "/"
    for target in ("*", "host:443", "ftp://x/"):
        with pytest.raises(Problem):
            origin_form(target)
    assert request_id("a.b-c_1") == "a.b-c_1"
    assert request_id("a\nb") != "a\nb"
    assert len(request_id("x" * 65)) == 16


def test_a_line_of_the_log_cannot_be_forged() -> None:
    assert shown("plain/word") == "plain/word"
    assert shown("a\npyjail: request status=200") == '"a\\npyjail: request status=200"'
    assert shown("a b=c") == '"a b=c"'
    assert "\x1b" not in shown("\x1b[31m")


def scope(peer: str | None, host: str, **headers: str) -> dict[str, object]:
    fields = {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    pairs = [(name.encode(), value.encode()) for name, value in fields.items()]
    return {"client": (peer, 1) if peer else None, "headers": pairs}


@pytest.mark.parametrize(
    ("seen", "networked", "let_in"),
    [
        (scope("127.0.0.1", "localhost:8080"), False, True),
        (scope("::1", "[::1]:8080"), False, True),
        (scope("::ffff:127.0.0.1", "127.0.0.1"), False, True),
        (scope("127.0.0.1", "localhost"), True, False),
        (scope("127.0.0.1", "localhost.evil.example"), False, False),
        (scope("192.0.2.1", "localhost"), False, False),
        (scope(None, "localhost"), False, False),
        (scope("127.0.0.1", "localhost", x_real_ip="127.0.0.1"), False, False),
    ],
)
def test_the_loopback_without_a_token(seen: dict[str, object], networked: bool, let_in: bool) -> None:
    assert (Access(Config()).why_not(seen, networked) == "") is let_in


def test_settings_of_the_command_line(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("token") / "token"
    for text, mode, said in (("short", 0o600, "at least 16"), ("x" * 20, 0o644, "everybody can read")):
        file.write_text(text)
        file.chmod(mode)
        with pytest.raises(UsageError, match=said):
            Config.of(parse(COMMANDS["serve"], ["x", "--token-file", str(file)]))
    file.chmod(0o600)
    words = ["x", "--token-file", str(file), "--memory", "1M", "--proxies=1"]
    made = Config.of(parse(COMMANDS["serve"], words))
    assert (made.token, made.proxies, [each.text for each in made.options]) == (b"x" * 20, 1, ["1M"])
