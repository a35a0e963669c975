"""What a finished check is worth: passed, failed, or a failure to find out. Pure, and slow to blame the line."""

from dataclasses import dataclass, replace

from linkbell_agent.floor.exchange import Ending, SenderState
from linkbell_agent.floor.rule import Decision, State
from linkbell_wire import floor
from linkbell_wire.failures import Failure, FailureCode, Operation

HELD_BACK = 0.25
"""A sender that had nothing to send, or was not allowed to, for this part of the check was the limit itself."""

FEW_LOST = 0.03
"""Without BBR a sender slows down after every lost packet. If few were lost and no queue grew, it did, not the line."""

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
    if is_held_back(ending.sender, ending.duration_s):
        return Answer(failure=Failure(operation=operation, code=FailureCode.INCONCLUSIVE))
    return Answer(decision)


def is_held_back(sender: SenderState, duration_s: float) -> bool:
    """Say whether the sender, and not the line, kept the rate down."""
    if sender.starved_s + sender.rwnd_limited_s > HELD_BACK * duration_s:
        return True
    lost = sender.retransmit_ratio
    if sender.congestion_control == "bbr" or not lost:
        return False
    return lost <= FEW_LOST and not sender.has_queued


def _line_took_all(sender: SenderState) -> bool:
    """Say whether nothing queued and little was lost, so that pauses were the sender's. A policer drops, unqueued."""
    return not sender.has_queued and (sender.retransmit_ratio or 0.0) <= FEW_LOST


def _too_little(ending: Ending, floor_bps: float) -> FailureCode:
    budget_bytes = floor.budget_bytes(floor_bps)
    paced_s = budget_bytes * 8 / floor.pace_bps(floor_bps)
    if ending.cost_bytes > 0.9 * budget_bytes and ending.duration_s < FAR_TOO_FAST * paced_s:
        return FailureCode.PROTOCOL_ERROR
    return FailureCode.INCONCLUSIVE if ending.cost_bytes else FailureCode.NO_DATA
