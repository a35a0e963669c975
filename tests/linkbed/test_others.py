"""Other people on the line take what they are said to take, from the same queue, and the truth says what is left."""

import dataclasses
import itertools
import statistics
import time

import pytest

from linkbell_wire.words import Direction
from tests.linkbed.bed import Bed, linkbed, why_not
from tests.linkbed.driving import DATAGRAM_BYTES, PACKET_BYTES, flood, ping, receive, tcp_source
from tests.linkbed.lines import Line, Others, Way, shared, steady
from tests.linkbed.profiles import MORE_PROFILES
from tests.linkbed.truth import BIN_S, PAYLOAD_SHARE, Bin, Truth

REASON = why_not()
needs_root = pytest.mark.skipif(REASON is not None, reason=str(REASON))
DOWN, UP = Direction.DOWNLOAD, Direction.UPLOAD


def both_ways(way: Way, seed: int = 1) -> Line:
    return Line("shared", way, way, seed=seed)


def school_counted_bytes(bed: Bed) -> int:
    return int(bed.school.run("cat", "/sys/class/net/line0/statistics/rx_bytes"))


@needs_root
@pytest.mark.parametrize("others", [Others(6e6, 1200), Others(6e6, 400, burst_s=0.05)], ids=["constant", "bursts"])
def test_what_tcp_gets_is_what_others_left(others: Others) -> None:
    way = shared(steady(20, delay_s=0.01, queue_s=0.2), others)
    with linkbed(both_ways(way)) as bed, tcp_source(bed):
        received = receive(bed, 1.0, 3.0)
        truth = bed.truth()
    left_bps = truth.payload_bps(DOWN, received.began_s, received.ended_s, way.delay_s)
    assert received.bps == pytest.approx(left_bps, rel=0.02)
    assert left_bps == pytest.approx(14e6 * PAYLOAD_SHARE, rel=0.15)
    assert truth.capacity_bps(DOWN, received.began_s, received.ended_s) == pytest.approx(20e6, rel=0.001)


@needs_root
def test_others_take_their_rate_each_way_and_no_interface_sees_it() -> None:
    down, up = (shared(steady(20, delay_s=0.01, queue_s=0.2), Others(bps)) for bps in (6e6, 2e6))
    with linkbed(Line("shared", down, up)) as bed:
        began_s = time.monotonic()
        time.sleep(1.5)
        ended_s = time.monotonic()
        truth, counted = bed.truth(), school_counted_bytes(bed)
    assert truth.others_bps(DOWN, began_s, ended_s) == pytest.approx(6e6, rel=0.01)
    assert truth.others_bps(UP, began_s, ended_s) == pytest.approx(2e6, rel=0.01)
    assert truth.payload_bps(DOWN, began_s, ended_s) == pytest.approx(14e6 * PAYLOAD_SHARE, rel=0.01)
    assert truth.carried_bytes(DOWN, began_s, ended_s) == 0
    assert counted == 0


@needs_root
@pytest.mark.parametrize("others", [Others(4e6, 1200), Others(4e6, 1200, burst_s=0.05)], ids=["constant", "bursts"])
def test_who_asks_for_less_than_is_left_gets_it_all(others: Others) -> None:
    way = shared(steady(10, delay_s=0.01, queue_s=0.5), others)
    with linkbed(Line("shared", way, steady(10, delay_s=0.01, queue_s=0.5))) as bed:
        began_s, ended_s = flood(bed, 3e6, 4.0)
        truth = bed.truth()
    window = (began_s + 0.2, ended_s - 0.2)
    got_bps = 8 * truth.carried_bytes(DOWN, *window) / (window[1] - window[0])
    assert got_bps == pytest.approx(3e6 * PACKET_BYTES / DATAGRAM_BYTES, rel=0.02)
    assert truth.others_bps(DOWN, *window) == pytest.approx(4e6, rel=0.5 if others.burst_s else 0.02)
    assert truth.others_bps(UP, *window) == 0


@needs_root
def test_what_passes_the_school_is_counted_by_its_interface_as_it_was_carried() -> None:
    way = steady(20, delay_s=0.01, queue_s=0.2)
    with linkbed(Line("seen", shared(way, Others(4e6, 1000, passes_school=True)), way)) as bed:
        before, began_s = school_counted_bytes(bed), time.monotonic()
        time.sleep(1.5)
        counted, ended_s = school_counted_bytes(bed) - before, time.monotonic()
        truth = bed.truth()
    assert 8 * counted / (ended_s - began_s) == pytest.approx(4e6, rel=0.05)
    assert truth.others_bps(DOWN, began_s, ended_s) == pytest.approx(4e6, rel=0.01)
    assert truth.carried_bytes(UP, began_s, ended_s) == 0  # nobody in the school answers


@needs_root
def test_a_ping_waits_behind_others_in_the_same_queue() -> None:
    way = shared(steady(10, delay_s=0.01, queue_s=0.1), Others(12e6, 400))
    with linkbed(Line("full", way, steady(10, delay_s=0.01, queue_s=0.1))) as bed:
        record = ping(bed)
        truth = bed.truth()
    assert record.rtt_max_s == pytest.approx(0.12, abs=0.01)
    ended_s = time.monotonic() - 0.3
    assert truth.others_bps(DOWN, ended_s - 0.5, ended_s) == pytest.approx(10e6, rel=0.01)


@needs_root
def test_who_pushes_takes_from_others_and_both_lose_packets() -> None:
    way = shared(steady(10, delay_s=0.01, queue_s=0.1), Others(6e6, 1428))
    with linkbed(both_ways(way)) as bed:
        began_s, ended_s = flood(bed, 14e6, 2.0)
        truth = bed.truth()
    start_s, end_s = began_s + 0.5, ended_s - 0.3
    bins = truth.bins(DOWN, start_s, end_s)
    carried_bps = 8 * truth.carried_bytes(DOWN, start_s, end_s) / (end_s - start_s)
    others_bps = truth.others_bps(DOWN, start_s, end_s)
    assert carried_bps + others_bps == pytest.approx(10e6, rel=0.01)
    assert 1.5e6 < others_bps < 5.5e6
    assert sum(one.dropped_bytes for one in bins) > 0
    assert sum(one.others_dropped_bytes for one in bins) > 0


@needs_root
def test_the_same_seed_has_the_same_people_on_the_line() -> None:
    way = shared(steady(5, delay_s=0.01, queue_s=0.1), Others(2e6, 700, burst_s=0.02), Others(0.3e6, 200))
    seen = []
    for seed in (3, 3, 4):
        with linkbed(both_ways(way, seed)) as bed:
            time.sleep(1.0)
            bins = bed.truth().bins(DOWN, 0.0, time.monotonic())
        seen.append([one.others_bytes for one in bins[:100]])
    assert seen[0] == seen[1]
    assert seen[0] != seen[2]


@needs_root
def test_bursts_have_the_length_the_peak_and_the_mean_asked_for() -> None:
    others = Others(10e6, 250, burst_s=0.1, peak_bps=40e6)
    with linkbed(both_ways(shared(steady(100, delay_s=0.0, queue_s=0.1), others))) as bed:
        time.sleep(10.0)
        bins = bed.truth().bins(DOWN, 0.0, time.monotonic())[:1000]
    bps = [one.others_bytes * 8 / BIN_S for one in bins]
    assert max(bps) == pytest.approx(40e6, rel=0.03)
    assert statistics.mean(bps) == pytest.approx(10e6, rel=0.35)  # some 25 bursts of chance
    bursts = [len(list(group)) for is_on, group in itertools.groupby(bps, lambda rate: rate > 0) if is_on]
    assert 0.06 < statistics.mean(bursts) * BIN_S < 0.18
    assert min(bps) == 0


@needs_root
@pytest.mark.parametrize("direction", Direction)
def test_a_competitor_takes_the_line_and_gives_way(direction: Direction) -> None:
    way = steady(10, delay_s=0.01, queue_s=0.1)
    with linkbed(both_ways(way)) as bed:
        with bed.competitor(direction):
            time.sleep(2.5)
            ended_s = time.monotonic()
            flood(bed, 5e6, 1.0)
            flooded_s = time.monotonic()
        time.sleep(0.3)
        quiet_s = time.monotonic()
        time.sleep(0.5)
        truth = bed.truth()
    assert truth.others_bps(direction, ended_s - 1, ended_s) > 9.5e6
    assert truth.payload_bps(direction, ended_s - 1, ended_s) < 0.5e6
    assert truth.carried_bytes(DOWN, ended_s - 1, ended_s) == 0  # it is the others' all of it
    if direction is DOWN:
        assert truth.others_bps(DOWN, flooded_s - 0.7, flooded_s - 0.2) < 9e6
    assert truth.others_bps(direction, quiet_s, quiet_s + 0.5) < 0.01e6


@needs_root
def test_two_who_compete_share_the_line() -> None:
    way = steady(20, delay_s=0.01, queue_s=0.1)
    with linkbed(both_ways(way)) as bed, tcp_source(bed), bed.competitor(DOWN):
        received = receive(bed, 3.0, 3.0)
        truth = bed.truth()
    window = (received.began_s, received.ended_s)
    assert received.bps == pytest.approx(truth.payload_bps(DOWN, *window, way.delay_s), rel=0.02)
    assert 0.1 < truth.others_bps(DOWN, *window) / 20e6 < 0.9


@needs_root
def test_the_emulator_keeps_up_with_300_mbit_of_others_and_tests() -> None:
    way = shared(steady(300, delay_s=0.004, queue_s=0.05), Others(90e6, 1200))
    with linkbed(both_ways(way)) as bed, tcp_source(bed):
        received = receive(bed, 1.0, 1.5)
        truth = bed.truth()
    window = (received.began_s, received.ended_s)
    late = f"the emulator came {truth.latest_s(*window) * 1e3:.1f} ms late at most"
    assert received.bps == pytest.approx(truth.payload_bps(DOWN, *window, way.delay_s), rel=0.15), late
    assert truth.others_bps(DOWN, *window) == pytest.approx(90e6, rel=0.1), late


# Without a line


def bins(capacity_bits: list[float], others_bytes: float) -> list[Bin]:
    return [
        Bin(100 + n * BIN_S, bits, 0, 0, 0, 0, wait_s=0.0, late_s=0.0, others_bytes=others_bytes)
        for n, bits in enumerate(capacity_bits)
    ]


def test_what_was_left_is_capacity_less_what_others_put_through() -> None:
    truth = Truth(bins([10_000.0] * 10, 250.0), [])
    assert truth.capacity_bps(DOWN, 100.0, 100.1) == pytest.approx(1e6)
    assert truth.others_bps(DOWN, 100.0, 100.1) == pytest.approx(0.2e6)
    assert truth.payload_bps(DOWN, 100.0, 100.1) == pytest.approx(0.8e6 * PAYLOAD_SHARE)
    assert truth.sustained_bps(DOWN, 100.0, 100.1) == pytest.approx(0.8e6 * PAYLOAD_SHARE)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"mean_bps": 0}, "send something"),
        ({"mean_bps": 1e6, "burst_s": 0.1, "peak_bps": 0.5e6}, "at their peak"),
        ({"mean_bps": 1e6, "packet_bytes": 20}, "packet_bytes"),
        ({"mean_bps": 1e6, "packet_bytes": 1501}, "packet_bytes"),
        ({"mean_bps": 1e6, "peak_bps": 2e6}, "no peak"),
    ],
)
def test_others_that_cannot_be_are_refused(wrong: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Others(**wrong)  # type: ignore[arg-type]  # the point of it


def test_nothing_is_sent_from_the_school_by_the_line() -> None:
    way = steady(10, delay_s=0.0, queue_s=0.1)
    with pytest.raises(ValueError, match="competitor"):
        Line("no", way, shared(way, Others(1e6, passes_school=True)))


@pytest.mark.parametrize("name", MORE_PROFILES)
def test_more_profiles_are_lines_of_more_than_a_rate(name: str) -> None:
    line = MORE_PROFILES[name](1)
    for way in (line.down, line.up):
        assert way.others or way.allowance
        assert dataclasses.replace(way, others=(), allowance=None).mean_bps == way.mean_bps > 0
