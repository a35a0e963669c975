"""Which server a URL means, and what of it may be written down."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from linkbell_agent.ndt7.endpoint import Endpoint, parse
from linkbell_wire import fields


@pytest.mark.parametrize(
    ("url", "endpoint", "recorded"),
    [
        ("ws://host:8471", Endpoint("host", 8471), "ws://host:8471"),
        ("http://host:8471/", Endpoint("host", 8471), "ws://host:8471"),
        ("ws://host", Endpoint("host", 80), "ws://host"),
        ("wss://host", Endpoint("host", 443, tls=True), "wss://host"),
        ("https://host:80/some/path", Endpoint("host", 80, tls=True), "wss://host:80"),
        ("ws://[2001:db8::1]:8471", Endpoint("2001:db8::1", 8471), "ws://[2001:db8::1]:8471"),
        ("ws://192.0.2.1:1", Endpoint("192.0.2.1", 1), "ws://192.0.2.1:1"),
        ("wss://user:secret@host:9/p?access_token=t#f", Endpoint("host", 9, tls=True), "wss://host:9"),
        ("ws://пример.kz:8471", Endpoint("xn--e1afmkfd.kz", 8471), "ws://xn--e1afmkfd.kz:8471"),
    ],
)
def test_scheme_host_and_port_are_used_and_nothing_else_is_recorded(
    url: str, endpoint: Endpoint, recorded: str
) -> None:
    assert parse(url) == endpoint
    assert endpoint.url == recorded


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host:8471",
        "ftp://host",
        "ws://",
        "ws://:80",
        "ws://host:99999",
        "ws://host:0",
        "ws://host:x",
        "ws://[::1",
    ],
)
def test_what_is_no_address_is_refused_with_a_sentence(url: str) -> None:
    with pytest.raises(ValueError, match="is not the address of a server"):
        parse(url)


URL: TypeAdapter[str] = TypeAdapter(fields.Url)


@given(st.text(max_size=60) | st.text(max_size=30).map("ws://{}:80/".format))
def test_any_text_is_an_address_that_can_be_recorded_or_is_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        endpoint = parse(text)
        assert URL.validate_python(endpoint.url) == endpoint.url
        assert endpoint.host.isascii()
        assert "\r" not in endpoint.authority
