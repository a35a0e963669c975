"""What a test is worth, decided from what is known when it is over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkbell_agent.ndt7 import judge as judging
from linkbell_agent.ndt7.exchange import Ending
from linkbell_agent.ndt7.readings import Readings
from linkbell_agent.ndt7.rules import Caps, Estimate, Sample
from linkbell_agent.ndt7.stream import Claim
from linkbell_agent.ndt7.upload import grow
from linkbell_wire.failures import Failure, FailureCode, Operation
from linkbell_wire.ndt7.measurement import GroupInfo, TcpInfoMessage
from linkbell_wire.records import SpeedResult
from linkbell_wire.words import Direction, Stop

DOWN, UP = Direction.DOWNLOAD, Direction.UPLOAD


def judge(direction: Direction, ending: Ending, max_duration_s: float) -> SpeedResult:
    return judging.judge(direction, ending, max_duration_s).result


def claim(arrived_s: float, **tcp: int) -> Claim:
    return Claim(arrived_s, TcpInfoMessage(**tcp))


def ending(stop: Stop, elapsed_s: float, count: int, *claims: Claim) -> Ending:
    return Ending(stop=stop, sample=Sample(elapsed_s, count), cost_bytes=count + 1000, claims=list(claims))


def test_a_download_is_what_arrived_here_over_the_time_it_took() -> None:
    result = judge(DOWN, ending(Stop.TIME, 10.0, 12_500_000, claim(9.9, bytes_acked=10**12)), 10.0)
    assert result.bps == 10_000_000
    assert result.bytes == 12_501_000
    assert result.stop is Stop.TIME


@pytest.mark.parametrize(
    ("elapsed_s", "count", "code"),
    [
        (1.9, 10**9, FailureCode.CONNECTION_CLOSED),
        (0.0, 0, FailureCode.CONNECTION_CLOSED),
        (2.0, 8191, FailureCode.NO_DATA),
    ],
)
def test_a_server_that_ends_too_early_gives_no_number(elapsed_s: float, count: int, code: FailureCode) -> None:
    result = judge(DOWN, ending(Stop.SERVER, elapsed_s, count), 10.0)
    assert result.failure == Failure(operation=Operation.RECEIVE, code=code)
    assert result.bps is None
    assert result.bytes == count + 1000


@pytest.mark.parametrize(
    ("elapsed_s", "asked_s", "stop"),
    [(2.0, 10.0, Stop.SERVER), (9.4, 10.0, Stop.SERVER), (9.6, 10.0, Stop.TIME), (0.6, 1.0, Stop.SERVER)],
)
def test_a_server_that_ends_after_a_real_amount_gives_a_result(elapsed_s: float, asked_s: float, stop: Stop) -> None:
    result = judge(DOWN, ending(Stop.SERVER, elapsed_s, 10**6), asked_s)
    assert result.stop is stop
    assert result.bps == pytest.approx(8e6 / elapsed_s)


def test_a_test_that_brought_almost_nothing_is_no_slow_line() -> None:
    result = judge(UP, ending(Stop.TIME, 10.0, 100), 10.0)
    assert result.failure == Failure(operation=Operation.SEND, code=FailureCode.NO_DATA)


def test_a_failure_keeps_what_it_cost() -> None:
    failure = Failure(operation=Operation.RECEIVE, code=FailureCode.CONNECTION_RESET)
    result = judge(DOWN, Ending(failure=failure, sample=Sample(3.0, 5000), cost_bytes=6000), 10.0)
    assert (result.failure, result.bytes, result.duration_s, result.stop) == (failure, 6000, 3.0, None)


MIB = 1_000_000


@pytest.mark.parametrize(
    ("claims", "bps"),
    [
        pytest.param([], 8e6, id="no claim: what our kernel saw acknowledged"),
        pytest.param([claim(9.8, bytes_received=9 * MIB, elapsed_us=9_800_000)], 72e6 / 9.8, id="believable"),
        pytest.param(
            [claim(9.8, bytes_received=5 * MIB, elapsed_us=9_800_000)], 40e6 / 9.8, id="less than acked: a proxy"
        ),
        pytest.param([claim(9.8, bytes_received=99 * MIB, elapsed_us=9_800_000)], 8e6, id="too many bytes"),
        pytest.param([claim(9.8, bytes_received=9 * MIB, elapsed_us=1_000_000)], 8e6, id="too little time"),
        pytest.param([claim(7.9, bytes_received=MIB, elapsed_us=7_900_000)], 8e6, id="too old"),
        pytest.param([claim(9.8, bytes_received=0, elapsed_us=9_800_000)], 8e6, id="nothing received"),
        pytest.param([claim(9.8, bytes_received=9 * MIB)], 8e6, id="no time"),
        pytest.param(
            [
                claim(9.5, bytes_received=9 * MIB, elapsed_us=9_500_000),
                claim(9.8, bytes_received=99 * MIB, elapsed_us=9_800_000),
            ],
            72e6 / 9.5,
            id="the latest believable one",
        ),
    ],
)
def test_an_upload_is_the_servers_number_if_it_can_be_true(claims: list[Claim], bps: float) -> None:
    assert judge(UP, ending(Stop.TIME, 10.0, 10 * MIB, *claims), 10.0).bps == pytest.approx(bps)


def test_frame_headers_and_tls_are_not_counted_as_payload() -> None:
    given_ending = ending(Stop.TIME, 10.0, 10 * MIB, claim(9.9, bytes_received=10 * MIB, elapsed_us=10_000_000))
    given_ending.payload_share = 0.99
    assert judge(UP, given_ending, 10.0).bps == pytest.approx(0.99 * 8e6)


def test_round_trips_of_a_download_are_the_servers_and_bounded() -> None:
    claims = [
        claim(1.0, rtt_us=20_000, min_rtt_us=10_000),
        claim(2.0, rtt_us=90_000, min_rtt_us=9_000),
        claim(3.0, rtt_us=30_000, min_rtt_us=9_000, bytes_sent=1000, bytes_retransmitted=10),
    ]
    result = judge(DOWN, ending(Stop.TIME, 10.0, 10**6, *claims), 10.0)
    assert (result.rtt_min_s, result.rtt_loaded_s, result.retransmit_ratio) == (0.009, 0.03, 0.01)
    nonsense = claim(1.0, rtt_us=0, min_rtt_us=10**15, bytes_sent=1, bytes_retransmitted=2)
    result = judge(DOWN, ending(Stop.TIME, 10.0, 10**6, nonsense), 10.0)
    assert (result.rtt_min_s, result.rtt_loaded_s, result.retransmit_ratio) == (None, None, None)


COUNTERS = st.none() | st.integers(min_value=0, max_value=2**63 - 1)


@given(
    st.sampled_from(Direction),
    st.sampled_from(Stop),
    st.just(0.0) | st.floats(min_value=0.01, max_value=15),
    st.integers(min_value=0, max_value=10**10),
    st.lists(
        st.builds(
            Claim,
            st.floats(min_value=0, max_value=15),
            st.builds(
                TcpInfoMessage,
                elapsed_us=COUNTERS,
                bytes_received=COUNTERS,
                bytes_sent=COUNTERS,
                bytes_retransmitted=COUNTERS,
                rtt_us=COUNTERS,
                min_rtt_us=COUNTERS,
            ),
        ),
        max_size=4,
    ),
)
def test_whatever_a_server_claims_the_result_can_be_recorded_and_no_claim_makes_an_upload_faster(
    direction: Direction, stop: Stop, elapsed_s: float, count: int, claims: list[Claim]
) -> None:
    result = judge(direction, ending(stop, elapsed_s, count, *claims), 10.0)
    if result.bps is not None:
        assert result.bps <= count * 8 / elapsed_s * 1.1


@pytest.mark.parametrize(
    ("elapsed_s", "cost_bytes", "stop"),
    [(9.9, 999, None), (1.0, 1000, Stop.BYTES), (10.0, 10, Stop.TIME), (10.0, 1000, Stop.BYTES)],
)
def test_caps_hold(elapsed_s: float, cost_bytes: int, stop: Stop | None) -> None:
    assert Caps(10.0, 1000)(elapsed_s, cost_bytes) is stop
    assert Caps(10.0)(9.9, 10**15) is None


def ruled(estimate: Estimate | None, *claims: Claim, stop: Stop = Stop.STABLE, split: bool = False) -> Ending:
    made = ending(stop, 1.5, 10**6, *claims)
    made.is_ruled, made.estimate, made.is_split, made.started_s = True, estimate, split, 100.0
    for tick in range(151):  # ten megabits a second, all of it payload
        made.readings.add(tick / 100, 12_500 * tick)
    return made


SEEN = Estimate(bps=8e6, low_bps=7.9e6, high_bps=8.1e6, start_s=0.5, end_s=1.5)


def test_a_rules_estimate_is_the_speed_of_its_window() -> None:
    judged = judging.judge(DOWN, ruled(SEEN), 10.0)
    result = judged.result
    assert (result.bps, result.bps_low, result.bps_high, result.window_s) == (8e6, 7.9e6, 8.1e6, 1.0)
    assert (result.stop, result.duration_s) == (Stop.STABLE, 1.5)
    assert judged.window == (100.5, 101.5)


@pytest.mark.parametrize("stop", [Stop.TIME, Stop.BYTES])
def test_a_ramp_that_was_cut_short_gives_no_number(stop: Stop) -> None:
    result = judge(DOWN, ruled(None, stop=stop), 10.0)
    assert result.failure == Failure(operation=Operation.RECEIVE, code=FailureCode.INCONCLUSIVE)
    assert result.bps is None


def test_a_server_that_ends_early_is_believed_once_the_line_was_seen_full() -> None:
    assert judge(DOWN, ruled(SEEN, stop=Stop.SERVER), 10.0).bps == 8e6


@pytest.mark.parametrize(
    ("read", "room", "is_believed"),
    [
        pytest.param(1_000_000, 0, True, id="all of it was read"),
        pytest.param(801_000, 0, True, id="nearly all"),
        pytest.param(799_000, 0, False, id="too little"),
        pytest.param(0, 999_000, False, id="none, and there was not room for all to wait"),
        pytest.param(0, 1_001_000, True, id="none, but all may have waited behind a lost packet"),
        pytest.param(400_000, 501_000, True, id="half was read, the rest may have waited"),
    ],
)
def test_a_download_is_no_faster_than_its_payload(read: int, room: int, is_believed: bool) -> None:
    made = ruled(SEEN)
    made.readings, made.could_wait_bytes = Readings(), room
    for elapsed_s, count in [(0.0, 0), (0.5, 300_000), (1.5, 300_000 + read), (1.6, 5_000_000)]:
        made.readings.add(elapsed_s, count)
    result = judge(DOWN, made, 10.0)
    assert (result.bps == 8e6) is is_believed
    assert (result.failure == Failure(operation=Operation.RECEIVE, code=FailureCode.PROTOCOL_ERROR)) is not is_believed


def test_what_was_read_between_two_looks_is_what_the_looks_around_them_say() -> None:
    readings = Readings()
    assert readings.most_between(0.0, 1.0) == 0.0
    for elapsed_s, count in [(0.1, 10), (0.2, 30), (0.3, 70), (0.4, 150)]:
        readings.add(elapsed_s, count)
    assert readings.most_between(0.2, 0.3) == 40
    assert readings.most_between(0.25, 0.35) == 120
    assert readings.most_between(0.0, 9.0) == 140


def together(arrived_s: float, received: int, elapsed_us: int) -> Claim:
    group = GroupInfo(streams=4, elapsed_us=elapsed_us, bytes_received=received)
    return Claim(arrived_s, TcpInfoMessage(bytes_received=1, elapsed_us=1), group)


@pytest.mark.parametrize(
    ("claims", "split", "bps"),
    [
        pytest.param(
            (together(0.6, 0, 600_000), together(1.4, 400_000, 1_400_000)), True, 4e6, id="a box acknowledges"
        ),
        pytest.param((together(0.6, 0, 600_000), together(1.4, 400_000, 1_400_000)), False, 8e6, id="a lie"),
        pytest.param((together(0.6, 0, 600_000), together(1.4, 9 * 10**6, 1_400_000)), True, 8e6, id="boasting"),
        pytest.param((together(0.6, 0, 0), together(1.4, 400_000, 9_000_000)), True, 8e6, id="another clock"),
        pytest.param((together(1.4, 400_000, 1_400_000),), True, 8e6, id="speaks once"),
        pytest.param((together(0.1, 0, 100_000), together(0.6, 0, 600_000)), True, 8e6, id="too little of the window"),
        pytest.param((), True, 8e6, id="says nothing"),
    ],
)
def test_an_upload_through_a_box_that_acknowledges_early_is_what_the_server_received(
    claims: tuple[Claim, ...], split: bool, bps: float
) -> None:
    assert judge(UP, ruled(SEEN, *claims, split=split), 10.0).bps == pytest.approx(bps)


@pytest.mark.parametrize(
    ("size", "sent_bytes", "elapsed_s", "grown"),
    [
        (1 << 13, 0, 0.0, 1 << 13),
        (1 << 13, 1 << 17, 0.01, 1 << 14),
        pytest.param(1 << 13, 250_000, 1.0, 1 << 13, id="2 Mbit/s: 16 KiB would take 65 ms"),
        pytest.param(1 << 13, 1_000_000, 1.0, 1 << 14, id="8 Mbit/s: 16 KiB take 16 ms"),
        pytest.param(1 << 14, 1_000_000, 1.0, 1 << 14, id="8 Mbit/s: 32 KiB would take 33 ms"),
        pytest.param(1 << 18, 1 << 34, 1.0, 1 << 18, id="never larger than the block they are sent from"),
    ],
)
def test_an_uploads_messages_grow_only_while_they_leave_quickly(
    size: int, sent_bytes: int, elapsed_s: float, grown: int
) -> None:
    assert grow(size, sent_bytes, elapsed_s) == grown
