"""From one round's records to the states of the layers, and the evidence that goes with a verdict. Pure."""

from collections.abc import Collection, Sequence

from linkbell_agent.layers.states import Health, LayerStates, together
from linkbell_agent.slim import dataclass
from linkbell_wire.failures import Failure, FailureCode, Operation
from linkbell_wire.records import DnsRecord, Evidence, HttpRecord, PingRecord, Record
from linkbell_wire.words import Layer, NeighbourState

MAX_EVIDENCE = 64

OWN_TROUBLE = frozenset(
    {
        FailureCode.PERMISSION_DENIED,
        FailureCode.OUT_OF_MEMORY,
        FailureCode.TOO_MANY_FILES,
        FailureCode.INTERRUPTED,
        FailureCode.UNKNOWN,
        FailureCode.TLS_CERTIFICATE_NOT_YET_VALID,
    }
)
"""The box's own trouble: it says nothing of the line. A certificate from the future is a clock that is behind."""

ANSWERED = frozenset(
    {
        FailureCode.CONNECTION_REFUSED,
        FailureCode.CONNECTION_RESET,
        FailureCode.CONNECTION_CLOSED,
        FailureCode.TLS_CERTIFICATE_INVALID,
        FailureCode.TLS_CERTIFICATE_EXPIRED,
        FailureCode.TLS_FAILED,
        FailureCode.HTTP_STATUS,
        FailureCode.REDIRECTED,
        FailureCode.BLOCKED_PAGE,
        FailureCode.PROTOCOL_ERROR,
        FailureCode.MESSAGE_TOO_LARGE,
    }
)
"""Failures of a fetch that somebody out there had to answer for."""

PROXY_GAVE_UP = (502, 503, 504)
"""Without encryption these may come from a proxy in the school whose own line is dead: nobody out there answered."""

GONE = (FailureCode.UPLINK_UNAVAILABLE, FailureCode.ADDRESS_UNAVAILABLE, FailureCode.NETWORK_UNREACHABLE)
"""The uplink's device, its address or its route is not there: there is no way even to the gateway."""


@dataclass(frozen=True, slots=True)
class Found:
    """One record as the verdict sees it."""

    layer: Layer
    target: str
    health: Health
    failure: Failure | None
    is_ping: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """What the judge has to know besides the records of the round.

    ``answering``: gateways that have answered pings. ``aside``: targets that are measured and do not count.
    ``portal_checks``: pages of known content, fetched to see whether something else answers for them.
    ``local``: resolvers that stand in the school.
    """

    answering: Collection[str] = frozenset()
    aside: Collection[str] = frozenset()
    portal_checks: Collection[str] = frozenset()
    local: Collection[str] = frozenset()


def judge(records: Sequence[Record], known: Known, *, degraded: bool = False) -> tuple[LayerStates, list[Found]]:
    """Return the states of all layers, and what each record contributed."""
    found = [one for one in (find(record, known) for record in records) if one is not None]
    counted = {layer: _counted(layer, found, known) for layer in Layer}
    states = LayerStates(
        **{layer.value: together(one.health for one in counted[layer]) for layer in Layer},
        portal=_sees_portal(records, known),
        degraded=degraded,
        local_dns=_is_local(records, known),
    )
    return states, found


def find(record: Record, known: Known) -> Found | None:
    """Read one record; ``None`` if it is of a kind that says nothing of the layers."""
    if isinstance(record, PingRecord):
        return Found(record.layer, record.target, ping_health(record, known.answering), _why_lost(record), True)
    if isinstance(record, DnsRecord):
        return Found(record.layer, record.target, _dns_health(record), record.failure)
    if isinstance(record, HttpRecord):
        return Found(record.layer, record.target, http_health(record), record.failure)
    return None


def ping_health(record: PingRecord, answering: Collection[str]) -> Health:
    """Read a ping. A gateway that ignores pings is judged by ARP; one that used to answer and stopped is down."""
    if record.received or record.neighbour is NeighbourState.ANSWERS:
        return Health.UP
    is_gateway = record.layer is Layer.GATEWAY
    if record.failure is not None:
        return Health.DOWN if is_gateway and record.failure.code in GONE else Health.UNKNOWN
    if not record.sent or set(record.failures) <= OWN_TROUBLE:
        return Health.UNKNOWN
    if is_gateway and record.neighbour is None and _only_silence(record):
        return Health.DOWN if record.host in answering else Health.UNKNOWN
    return Health.DOWN


def _only_silence(record: PingRecord) -> bool:
    return set(record.failures) <= {FailureCode.TIMEOUT, FailureCode.PROHIBITED}


def http_health(record: HttpRecord) -> Health:
    """Read a fetch. A name that did not resolve is the name server's matter, and a login page its own finding."""
    failure = record.failure
    if failure is None:
        return Health.UP
    not_asked = failure.operation in (Operation.BIND, Operation.RESOLVE) or failure.code is FailureCode.CAPTIVE_PORTAL
    refused_here = failure.code is FailureCode.PROHIBITED and failure.operation is Operation.CONNECT
    if not_asked or refused_here or failure.code in OWN_TROUBLE:
        return Health.UNKNOWN
    if record.url.startswith("http:") and record.status in PROXY_GAVE_UP:
        return Health.DOWN
    return Health.IMPAIRED if failure.code in ANSWERED else Health.DOWN


def _dns_health(record: DnsRecord) -> Health:
    failure = record.failure
    if failure is None:
        return Health.UP
    if failure.operation is Operation.BIND or failure.code in OWN_TROUBLE or failure.code is FailureCode.PROHIBITED:
        return Health.UNKNOWN
    return Health.DOWN


def _counted(layer: Layer, found: Sequence[Found], known: Known) -> list[Found]:
    """Return what counts for a layer: look-ups and fetches before pings, which only see that the host lives."""
    here = [one for one in found if one.layer is layer and one.target not in known.aside]
    if layer is Layer.DNS:
        # One lie is enough: the right answers beside it do not make a name server that can be relied on.
        liars = {one.target for one in here if _is_lie(one)}
        here = [one for one in here if one.target not in liars or _is_lie(one)]
    if layer not in (Layer.DNS, Layer.PLATFORM, Layer.COLLECTOR):
        return here
    return [one for one in here if not one.is_ping] or here


def _is_lie(one: Found) -> bool:
    return one.failure is not None and one.failure.code is FailureCode.DNS_FALSE_ANSWER


def _sees_portal(records: Sequence[Record], known: Known) -> bool:
    """A login page answered, and no page of known content came through as it is."""
    pages = [record for record in records if isinstance(record, HttpRecord)]
    seen = any(page.failure is not None and page.failure.code is FailureCode.CAPTIVE_PORTAL for page in pages)
    clean = any(page.failure is None and page.target in known.portal_checks for page in pages)
    return seen and not clean


def _is_local(records: Sequence[Record], known: Known) -> bool:
    answering = [record for record in records if isinstance(record, DnsRecord) and record.failure is None]
    return all(record.resolver is None or record.resolver in known.local for record in answering)


def _why_lost(record: PingRecord) -> Failure | None:
    if record.failure is not None or record.received or not record.failures:
        return record.failure
    code = max(record.failures, key=lambda one: record.failures[one])
    return Failure(operation=Operation.RECEIVE if code is FailureCode.TIMEOUT else Operation.SEND, code=code)


def evidence(found: Sequence[Found]) -> list[Evidence]:
    """Return what goes with a verdict: all that was found out, nearest layer first."""
    order = list(Layer)
    known = [one for one in found if one.health is not Health.UNKNOWN or one.failure is not None]
    return [
        Evidence(layer=one.layer, target=one.target, up=one.health is Health.UP, failure=one.failure)
        for one in sorted(known, key=lambda one: order.index(one.layer))
    ][:MAX_EVIDENCE]
