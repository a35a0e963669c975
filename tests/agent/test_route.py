"""Default gateways and name servers, read from files as Linux writes them."""

import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkbell_agent.route import (
    Gateway,
    default_gateways,
    nameservers,
    parse_ipv6_routes,
    parse_nameservers,
    parse_routes,
)

DATA = Path(__file__).parents[1] / "data" / "route"

ROUTES = [
    (
        "two_uplinks.route",
        [Gateway("wlan0", "192.168.2.1", 50), Gateway("eth0", "192.168.1.1", 100), Gateway("wwan0", "172.31.8.1", 700)],
    ),
    ("no_gateway.route", []),
    ("malformed.route", [Gateway("eth1", "192.168.1.1", 0)]),
]
IPV6_ROUTES = [
    ("global_gateway.ipv6_route", [Gateway("eth0", "fd00::1", 1024)]),
    (
        "link_local_gateway.ipv6_route",
        [
            Gateway("wlan0", "fe80::ba27:ebff:fe00:2%wlan0", 100),
            Gateway("eth0", "fe80::ba27:ebff:fe00:1%eth0", 1024),
        ],
    ),
    ("malformed.ipv6_route", [Gateway("eth0", "2001:db8::1", 1024)]),
]
NAMESERVERS = [
    ("usual.resolv", ["192.0.2.53", "2001:db8::53", "fe80::1%eth0"]),
    ("malformed.resolv", ["192.0.2.3"]),
]


@pytest.mark.parametrize(("file", "expected"), ROUTES)
def test_ipv4_gateways_are_read_in_order_of_preference(file: str, expected: list[Gateway]) -> None:
    assert default_gateways(DATA / file, DATA / "absent") == expected


@pytest.mark.parametrize(("file", "expected"), IPV6_ROUTES)
def test_ipv6_gateways_are_read_in_order_of_preference(file: str, expected: list[Gateway]) -> None:
    assert default_gateways(DATA / "absent", DATA / file) == expected


@pytest.mark.parametrize(("file", "expected"), NAMESERVERS)
def test_name_servers_are_read_in_order(file: str, expected: list[str]) -> None:
    assert nameservers(DATA / file) == expected


def test_behind_a_forwarder_on_the_box_itself_are_those_it_asks(tmp_path: Path) -> None:
    own, behind = tmp_path / "resolv.conf", tmp_path / "behind.conf"
    own.write_text("nameserver 127.0.0.53\n", encoding="ascii")
    behind.write_text("nameserver 192.0.2.53\nnameserver 127.0.0.53\n", encoding="ascii")
    assert nameservers(own, behind) == ["127.0.0.53", "192.0.2.53"]
    own.write_text("nameserver 127.0.0.53\nnameserver 192.0.2.1\n", encoding="ascii")
    assert nameservers(own, behind) == ["127.0.0.53", "192.0.2.1"]


def test_a_box_without_these_files_has_neither_gateway_nor_name_server(tmp_path: Path) -> None:
    assert default_gateways(tmp_path / "route", tmp_path / "ipv6_route") == []
    assert nameservers(tmp_path / "resolv.conf") == []


def test_the_files_of_this_machine_can_be_read() -> None:
    assert all(gateway.device and gateway.address for gateway in default_gateways())
    assert isinstance(nameservers(), list)


NOISE = st.text(alphabet=string.hexdigits + " \t\n%xeth.:nameserver\x00\u0661", max_size=300)


@given(text=NOISE)
def test_no_text_makes_the_parsers_raise(text: str) -> None:
    parse_routes("header\n" + text)
    parse_ipv6_routes(text)
    parse_nameservers(text)


@given(fields=st.lists(st.text(alphabet=string.hexdigits, min_size=1, max_size=34), min_size=7, max_size=12))
def test_no_line_of_hexadecimal_numbers_makes_the_parsers_raise(fields: list[str]) -> None:
    parse_routes("header\neth0 00000000 " + " ".join(fields))
    parse_ipv6_routes("0" * 32 + " 00 " + " ".join(fields))
