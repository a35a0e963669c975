"""Look-ups against a real name server on loopback that answers, lies, refuses, stalls and talks nonsense."""

import itertools
import socket
from collections.abc import Callable

import pytest

from linkbell_agent.classify import NetworkFailure
from linkbell_agent.clock import SystemClock
from linkbell_agent.net import Address, Uplink
from linkbell_agent.permit import Permit, permit
from linkbell_agent.probes.base import ProbeContext
from linkbell_agent.probes.dns import DnsRequest, dns
from linkbell_wire.failures import Failure, FailureCode, Operation
from linkbell_wire.records import DnsRecord
from tests.agent.probes.name_server import Script, answer, name_server

CONTEXT = ProbeContext(Uplink(), SystemClock())
PUBLIC = "8.8.4.4"


def request(port: int, **more: object) -> DnsRequest:
    values: dict[str, object] = {"resolver": "127.0.0.1", "port": port, "timeout_s": 0.15} | more
    return DnsRequest("resolver", "example.kz", **values)  # type: ignore[arg-type]


async def asked(script: Script, **more: object) -> DnsRecord:
    async with name_server(script) as server:
        return await dns(request(server.port, **more), CONTEXT)


def code(record: DnsRecord) -> FailureCode | None:
    if record.failure is None:
        return None
    assert record.failure.operation is Operation.RESOLVE
    assert record.duration_s is None
    return record.failure.code


async def test_a_look_up_is_timed_and_counted() -> None:
    record = await asked(lambda q, _: [answer(q, PUBLIC, "1.1.1.1")])
    assert (record.failure, record.answers, record.tries) == (None, 2, 1)
    assert record.duration_s is not None
    assert 0 < record.duration_s < 0.1
    assert (record.resolver, record.name, record.record_type) == ("127.0.0.1", "example.kz", "A")


async def test_ipv6_addresses_are_asked_for_as_such() -> None:
    record = await asked(lambda q, _: [answer(q, "2606:4700::1111", PUBLIC)], record_type="AAAA")
    assert (record.failure, record.answers) == (None, 1)


@pytest.mark.parametrize(
    ("rcode", "expected"),
    [
        (1, FailureCode.DNS_SERVER_FAILURE),
        (2, FailureCode.DNS_SERVER_FAILURE),
        (3, FailureCode.DNS_NOT_FOUND),
        (4, FailureCode.DNS_SERVER_FAILURE),
        (5, FailureCode.DNS_REFUSED),
        (0, FailureCode.DNS_NO_ADDRESS),
    ],
)
async def test_what_a_name_server_says_has_its_code(rcode: int, expected: FailureCode) -> None:
    assert code(await asked(lambda q, _: [answer(q, rcode=rcode)])) is expected


async def test_one_that_says_nothing_is_asked_again_and_given_up() -> None:
    async with name_server(lambda _q, _t: []) as server:
        record = await dns(request(server.port), CONTEXT)
    assert (code(record), record.tries) == (FailureCode.DNS_TIMEOUT, 2)
    assert len(server.questions) == 2
    assert len({question[:2] for question in server.questions} | {str(s).encode() for s in server.sources}) >= 3


async def test_a_question_that_was_lost_is_asked_again_and_the_wait_counts() -> None:
    calls = itertools.count()
    record = await asked(lambda q, _: [answer(q, PUBLIC)] if next(calls) else [])
    assert (record.failure, record.tries) == (None, 2)
    assert record.duration_s is not None
    assert record.duration_s >= 0.15


async def test_nobody_there_is_connection_refused() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    assert code(await dns(request(port), CONTEXT)) is FailureCode.CONNECTION_REFUSED


@pytest.mark.parametrize(
    "wrong", [lambda q: answer(q, PUBLIC, identifier=(q[0] << 8 | q[1]) ^ 1), lambda q: q, lambda q: b"x"]
)
async def test_an_answer_to_something_else_is_not_heard(wrong: Callable[[bytes], bytes]) -> None:
    record = await asked(lambda q, _: [wrong(q), answer(q, PUBLIC)])
    assert (record.failure, record.answers) == (None, 1)
    assert code(await asked(lambda q, _: [wrong(q)])) is FailureCode.DNS_TIMEOUT


async def test_an_answer_that_was_cut_off_is_asked_for_over_tcp() -> None:
    record = await asked(lambda q, tcp: [answer(q, PUBLIC)] if tcp else [answer(q, truncated=True)])
    assert (record.failure, record.answers, record.tries) == (None, 1, 2)


@pytest.mark.parametrize(
    ("over_tcp", "expected"),
    [
        (lambda _: [], FailureCode.CONNECTION_CLOSED),
        (lambda q: [answer(q, truncated=True)], FailureCode.PROTOCOL_ERROR),
        (lambda _: [b"nonsense"], FailureCode.PROTOCOL_ERROR),
        (lambda q: [answer(q, PUBLIC)[:-1]], FailureCode.PROTOCOL_ERROR),
    ],
)
async def test_what_goes_wrong_over_tcp_has_its_code(
    over_tcp: Callable[[bytes], list[bytes]], expected: FailureCode
) -> None:
    record = await asked(lambda q, tcp: over_tcp(q) if tcp else [answer(q, truncated=True)])
    assert code(record) is expected


async def test_cut_off_where_tcp_is_refused() -> None:
    async with name_server(lambda q, _: [answer(q, truncated=True)], tcp=False) as server:
        assert code(await dns(request(server.port), CONTEXT)) is FailureCode.CONNECTION_REFUSED


async def test_an_answer_that_makes_no_sense_is_a_protocol_error() -> None:
    assert code(await asked(lambda q, _: [answer(q, PUBLIC)[:-1]])) is FailureCode.PROTOCOL_ERROR


@pytest.mark.parametrize("lie", ["10.0.0.1", "192.168.1.1", "127.0.0.1", "100.64.0.1", "0.0.0.0"])
async def test_a_private_address_for_a_public_name_is_a_lie(lie: str) -> None:
    record = await asked(lambda q, _: [answer(q, lie)])
    assert (code(record), record.answers) == (FailureCode.DNS_FALSE_ANSWER, 1)
    assert (await asked(lambda q, _: [answer(q, lie, PUBLIC)])).failure is None


async def test_a_private_address_that_this_box_expects_is_none() -> None:
    for expected in (permit(["10.0.0.0/8"], [], []), permit([], [], ["example.kz"])):
        assert (await asked(lambda q, _: [answer(q, "10.0.0.1")], expected=expected)).failure is None


async def test_a_name_that_cannot_exist_shows_who_invents_answers() -> None:
    record = await asked(lambda q, _: [answer(q, rcode=3)], exists=False)
    assert (record.failure, record.answers) == (None, 0)
    assert code(await asked(lambda q, _: [answer(q, PUBLIC)], exists=False)) is FailureCode.DNS_FALSE_ANSWER
    assert code(await asked(lambda q, _: [answer(q, rcode=2)], exists=False)) is FailureCode.DNS_SERVER_FAILURE


async def test_the_system_is_asked_as_programs_ask_it() -> None:
    async def resolve(_name: str) -> list[Address]:
        return [Address(socket.AF_INET, PUBLIC)]

    record = await dns(request(0, resolver=None), CONTEXT, resolve)
    assert (record.failure, record.resolver, record.answers, record.tries) == (None, None, 1, None)


async def test_the_system_failing_is_a_result() -> None:
    async def resolve(_name: str) -> list[Address]:
        raise NetworkFailure(Operation.RESOLVE, FailureCode.DNS_NOT_FOUND)

    assert code(await dns(request(0, resolver=None), CONTEXT, resolve)) is FailureCode.DNS_NOT_FOUND
    assert (await dns(request(0, resolver=None, exists=False), CONTEXT, resolve)).answers == 0


@pytest.mark.parametrize(
    ("more", "failure"),
    [
        ({"resolver": "no-address"}, (Operation.RESOLVE, FailureCode.ADDRESS_UNAVAILABLE)),
        ({"resolver": "fe80::1%nosuch0"}, (Operation.RESOLVE, FailureCode.ADDRESS_UNAVAILABLE)),
    ],
)
async def test_a_resolver_that_is_none(more: dict[str, object], failure: tuple[Operation, FailureCode]) -> None:
    record = await dns(request(9, **more), CONTEXT)
    assert record.failure == Failure(operation=failure[0], code=failure[1])


async def test_a_name_that_is_none() -> None:
    record = await dns(DnsRequest("resolver", "a..b", "127.0.0.1"), CONTEXT)
    assert code(record) is FailureCode.DNS_NOT_FOUND


@pytest.mark.parametrize(
    ("uplink", "failure"),
    [
        (Uplink(device="nosuch0"), (Operation.BIND, FailureCode.UPLINK_UNAVAILABLE)),
        (Uplink(source="192.0.2.99"), (Operation.BIND, FailureCode.ADDRESS_UNAVAILABLE)),
        (Uplink(source="::1"), (Operation.BIND, FailureCode.ADDRESS_UNAVAILABLE)),
        (Uplink(permit=Permit()), (Operation.CONNECT, FailureCode.PROHIBITED)),
    ],
)
async def test_an_uplink_that_cannot_be_used_is_a_result(
    uplink: Uplink, failure: tuple[Operation, FailureCode]
) -> None:
    record = await dns(request(9), ProbeContext(uplink, SystemClock()))
    assert record.failure == Failure(operation=failure[0], code=failure[1])


async def test_the_uplinks_source_is_the_one_asked_from() -> None:
    async with name_server(lambda q, _: [answer(q, PUBLIC)]) as server:
        await dns(request(server.port), ProbeContext(Uplink(source="127.0.0.5"), SystemClock()))
    assert server.sources[0][0] == "127.0.0.5"
