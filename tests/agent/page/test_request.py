"""Just enough of HTTP: what a browser sends is understood, everything else is refused with the right status."""

from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkbell_agent.page.request import RefusedError, parse_request, reply_head

HEAD = b"GET /provider?lang=ru HTTP/1.1\r\nHost: 192.168.1.20:8472\r\nAccept-Language: kk, ru;q=0.5\r\n\r\n"


def test_what_a_browser_sends_is_understood() -> None:
    request = parse_request(HEAD)
    assert (request.method, request.path, request.language) == ("GET", "/provider", "ru")
    assert request.headers == {"host": "192.168.1.20:8472", "accept-language": "kk, ru;q=0.5"}


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (HEAD.replace(b"GET", b"POST"), HTTPStatus.METHOD_NOT_ALLOWED),
        (HEAD.replace(b"GET", b"DELETE"), HTTPStatus.METHOD_NOT_ALLOWED),
        (HEAD.replace(b"GET", b"get"), HTTPStatus.BAD_REQUEST),
        (HEAD.replace(b"HTTP/1.1", b"HTTP/2"), HTTPStatus.BAD_REQUEST),
        (HEAD.replace(b"/provider", b"http://evil.example/"), HTTPStatus.BAD_REQUEST),
        (HEAD.replace(b"/provider", b"/a b"), HTTPStatus.BAD_REQUEST),
        (HEAD.replace(b"Host:", b"Not-Host:"), HTTPStatus.BAD_REQUEST),
        (HEAD.replace(b"\r\n\r\n", b"\r\nHost: other\r\n\r\n"), HTTPStatus.BAD_REQUEST),
        (HEAD.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n"), HTTPStatus.BAD_REQUEST),
        (HEAD.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"), HTTPStatus.BAD_REQUEST),
        (HEAD.replace(b"\r\n\r\n", b"\r\n folded\r\n\r\n"), HTTPStatus.BAD_REQUEST),
        (HEAD.replace(b"Host: ", b"Host : "), HTTPStatus.BAD_REQUEST),
        (HEAD.replace(b"kk", b"k\x00k"), HTTPStatus.BAD_REQUEST),
        (HEAD.replace(b"/provider", b"/" + b"a" * 2000), HTTPStatus.BAD_REQUEST),
        (b"\r\n\r\n", HTTPStatus.BAD_REQUEST),
    ],
)
def test_everything_unusual_is_refused(head: bytes, status: HTTPStatus) -> None:
    with pytest.raises(RefusedError) as refused:
        parse_request(head)
    assert refused.value.status is status


@given(st.binary(max_size=300))
def test_noise_is_refused_and_nothing_else_happens(noise: bytes) -> None:
    with pytest.raises(RefusedError):
        parse_request(noise + b"\r\n\r\n")


def test_a_reply_forbids_scripts_frames_and_keeping() -> None:
    head = reply_head(HTTPStatus.OK, "text/html", 5).decode()
    assert head.startswith("HTTP/1.1 200 OK\r\n")
    assert head.endswith("\r\n\r\n")
    for line in (
        "Content-Length: 5",
        "Connection: close",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
    ):
        assert f"\r\n{line}\r\n" in head
    policy = next(line for line in head.split("\r\n") if line.startswith("Content-Security-Policy"))
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
