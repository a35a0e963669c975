"""What a server's answer to the request means."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkbell_agent.classify import NetworkFailure
from linkbell_agent.ndt7.endpoint import Endpoint
from linkbell_agent.ndt7.upgrade import ServerBusy, Upgrade
from linkbell_wire.failures import FailureCode
from linkbell_wire.words import Direction

UPGRADE = Upgrade(Endpoint("host", 8471), Direction.DOWNLOAD, "dGhlIHNhbXBsZSBub25jZQ==")
GOOD = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: net.measurementlab.ndt.v7"
)


def code(head: str) -> FailureCode:
    with pytest.raises(NetworkFailure) as caught:
        UPGRADE.check(head.encode("latin-1"))
    return caught.value.failure.code


def test_the_request_asks_for_ndt7_and_says_who_asks() -> None:
    text = UPGRADE.request().decode()
    assert text.startswith("GET /ndt/v7/download?client_name=linkbell-agent&client_version=")
    assert "\r\nHost: host:8471\r\n" in text
    assert "\r\nUser-Agent: linkbell-agent/" in text
    assert "\r\nSec-WebSocket-Protocol: net.measurementlab.ndt.v7\r\n" in text
    assert "Extensions" not in text
    assert text.endswith("\r\n\r\n")


def test_every_request_has_a_key_of_its_own() -> None:
    endpoint = Endpoint("host", 1)
    assert Upgrade(endpoint, Direction.UPLOAD).key != Upgrade(endpoint, Direction.UPLOAD).key


def test_streams_of_one_test_share_its_name_and_not_their_key() -> None:
    other = UPGRADE.another()
    assert f"linkbell_test={UPGRADE.test} HTTP/1.1" in UPGRADE.request().decode()
    assert (other.test, other.endpoint, other.direction) == (UPGRADE.test, UPGRADE.endpoint, UPGRADE.direction)
    assert other.key != UPGRADE.key


@pytest.mark.parametrize(
    ("header", "streams"),
    [
        ("", 1),
        ("\r\nLinkbell-Streams: 4", 4),
        ("\r\nlinkbell-streams: 8", 8),
        ("\r\nLinkbell-Streams: 99", 8),
        ("\r\nLinkbell-Streams: 0", 1),
        ("\r\nLinkbell-Streams: -3", 1),
        ("\r\nLinkbell-Streams: many", 1),
        ("\r\nLinkbell-Streams: 1000000000000", 1),
    ],
)
def test_a_server_offers_as_many_streams_as_it_says_within_reason(header: str, streams: int) -> None:
    assert UPGRADE.check((GOOD + header).encode()) == streams


def test_the_right_answer_is_accepted() -> None:
    UPGRADE.check(GOOD.encode())
    UPGRADE.check(GOOD.replace("Upgrade: websocket", "UPGRADE:WebSocket").encode())


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (GOOD.replace("s3pP", "s3pQ"), FailureCode.PROTOCOL_ERROR),
        (GOOD.replace("ndt.v7", "ndt.v8"), FailureCode.PROTOCOL_ERROR),
        (GOOD.replace("Upgrade: websocket", "Upgrade: h2c"), FailureCode.PROTOCOL_ERROR),
        (GOOD + "\r\nSec-WebSocket-Extensions: permessage-deflate", FailureCode.PROTOCOL_ERROR),
        (GOOD + "\r\nno colon here", FailureCode.PROTOCOL_ERROR),
        ("HTTP/1.1 200 OK\r\nContent-Type: text/html", FailureCode.HTTP_STATUS),
        ("HTTP/1.1 404 Not Found", FailureCode.HTTP_STATUS),
        ("HTTP/1.1 500 Oops", FailureCode.HTTP_STATUS),
        ("HTTP/1.1 302 Found\r\nLocation: http://login.example/", FailureCode.REDIRECTED),
        ("HTTP/1.1 1o1 Nope", FailureCode.PROTOCOL_ERROR),
        ("HTTP/2 101 Nope", FailureCode.PROTOCOL_ERROR),
        ("SSH-2.0-OpenSSH_9.2", FailureCode.PROTOCOL_ERROR),
        ("", FailureCode.PROTOCOL_ERROR),
    ],
)
def test_other_answers_are_failures_with_a_code(head: str, expected: FailureCode) -> None:
    assert code(head) is expected


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("Retry-After: 7", 7.0),
        ("retry-after:0", 0.0),
        ("Retry-After: 999999999", 86_400.0),
        ("Retry-After: Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("Retry-After: -1", None),
        ("Retry-After: \xb2", None),
        ("X: y", None),
    ],
)
def test_a_busy_server_says_when_to_come_back(header: str, seconds: float | None) -> None:
    with pytest.raises(ServerBusy) as caught:
        UPGRADE.check(f"HTTP/1.1 503 Service Unavailable\r\n{header}".encode("latin-1"))
    assert caught.value.failure.code is FailureCode.SERVER_BUSY
    assert caught.value.retry_after_s == seconds


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda more: b"HTTP/1.1 503 " + more))
def test_any_bytes_are_an_answer_or_a_failure(head: bytes) -> None:
    with contextlib.suppress(NetworkFailure):
        UPGRADE.check(head)
        raise AssertionError("random bytes cannot hold the right Sec-WebSocket-Accept")
