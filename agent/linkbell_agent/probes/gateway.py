"""The gateway: pinged like any target, and where no reply comes, asked by ARP. One that ignores pings is up."""

import socket
from collections.abc import Awaitable, Callable

from linkbell_agent.neighbour import neighbour_state
from linkbell_agent.net import Address, Uplink
from linkbell_agent.probes.base import PingRequest, Probe, ProbeContext
from linkbell_wire.failures import Failure, FailureCode, Operation
from linkbell_wire.records import PingRecord, Record
from linkbell_wire.words import Layer, NeighbourState, PingMethod

AskNeighbour = Callable[[Address, Uplink, float], Awaitable[NeighbourState | None]]

_THE_PATH_SAYS = frozenset({FailureCode.NETWORK_UNREACHABLE})
"""Without a route to it there is no neighbour to ask."""


def gateway_probe(ping: Probe[PingRequest], ask: AskNeighbour = neighbour_state) -> Probe[PingRequest]:
    """Return a probe that pings with ``ping`` and asks the neighbour itself where no reply came."""

    async def gateway(request: PingRequest, context: ProbeContext) -> Record:
        started_s = context.clock.monotonic()
        record = await ping(request, context)
        if not isinstance(record, PingRecord) or record.received or not record.sent or record.address is None:
            return record
        if set(record.failures) <= _THE_PATH_SAYS:
            return record
        state = await ask(
            _address(record.address, request.target.host), context.uplink, context.clock.monotonic() - started_s
        )
        return record.model_copy(update={"neighbour": state} | dict(context.stamp()))

    return gateway


def _address(address: str, host: str) -> Address:
    """Return the address pinged; a link-local one has its device in the host (``fe80::1%eth0``)."""
    bare, _, zone = address.partition("%")
    zone = zone or host.partition("%")[2]
    scope = socket.if_nametoindex(zone) if zone else 0
    return Address(socket.AF_INET6 if ":" in bare else socket.AF_INET, bare, scope)


def no_gateway(context: ProbeContext) -> PingRecord:
    """Return the finding of a box without a default route: it has no gateway to ping, and that is not silence."""
    return PingRecord(
        **context.stamp(),
        target="gateway",
        layer=Layer.GATEWAY,
        host="default-route",
        method=PingMethod.ICMP,
        sent=0,
        received=0,
        failure=Failure(operation=Operation.CONNECT, code=FailureCode.NETWORK_UNREACHABLE),
    )
