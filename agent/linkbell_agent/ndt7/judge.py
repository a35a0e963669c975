"""What a test is worth: a speed, or a failure. Pure, and suspicious of whatever the server said.

The server's numbers are claims. A download is counted here, so a server can only lie about its round trips; an upload
is counted there, so its claim is held against what our own kernel sent.
"""

import statistics
from collections.abc import Sequence

from linkbell_agent.ndt7.exchange import Claim, Ending
from linkbell_agent.ndt7.rules import Sample
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

MAX_RTT_S = 60.0


def judge(direction: Direction, ending: Ending, max_duration_s: float) -> SpeedResult:
    """Return the result of one direction, or its failure with what it cost."""
    ending_sample = ending.sample
    failure = ending.failure or _too_little(direction, ending.stop, ending_sample, max_duration_s)
    if failure is not None:
        return failed(failure, ending.cost_bytes, ending_sample.elapsed_s)
    stop = ending.stop
    assert stop is not None
    if stop is Stop.SERVER and ending_sample.elapsed_s >= WHOLE * max_duration_s:
        stop = Stop.TIME
    bps = upload_bps(ending) if direction is Direction.UPLOAD else _bps(ending_sample.bytes, ending_sample.elapsed_s)
    rtt_min_s, rtt_loaded_s, retransmit_ratio = _path(direction, ending)
    return SpeedResult(
        bps=bps,
        bytes=ending.cost_bytes,
        duration_s=ending_sample.elapsed_s,
        stop=stop,
        rtt_min_s=rtt_min_s,
        rtt_loaded_s=rtt_loaded_s,
        retransmit_ratio=retransmit_ratio,
        congestion_control=ending.congestion_control,
    )


def failed(failure: Failure, cost_bytes: int = 0, duration_s: float = 0.0) -> SpeedResult:
    """Return a direction that has no speed, and what it cost all the same."""
    return SpeedResult(bytes=cost_bytes, duration_s=duration_s, failure=failure)


def _too_little(direction: Direction, stop: Stop | None, sample: Sample, max_duration_s: float) -> Failure | None:
    operation = Operation.RECEIVE if direction is Direction.DOWNLOAD else Operation.SEND
    if stop is Stop.SERVER and sample.elapsed_s < min(LEAST_ELAPSED_S, max_duration_s / 2):
        return Failure(operation=operation, code=FailureCode.CONNECTION_CLOSED)
    if sample.bytes < LEAST_BYTES or sample.elapsed_s <= 0:
        return Failure(operation=operation, code=FailureCode.NO_DATA)
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
    own = ending.own
    loaded = _median(ending.own_rtts_s)
    return (None, loaded, None) if own is None else (own.min_rtt_s, loaded, own.retransmit_ratio)


def _claimed_path(claims: Sequence[Claim]) -> tuple[float | None, float | None, float | None]:
    if not claims:
        return None, None, None
    last = claims[-1].tcp
    rtts = [rtt for claim in claims if (rtt := _rtt_s(claim.tcp.rtt_us)) is not None]
    return _rtt_s(last.min_rtt_us), _median(rtts), _retransmit_ratio(last)


def _retransmit_ratio(tcp: TcpInfoMessage) -> float | None:
    again, sent = tcp.bytes_retransmitted, tcp.bytes_sent
    return again / sent if sent and again is not None and again <= sent else None


def _rtt_s(micro: int | None) -> float | None:
    return None if micro is None or not 0 < micro / 1e6 <= MAX_RTT_S else micro / 1e6


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def _bps(count: float, elapsed_s: float) -> float:
    return count * 8 / elapsed_s
