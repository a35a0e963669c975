"""Which addresses count as one client's."""

import pytest

from linkbell_collector.measure.address import subscriber


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", id="one /64"),
        pytest.param("::ffff:192.0.2.7", "192.0.2.7", id="IPv4 as a socket for both shows it"),
        pytest.param("fe80::1%eth0", "fe80::2%eth0", id="link-local, with a zone"),
    ],
)
def test_these_are_one_client(one: str, other: str) -> None:
    assert subscriber(one) == subscriber(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("2001:db8:1:2::1", "2001:db8:1:3::1", id="two /64"),
        pytest.param("192.0.2.7", "192.0.2.8", id="two IPv4 addresses"),
        pytest.param("::ffff:192.0.2.7", "::ffff:192.0.2.8", id="two mapped ones, though of one /64"),
        pytest.param("", "192.0.2.7", id="none"),
    ],
)
def test_these_are_two(one: str, other: str) -> None:
    assert subscriber(one) != subscriber(other)
