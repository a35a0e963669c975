"""From probes to round trips, grades and responsiveness: tables of what should come out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkbell_agent.watch import latency
from linkbell_agent.watch.latency import Probe, RoundTrips, Window
from linkbell_agent.watch.pace import cost_bytes, interval_s
from linkbell_wire.words import Grade


def probes(*times_s: float | None, http_s: float | None = None) -> list[Probe]:
    """One every tenth of a second; ``None`` for a lost one."""
    return [
        Probe(index / 10, time_s, None if time_s is None else http_s) for index, time_s in enumerate(times_s, start=10)
    ]


def test_probes_of_a_window_are_those_sent_in_it_in_order() -> None:
    made = probes(0.1, 0.2, 0.3, 0.4)
    assert latency.during(reversed(made), Window(1.1, 1.2)) == made[1:3]
    assert latency.during(made, Window(3.0, 2.0)) == []


QUICK, LATE, AGAIN = Probe(0.0, 0.04, 0.04), Probe(0.0, 1.4, 1.4, doubtful=True), Probe(0.0, 1.04, 0.04, doubtful=True)
UNTOLD = Probe(0.0, 1.2, doubtful=True)


@pytest.mark.parametrize(
    ("made", "times"),
    [
        ([], []),
        ([QUICK, AGAIN, Probe(0.0)], [0.04, None, None]),
        ([LATE, LATE, LATE], [1.4, 1.4, 1.4]),
        ([QUICK, QUICK, LATE], [0.04, 0.04, 1.4]),
        ([QUICK, QUICK, UNTOLD], [0.04, 0.04, None]),
        ([QUICK, UNTOLD, UNTOLD, Probe(0.0)], [0.04, 1.2, 1.2, None]),
    ],
)
def test_a_doubtful_handshake_was_late_if_the_line_is_slow_and_lost_if_not(
    made: list[Probe], times: list[float | None]
) -> None:
    found = latency.settled(made)
    assert [one.tcp_s for one in found] == times
    assert not any(one.doubtful for one in found)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ((), RoundTrips()),
        ((0.1, 0.2), RoundTrips(2, 0.0)),
        ((None, None, None), RoundTrips(3, 1.0)),
        ((0.02, 0.02, 0.02), RoundTrips(3, 0.0, 0.02, 0.02, 0.02, 0.0)),
        ((0.02, None, 0.04, 0.06), RoundTrips(4, 0.25, 0.04, 0.04, 0.06, 0.02)),
    ],
)
def test_round_trips_need_three_answers_and_count_what_was_lost(
    times: tuple[float | None, ...], expected: RoundTrips
) -> None:
    found = latency.round_trips(probes(*times), 3)
    assert found.probes == expected.probes
    assert found.loss_ratio == expected.loss_ratio
    for name in ("median_s", "mean_s", "p95_s", "jitter_s"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name))


@pytest.mark.parametrize(
    ("tcp_s", "http_s", "nearby"),
    [
        (0.001, 0.600, True),  # a satellite terminal answers in the server's place
        (0.600, 0.605, False),
        (0.020, 0.021, False),
        (0.001, 0.150, False),  # a slow server, perhaps
        (0.300, 0.700, False),
        (0.020, None, False),
    ],
)
def test_a_handshake_that_ends_nearby_is_told_by_the_exchange(tcp_s: float, http_s: float | None, nearby: bool) -> None:
    made = probes(tcp_s, tcp_s, None, tcp_s, http_s=http_s)
    assert latency.handshake_ends_nearby(made) is nearby
    assert not latency.handshake_ends_nearby(made[:1])


def test_round_trips_of_exchanges_are_used_where_the_handshake_ends_nearby() -> None:
    found = latency.round_trips(probes(0.001, 0.001, 0.001, http_s=0.6), 3, by_exchange=True)
    assert found.median_s == 0.6


IDLE = RoundTrips(10, 0.0, 0.020, 0.020, 0.021, 0.0)


def loaded(mean_s: float | None) -> RoundTrips:
    return RoundTrips(20, 0.0, mean_s, mean_s, mean_s, 0.0)


@pytest.mark.parametrize(
    ("down_s", "up_s", "expected"),
    [
        (0.024, 0.024, Grade.A_PLUS),
        (0.010, 0.010, Grade.A_PLUS),  # less than idle is no increase, and makes up for nothing
        (0.026, 0.026, Grade.A),
        (0.049, 0.049, Grade.A),
        (0.051, 0.051, Grade.B),
        (0.079, 0.079, Grade.B),
        (0.081, 0.081, Grade.C),
        (0.219, 0.219, Grade.C),
        (0.221, 0.221, Grade.D),
        (0.419, 0.419, Grade.D),
        (0.421, 0.421, Grade.F),
        (0.022, 0.822, Grade.F),  # the mean of both directions
        (0.022, None, Grade.A_PLUS),
        (None, None, None),
    ],
)
def test_the_grade_is_dslreports_for_the_mean_increase(
    down_s: float | None, up_s: float | None, expected: Grade | None
) -> None:
    assert latency.grade(IDLE, [loaded(down_s), loaded(up_s)]) is expected


def test_there_is_no_grade_without_an_idle_line() -> None:
    assert latency.grade(RoundTrips(3, 1.0), [loaded(0.1)]) is None


@pytest.mark.parametrize(
    ("tcp_s", "http_s", "smoothed_s", "rpm"),
    [
        (0.06, 0.06, 0.06, 1000.0),
        (0.05, 0.07, 0.06, 1000.0),
        (0.06, 0.06, 0.03, 1500.0),
        (0.06, None, 0.06, 1000.0),  # the server answered no request: handshakes are left
        (0.06, 0.06, None, 1000.0),  # and the loading connection said nothing
        (None, None, 0.06, None),
    ],
)
def test_responsiveness_is_the_mean_of_new_and_loading_connections(
    tcp_s: float | None, http_s: float | None, smoothed_s: float | None, rpm: float | None
) -> None:
    assert latency.responsiveness_rpm(probes(*[tcp_s] * 20, http_s=http_s), smoothed_s) == rpm


def test_four_answers_are_too_few_for_responsiveness() -> None:
    assert latency.responsiveness_rpm(probes(0.1, 0.1, None, 0.1, 0.1), 0.1) is None


@pytest.mark.parametrize(
    ("times", "mean"),
    [((), None), ((1.0,), 1.0), ((1.0,) * 19 + (9.0,), 1.0), ((1.0,) * 38 + (9.0, 9.0), 1.0), ((1.0, 3.0), 2.0)],
)
def test_the_trimmed_mean_leaves_out_the_worst_twentieth(times: tuple[float, ...], mean: float | None) -> None:
    assert latency.trimmed_mean(times) == mean


@given(
    st.lists(st.builds(Probe, st.floats(0, 100), st.none() | st.floats(0, 3), st.none() | st.floats(0, 3))),
    st.none() | st.floats(0, 60),
)
def test_whatever_probes_say_ratios_are_ratios_and_times_lie_among_those_measured(
    made: list[Probe], smoothed_s: float | None
) -> None:
    found = latency.round_trips(latency.during(made, Window(0, 100)), 3)
    assert found.probes == len(made)
    assert found.loss_ratio is None or 0 <= found.loss_ratio <= 1
    if found.median_s is not None:
        times = [one.tcp_s for one in made if one.tcp_s is not None]
        assert min(times) - 1e-6 <= found.median_s <= max(times) + 1e-6
    rpm = latency.responsiveness_rpm(made, smoothed_s)
    assert rpm is None or rpm > 0


@pytest.mark.parametrize(
    ("duration_s", "rtt_s", "expected"),
    [(10.0, 0.02, Window(100.54, 110.04)), (10.0, 0.6, Window(106.2, 111.2)), (0.5, 0.0, Window(100.25, 100.5))],
)
def test_a_test_that_does_not_say_when_the_line_was_full_had_to_speed_up_first(
    duration_s: float, rtt_s: float, expected: Window
) -> None:
    found = latency.presumed_window(100.0, duration_s, rtt_s)
    assert (found.start_s, found.end_s) == pytest.approx((expected.start_s, expected.end_s))


@pytest.mark.parametrize(
    ("line_bps", "made", "expected_s"),
    [
        (None, 0, 0.15),
        (0.0, 0, 0.15),
        (100e6, 0, 0.05),
        (1e6, 0, 0.144),
        (0.5e6, 0, 0.288),
        (64e3, 0, 2.0),
        (1e3, 0, 2.0),
        (100e6, 40, 0.2),
        (0.1e6, 40, 1.44),
    ],
)
def test_probes_take_a_fiftieth_of_the_line_and_fewer_are_made_once_there_are_plenty(
    line_bps: float | None, made: int, expected_s: float
) -> None:
    assert interval_s(360, line_bps, made) == pytest.approx(expected_s)


@pytest.mark.parametrize(
    ("segments", "syns", "payload", "expected"),
    [
        (1, 1, 0, 60),  # nobody answered
        (3, 3, 0, 180),
        (3, 1, 0, 60 + 60 + 52 + 52),  # SYN, its answer, ACK, and our reset
        (8, 1, 230, 60 + 60 + 6 * 52 + 230 + 52),
    ],
)
def test_a_probe_costs_what_its_packets_do(segments: int, syns: int, payload: int, expected: int) -> None:
    assert cost_bytes(20, segments, syns, payload) == expected
