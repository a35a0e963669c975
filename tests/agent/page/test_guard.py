"""The page is for the school's own network, called by a name no stranger can own."""

from ipaddress import ip_network

import pytest

from linkbell_agent.page.guard import is_near, is_own_name


@pytest.mark.parametrize(
    ("source", "own", "near"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("192.168.1.7", "192.168.1.20", True),
        ("10.3.2.1", "192.168.1.20", True),
        ("172.16.9.9", "192.168.1.20", True),
        ("169.254.3.3", "169.254.1.1", True),
        ("::1", "::1", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("fd12:3456::1", "fd12:3456::2", True),
        ("2a01:4f8:1:2::9", "2a01:4f8:1:2::1", True),
        ("::ffff:192.168.1.7", "::ffff:192.168.1.20", True),
        ("8.8.8.8", "192.168.1.20", False),
        ("172.32.0.1", "192.168.1.20", False),
        ("100.64.0.9", "192.168.1.20", False),
        ("203.0.113.9", "192.168.1.20", False),
        ("198.18.0.1", "192.168.1.20", False),
        ("2a01:4f8:1:3::9", "2a01:4f8:1:2::1", False),
        ("::ffff:8.8.8.8", "::ffff:192.168.1.20", False),
        ("8.8.8.8", "2a01:4f8:1:2::1", False),
        ("0.0.0.0", "192.168.1.20", False),
        ("", "192.168.1.20", False),
        ("/run/socket", "192.168.1.20", False),
    ],
)
def test_who_is_near(source: str, own: str, near: bool) -> None:
    assert is_near(source, own) is near


def test_a_network_that_is_allowed_is_let_in() -> None:
    allowed = (ip_network("100.64.7.0/24"), ip_network("2001:db8::/32"))
    assert is_near("100.64.7.9", "192.168.1.20", allowed)
    assert is_near("2001:db8::5", "192.168.1.20", allowed)
    assert not is_near("100.64.8.9", "192.168.1.20", allowed)


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("192.168.1.20", True),
        ("192.168.1.20:8472", True),
        ("[fe80::1%25eth0]:8472", True),
        ("[::1]", True),
        ("localhost:8472", True),
        ("linkbell", True),
        ("linkbell.local:8472", True),
        ("box.lan", True),
        ("box.home.arpa.", True),
        ("BOX.LOCAL", True),
        ("evil.example", False),
        ("evil.example:8472", False),
        ("192.168.1.20.evil.example", False),
        ("local", True),
        ("evil.local.example", False),
        ("", False),
        (":8472", False),
        ("школа", False),
        ("a:b:c", False),
    ],
)
def test_which_names_are_our_own(host: str, own: bool) -> None:
    assert is_own_name(host) is own
