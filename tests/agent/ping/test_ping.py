"""The ping probe against hosts that answer oddly, late, twice or not at all. No privilege is needed here."""

import asyncio
import errno
import socket
import ssl
import struct

import pytest

from linkbell_agent.classify import classify
from linkbell_agent.net import Uplink
from linkbell_agent.probes.base import ProbeContext
from linkbell_agent.probes.ping import PingNetwork, path_failure_code, ping
from linkbell_wire.failures import Failure, FailureCode, Operation
from linkbell_wire.records import PingRecord
from linkbell_wire.words import PingMethod, PingSocket
from tests.agent.ping.fakes import (
    BrokenSocket,
    SocketShop,
    SteppingClock,
    context,
    failing_resolver,
    refuse_all,
    request,
    resolve_to_loopback,
    scripted_host,
)

ERRORS: list[OSError] = [
    *(OSError(number, "thrown by a test") for number in sorted(errno.errorcode)),
    *(socket.gaierror(getattr(socket, name), name) for name in dir(socket) if name.startswith("EAI_")),
    OSError("without a number"),
    TimeoutError(),
    TimeoutError("timed out"),
    ConnectionResetError(),
    ConnectionRefusedError(),
    BrokenPipeError(),
    ssl.SSLError(1, "handshake"),
    ssl.SSLEOFError(8, "eof"),
    ssl.SSLZeroReturnError(6, "closed"),
    ssl.SSLCertVerificationError(1, "self-signed certificate"),
]


def answer(echo: bytes, *, kind: int = 0, sequence: int | None = None, payload: bytes | None = None) -> bytes:
    number = struct.unpack_from("!H", echo, 6)[0] if sequence is None else sequence
    return struct.pack("!BBHHH", kind, 0, 0, 7, number) + (echo[8:] if payload is None else payload)


# --- errors


@pytest.mark.parametrize(
    ("method", "sockets"),
    [
        ("setsockopt", PingMethod.ICMP),
        ("sendto", PingMethod.ICMP),
        ("recvfrom", PingMethod.ICMP),
        ("recvmsg", PingMethod.ICMP),
        ("connect", PingMethod.TCP),
        ("getsockopt", PingMethod.TCP),
    ],
)
async def test_every_error_of_a_socket_becomes_a_record(method: str, sockets: PingMethod) -> None:
    async def throw(error: OSError) -> PingRecord:
        shop = SocketShop(lambda type_: BrokenSocket(type_, method, error))
        record = await ping(request(method=sockets, count=2, spacing_s=0, timeout_s=0.02), context(), shop.network())
        assert shop.all_closed
        return record

    for record in [await throw(error) for error in ERRORS]:
        assert record.received == 0 or method == "connect", record
        assert (record.failure is None) == (record.sent == 2), record
        assert PingRecord.model_validate_json(record.model_dump_json()).failures == record.failures


async def test_every_error_in_making_a_socket_becomes_a_record_with_nothing_sent() -> None:
    for error in ERRORS:
        record = await ping(request(), context(), refuse_all(error))
        assert record.sent == 0, error
        assert record.failure is not None
        assert record.failure.operation is Operation.BIND


async def test_every_error_in_binding_to_the_uplink_becomes_a_record_with_nothing_sent() -> None:
    uplink = Uplink(name="4g", source="127.0.0.1")
    for error in ERRORS:
        shop = SocketShop(lambda type_, error=error: BrokenSocket(type_, "bind", error))  # type: ignore[misc]
        record = await ping(request(), context(uplink), shop.network())
        assert record.failure == Failure(operation=Operation.BIND, code=classify(error))
        assert record.sent == 0
        assert shop.all_closed


@pytest.mark.parametrize("error", [*ERRORS, UnicodeError("label too long")], ids=repr)
async def test_every_error_in_resolving_becomes_a_record_with_nothing_sent(error: Exception) -> None:
    record = await ping(request("school.example"), context(), failing_resolver(error))
    assert record.failure == Failure(operation=Operation.RESOLVE, code=classify(error))
    assert (record.sent, record.received, record.address) == (0, 0, None)


async def test_a_name_that_is_no_name_is_a_failed_resolution() -> None:
    record = await ping(request("a" * 70 + ".example"), context())
    assert record.failure == Failure(operation=Operation.RESOLVE, code=FailureCode.DNS_NOT_FOUND)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.EACCES, FailureCode.PROHIBITED),
        (errno.EPERM, FailureCode.PROHIBITED),
        (errno.EINVAL, FailureCode.NETWORK_UNREACHABLE),
        (errno.ENOBUFS, FailureCode.TIMEOUT),
        (errno.EAGAIN, FailureCode.TIMEOUT),
        (errno.ENETUNREACH, FailureCode.NETWORK_UNREACHABLE),
        (errno.EHOSTUNREACH, FailureCode.HOST_UNREACHABLE),
        (errno.ENETDOWN, FailureCode.NETWORK_UNREACHABLE),
        (errno.EMSGSIZE, FailureCode.MESSAGE_TOO_LARGE),
        (errno.EIO, FailureCode.UNKNOWN),
    ],
    ids=lambda value: errno.errorcode[value] if type(value) is int else str(value),
)
async def test_a_packet_that_cannot_leave_is_counted_by_its_cause(number: int, expected: FailureCode) -> None:
    shop = SocketShop(lambda type_: BrokenSocket(type_, "sendto", OSError(number, "")))
    record = await ping(request(count=3), context(), shop.network())
    assert record.failures == {expected: 3}
    assert path_failure_code(OSError(number, "")) is expected


# --- choosing the way


async def test_datagram_sockets_are_preferred() -> None:
    async with scripted_host(lambda echo: [(0, answer(echo))]) as (_, shop):
        record = await ping(request(), context(), shop.network())
    assert (record.method, record.socket, record.port) == (PingMethod.ICMP, PingSocket.DATAGRAM, None)
    assert (record.sent, record.received) == (3, 3)


async def test_without_permission_for_icmp_a_connection_is_timed_instead() -> None:
    shop = SocketShop(lambda type_: socket.socket(type=type_), refused_types=(socket.SOCK_DGRAM, socket.SOCK_RAW))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        record = await ping(request(port=port), context(), shop.network())
    assert (record.method, record.socket, record.port) == (PingMethod.TCP, PingSocket.STREAM, port)
    assert (record.sent, record.received, record.failure) == (3, 3, None)
    assert shop.all_closed


async def test_icmp_that_was_asked_for_and_is_not_permitted_is_a_failure_and_no_loss() -> None:
    shop = SocketShop(lambda type_: socket.socket(type=type_), refused_types=(socket.SOCK_DGRAM, socket.SOCK_RAW))
    record = await ping(request(method=PingMethod.ICMP), context(), shop.network())
    assert record.failure == Failure(operation=Operation.BIND, code=FailureCode.PERMISSION_DENIED)
    assert (record.sent, record.method, record.socket) == (0, PingMethod.ICMP, None)


async def test_a_refused_connection_is_a_reply() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # not listening: refuses
        record = await ping(request(method=PingMethod.TCP, port=unused.getsockname()[1]), context())
    assert (record.sent, record.received, record.failures) == (3, 3, {})


async def test_an_uplink_that_is_not_there_loses_no_packets() -> None:
    shop = SocketShop(lambda type_: socket.socket(type=type_), refused_types=(socket.SOCK_DGRAM, socket.SOCK_RAW))
    record = await ping(request(), context(Uplink(name="4g", device="linkbell-none")), shop.network())
    assert record.failure is not None
    assert record.failure.operation is Operation.BIND
    assert (record.sent, record.uplink) == (0, "4g")
    assert shop.all_closed


@pytest.mark.parametrize("source", ["2001:db8::9", "eth0"])
async def test_a_source_that_cannot_speak_to_the_target_is_a_failure(source: str) -> None:
    record = await ping(request(), context(Uplink(source=source)), PingNetwork(resolve_to_loopback))
    assert record.failure == Failure(operation=Operation.BIND, code=FailureCode.ADDRESS_UNAVAILABLE)


# --- what counts as a reply


@pytest.mark.parametrize(
    "stranger",
    [
        b"",
        b"\0" * 7,
        lambda echo: echo,
        lambda echo: answer(echo, payload=bytes(56)),
        lambda echo: answer(echo, payload=echo[8:-1]),
        lambda echo: answer(echo, sequence=4711),
        lambda echo: answer(echo, kind=3),
        lambda echo: answer(echo) + b"more",
    ],
    ids=["empty", "short", "own request", "payload", "cut payload", "sequence", "type", "longer"],
)
async def test_messages_that_are_not_the_reply_are_no_reply(stranger: object) -> None:
    def script(echo: bytes) -> list[tuple[float, bytes]]:
        return [(0, stranger(echo) if callable(stranger) else bytes(stranger))]  # type: ignore[call-overload]

    async with scripted_host(script) as (host, shop):
        record = await ping(request(count=2, timeout_s=0.1), context(), shop.network())
    assert len(host.arrivals_s) == 2
    assert (record.received, record.failures) == (0, {FailureCode.TIMEOUT: 2})


async def test_a_reply_from_another_address_is_no_reply() -> None:
    async with scripted_host(lambda echo: [(0, answer(echo))], "127.0.0.2") as (_, shop):
        record = await ping(request(count=1, timeout_s=0.1), context(), shop.network())
    assert record.failures == {FailureCode.TIMEOUT: 1}


async def test_a_reply_counts_once_however_often_it_comes() -> None:
    async with scripted_host(lambda echo: [(0, answer(echo))] * 4) as (_, shop):
        record = await ping(request(count=3), context(), shop.network())
    assert (record.sent, record.received) == (3, 3)


async def test_a_reply_later_than_the_timeout_is_a_lost_one() -> None:
    def script(echo: bytes) -> list[tuple[float, bytes]]:
        late = echo[7] == 0
        return [(0.12 if late else 0, answer(echo))]

    async with scripted_host(script) as (_, shop):
        record = await ping(request(count=4, spacing_s=0.05, timeout_s=0.1), context(), shop.network())
    assert (record.received, record.failures) == (3, {FailureCode.TIMEOUT: 1})


async def test_replies_that_overtake_each_other_are_timed_each_by_its_own_packet() -> None:
    def script(echo: bytes) -> list[tuple[float, bytes]]:
        return [((0.2, 0.0, 0.0)[echo[7]], answer(echo))]

    async with scripted_host(script) as (_, shop):
        record = await ping(request(count=3, spacing_s=0.01), context(), shop.network())
    assert record.received == 3
    assert record.rtt_max_s is not None
    assert record.rtt_min_s is not None
    assert record.rtt_min_s < 0.1 < 0.19 < record.rtt_max_s < 1


async def test_packets_leave_on_a_grid_whether_or_not_replies_come() -> None:
    async with scripted_host(lambda _echo: []) as (host, shop):
        record = await ping(request(count=5, spacing_s=0.05, timeout_s=0.3), context(), shop.network())
    assert record.failures == {FailureCode.TIMEOUT: 5}
    assert 0.15 < host.arrivals_s[-1] - host.arrivals_s[0] < 0.3


async def test_the_payload_cannot_be_guessed_from_the_last_one() -> None:
    async with scripted_host(lambda echo: [(0, answer(echo))]) as (host, shop):
        await ping(request(), context(), shop.network())
        await ping(request(), context(), shop.network())
    assert len(host.payloads) == 2


async def test_a_step_of_the_wall_clock_changes_no_round_trip_time() -> None:
    async with scripted_host(lambda echo: [(0.02, answer(echo))]) as (_, shop):
        record = await ping(request(), ProbeContext(Uplink(), SteppingClock()), shop.network())
    assert record.rtt_min_s is not None
    assert record.rtt_max_s is not None
    assert 0.02 <= record.rtt_min_s <= record.rtt_max_s < 1


# --- stopping


async def _cancel_when(arrived: asyncio.Event, network: PingNetwork, method: PingMethod) -> None:
    endless = request(method=method, count=100, spacing_s=30, timeout_s=60)
    running = asyncio.create_task(ping(endless, context(), network))
    async with asyncio.timeout(2):
        await arrived.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


async def test_a_cancelled_ping_by_icmp_stops_at_once_and_leaves_no_socket_open() -> None:
    async with scripted_host(lambda _echo: []) as (host, shop):
        await _cancel_when(host.first_arrived, shop.network(), PingMethod.ICMP)
        assert shop.all_closed


async def test_a_cancelled_ping_by_tcp_stops_at_once_and_leaves_no_socket_open() -> None:
    shop = SocketShop(lambda type_: BrokenSocket(type_, "connect", BlockingIOError(errno.EINPROGRESS, "")))
    await _cancel_when(shop.first_sold, shop.network(), PingMethod.TCP)
    assert shop.sold
    assert shop.all_closed
