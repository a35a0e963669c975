"""Names become addresses, addresses become connections, on the uplink that was asked for and no other."""

import errno
import gc
import socket
import warnings

import pytest

from linkbell_agent import net
from linkbell_agent.classify import NetworkFailure
from linkbell_agent.net import Address, Uplink
from linkbell_wire.failures import Failure, FailureCode, Operation

MAIN = Uplink()


@pytest.mark.parametrize(
    ("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)], ids=["IPv4", "IPv6"]
)
async def test_an_address_resolves_to_itself(host: str, family: socket.AddressFamily) -> None:
    assert await net.resolve(host) == [Address(family, host)]


async def test_a_name_resolves_to_each_of_its_addresses_once() -> None:
    addresses = await net.resolve("localhost")
    assert addresses
    assert len(addresses) == len(set(addresses))


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example", "\ud800.example"])
async def test_a_name_that_cannot_be_one_is_not_found(host: str) -> None:
    with pytest.raises(NetworkFailure) as caught:
        await net.resolve(host)
    assert caught.value.failure == Failure(operation=Operation.RESOLVE, code=FailureCode.DNS_NOT_FOUND)
    assert caught.value.__cause__ is not None


async def test_an_answer_that_does_not_come_in_time_is_a_dns_timeout() -> None:
    with pytest.raises(NetworkFailure) as caught:
        await net.resolve("localhost", timeout_s=0)
    assert caught.value.failure == Failure(operation=Operation.RESOLVE, code=FailureCode.DNS_TIMEOUT)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (Address(socket.AF_INET, "192.0.2.1"), ("192.0.2.1", 80)),
        (Address(socket.AF_INET6, "fe80::1%eth0", 2), ("fe80::1%eth0", 80, 0, 2)),
    ],
)
def test_an_address_knows_its_form_for_the_kernel(address: Address, expected: tuple[object, ...]) -> None:
    assert address.sockaddr(80) == expected


async def test_a_connection_is_made_from_the_uplinks_own_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        sock, address = await net.connect("127.0.0.1", server.getsockname()[1], Uplink(source="127.0.0.5"))
        with sock:
            assert sock.getsockname()[0] == "127.0.0.5"
            assert address.host == "127.0.0.1"
            assert not sock.getblocking()
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


async def test_a_connection_that_is_refused_is_a_failure_with_its_cause() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(NetworkFailure) as caught:
            await net.connect("127.0.0.1", unused.getsockname()[1], MAIN)
    assert caught.value.failure == Failure(operation=Operation.CONNECT, code=FailureCode.CONNECTION_REFUSED)
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


async def test_a_connection_that_nobody_accepts_times_out() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = server.getsockname()[1]
        first, _ = await net.connect("127.0.0.1", port, MAIN)  # fills the backlog of one
        with first, pytest.raises(NetworkFailure) as caught:
            await net.connect("127.0.0.1", port, MAIN, timeout_s=0.1)
    assert caught.value.failure == Failure(operation=Operation.CONNECT, code=FailureCode.TIMEOUT)


@pytest.mark.parametrize(
    ("uplink", "code"),
    [
        (Uplink(device="linkbell-none"), FailureCode.UPLINK_UNAVAILABLE),
        (Uplink(source="192.0.2.77"), FailureCode.ADDRESS_UNAVAILABLE),
    ],
)
async def test_an_uplink_that_cannot_be_had_is_a_failure_and_never_another_way_out(
    uplink: Uplink, code: FailureCode
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(NetworkFailure) as caught:
        await net.connect("127.0.0.1", server.getsockname()[1], uplink)
    assert caught.value.failure == Failure(operation=Operation.BIND, code=code)


async def test_no_socket_is_left_open_by_a_failure() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        with pytest.raises(NetworkFailure):
            await net.connect("127.0.0.1", 1, Uplink(source="192.0.2.77"))
        gc.collect()
    assert [str(warning.message) for warning in caught] == []


def test_a_device_name_longer_than_linux_has_is_a_failure_too() -> None:
    with socket.socket() as sock, pytest.raises(NetworkFailure) as caught:
        net.bind_to_uplink(sock, Uplink(device="x" * 40))
    assert caught.value.failure.operation is Operation.BIND
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno in (errno.ENODEV, errno.EINVAL, errno.EPERM)


V4, V6 = Address(socket.AF_INET, "192.0.2.1"), Address(socket.AF_INET6, "2001:db8::1")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (None, [V6, V4]),
        ("192.0.2.9", [V4]),
        ("2001:db8::9", [V6]),
        ("fe80::9%eth0", [V6]),
    ],
)
def test_only_addresses_of_the_family_the_uplink_speaks_are_tried(source: str | None, expected: list[Address]) -> None:
    assert net.usable_addresses([V6, V4], Uplink(source=source)) == expected


@pytest.mark.parametrize("source", ["2001:db8::9", "eth0"])
async def test_an_uplink_that_cannot_speak_to_the_host_is_a_failure_to_bind(source: str) -> None:
    with pytest.raises(NetworkFailure) as caught:
        await net.connect("127.0.0.1", 9, Uplink(source=source))
    assert caught.value.failure == Failure(operation=Operation.BIND, code=FailureCode.ADDRESS_UNAVAILABLE)
