"""The test bed itself: a line must be what it is said to be, or nothing held to it means anything."""

import dataclasses
import json
import signal
import subprocess
import sys
import time

import pytest

from linkbell_wire.records import PingRecord
from linkbell_wire.words import Direction
from tests.linkbed.bed import WORLD, linkbed, why_not
from tests.linkbed.drawn import KINDS, drawn
from tests.linkbed.driving import flood, ping
from tests.linkbed.lines import Line, Way, steady, wandering, with_gaps
from tests.linkbed.namespaces import end
from tests.linkbed.profiles import PROFILES
from tests.linkbed.truth import BIN_S, PAYLOAD_SHARE, Bin, Truth

REASON = why_not()
needs_root = pytest.mark.skipif(REASON is not None, reason=str(REASON))
REASON_IPERF3 = why_not("iperf3")
needs_iperf3 = pytest.mark.skipif(REASON_IPERF3 is not None, reason=str(REASON_IPERF3))


def test_a_drawn_line_is_the_same_for_the_same_seed_and_within_its_kinds_ranges() -> None:
    assert drawn(5) == drawn(5) != drawn(5 + len(KINDS))
    for seed in range(200):
        kind, line = KINDS[seed % len(KINDS)], drawn(seed)
        assert line.name.startswith(kind.name)
        assert (
            kind.down_mbit[0] * (1 - kind.swing[1]) < line.down.mean_bps / 1e6 < kind.down_mbit[1] * (1 + kind.swing[1])
        )
        assert kind.delay_s[0] <= line.down.delay_s == line.up.delay_s <= kind.delay_s[1]
        assert line.down.loss <= kind.loss[1]
        assert line.is_steady == (kind.swing == (0.0, 0.0))


@needs_root
@pytest.mark.parametrize("delay_s", [0.0, 0.02, 0.29])
def test_a_packet_takes_the_lines_delay_each_way(delay_s: float) -> None:
    way = steady(10, delay_s=delay_s, queue_s=0.2)
    with linkbed(Line("delay", way, way)) as bed:
        record = PingRecord.model_validate_json(
            bed.school.run(sys.executable, "-m", "tests.agent.ping.one_ping", WORLD, "--timeout", "2")
        )
    assert record.rtt_min_s is not None
    assert 2 * delay_s <= record.rtt_min_s < 2 * delay_s + 0.01


@needs_root
@pytest.mark.parametrize("mbit", [1.0, 20.0])
def test_a_flood_comes_out_at_the_lines_rate_and_the_rest_is_dropped(mbit: float) -> None:
    way = steady(mbit, delay_s=0.01, queue_s=0.1)
    with linkbed(Line("rate", way, way)) as bed:
        began_s, ended_s = flood(bed, mbit * 2e6, 1.5)
        truth = bed.truth()
    start_s, end_s = began_s + 0.5, ended_s - 0.3
    carried_bps = truth.carried_bytes(Direction.DOWNLOAD, start_s, end_s) * 8 / (end_s - start_s)
    assert carried_bps == pytest.approx(mbit * 1e6, rel=0.03)
    full_s = way.queue_bytes * 8 / way.mean_bps
    assert truth.mean_wait_s(Direction.DOWNLOAD, start_s, end_s) == pytest.approx(full_s, rel=0.15)
    assert sum(one.dropped_bytes for one in truth.bins(Direction.DOWNLOAD, began_s, ended_s)) > 0


@needs_root
@pytest.mark.parametrize("burst", [1.0, 4.0])
def test_packets_are_lost_at_random_or_in_bursts_at_the_rate_asked_for(burst: float) -> None:
    lossy = dataclasses.replace(steady(50, delay_s=0.001, queue_s=0.5), loss=0.05, burst_packets=burst)
    with linkbed(Line("loss", lossy, lossy)) as bed:
        began_s, ended_s = flood(bed, 30e6, 2.0)
        loss = bed.truth().loss(Direction.DOWNLOAD, began_s, ended_s)
    assert loss == pytest.approx(0.05, abs=0.02)


@needs_iperf3
def test_tcp_fills_300_mbit_and_the_emulator_keeps_up() -> None:
    line = PROFILES["fibre-300"](1)
    with linkbed(line) as bed, bed.world.service(["iperf3", "-s", "-1", "--forceflush"], "-----", quiet=True):
        began_s = time.monotonic()
        printed = json.loads(bed.school.run("iperf3", "-c", WORLD, "-R", "-t", "2", "-J"))
        ended_s = time.monotonic()
        truth = bed.truth()
    received_bps = printed["end"]["sum_received"]["bits_per_second"]
    assert truth.payload_bps(Direction.DOWNLOAD, began_s, ended_s) == pytest.approx(300e6 * PAYLOAD_SHARE, rel=0.001)
    late = f"the emulator came {truth.latest_s(began_s, ended_s) * 1e3:.1f} ms late at most"
    share = received_bps / (300e6 * PAYLOAD_SHARE)
    assert 0.7 < share < 1.02, late  # slow start takes its part of two seconds, a busy machine another


@needs_root
def test_the_same_seed_is_the_same_line() -> None:
    lossy = dataclasses.replace(steady(50, delay_s=0.001, queue_s=0.5), loss=0.3)
    seen = []
    for seed in (3, 3, 4):
        with linkbed(Line("seed", lossy, steady(50, delay_s=0.001, queue_s=0.5), seed=seed)) as bed:
            seen.append(ping(bed).failures)
    assert seen[0] == seen[1]
    assert seen[0]


@needs_root
def test_everything_is_taken_away_again() -> None:
    way = steady(10, delay_s=0.0, queue_s=0.1)
    with linkbed(Line("gone", way, way)) as bed:
        names = (bed.school.name, bed.world.name)
    left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert not any(name in left for name in names)


# Without a line


def test_a_process_that_does_not_end_is_killed() -> None:
    command = ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            end(process, 0.2)
        assert process.returncode == -signal.SIGKILL


def bins(capacity_bits: list[float], **more: int) -> list[Bin]:
    rest = {"served_bytes": 0, "lost_bytes": 0, "dropped_bytes": 0, "queued_bytes": 0} | more
    return [Bin(100 + n * BIN_S, bits, wait_s=0.0, late_s=0.0, **rest) for n, bits in enumerate(capacity_bits)]


def test_the_truth_is_what_the_line_could_carry_and_counts_parts_of_bins() -> None:
    truth = Truth(bins([10_000.0] * 10 + [30_000.0] * 10), [])
    assert truth.payload_bps(Direction.DOWNLOAD, 100.0, 100.1) == pytest.approx(1e6 * PAYLOAD_SHARE)
    assert truth.payload_bps(Direction.DOWNLOAD, 100.095, 100.105) == pytest.approx(2e6 * PAYLOAD_SHARE)


def test_what_is_lost_on_the_way_was_carried_for_nothing() -> None:
    truth = Truth(bins([10_000.0] * 10, served_bytes=1000, lost_bytes=100), [])
    assert truth.payload_bps(Direction.DOWNLOAD, 100.0, 100.1) == pytest.approx(0.9e6 * PAYLOAD_SHARE)


def test_there_is_no_truth_about_what_was_not_logged() -> None:
    with pytest.raises(ValueError, match="covers"):
        Truth(bins([1.0] * 10), []).payload_bps(Direction.DOWNLOAD, 100.05, 100.2)


def test_a_wandering_line_stays_within_its_swing_and_near_its_mean() -> None:
    way = wandering(20, 0.5, 7, delay_s=0.0, queue_s=0.1)
    assert all(10e6 <= rate <= 30e6 for rate in way.rates_bps)
    assert way.mean_bps == pytest.approx(20e6, rel=0.15)
    assert way.rates_bps == wandering(20, 0.5, 7, delay_s=0.0, queue_s=0.1).rates_bps
    assert way.rates_bps != wandering(20, 0.5, 8, delay_s=0.0, queue_s=0.1).rates_bps


def test_gaps_come_as_often_and_last_as_long_as_asked() -> None:
    way = with_gaps(steady(60, delay_s=0.0, queue_s=0.1), every_s=15, gap_s=0.2, offset_s=3)
    silent = [step for step, rate in enumerate(way.rates_bps) if rate == 0]
    assert silent[:4] == [30, 31, 180, 181]
    assert len(silent) == 16


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_is_a_line(name: str) -> None:
    line = PROFILES[name](1)
    for way in (line.down, line.up):
        assert isinstance(way, Way)
        assert way.mean_bps > 0
        assert line.is_steady == (len(set(way.rates_bps)) == 1)
