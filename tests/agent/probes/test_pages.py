"""What an answer gives away: the page asked for, a login page, a filter, an error."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkbell_agent.probes import pages
from linkbell_agent.probes.pages import Expectation, Head, Page, is_same_site, parse_head, redirect_of, trouble_with
from linkbell_wire.failures import FailureCode

KNOWN_204 = Expectation(204)
KNOWN_TEXT = Expectation(200, b'"status"')
PLAIN, SECURE = "http://check.example/generate_204", "https://platform.example/"
HTML = {"content-type": "text/html; charset=utf-8"}
BLOCKED = "<html><body><h1>Доступ к сайту заблокирован</h1></body></html>".encode()


def to(location: str) -> dict[str, str]:
    return {"location": location}


ROWS = [
    # a page of known content
    (PLAIN, KNOWN_204, 204, {}, b"", None),
    (PLAIN, KNOWN_204, 200, HTML, b"<form>log in</form>", FailureCode.CAPTIVE_PORTAL),
    (PLAIN, KNOWN_204, 302, to("http://login.hotspot.example/"), b"", FailureCode.CAPTIVE_PORTAL),
    (PLAIN, KNOWN_204, 307, to("https://10.0.0.1:8443/login?u=x"), b"", FailureCode.CAPTIVE_PORTAL),
    (PLAIN, KNOWN_204, 511, {}, b"", FailureCode.CAPTIVE_PORTAL),
    (PLAIN, KNOWN_204, 301, to("https://check.example/generate_204"), b"", FailureCode.REDIRECTED),
    (PLAIN, KNOWN_204, 500, {}, b"", FailureCode.HTTP_STATUS),
    (PLAIN, KNOWN_204, 403, HTML, BLOCKED, FailureCode.BLOCKED_PAGE),
    (PLAIN, KNOWN_204, 451, {}, b"", FailureCode.BLOCKED_PAGE),
    (PLAIN, KNOWN_TEXT, 200, {}, b'{"status": "ok"}', None),
    (PLAIN, KNOWN_TEXT, 200, HTML, b"<html>welcome</html>", FailureCode.CAPTIVE_PORTAL),
    # a platform over TLS: nobody else can answer in its name
    (SECURE, None, 200, HTML, b"<html>", None),
    (SECURE, None, 302, to("https://sso.other.example/login"), b"", None),
    (SECURE, None, 404, {}, b"", FailureCode.HTTP_STATUS),
    (SECURE, None, 503, {}, b"", FailureCode.HTTP_STATUS),
    (SECURE, None, 451, {}, b"", FailureCode.BLOCKED_PAGE),
    (SECURE, None, 403, HTML, BLOCKED, FailureCode.BLOCKED_PAGE),
    (SECURE, KNOWN_TEXT, 200, {}, b'{"status": "ok"}', None),
    (SECURE, KNOWN_TEXT, 200, HTML, b"<html>", FailureCode.PROTOCOL_ERROR),
    # a platform in the clear
    ("http://platform.example/", None, 200, HTML, b"<html>", None),
    ("http://platform.example/", None, 301, to("https://www.platform.example/"), b"", None),
    ("http://www.platform.example/", None, 301, to("/start"), b"", None),
    ("http://platform.example/", None, 302, to("http://192.168.88.1/login"), b"", FailureCode.CAPTIVE_PORTAL),
    ("http://platform.example/", None, 302, to("http://ads.example.net/"), b"", FailureCode.REDIRECTED),
    ("http://platform.example/", None, 302, to("http://blocked.isp.example/x"), b"", FailureCode.BLOCKED_PAGE),
    ("http://platform.example/", None, 302, to("http://isp.example.kz/blocked?d=1"), b"", FailureCode.BLOCKED_PAGE),
    ("http://platform.example/", None, 302, to("http://[bad"), b"", FailureCode.REDIRECTED),
    ("http://platform.example/", None, 200, HTML, BLOCKED, FailureCode.BLOCKED_PAGE),
    ("http://platform.example/", None, 200, {"content-type": "application/json"}, BLOCKED, None),
    ("http://platform.example/", None, 200, HTML, b"x" * 9000 + BLOCKED, None),
]  # fmt: skip


@pytest.mark.parametrize(("url", "expected", "status", "headers", "body", "code"), ROWS)
def test_an_answer_is_what_it_is(
    url: str, expected: Expectation | None, status: int, headers: dict[str, str], body: bytes, code: FailureCode | None
) -> None:
    assert trouble_with(Page(url, Head(status, headers), body), expected) is code


@given(
    st.sampled_from([PLAIN, SECURE]),
    st.sampled_from([None, KNOWN_204, KNOWN_TEXT]),
    st.integers(100, 599),
    st.text(max_size=60),
    st.binary(max_size=200),
)
def test_no_answer_is_too_strange(url: str, expected: Expectation | None, status: int, to: str, body: bytes) -> None:
    trouble_with(Page(url, Head(status, {"location": to}), body), expected)


@given(st.binary(max_size=300))
def test_no_head_is_too_strange(raw: bytes) -> None:
    for one in (raw, b"HTTP/1.1 200 OK\r\n" + raw):
        head = parse_head(one)
        assert head is None or 100 <= head.status <= 599


def test_a_head_is_read() -> None:
    head = parse_head(b"HTTP/1.0 302 Found\r\nLocation:  /a \r\nlocation: /b\r\nX-Odd\r\nSet-Cookie: a:b")
    assert head == Head(302, {"location": "/b", "x-odd": "", "set-cookie": "a:b"})
    assert redirect_of(Page("http://h/x/y", Head(302, {"location": "z"}), b"")) == "http://h/x/z"
    for raw in (b"", b"ICY 200 OK", b"HTTP/2 200", b"HTTP/1.1 20", b"HTTP/1.1 999 Odd", b"SSH-2.0-x"):
        assert parse_head(raw) is None


@pytest.mark.parametrize(
    ("url", "target", "same"),
    [
        ("http://a.example/", "https://www.a.example/x", True),
        ("http://www.a.example/", "https://id.a.example/", True),
        ("http://a.example/", "http://ba.example/", False),
        ("http://a.example/", "http://example.net/", False),
        ("http://a.example/", "http:///", False),
    ],
)
def test_hosts_that_belong_together(url: str, target: str, same: bool) -> None:
    assert is_same_site(url, target) is same


@pytest.mark.parametrize(
    ("url", "line", "host"),
    [
        ("http://a.example", "GET / HTTP/1.1", "a.example"),
        ("https://a.example:443/x?y=1#z", "GET /x?y=1 HTTP/1.1", "a.example"),
        ("https://a.example:8443/", "GET / HTTP/1.1", "a.example:8443"),
        ("http://[2001:db8::1]:81/", "GET / HTTP/1.1", "[2001:db8::1]:81"),
        ("http://мектеп.example/", "GET / HTTP/1.1", "xn--e1aksbs4d.example"),
    ],
)
def test_a_request_names_host_and_path(url: str, line: str, host: str) -> None:
    lines = pages.request(url).decode().split("\r\n")
    assert lines[0] == line
    if "xn--" in host:
        host = urlsplit(url).netloc.encode("idna").decode()
    assert f"Host: {host}" in lines
    assert lines[-2:] == ["", ""]
