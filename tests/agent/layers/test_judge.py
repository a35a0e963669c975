"""What each kind of record says of its layer, and what it does not."""

import pytest

from linkbell_agent.layers.judge import MAX_EVIDENCE, Known, evidence, judge
from linkbell_agent.layers.states import Health
from linkbell_wire.failures import FailureCode, Operation
from linkbell_wire.records import HttpRecord, PingRecord, Record
from linkbell_wire.words import Layer, NeighbourState
from tests.agent.fakes import event_record
from tests.agent.layers.records import dns, http, ping, unsent

UP, IMPAIRED, DOWN, UNKNOWN = Health.UP, Health.IMPAIRED, Health.DOWN, Health.UNKNOWN
PORTAL = http(Layer.INTERNATIONAL, FailureCode.CAPTIVE_PORTAL, status=302, url="http://c/", target="portal-check")
CLEAN = http(Layer.INTERNATIONAL, status=204, url="http://c/", target="portal-check")


def health(record: Record, known: Known | None = None, layer: Layer | None = None) -> Health:
    states, _ = judge([record], known or Known())
    where: Layer = layer or record.layer  # type: ignore[attr-defined]
    return states.of(where)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (ping(lost=9), UP),
        (ping(lost=10), DOWN),
        (ping(lost=10, code=FailureCode.NETWORK_UNREACHABLE), DOWN),
        (ping(lost=10, code=FailureCode.TOO_MANY_FILES), UNKNOWN),
        (ping(sent=0), UNKNOWN),
        (unsent(Layer.INTERNATIONAL, Operation.RESOLVE, FailureCode.DNS_TIMEOUT), UNKNOWN),
        (unsent(Layer.INTERNATIONAL, Operation.BIND, FailureCode.UPLINK_UNAVAILABLE), UNKNOWN),
        (unsent(Layer.ISP, Operation.CONNECT, FailureCode.PROHIBITED), UNKNOWN),
        (unsent(Layer.GATEWAY, Operation.BIND, FailureCode.UPLINK_UNAVAILABLE), DOWN),
        (unsent(Layer.GATEWAY, Operation.CONNECT, FailureCode.NETWORK_UNREACHABLE), DOWN),
        (unsent(Layer.GATEWAY, Operation.BIND, FailureCode.PERMISSION_DENIED), UNKNOWN),
    ],
)
def test_a_ping(record: PingRecord, expected: Health) -> None:
    assert health(record) is expected


@pytest.mark.parametrize(
    ("neighbour", "code", "has_answered_before", "expected"),
    [
        (NeighbourState.ANSWERS, FailureCode.TIMEOUT, False, UP),
        (NeighbourState.SILENT, FailureCode.TIMEOUT, False, DOWN),
        (None, FailureCode.HOST_UNREACHABLE, False, DOWN),
        (None, FailureCode.TIMEOUT, False, UNKNOWN),
        (None, FailureCode.TIMEOUT, True, DOWN),
        (NeighbourState.ANSWERS, FailureCode.TIMEOUT, True, UP),
    ],
)
def test_a_gateway_that_sends_no_reply_is_judged_by_arp_and_by_its_habits(
    neighbour: NeighbourState | None, code: FailureCode, has_answered_before: bool, expected: Health
) -> None:
    known = Known(answering={"192.0.2.1"} if has_answered_before else set())
    assert health(ping(Layer.GATEWAY, lost=10, code=code, neighbour=neighbour), known) is expected


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (http(), UP),
        (http(status=301), UP),
        (http(code=FailureCode.HTTP_STATUS, status=500), IMPAIRED),
        (http(code=FailureCode.HTTP_STATUS, status=504), IMPAIRED),
        (http(code=FailureCode.HTTP_STATUS, status=504, url="http://platform.example/"), DOWN),
        (http(code=FailureCode.BLOCKED_PAGE, status=451), IMPAIRED),
        (http(code=FailureCode.TLS_CERTIFICATE_EXPIRED, operation=Operation.TLS_HANDSHAKE, status=None), IMPAIRED),
        (http(code=FailureCode.CONNECTION_REFUSED, operation=Operation.CONNECT, status=None), IMPAIRED),
        (http(code=FailureCode.CONNECTION_RESET, operation=Operation.TLS_HANDSHAKE, status=None), IMPAIRED),
        (http(code=FailureCode.TIMEOUT, operation=Operation.CONNECT, status=None), DOWN),
        (http(code=FailureCode.HOST_UNREACHABLE, operation=Operation.CONNECT, status=None), DOWN),
        (http(code=FailureCode.DNS_TIMEOUT, operation=Operation.RESOLVE, status=None), UNKNOWN),
        (http(code=FailureCode.PROHIBITED, operation=Operation.CONNECT, status=None), UNKNOWN),
        (http(code=FailureCode.UPLINK_UNAVAILABLE, operation=Operation.BIND, status=None), UNKNOWN),
        (http(code=FailureCode.CAPTIVE_PORTAL, status=302), UNKNOWN),
        (
            http(code=FailureCode.TLS_CERTIFICATE_NOT_YET_VALID, operation=Operation.TLS_HANDSHAKE, status=None),
            UNKNOWN,
        ),
        (
            http(code=FailureCode.TLS_CERTIFICATE_INVALID, operation=Operation.TLS_HANDSHAKE, status=None),
            IMPAIRED,
        ),
    ],
)
def test_a_fetch(record: HttpRecord, expected: Health) -> None:
    assert health(record) is expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (None, UP),
        (FailureCode.DNS_TIMEOUT, DOWN),
        (FailureCode.DNS_REFUSED, DOWN),
        (FailureCode.DNS_SERVER_FAILURE, DOWN),
        (FailureCode.DNS_NOT_FOUND, DOWN),
        (FailureCode.DNS_FALSE_ANSWER, DOWN),
        (FailureCode.CONNECTION_REFUSED, DOWN),
        (FailureCode.PROTOCOL_ERROR, DOWN),
        (FailureCode.TOO_MANY_FILES, UNKNOWN),
        (FailureCode.PROHIBITED, UNKNOWN),
    ],
)
def test_a_look_up(code: FailureCode | None, expected: Health) -> None:
    assert health(dns(code)) is expected


def test_pings_to_a_name_server_or_a_platform_do_not_count_beside_look_ups_and_fetches() -> None:
    fetched = http(Layer.COLLECTOR, FailureCode.HTTP_STATUS, status=500)
    states, _ = judge([ping(Layer.DNS), dns(FailureCode.DNS_TIMEOUT), ping(Layer.COLLECTOR), fetched], Known())
    assert (states.dns, states.collector) == (DOWN, IMPAIRED)
    states, _ = judge([ping(Layer.DNS, lost=10), ping(Layer.COLLECTOR)], Known())
    assert (states.dns, states.collector) == (DOWN, UP)


def test_what_is_measured_aside_does_not_count_but_is_evidence() -> None:
    known = Known(aside={"given-8.8.8.8"})
    states, found = judge([dns(), dns(FailureCode.DNS_TIMEOUT, "8.8.8.8", "given-8.8.8.8")], known)
    assert states.dns is UP
    assert [(one.target, one.up) for one in evidence(found)] == [("resolver", True), ("given-8.8.8.8", False)]


def test_one_lie_condemns_a_name_server_and_another_that_tells_the_truth_helps() -> None:
    lie = dns(FailureCode.DNS_FALSE_ANSWER)
    assert judge([dns(), lie, dns()], Known())[0].dns is DOWN
    assert judge([dns(), lie, dns(target="resolver.2")], Known())[0].dns is IMPAIRED


@pytest.mark.parametrize(
    ("records", "portal"),
    [
        ([PORTAL], True),
        ([CLEAN], False),
        ([PORTAL, CLEAN], False),
        ([PORTAL, http()], True),  # a platform may be let through before the login
        ([], False),
    ],
)
def test_a_login_page_is_one_unless_a_page_of_known_content_came_through(records: list[Record], portal: bool) -> None:
    states, _ = judge(records, Known(portal_checks={"portal-check"}))
    assert states.portal is portal


def test_only_an_answer_from_outside_the_school_proves_a_line() -> None:
    known = Known(local={"192.168.1.1"})
    for resolver, local in (("192.168.1.1", True), (None, True), ("198.51.100.53", False)):
        assert judge([dns(resolver=resolver)], known)[0].local_dns is local
    both = [dns(resolver="192.168.1.1"), dns(resolver="198.51.100.53")]
    assert judge(both, known)[0].local_dns is False


def test_records_of_other_kinds_say_nothing() -> None:
    states, found = judge([event_record()], Known(), degraded=True)
    assert found == []
    assert states.degraded
    assert {states.of(layer) for layer in Layer} == {UNKNOWN}


def test_the_evidence_is_ordered_bounded_and_says_why() -> None:
    lost = ping(Layer.ISP, lost=10, failures={FailureCode.TIMEOUT: 4, FailureCode.HOST_UNREACHABLE: 6})
    _, found = judge([ping(), lost, ping(Layer.GATEWAY), ping(Layer.DOMESTIC, sent=0)], Known())
    shown = evidence(found)
    assert [(one.layer, one.up) for one in shown] == [
        (Layer.GATEWAY, True),
        (Layer.ISP, False),
        (Layer.INTERNATIONAL, True),
    ]
    assert shown[1].failure is not None
    assert shown[1].failure.code is FailureCode.HOST_UNREACHABLE
    assert len(evidence(found * 40)) == MAX_EVIDENCE
