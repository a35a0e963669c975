"""A collector cannot have the box talk to private addresses: not by number, not by name, not in disguise."""

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkbell_agent import net, netlink
from linkbell_agent.classify import NetworkFailure
from linkbell_agent.clock import SystemClock
from linkbell_agent.net import Address, Uplink
from linkbell_agent.permit import Permit, is_public, permit, plain
from linkbell_agent.probes.base import PingRequest, ProbeContext, SpeedRequest
from linkbell_agent.probes.ookla import ookla
from linkbell_agent.probes.ping import ping
from linkbell_agent.probes.speed import ndt7
from linkbell_wire.configuration import SpeedServer, TargetConfiguration
from linkbell_wire.failures import Failure, FailureCode, Operation
from linkbell_wire.words import Engine, Layer, PingMethod, Trigger

LAN = permit(["192.168.1.0/24", "fd12:3456::/64", "10.0.0.0/8"], ["172.16.0.1", "fe80::1%eth0", None], ["Collector"])
PROHIBITED = Failure(operation=Operation.CONNECT, code=FailureCode.PROHIBITED)


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert Permit().allows(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "::1", "0.0.0.0", "::", "10.0.0.1", "172.16.0.2", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "224.0.0.1", "239.255.255.250", "255.255.255.255", "240.0.0.1", "fe80::1", "fe80::1%eth0", "fd00::1", "ff02::1",
        "::ffff:192.168.1.1", "::ffff:127.0.0.1", "64:ff9b::c0a8:101", "64:ff9b::7f00:1", "2002:c0a8:101::1",
        "192.0.2.1", "not an address", "", "1.1.1.1/8", "0x7f.1",
    ],
)  # fmt: skip
def test_everything_else_is_not(address: str) -> None:
    assert not Permit().allows(address)


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("192.168.1.77", True),
        ("192.168.2.77", False),
        ("10.1.2.3", True),
        ("172.16.0.1", True),
        ("172.16.0.2", False),
        ("fd12:3456::7", True),
        ("fd12:3457::7", False),
        ("fe80::1%eth1", True),
        ("::ffff:192.168.1.77", True),
        ("127.0.0.1", False),
    ],
)
def test_the_schools_own_network_and_what_was_found_or_allowed_is(address: str, allowed: bool) -> None:
    assert LAN.allows(address) is allowed


def test_a_host_that_this_box_trusts_may_be_anywhere() -> None:
    assert LAN.allows("127.0.0.1", "collector")
    assert LAN.allows("127.0.0.1", "COLLECTOR")
    assert not LAN.allows("127.0.0.1", "other")
    assert not LAN.allows("127.0.0.1", "")


def test_a_permit_of_nothing_usable_allows_nothing_more() -> None:
    assert permit(["nonsense", "10.0.0.0/99"], ["", None, "host"], ["", None]) == Permit()


@given(st.ip_addresses())
def test_an_address_is_judged_by_the_address_it_wraps(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    allowed = Permit().allows(str(address))
    assert allowed is is_public(plain(str(address)))
    if isinstance(address, ipaddress.IPv4Address):
        for wrapped in (
            f"::ffff:{address}",
            str(ipaddress.IPv6Address(int(ipaddress.ip_address("64:ff9b::")) + int(address))),
        ):
            assert Permit().allows(wrapped) is allowed


@given(st.text())
def test_no_text_is_allowed_by_mistake_or_breaks_it(text: str) -> None:
    if Permit().allows(text):
        assert is_public(plain(text))


def test_addresses_are_filtered_at_the_one_seam() -> None:
    uplink = Uplink(permit=Permit())
    public, private = Address(socket.AF_INET, "1.1.1.1"), Address(socket.AF_INET, "10.0.0.1")
    assert net.usable_addresses([private, public], uplink, "name") == [public]
    with pytest.raises(NetworkFailure) as caught:
        net.usable_addresses([private], uplink, "name")
    assert caught.value.failure == PROHIBITED


@pytest.fixture
def context() -> ProbeContext:
    return ProbeContext(Uplink(), SystemClock()).within(Permit())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "169.254.169.254"])
async def test_no_probe_of_a_collector_reaches_a_private_address(host: str, context: ProbeContext) -> None:
    """A listening socket would be reached: nothing comes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        port = server.getsockname()[1]
        target = TargetConfiguration(name="t", layer=Layer.ISP, host=host, method=PingMethod.TCP, port=port)
        pinged = await ping(PingRequest(target, count=1), context)
        assert (pinged.failure, pinged.sent) == (PROHIBITED, 0)
        for engine in (ndt7, ookla):
            request = SpeedRequest((SpeedServer(url=f"ws://{host}:{port}"),), Trigger.SLOT, engine=Engine.NDT7)
            record = await engine(request, context)
            assert record.download is not None
            assert record.download.failure == PROHIBITED
        with pytest.raises(TimeoutError):
            server.accept()


def test_the_box_knows_its_own_networks() -> None:
    networks = {one.network for one in netlink.own_addresses()}
    assert "127.0.0.0/8" in networks


@given(st.binary(max_size=200))
def test_a_datagram_that_makes_no_sense_breaks_nothing(datagram: bytes) -> None:
    for _, message in netlink.messages(datagram):
        netlink._neighbour(message)
        netlink._own_address(message)
