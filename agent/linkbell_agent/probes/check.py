"""The check probe: is the line at least at its floor? Asked of the first server that takes it."""

from linkbell_agent.floor.client import FloorClient, Outcome
from linkbell_agent.floor.judge import Answer
from linkbell_agent.floor.rule import State
from linkbell_agent.ndt7.endpoint import Endpoint, parse
from linkbell_agent.probes.base import CheckRequest, ProbeContext
from linkbell_agent.slim import dataclass
from linkbell_wire import floor
from linkbell_wire.failures import Failure, FailureCode, Operation
from linkbell_wire.records import CheckRecord
from linkbell_wire.words import ServerScope

_OUT_OF_RANGE = Failure(operation=Operation.RUN, code=FailureCode.FLOOR_OUT_OF_RANGE)


@dataclass(frozen=True, slots=True)
class _Attempt:
    endpoint: Endpoint
    scope: ServerScope
    outcome: Outcome


async def check(request: CheckRequest, context: ProbeContext) -> CheckRecord:
    """Check once and return the record. Raises :class:`ValueError` if the request makes no sense.

    A server that is busy, cannot be reached or does not know floor checks passes the check on to the next. A floor that
    no check can hold a line to is a failure in the record: it came with somebody's configuration.
    """
    servers = [(parse(server.url), server.scope) for server in request.servers]
    if not servers or request.floor_bps < 0:
        raise ValueError("a floor check needs a server, and a floor that is not negative")
    if not floor.can_be_checked(request.floor_bps):
        endpoint, scope = servers[0]
        return _record(_Attempt(endpoint, scope, Outcome(Answer(failure=_OUT_OF_RANGE), False)), request, context)
    client = FloorClient(context.uplink, context.clock.monotonic)
    for endpoint, scope in servers:
        outcome = await client.measure(endpoint, request.direction, request.floor_bps, request.max_duration_s)
        attempt = _Attempt(endpoint, scope, outcome)
        if outcome.admitted:
            break
    if outcome.retry_after_s is not None:
        request.on_busy(outcome.retry_after_s)
    return _record(attempt, request, context)


def _record(attempt: _Attempt, request: CheckRequest, context: ProbeContext) -> CheckRecord:
    outcome, sender = attempt.outcome, attempt.outcome.sender
    decision = outcome.answer.decision
    return CheckRecord(
        **context.stamp(),
        server=attempt.endpoint.url,
        server_scope=attempt.scope,
        direction=request.direction,
        trigger=request.trigger,
        floor_bps=request.floor_bps,
        passed=None if decision is None else decision.state is State.PASSED,
        sure=None if decision is None else decision.sure,
        bps=None if decision is None else decision.bps,
        bps_low=None if decision is None else decision.low_bps,
        bps_high=None if decision is None else decision.high_bps,
        paced_bps=floor.pace_bps(request.floor_bps) if outcome.admitted else None,
        bytes=outcome.bytes,
        duration_s=outcome.duration_s,
        rtt_idle_s=outcome.rtt_idle_s,
        rtt_min_s=None if sender is None else sender.rtt_min_s,
        rtt_loaded_s=None if sender is None else sender.rtt_loaded_s,
        retransmit_ratio=None if sender is None else sender.retransmit_ratio,
        congestion_control=None if sender is None else sender.congestion_control,
        failure=outcome.answer.failure,
    )
