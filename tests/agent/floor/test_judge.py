"""What a finished check is worth: the line is blamed only if nothing else can be."""

import pytest

from linkbell_agent.floor.exchange import Ending, SenderState
from linkbell_agent.floor.judge import judge
from linkbell_agent.floor.rule import Decision, State
from linkbell_wire.failures import Failure, FailureCode, Operation

TIMEOUT = Failure(operation=Operation.RECEIVE, code=FailureCode.TIMEOUT)


def decided(state: State, busiest_bps: float = 5e6) -> Decision:
    return Decision(state, bps=9e6 if state is State.PASSED else 5e6, busiest_bps=busiest_bps, sure=True, end_s=1.0)


def unsure(bps: float, high_bps: float) -> Decision:
    return Decision(State.FAILED, bps=bps, low_bps=0.0, high_bps=high_bps, busiest_bps=bps, end_s=1.0)


def sender(**changes: object) -> SenderState:
    state = SenderState(rtts_s=[0.04] * 20, rtt_min_s=0.04, retransmit_ratio=0.0, congestion_control="bbr")
    for name, value in changes.items():
        setattr(state, name, value)
    return state


def far(**changes: object) -> SenderState:
    return sender(**{"rtts_s": [0.58] * 20, "rtt_min_s": 0.58, **changes})


QUEUE = [0.1] * 20


@pytest.mark.parametrize(
    ("decision", "state", "expected"),
    [
        (decided(State.PASSED), sender(), True),
        (decided(State.PASSED), sender(starved_s=0.9), True),
        (decided(State.FAILED), sender(), False),
        (decided(State.FAILED), sender(rtts_s=QUEUE), False),
        (decided(State.FAILED), sender(starved_s=0.4), FailureCode.INCONCLUSIVE),
        (decided(State.FAILED), sender(rwnd_limited_s=0.4), FailureCode.INCONCLUSIVE),
        (decided(State.FAILED), sender(congestion_control="cubic", retransmit_ratio=0.01), FailureCode.INCONCLUSIVE),
        (decided(State.FAILED), sender(congestion_control="cubic", retransmit_ratio=0.01, rtts_s=QUEUE), False),
        (decided(State.FAILED), sender(congestion_control="cubic", retransmit_ratio=0.3), False),
        (decided(State.FAILED), sender(congestion_control="cubic"), False),
        (decided(State.FAILED), sender(retransmit_ratio=0.01), False),
        (decided(State.FAILED), far(retransmit_ratio=0.01), FailureCode.INCONCLUSIVE),
        (decided(State.FAILED), far(), False),
        (decided(State.FAILED), far(retransmit_ratio=0.01, rtts_s=[0.58] * 20 + [0.62] * 3), False),
        (decided(State.FAILED), far(retransmit_ratio=0.2), False),
        (decided(State.FAILED, 8.5e6), sender(), True),
        (decided(State.FAILED, 8.5e6), sender(rtts_s=QUEUE), False),
        (decided(State.FAILED, 8.5e6), sender(retransmit_ratio=0.2), False),
        (decided(State.FAILED, 8.5e6), SenderState(), FailureCode.INCONCLUSIVE),
        (decided(State.FAILED), SenderState(), False),
        (unsure(7.6e6, 7.8e6), sender(rtts_s=QUEUE), False),
        (unsure(6e6, 8.6e6), sender(rtts_s=QUEUE), FailureCode.INCONCLUSIVE),
        (unsure(1.6e6, 3.2e6), sender(rtts_s=QUEUE), FailureCode.INCONCLUSIVE),
        (Decision(State.TOO_LITTLE), sender(), FailureCode.INCONCLUSIVE),
    ],
)
def test_what_is_recorded(decision: Decision, state: SenderState, expected: bool | FailureCode) -> None:
    answer = judge(Ending(decision, None, 1.0, 1_000_000, state), Operation.RECEIVE, 8e6)
    assert (answer.decision is None) != (answer.failure is None)
    if isinstance(expected, bool):
        assert answer.decision is not None
        assert (answer.decision.state is State.PASSED) is expected
    else:
        assert answer.failure == Failure(operation=Operation.RECEIVE, code=expected)


def test_a_budget_that_arrives_at_once_was_not_paced() -> None:
    ending = Ending(Decision(State.TOO_LITTLE), None, 0.1, 1_850_000, sender())
    assert judge(ending, Operation.RECEIVE, 8e6).failure == Failure(
        operation=Operation.RECEIVE, code=FailureCode.PROTOCOL_ERROR
    )


def test_nothing_at_all_is_no_data_and_a_failure_stays_what_it_is() -> None:
    nothing = judge(Ending(Decision(State.TOO_LITTLE)), Operation.RECEIVE, 8e6).failure
    assert nothing is not None
    assert nothing.code is FailureCode.NO_DATA
    assert judge(Ending(None, TIMEOUT), Operation.RECEIVE, 8e6).failure == TIMEOUT
