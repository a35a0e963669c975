"""What a finished check is worth: passed, failed, or a failure to find out. Pure, and slow to blame the line."""

from dataclasses import replace

from linkbell_agent.floor.exchange import Ending, SenderState
from linkbell_agent.floor.rule import Decision, State
from linkbell_agent.slim import dataclass
from linkbell_wire import floor
from linkbell_wire.failures import Failure, FailureCode, Operation

HELD_BACK = 0.25
"""A sender that had nothing to send, or was not allowed to, for this part of the check was the limit itself."""

LONG_RTT_S = 0.2
"""After a lost packet BBR sends no faster for a round trip; on longer lines that is a good part of the check."""

UNSTEADY = 0.06
"""An answer that is not sure has bounds of a few percent on a line near its floor; these are wider."""

FAR_TOO_FAST = 0.5
"""A budget that arrived in this part of the time its pace needs was not paced."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Exactly one of ``decision`` (passed or failed) and ``failure``."""

    decision: Decision | None = None
    failure: Failure | None = None


def judge(ending: Ending, operation: Operation, floor_bps: float) -> Answer:
    """Return what to record."""
    decision = ending.decision
    if ending.failure is not None or decision is None:
        return Answer(failure=ending.failure or Failure(operation=operation, code=FailureCode.UNKNOWN))
    if decision.state is State.PASSED:
        return Answer(decision)
    if decision.state is State.TOO_LITTLE:
        return Answer(failure=Failure(operation=operation, code=_too_little(ending, floor_bps)))
    if (decision.busiest_bps or 0.0) >= floor_bps:
        if not ending.sender.rtts_s:  # the line's pauses or the sender's: nobody says
            return Answer(failure=Failure(operation=operation, code=FailureCode.INCONCLUSIVE))
        if _line_took_all(ending.sender):
            return Answer(
                replace(decision, state=State.PASSED, bps=decision.busiest_bps, low_bps=None, high_bps=None, sure=False)
            )
    if is_held_back(ending.sender, ending.duration_s) or _is_unsteady(decision):
        return Answer(failure=Failure(operation=operation, code=FailureCode.INCONCLUSIVE))
    return Answer(decision)


def _is_unsteady(decision: Decision) -> bool:
    """Say whether the rate went up and down so much that its mean is no speed of anything."""
    if decision.sure or not decision.bps or decision.high_bps is None:
        return False
    return decision.high_bps - decision.bps > UNSTEADY * decision.bps


def is_held_back(sender: SenderState, duration_s: float) -> bool:
    """Say whether the sender, and not the line, kept the rate down."""
    if sender.starved_s + sender.rwnd_limited_s > HELD_BACK * duration_s:
        return True
    if not sender.retransmit_ratio or sender.has_lost_much or sender.has_queued:
        return False
    # Few were lost, and no queue grew: it was the sender that slowed down. BBR does so only for a round trip.
    return sender.congestion_control != "bbr" or (sender.rtt_min_s or 0.0) > LONG_RTT_S


def _line_took_all(sender: SenderState) -> bool:
    """Say whether nothing queued and little was lost, so that pauses were the sender's. A policer drops, unqueued."""
    return not sender.has_queued and not sender.has_lost_much


def _too_little(ending: Ending, floor_bps: float) -> FailureCode:
    budget_bytes = floor.budget_bytes(floor_bps)
    paced_s = budget_bytes * 8 / floor.pace_bps(floor_bps)
    if ending.cost_bytes > 0.9 * budget_bytes and ending.duration_s < FAR_TOO_FAST * paced_s:
        return FailureCode.PROTOCOL_ERROR
    return FailureCode.INCONCLUSIVE if ending.cost_bytes else FailureCode.NO_DATA
