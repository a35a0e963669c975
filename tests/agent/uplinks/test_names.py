"""Names on an uplink: its own name servers in turn, and the system only for what needs no asking."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from linkbell_agent.classify import NetworkFailure
from linkbell_agent.net import Address, Binding, Uplink, resolve_on
from linkbell_agent.probes import dns
from linkbell_agent.probes.base import ProbeContext
from linkbell_agent.probes.names import addresses_on, is_in_hosts_file
from linkbell_wire.failures import FailureCode, Operation
from tests.agent.fakes import ToldClock
from tests.agent.probes.name_server import answer


async def by_the_system(host: str) -> list[Address]:
    return [Address(socket.AF_INET, "198.51.100.1")]


@pytest.mark.parametrize(
    ("host", "resolvers"),
    [("example.org", None), ("192.0.2.7", ("192.0.2.53",)), ("fe80::1%lo", ("192.0.2.53",)), ("localhost", ())],
)
async def test_the_system_is_asked_where_nothing_has_to_leave_or_nobody_else_is_known(
    host: str, resolvers: tuple[str, ...] | None
) -> None:
    found = await resolve_on(host, Uplink(resolvers=resolvers), by_the_system)
    assert [address.host for address in found] == ["198.51.100.1"]


async def test_without_a_name_server_a_name_is_a_failure_and_not_asked_elsewhere() -> None:
    with pytest.raises(NetworkFailure) as caught:
        await resolve_on("example.org", Uplink(resolvers=()), by_the_system)
    assert caught.value.failure.operation is Operation.RESOLVE
    assert caught.value.failure.code is FailureCode.ADDRESS_UNAVAILABLE


class Server(asyncio.DatagramProtocol):
    """Answers each question with what it knows of the type asked for."""

    def __init__(self, known: dict[int, list[str]], rcode: int) -> None:
        self.known, self.rcode, self.asked = known, rcode, list[int]()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        kind = data[data.index(b"\0", 12) + 2]
        self.asked.append(kind)
        self.transport.sendto(answer(data, *self.known.get(kind, []), rcode=self.rcode), addr)


@asynccontextmanager
async def serving(host: str, known: dict[int, list[str]], rcode: int = 0) -> AsyncIterator[Server]:
    """A name server at port 53 of a loopback address. Needs root."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(lambda: Server(known, rcode), local_addr=(host, dns.PORT))
    try:
        yield server
    finally:
        transport.close()


A, AAAA = 1, 28


def may_serve() -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind(("127.0.5.1", dns.PORT))
        except OSError:
            return False
    return True


NEEDS_PORT = pytest.mark.skipif(not may_serve(), reason="port 53 needs root")


@NEEDS_PORT
async def test_the_next_name_server_is_asked_where_one_fails_and_ipv6_where_there_is_no_ipv4() -> None:
    async with serving("127.0.5.1", {}, rcode=2) as broken, serving("127.0.5.2", {AAAA: ["2001:db8::7"]}) as well:
        found = await addresses_on("example.org", Uplink(resolvers=("127.0.5.1", "127.0.5.2")))
    assert [(address.family, address.host) for address in found] == [(socket.AF_INET6, "2001:db8::7")]
    assert (broken.asked, well.asked) == ([A], [A, AAAA])


@NEEDS_PORT
async def test_a_name_that_does_not_exist_is_not_asked_twice() -> None:
    async with serving("127.0.5.1", {}, rcode=3), serving("127.0.5.2", {A: ["192.0.2.7"]}) as second:
        with pytest.raises(NetworkFailure) as caught:
            await addresses_on("example.org", Uplink(resolvers=("127.0.5.1", "127.0.5.2")))
    assert caught.value.failure.code is FailureCode.DNS_NOT_FOUND
    assert second.asked == []


def test_the_hosts_file_is_read_as_programs_read_it(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text("# 192.0.2.1 commented\n192.0.2.2 collector.school Collector # beside\n")
    assert is_in_hosts_file("collector.SCHOOL", file)
    assert is_in_hosts_file("collector", file)
    assert not any(is_in_hosts_file(name, file) for name in ("commented", "beside", "192.0.2.2", "school"))
    assert not is_in_hosts_file("collector", tmp_path / "none")


def test_a_context_is_bound_anew_and_keeps_what_the_settings_say() -> None:
    context = ProbeContext(Uplink("a", None, "192.0.2.7"), ToldClock())
    bound = context.bound(Binding("eth7", ("192.0.2.53",))).uplink
    assert (bound.name, bound.device, bound.source, bound.resolvers) == ("a", "eth7", "192.0.2.7", ("192.0.2.53",))
    set_by_hand = ProbeContext(Uplink("a", "eth0"), ToldClock())
    assert set_by_hand.bound(Binding(None, ())).uplink.device == "eth0"
    assert context.bound(None) is context
