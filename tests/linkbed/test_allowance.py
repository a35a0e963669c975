"""Lines that give more at first: as many bytes as they are said to, at the peak rate, and again after a rest."""

import time

import pytest

from linkbell_wire.words import Direction
from tests.linkbed.bed import linkbed, why_not
from tests.linkbed.driving import flood, receive, tcp_source
from tests.linkbed.lines import Line, Others, Way, boosted, shared, steady
from tests.linkbed.truth import BIN_S, PAYLOAD_SHARE, Bin, Truth

REASON = why_not()
needs_root = pytest.mark.skipif(REASON is not None, reason=str(REASON))
DOWN = Direction.DOWNLOAD

SUSTAINED_BPS, PEAK_BPS, SIZE_BYTES = 10e6, 40e6, 2_000_000
BOOSTED = boosted(steady(10, delay_s=0.005, queue_s=0.05), 40, SIZE_BYTES)


def boost(way: Way = BOOSTED) -> Line:
    return Line("boost", way, steady(10, delay_s=0.005, queue_s=0.05))


def above_sustained(truth: Truth, start_s: float, end_s: float) -> float:
    """Bytes carried above the sustained rate, of those who filled the line all that time."""
    return truth.carried_bytes(DOWN, start_s, end_s) - SUSTAINED_BPS / 8 * (end_s - start_s)


@needs_root
def test_a_full_allowance_is_given_whole_and_once() -> None:
    with linkbed(boost()) as bed:
        began_s, ended_s = flood(bed, 60e6, 2.0)
        truth = bed.truth()
    sending_s = next(one.start_s for one in truth.bins(DOWN, began_s, ended_s) if one.served_bytes)
    at_peak_s = SIZE_BYTES * 8 / (PEAK_BPS - SUSTAINED_BPS)  # 0.53 s
    assert above_sustained(truth, sending_s, sending_s + 1.5) == pytest.approx(SIZE_BYTES, rel=0.05)
    first, last = (sending_s + 0.1, sending_s + at_peak_s - 0.1), (sending_s + at_peak_s + 0.1, sending_s + 1.5)
    assert truth.carried_bytes(DOWN, *first) * 8 / (first[1] - first[0]) == pytest.approx(PEAK_BPS, rel=0.05)
    assert truth.carried_bytes(DOWN, *last) * 8 / (last[1] - last[0]) == pytest.approx(SUSTAINED_BPS, rel=0.03)
    assert truth.allowance_bytes(DOWN, sending_s + 1.5) < 20_000


@needs_root
def test_it_refills_at_the_sustained_rate_while_nobody_sends() -> None:
    with linkbed(boost()) as bed:
        flood(bed, 60e6, 1.2)
        time.sleep(0.8)
        began_s, ended_s = flood(bed, 60e6, 1.5)
        truth = bed.truth()
    sending_s = next(one.start_s for one in truth.bins(DOWN, began_s, ended_s) if one.served_bytes)
    held = truth.allowance_bytes(DOWN, sending_s)
    silent = [one for one in truth.bins(DOWN, began_s - 1.0, sending_s) if not (one.served_bytes or one.queued_bytes)]
    assert held == pytest.approx(len(silent) * BIN_S * SUSTAINED_BPS / 8, rel=0.05)
    assert above_sustained(truth, sending_s, sending_s + 1.0) == pytest.approx(held, rel=0.05)


@needs_root
def test_tcp_gets_what_the_truth_says_while_it_lasts_and_after() -> None:
    with linkbed(boost()) as bed, tcp_source(bed):
        received = receive(bed, 0.3, 2.5)
        truth = bed.truth()
    window = (DOWN, received.began_s, received.ended_s, BOOSTED.delay_s)
    assert received.bps == pytest.approx(truth.payload_bps(*window), rel=0.02)
    assert received.bps > 1.1 * truth.sustained_bps(*window)
    later = (DOWN, received.began_s + 1.0, received.ended_s - 0.3)
    assert truth.payload_bps(*later) == pytest.approx(SUSTAINED_BPS * PAYLOAD_SHARE, rel=0.03)
    assert truth.sustained_bps(*later) == pytest.approx(SUSTAINED_BPS * PAYLOAD_SHARE, rel=0.001)


@needs_root
def test_others_spend_the_allowance_too() -> None:
    with linkbed(boost(shared(BOOSTED, Others(15e6)))) as bed:
        time.sleep(4.0)  # 3.2 s at 5 Mbit/s above the sustained rate
        ended_s = time.monotonic()
        truth = bed.truth()
    early_s = truth.bins(DOWN, 0.0, ended_s)[0].start_s
    assert truth.others_bps(DOWN, early_s + 0.5, early_s + 1.5) == pytest.approx(15e6, rel=0.02)
    assert truth.others_bps(DOWN, ended_s - 0.4, ended_s) == pytest.approx(10e6, rel=0.02)
    assert truth.allowance_bytes(DOWN, early_s + 1.6) == pytest.approx(SIZE_BYTES / 2, rel=0.05)


# Without a line


def bins(allowance_bytes: list[float]) -> list[Bin]:
    return [
        Bin(100 + n * BIN_S, 10_000.0, 0, 0, 0, 0, 0.0, 0.0, peak_bits=40_000.0, allowance_bytes=held)
        for n, held in enumerate(allowance_bytes)
    ]


def test_the_truth_counts_the_allowance_once_and_never_above_the_peak() -> None:
    truth = Truth(bins([10_000.0] * 100), [])
    assert truth.payload_bps(DOWN, 100.0, 100.02) == pytest.approx(4e6 * PAYLOAD_SHARE)
    assert truth.payload_bps(DOWN, 100.0, 100.8) == pytest.approx((1e6 + 80_000 / 0.8) * PAYLOAD_SHARE)
    assert truth.sustained_bps(DOWN, 100.0, 100.8) == pytest.approx(1e6 * PAYLOAD_SHARE)


def test_the_allowance_between_two_bins_is_in_between() -> None:
    truth = Truth(bins([10_000.0, 5_000.0]), [])
    assert truth.allowance_bytes(DOWN, 100.005) == pytest.approx(7_500)
    assert truth.allowance_bytes(DOWN, 100.015) == pytest.approx(5_000)
    with pytest.raises(ValueError, match="begins after"):
        truth.allowance_bytes(DOWN, 99.0)


@pytest.mark.parametrize(("rates_bps", "peak_mbit"), [([10e6, 12e6], 40), ([0.0], 40), ([10e6], 10)])
def test_allowances_that_mean_nothing_are_refused(rates_bps: list[float], peak_mbit: float) -> None:
    with pytest.raises(ValueError, match="sustained rate"):
        boosted(Way(rates_bps, 0.0, 24_000), peak_mbit, 1000)
