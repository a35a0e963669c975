"""What a test is worth: a speed, or a failure. Pure, and suspicious of whatever the server said.

The server's numbers are claims. A download is counted here, so a server can only lie about its round trips. Of an
upload our own kernel knows what was acknowledged; a server's claim is used where it must be, and held against that.
"""

import math
from collections.abc import Iterable, Sequence

from linkbell_agent import averages
from linkbell_agent.ndt7.exchange import Ending
from linkbell_agent.ndt7.rules import Estimate
from linkbell_agent.ndt7.stream import Claim
from linkbell_agent.slim import dataclass
from linkbell_wire.failures import Failure, FailureCode, Operation
from linkbell_wire.ndt7 import MIN_MESSAGE_BYTES
from linkbell_wire.ndt7.measurement import TcpInfoMessage
from linkbell_wire.records import SpeedResult
from linkbell_wire.words import Direction, Stop

LEAST_BYTES = MIN_MESSAGE_BYTES
"""Less than the first message of a test is no measurement."""

LEAST_ELAPSED_S = 2.0
"""ndt7 lets a server end early. Before this, most paths are still in TCP's slow start and any number would be low;
half the asked duration, if that is shorter."""

WHOLE = 0.95
"""A server that ends at this part of the asked duration has run the test to its end: its clock started before ours."""

CLAIM_SURPLUS = 1.1
"""A server cannot have received more than we sent: a claim beyond this much of it is not believed."""

CLAIM_AGE = 0.8
"""A claim from before this part of the test says nothing about its end, and is not used."""

CLOCKS_APART = 0.2
"""A server whose clock runs more than this part faster or slower than ours is not believed."""

READ_SURPLUS = 1.25
"""A download's speed may say that this much more arrived than was read, besides what the kernel had room for."""

MAX_RTT_S = 60.0


@dataclass(frozen=True, slots=True)
class Judged:
    """A direction's result, and the stretch of time its speed speaks of, on the monotonic clock."""

    result: SpeedResult
    window: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class _Speed:
    """A speed with its bounds, and its window at the receiver, on the clock of the test."""

    bps: float
    low_bps: float | None
    high_bps: float | None
    start_s: float
    end_s: float


def judge(direction: Direction, ending: Ending, max_duration_s: float) -> Judged:
    """Return the result of one direction, or its failure with what it cost."""
    speed = _speed(direction, ending)
    failure = ending.failure or _too_little(direction, ending, max_duration_s)
    if failure is None and speed is None:
        failure = Failure(operation=_operation(direction), code=FailureCode.INCONCLUSIVE)
    if failure is None and speed is not None and direction is Direction.DOWNLOAD and _is_unread(speed, ending):
        failure = Failure(operation=Operation.RECEIVE, code=FailureCode.PROTOCOL_ERROR)
    if failure is not None or speed is None:
        assert failure is not None
        return Judged(failed(failure, ending.cost_bytes, ending.sample.elapsed_s))
    stop = ending.stop
    assert stop is not None
    if stop is Stop.SERVER and ending.sample.elapsed_s >= WHOLE * max_duration_s:
        stop = Stop.TIME
    rtt_min_s, rtt_loaded_s, retransmit_ratio = _path(direction, ending)
    result = SpeedResult(
        bps=speed.bps,
        bps_low=speed.low_bps,
        bps_high=speed.high_bps,
        window_s=speed.end_s - speed.start_s,
        bytes=ending.cost_bytes,
        duration_s=ending.sample.elapsed_s,
        streams=ending.streams,
        stop=stop,
        rtt_min_s=rtt_min_s,
        rtt_loaded_s=rtt_loaded_s,
        retransmit_ratio=retransmit_ratio,
        congestion_control=ending.congestion_control,
    )
    return Judged(result, (ending.started_s + speed.start_s, ending.started_s + speed.end_s))


def _operation(direction: Direction) -> Operation:
    return Operation.RECEIVE if direction is Direction.DOWNLOAD else Operation.SEND


def _speed(direction: Direction, ending: Ending) -> _Speed | None:
    if ending.is_ruled:
        return None if ending.estimate is None else _estimated(direction, ending, ending.estimate)
    if ending.sample.elapsed_s <= 0:
        return None
    whole = upload_bps(ending) if direction is Direction.UPLOAD else _bps(ending.sample.bytes, ending.sample.elapsed_s)
    return _Speed(whole, None, None, 0.0, ending.sample.elapsed_s)


def _estimated(direction: Direction, ending: Ending, estimate: Estimate) -> _Speed:
    """Return the rule's estimate in payload. What our kernel heard of an upload had half a round trip to come back."""
    share = ending.payload_share
    late_s = 0.0
    if direction is Direction.UPLOAD:
        late_s = min((info.min_rtt_s or 0.0 for info in ending.own), default=0.0) / 2
        claimed_bps = _claimed_in(ending, estimate) if ending.is_split else None
        if claimed_bps is not None and claimed_bps < estimate.bps * share:
            share = claimed_bps / estimate.bps
    return _Speed(
        estimate.bps * share,
        estimate.low_bps * share,
        None if math.isinf(estimate.high_bps) else estimate.high_bps * share,
        max(0.0, estimate.start_s - late_s),
        estimate.end_s - late_s,
    )


def _claimed_in(ending: Ending, estimate: Estimate) -> float | None:
    """Return what the server says it received in the window, ``None`` if it says too little or its clock is odd."""
    points = [
        (claim.arrived_s, *counters)
        for claim in ending.claims
        if estimate.start_s <= claim.arrived_s and (counters := _received(claim, ending.streams)) is not None
    ]
    if len(points) < 2:
        return None
    (first_s, first_us, first_bytes), (last_s, last_us, last_bytes) = points[0], points[-1]
    elapsed_s = (last_us - first_us) / 1e6
    enough = last_s - first_s >= (estimate.end_s - estimate.start_s) / 2
    same_clock = abs(elapsed_s - (last_s - first_s)) <= CLOCKS_APART * (last_s - first_s)
    if not (enough and same_clock and last_bytes >= first_bytes and elapsed_s > 0):
        return None
    return _bps((last_bytes - first_bytes) * ending.payload_share, elapsed_s)


def _received(claim: Claim, streams: int) -> tuple[int, int] | None:
    """Return microseconds and TCP bytes of all streams, ``None`` if the claim does not speak of all."""
    if claim.group is not None:
        return claim.group.elapsed_us, claim.group.bytes_received
    if streams > 1 or claim.tcp.elapsed_us is None or claim.tcp.bytes_received is None:
        return None
    return claim.tcp.elapsed_us, claim.tcp.bytes_received


def failed(failure: Failure, cost_bytes: int = 0, duration_s: float = 0.0) -> SpeedResult:
    """Return a direction that has no speed, and what it cost all the same."""
    return SpeedResult(bytes=cost_bytes, duration_s=duration_s, failure=failure)


def _is_unread(speed: _Speed, ending: Ending) -> bool:
    """Say whether a speed counts far more than there was payload: the rest was the server's talk, or its tricks."""
    if not ending.is_ruled:  # then the speed is of what was read, and of nothing else
        return False
    read = ending.readings.most_between(speed.start_s, speed.end_s)
    counted = speed.bps * (speed.end_s - speed.start_s) / 8
    return counted > READ_SURPLUS * read + ending.could_wait_bytes


def _too_little(direction: Direction, ending: Ending, max_duration_s: float) -> Failure | None:
    sample, knows = ending.sample, ending.estimate is not None
    least_s = min(LEAST_ELAPSED_S, max_duration_s / 2)
    if ending.stop is Stop.SERVER and sample.elapsed_s < least_s and not knows:
        return Failure(operation=_operation(direction), code=FailureCode.CONNECTION_CLOSED)
    if sample.bytes < LEAST_BYTES or sample.elapsed_s <= 0:
        return Failure(operation=_operation(direction), code=FailureCode.NO_DATA)
    return None


def upload_bps(ending: Ending) -> float:
    """Return the receiver's own speed if it is believable and fresh, else that of our kernel's acknowledgements.

    The latest claim from before the stop counts: one from after it has idle time in it.
    """
    for claim in reversed(ending.claims):
        claimed = _believable(claim, ending)
        if claimed is not None:
            return claimed
    return _bps(ending.sample.bytes, ending.sample.elapsed_s)


def _believable(claim: Claim, ending: Ending) -> float | None:
    received, elapsed_us = claim.tcp.bytes_received, claim.tcp.elapsed_us
    if not received or not elapsed_us or claim.arrived_s < CLAIM_AGE * ending.sample.elapsed_s:
        return None
    claimed = _bps(received * ending.payload_share, elapsed_us / 1e6)
    acked = _bps(ending.sample.bytes, ending.sample.elapsed_s)
    return claimed if claimed <= CLAIM_SURPLUS * acked else None


def _path(direction: Direction, ending: Ending) -> tuple[float | None, float | None, float | None]:
    """Return least round trip, median round trip under load, and share sent again, as the sending side saw them."""
    if direction is Direction.DOWNLOAD:
        return _claimed_path(ending.claims)
    least = min((info.min_rtt_s for info in ending.own if info.min_rtt_s is not None), default=None)
    sent = sum(info.bytes_sent or 0 for info in ending.own)
    again = sum(info.bytes_retransmitted or 0 for info in ending.own)
    return least, _median(ending.own_rtts_s), min(1.0, again / sent) if sent else None


def _claimed_path(claims: Sequence[Claim]) -> tuple[float | None, float | None, float | None]:
    last = {claim.stream: claim.tcp for claim in claims}.values()
    least = min((rtt for tcp in last if (rtt := _rtt_s(tcp.min_rtt_us)) is not None), default=None)
    rtts = [rtt for claim in claims if (rtt := _rtt_s(claim.tcp.rtt_us)) is not None]
    return least, _median(rtts), _retransmit_ratio(last)


def _retransmit_ratio(last: Iterable[TcpInfoMessage]) -> float | None:
    """Return the share sent again over all streams, ``None`` if one of them tells what cannot be."""
    sent_bytes = again_bytes = 0
    for tcp in last:
        sent, again = tcp.bytes_sent, tcp.bytes_retransmitted
        if not sent or again is None or again > sent:
            return None
        sent_bytes, again_bytes = sent_bytes + sent, again_bytes + again
    return again_bytes / sent_bytes if sent_bytes else None


def _rtt_s(micro: int | None) -> float | None:
    return None if micro is None or not 0 < micro / 1e6 <= MAX_RTT_S else micro / 1e6


def _median(values: Sequence[float]) -> float | None:
    return averages.median(values) if values else None


def _bps(count: float, elapsed_s: float) -> float:
    return count * 8 / elapsed_s
