"""How round trips are counted and summed up."""

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkbell_agent.round_trips import Train, summarise
from linkbell_wire.failures import FailureCode
from linkbell_wire.records import PingRecord
from linkbell_wire.words import Layer, PingMethod

TIMES = st.floats(min_value=0, max_value=86_400, allow_nan=False)
CODES = st.dictionaries(st.sampled_from(FailureCode), st.integers(0, 100))


@pytest.mark.parametrize(
    ("rtts_s", "low", "mean", "p95", "high", "jitter"),
    [
        ([], None, None, None, None, None),
        ([0.02], 0.02, 0.02, 0.02, 0.02, None),
        ([0.01, 0.03], 0.01, 0.02, 0.03, 0.03, 0.02),
        ([0.03, 0.01, 0.02], 0.01, 0.02, 0.03, 0.03, 0.015),
        ([0.1] * 3, 0.1, 0.1, 0.1, 0.1, 0.0),
        ([0.001 * number for number in range(1, 21)], 0.001, 0.0105, 0.019, 0.02, 0.001),
        ([0.0000004], 0.0, 0.0, 0.0, 0.0, None),
    ],
)
def test_round_trips_are_summed_up(
    rtts_s: list[float], low: float, mean: float, p95: float, high: float, jitter: float
) -> None:
    summary = summarise(rtts_s, {FailureCode.TIMEOUT: 2, FailureCode.PROHIBITED: 0})
    assert summary == {
        "sent": len(rtts_s) + 2,
        "received": len(rtts_s),
        "rtt_min_s": low,
        "rtt_mean_s": mean,
        "rtt_p95_s": p95,
        "rtt_max_s": high,
        "jitter_s": jitter,
        "failures": {FailureCode.TIMEOUT: 2},
    }


@given(rtts_s=st.lists(TIMES, max_size=100), failures=CODES)
def test_any_summary_is_a_valid_record(rtts_s: list[float], failures: Mapping[FailureCode, int]) -> None:
    record = PingRecord(
        seq=0,
        uplink="main",
        at=datetime(2026, 3, 2, tzinfo=UTC),
        boot_id="boot",
        boottime_s=1.0,
        target="target",
        layer=Layer.ISP,
        host="192.0.2.1",
        method=PingMethod.ICMP,
        **summarise(rtts_s, failures),
    )
    assert record.sent == record.received + sum(record.failures.values())


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["sent", "replied", "failed", "all"]),
        st.integers(0, 9),
        st.floats(0, 100),
        st.sampled_from(FailureCode),
    ),
    max_size=60,
)


@given(events=EVENTS)
def test_whatever_happens_each_packet_is_counted_exactly_once(
    events: list[tuple[str, int, float, FailureCode]],
) -> None:
    train = Train(timeout_s=5)
    sent: set[int] = set()
    for what, sequence, at_s, code in events:
        if what == "sent" and sequence not in sent:
            sent.add(sequence)
            train.sent(sequence, at_s)
        elif what == "replied":
            train.replied(sequence, at_s)
        elif what == "failed":
            train.failed(sequence, code)
        elif what == "all":
            train.fail_outstanding(code)
    summary = train.summary()
    assert summary["sent"] == len(sent) == summary["received"] + sum(summary["failures"].values())
    assert summary["rtt_max_s"] is None or 0 <= summary["rtt_max_s"] <= 5


def test_what_is_settled_stays_settled() -> None:
    train = Train(timeout_s=1)
    train.sent(0, 10.0)
    train.sent(1, 10.0)
    train.failed(1, FailureCode.TTL_EXCEEDED)
    train.replied(0, 10.25)
    train.replied(0, 10.5)
    train.failed(0, FailureCode.PROHIBITED)
    train.replied(1, 10.5)
    train.replied(7, 10.5)
    assert not train.has_outstanding
    summary = train.summary()
    assert (summary["rtt_max_s"], summary["failures"]) == (0.25, {FailureCode.TTL_EXCEEDED: 1})


def test_what_is_not_settled_at_the_end_timed_out() -> None:
    train = Train(timeout_s=1)
    train.sent(0, 10.0)
    train.replied(0, 11.5)
    assert train.has_outstanding
    assert train.summary()["failures"] == {FailureCode.TIMEOUT: 1}
