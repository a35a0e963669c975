"""The ping probe in real networks, made of namespaces: real permissions, real routes, real ICMP errors."""

from collections.abc import Iterator

import pytest

from linkbell_wire.failures import Failure, FailureCode, Operation
from linkbell_wire.words import PingMethod, PingSocket
from tests.agent.ping.namespaces import ROUTER, ROUTER6, UNUSED, Box, box_and_router, namespace, why_not

WHY_NOT = why_not()
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))

ROUTES = [
    ("unreachable", "203.0.113.1", "2001:db8:1::1", FailureCode.HOST_UNREACHABLE),
    ("prohibit", "203.0.113.17", "2001:db8:2::1", FailureCode.PROHIBITED),
]


@pytest.fixture(scope="module")
def alone() -> Iterator[Box]:
    """A box with nothing but loopback, and routes that lead nowhere in three ways."""
    with namespace() as box:
        for kind, host, host6, _ in ROUTES:
            box.run("ip", "route", "add", kind, f"{host}/32")
            box.run("ip", "route", "add", kind, f"{host6}/128")
        box.run("ip", "route", "add", "blackhole", "203.0.113.33/32")
        yield box


@pytest.fixture(scope="module")
def school() -> Iterator[tuple[Box, Box]]:
    """A box and its router; the router has the routes that lead nowhere."""
    with box_and_router() as (box, router):
        for kind, host, host6, _ in ROUTES:
            router.run("ip", "route", "add", kind, f"{host}/32")
            router.run("ip", "route", "add", kind, f"{host6}/128")
        router.run("ip", "route", "add", "blackhole", "203.0.113.33/32")
        for number in range(100, 120):
            box.run("ip", "address", "add", f"10.77.0.{number}/24", "dev", "eth0")
        yield box, router


FRESH_SOURCES = (f"10.77.0.{number}" for number in range(100, 120))
"""Linux sends one address at most five errors in a row for packets without a route (net.ipv4.route.error_burst)."""

WAYS = [
    pytest.param(True, False, PingMethod.ICMP, PingSocket.DATAGRAM, id="datagram"),
    pytest.param(False, True, PingMethod.ICMP, PingSocket.RAW, id="raw"),
    pytest.param(False, False, PingMethod.TCP, PingSocket.STREAM, id="tcp"),
]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize(("datagram", "privileged", "method", "socket"), WAYS)
def test_the_box_decides_the_way_and_the_record_says_it(
    alone: Box, host: str, datagram: bool, privileged: bool, method: PingMethod, socket: PingSocket
) -> None:
    alone.allow_datagram_icmp(datagram)
    record = alone.ping(host, privileged=privileged)
    assert (record.method, record.socket, record.address) == (method, socket, host)
    assert (record.sent, record.received, record.failure) == (4, 4, None)
    assert record.rtt_max_s is not None
    assert 0 < record.rtt_max_s < 0.5


def test_icmp_forced_where_it_is_not_allowed_is_permission_denied(alone: Box) -> None:
    alone.allow_datagram_icmp(False)
    record = alone.ping("127.0.0.1", "--method", "icmp")
    assert record.failure == Failure(operation=Operation.BIND, code=FailureCode.PERMISSION_DENIED)


def test_tcp_may_be_forced_where_icmp_is_allowed(alone: Box) -> None:
    alone.allow_datagram_icmp(True)
    record = alone.ping("127.0.0.1", "--method", "tcp", "--port", "9")
    assert (record.method, record.port, record.received) == (PingMethod.TCP, 9, 4)


def test_a_name_without_a_name_server_is_a_failed_resolution(alone: Box) -> None:
    record = alone.ping("no.such.name.invalid")
    assert record.failure is not None
    assert record.failure.operation is Operation.RESOLVE
    assert record.failure.code.value.startswith("dns_")
    assert record.sent == 0


@pytest.mark.parametrize(("datagram", "privileged", "method", "socket"), WAYS)
@pytest.mark.parametrize(
    ("host", "code"),
    [
        *((host, code) for _, host, _, code in ROUTES),
        *((host6, code) for _, _, host6, code in ROUTES),
        ("203.0.113.33", FailureCode.NETWORK_UNREACHABLE),
        ("192.0.2.1", FailureCode.NETWORK_UNREACHABLE),
        ("2001:db8:4::1", FailureCode.NETWORK_UNREACHABLE),
    ],
)
def test_a_route_of_the_box_that_leads_nowhere_is_counted_by_its_kind(
    alone: Box,
    host: str,
    code: FailureCode,
    datagram: bool,
    privileged: bool,
    method: PingMethod,
    socket: PingSocket,
) -> None:
    alone.allow_datagram_icmp(datagram)
    record = alone.ping(host, privileged=privileged)
    assert (record.socket, record.sent, record.failures) == (socket, 4, {code: 4})


@pytest.mark.parametrize(("datagram", "privileged", "method", "socket"), WAYS[:2])
@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("203.0.113.1", FailureCode.HOST_UNREACHABLE),
        ("203.0.113.17", FailureCode.PROHIBITED),
        ("2001:db8:1::1", FailureCode.NETWORK_UNREACHABLE),  # what Linux sends for an IPv6 route of this kind
        ("2001:db8:2::1", FailureCode.PROHIBITED),
        ("203.0.113.33", FailureCode.TIMEOUT),
        ("192.0.2.1", FailureCode.NETWORK_UNREACHABLE),
        ("2001:db8:4::1", FailureCode.NETWORK_UNREACHABLE),
    ],
)
def test_what_a_router_reports_is_counted_by_its_kind(
    school: tuple[Box, Box],
    host: str,
    code: FailureCode,
    datagram: bool,
    privileged: bool,
    method: PingMethod,
    socket: PingSocket,
) -> None:
    box, _ = school
    box.allow_datagram_icmp(datagram)
    source = () if ":" in host else ("--source", next(FRESH_SOURCES))
    record = box.ping(host, *source, privileged=privileged)
    assert (record.socket, record.sent, record.failures) == (socket, 4, {code: 4})


@pytest.mark.parametrize(("datagram", "privileged", "method", "socket"), WAYS[:2])
def test_a_router_answers_pings_to_itself(
    school: tuple[Box, Box], datagram: bool, privileged: bool, method: PingMethod, socket: PingSocket
) -> None:
    box, _ = school
    box.allow_datagram_icmp(datagram)
    for host in (ROUTER, ROUTER6):
        record = box.ping(host, "--device", "eth0", privileged=privileged)
        assert (record.socket, record.received) == (socket, 4)


@pytest.mark.parametrize(("datagram", "privileged", "method", "socket"), WAYS[:2])
def test_packets_that_live_too_short_are_counted_as_such(
    school: tuple[Box, Box], datagram: bool, privileged: bool, method: PingMethod, socket: PingSocket
) -> None:
    box, router = school
    box.allow_datagram_icmp(datagram)
    router.run("ip", "route", "replace", "203.0.113.49/32", "via", "10.77.0.2")
    router.run("ip", "route", "replace", "2001:db8:5::1/128", "via", "fd77::2")
    box.run("sysctl", "-qw", "net.ipv4.ip_default_ttl=1", "net.ipv6.conf.eth0.hop_limit=1")
    try:
        for host in ("203.0.113.49", "2001:db8:5::1"):
            record = box.ping(host, privileged=privileged)
            assert record.failures == {FailureCode.TTL_EXCEEDED: 4}
    finally:
        box.run("sysctl", "-qw", "net.ipv4.ip_default_ttl=64", "net.ipv6.conf.eth0.hop_limit=64")


def test_a_neighbour_that_is_switched_off_is_unreachable(school: tuple[Box, Box]) -> None:
    box, _ = school
    box.allow_datagram_icmp(True)
    box.run("sysctl", "-qw", "net.ipv4.neigh.eth0.retrans_time_ms=20")
    record = box.ping(UNUSED, "--timeout", "2")
    assert record.failures == {FailureCode.HOST_UNREACHABLE: 4}


@pytest.mark.parametrize("full_queue_at", ["the box", "the router"])
def test_packets_that_a_full_queue_drops_are_lost(school: tuple[Box, Box], full_queue_at: str) -> None:
    box, router = school
    box.allow_datagram_icmp(True)
    side, device = (box, "eth0") if full_queue_at == "the box" else (router, "lan0")
    box.ping(ROUTER)  # the neighbours know each other before the queue gets narrow
    side.run("tc", "qdisc", "add", "dev", device, "root", "tbf", "rate", "8kbit", "burst", "200", "limit", "200")
    try:
        record = box.ping(ROUTER, "--count", "20")
    finally:
        side.run("tc", "qdisc", "del", "dev", device, "root")
    assert set(record.failures) == {FailureCode.TIMEOUT}
    assert 0 < record.received < record.sent == 20


def test_a_connection_whose_first_packet_was_lost_is_lost_and_not_slow(school: tuple[Box, Box]) -> None:
    box, router = school
    router.run("tc", "qdisc", "add", "dev", "lan0", "root", "tbf", "rate", "8kbit", "burst", "100", "limit", "100")
    try:
        record = box.ping(ROUTER, "--method", "tcp", "--port", "9", "--count", "20", "--timeout", "3")
    finally:
        router.run("tc", "qdisc", "del", "dev", "lan0", "root")
    assert record.failures[FailureCode.TIMEOUT] > 0
    assert record.rtt_max_s is not None
    assert record.rtt_max_s < 1


def test_an_uplink_that_is_not_there_is_a_failure_and_no_loss(alone: Box) -> None:
    alone.allow_datagram_icmp(True)
    record = alone.ping("127.0.0.1", "--device", "wwan9")
    assert record.failure == Failure(operation=Operation.BIND, code=FailureCode.UPLINK_UNAVAILABLE)
    assert record.sent == 0
