"""From what was seen during one direction to its result."""

from dataclasses import replace

import pytest

from linkbell_agent.watch.conclude import Idle, Observed, conclude, traffic_before_bps
from linkbell_agent.watch.latency import Probe, RoundTrips, Window
from linkbell_agent.watch.limits import CpuTimes, Port
from linkbell_agent.watch.traffic import Counted
from linkbell_wire.records import SpeedResult
from linkbell_wire.words import Direction, LimitedBy, Stop

DOWN, UP = Direction.DOWNLOAD, Direction.UPLOAD
CPU = CpuTimes(0.0, 0.0, 0.0, 0.0), CpuTimes(4.0, 0.1, 0.1, 0.0)
IDLE = Idle(RoundTrips(10, 0.0, 0.02, 0.02, 0.021, 0.0005), 0.02, by_exchange=False)
RESULT = SpeedResult(
    bps=8e6, bytes=4_000_000, duration_s=4.0, stop=Stop.STABLE, rtt_loaded_s=0.09, retransmit_ratio=0.0
)
PROBES = [Probe(100 + index / 10, 0.2 if index >= 10 else 0.02, 0.21, 70, 170) for index in range(40)]
EACH = 1052 / 1000  # bytes counted per byte of payload, in packets of 1000


def readings(down_bps: float, up_bps: float) -> list[Counted]:
    """Ten a second for five seconds, from 100 s on: payload at these rates, in packets of 1000 bytes of it."""
    return [
        Counted(
            100 + tenth / 10,
            *(
                round(count * tenth)
                for count in (down_bps * EACH / 80, down_bps / 80e3, up_bps * EACH / 80, up_bps / 80e3)
            ),
        )
        for tenth in range(51)
    ]


SEEN = Observed(DOWN, 100.0, Window(101.0, 104.0), None, PROBES, readings(10e6, 1e6), Port(), 20, CPU)


def test_the_window_decides_which_probes_count() -> None:
    result = conclude(RESULT, IDLE, SEEN).result
    assert (result.rtt_loaded_s, result.rtt_loaded_p95_s, result.probes, result.loss_ratio) == (0.2, 0.2, 30, 0.0)
    assert result.rtt_smoothed_s == 0.09
    early = conclude(RESULT, IDLE, replace(SEEN, window=Window(100.0, 100.95))).result
    assert early.rtt_loaded_s == 0.02


def test_without_a_window_the_first_half_at_most_is_left_out() -> None:
    result = conclude(RESULT, IDLE, replace(SEEN, window=None)).result
    assert result.probes == 34


def test_without_probes_the_loading_connections_round_trip_stands_for_the_rest() -> None:
    result = conclude(RESULT, IDLE, replace(SEEN, probes=[])).result
    assert (result.rtt_loaded_s, result.rtt_smoothed_s) == (0.09, 0.09)
    assert (result.probes, result.loss_ratio, result.jitter_loaded_s, result.responsiveness_rpm) == (None,) * 4


def test_a_download_leaves_to_others_what_the_port_counted_beyond_its_speed() -> None:
    found = conclude(RESULT, IDLE, SEEN)
    own = 8e6 * 1.005 + 170 * 8 * 10
    assert found.result.others_bps == pytest.approx(10e6 - own, rel=0.02)
    assert found.others_both_ways_bps == pytest.approx(10e6 - own + 1e6 - 70 * 80 - 0.04e6, rel=0.02)


def test_an_upload_is_held_against_all_that_was_sent_and_sent_again() -> None:
    seen = replace(SEEN, direction=UP, readings=readings(0, 8e6))
    sent = RESULT.model_copy(update={"bytes": 4_000_000, "retransmit_ratio": 0.2})
    assert conclude(sent, IDLE, seen).result.others_bps == 0.0
    assert conclude(sent.model_copy(update={"bytes": 2_000_000}), IDLE, seen).result.others_bps == pytest.approx(
        (5_000_000 - 2_500_000 * 1.005 - 40 * 70) * 8 / 5, rel=0.01
    )


@pytest.mark.parametrize(
    "blind", [replace(SEEN, readings=[]), replace(SEEN, port=None), replace(SEEN, port=Port(is_loopback=True))]
)
def test_where_nothing_was_counted_others_are_unknown(blind: Observed) -> None:
    found = conclude(RESULT, IDLE, blind)
    assert found.result.others_bps is None
    assert found.others_both_ways_bps is None


def test_what_limited_it_is_in_the_result() -> None:
    assert conclude(RESULT, IDLE, SEEN).result.limited_by is LimitedBy.LINE
    starved = CpuTimes(0.0, 0.0, 0.0, 0.0), CpuTimes(4.0, 0.1, 0.1, 3.8)
    result = conclude(RESULT, IDLE, replace(SEEN, cpu=starved)).result
    assert result.limited_by is LimitedBy.DEVICE
    assert SpeedResult.model_validate_json(result.model_dump_json()) == result


def test_traffic_before_is_what_the_port_counted_without_our_probes() -> None:
    seen = readings(8e6, 0)[:11]
    assert traffic_before_bps(seen, Port(), 52_000) == pytest.approx(8e6, rel=1e-6)
    assert traffic_before_bps(seen, Port(), 10**9) == 0.0
    assert traffic_before_bps(seen, Port(frame_bytes=52), 0) == pytest.approx(8e6, rel=1e-6)
    assert traffic_before_bps(seen[:1], Port(), 0) is None
    assert traffic_before_bps(seen, Port(is_loopback=True), 0) is None


def test_a_speed_includes_the_probes_that_took_their_part_of_the_line() -> None:
    bounded = RESULT.model_copy(update={"bps_low": 7.9e6, "bps_high": 8.1e6})
    result = conclude(bounded, IDLE, SEEN).result
    # In 3 s came 28 SYNs of 60 bytes, and of 28 probes 3 packets of 52 bytes with 170 of payload.
    more = (28 * 60 + 28 * (3 * 52 + 170)) * 8 / 3 * 1448 / 1500
    assert result.bps == pytest.approx(8e6 + more)
    assert result.bps_low == pytest.approx(7.9e6 * (1 + more / 8e6))
    assert result.bps_high == pytest.approx(8.1e6 * (1 + more / 8e6))


def test_lost_probes_add_nothing_to_a_speed() -> None:
    lost = [Probe(one.sent_s, sent_bytes=70) for one in PROBES]
    for direction in Direction:
        assert conclude(RESULT, IDLE, replace(SEEN, direction=direction, probes=lost)).result.bps == RESULT.bps


def test_probes_add_a_fiftieth_to_a_speed_at_most() -> None:
    large = [replace(one, received_bytes=100_000) for one in PROBES]
    assert conclude(RESULT, IDLE, replace(SEEN, probes=large)).result.bps == pytest.approx(8e6 * 1.02)


def test_without_probes_or_a_window_a_speed_stays_what_it_is() -> None:
    assert conclude(RESULT, IDLE, replace(SEEN, probes=[])).result.bps == RESULT.bps
    assert conclude(RESULT, IDLE, replace(SEEN, window=None)).result.bps == RESULT.bps
