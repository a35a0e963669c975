"""Which requests become tests: decided from headers and query alone."""

import pytest

from linkbell_collector.measure.handshake import EARLY_EXIT_BYTES, Accepted, Refused, accept_key, consider

GOOD = {
    "Connection": "keep-alive, Upgrade",
    "Upgrade": "WebSocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol": "chat, net.measurementlab.ndt.v7",
}


def test_the_key_is_answered_as_in_the_rfcs_example() -> None:
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_a_good_request_is_answered_with_the_subprotocol_and_without_compression() -> None:
    offered = {**GOOD, "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}
    verdict = consider(offered, "", download=True)
    assert isinstance(verdict, Accepted)
    assert verdict.headers["Sec-WebSocket-Protocol"] == "net.measurementlab.ndt.v7"
    assert "Sec-WebSocket-Extensions" not in verdict.headers
    assert verdict.early_exit_bytes is None


@pytest.mark.parametrize(
    ("header", "value", "status", "words"),
    [
        ("Connection", "close", 400, "no WebSocket handshake"),
        ("Upgrade", "h2c", 400, "no WebSocket handshake"),
        ("Sec-WebSocket-Version", "8", 426, "version 13"),
        ("Sec-WebSocket-Key", "short", 400, "16 bytes"),
        ("Sec-WebSocket-Key", "caf\xe9", 400, "16 bytes"),
        ("Sec-WebSocket-Protocol", "", 400, "net.measurementlab.ndt.v7"),
        ("Sec-WebSocket-Protocol", "net.measurementlab.ndt.v77", 400, "net.measurementlab.ndt.v7"),
    ],
)
def test_a_wrong_header_is_refused_with_a_sentence(header: str, value: str, status: int, words: str) -> None:
    verdict = consider({**GOOD, header: value}, "", download=True)
    assert isinstance(verdict, Refused)
    assert verdict.status == status
    assert words in verdict.reply.message


@pytest.mark.parametrize("header", list(GOOD))
def test_a_missing_header_is_refused(header: str) -> None:
    assert isinstance(consider({k: v for k, v in GOOD.items() if k != header}, "", download=True), Refused)


def test_a_wrong_version_is_told_the_right_one() -> None:
    verdict = consider({**GOOD, "Sec-WebSocket-Version": "8"}, "", download=True)
    assert isinstance(verdict, Refused)
    assert verdict.headers == {"Sec-WebSocket-Version": "13"}


@pytest.mark.parametrize(
    ("query", "download", "early_exit_bytes"),
    [
        ("", True, None),
        ("client_name=x&nobody_knows=this&access_token=t", True, None),
        ("early_exit=250", True, EARLY_EXIT_BYTES),
        ("client_name=x&early_exit=250", True, EARLY_EXIT_BYTES),
        ("x" * 4096, False, None),
    ],
)
def test_queries_that_are_fine(query: str, download: bool, early_exit_bytes: int | None) -> None:
    verdict = consider(GOOD, query, download=download)
    assert isinstance(verdict, Accepted)
    assert verdict.early_exit_bytes == early_exit_bytes


@pytest.mark.parametrize(
    ("query", "download"),
    [
        ("early_exit=100", True),
        ("early_exit=", True),
        ("early_exit=250&early_exit=250", True),
        ("early_exit=250", False),
        ("x" * 4097, True),
    ],
)
def test_queries_that_are_refused(query: str, download: bool) -> None:
    verdict = consider(GOOD, query, download=download)
    assert isinstance(verdict, Refused)
    assert verdict.status == 400


def test_a_client_that_names_its_test_is_offered_streams_and_no_other_is() -> None:
    named = consider(GOOD, "linkbell_test=0123456789abcdef", download=False)
    assert isinstance(named, Accepted)
    assert (named.test, named.headers["Linkbell-Streams"]) == ("0123456789abcdef", "8")
    other = consider(GOOD, "client_name=ndt7-client", download=False)
    assert isinstance(other, Accepted)
    assert other.test is None
    assert "Linkbell-Streams" not in other.headers


@pytest.mark.parametrize("name", ["", "short", "0123456789abcdeg", "0" * 65, "0123456789ABCDEF"])
def test_a_test_has_a_name_that_can_be_one(name: str) -> None:
    assert isinstance(consider(GOOD, f"linkbell_test={name}", download=True), Refused)
