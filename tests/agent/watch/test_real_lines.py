"""What is seen beside a test, on lines of known properties. Tolerances are wide: the machine may be busy."""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from linkbell_agent.watch.latency import LEAST_FOR_RESPONSIVENESS
from linkbell_wire.records import SpeedRecord
from linkbell_wire.words import DeviceLimit, Direction, Grade, LimitedBy
from tests.linkbed.bed import MEASURE_PORT, WORLD, Bed, linkbed, why_not
from tests.linkbed.lines import Line, Others, shared, steady

REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))

SPEED = (sys.executable, "-m", "linkbell_agent", "speed", "--json", "--max-duration", "3", "--server")


def speed(bed: Bed, url: str, *more: str) -> SpeedRecord:
    printed = bed.school.run(*SPEED, url, *more)
    print(printed)
    return SpeedRecord.model_validate_json(printed)


def probing(bed: Bed, seconds: float, interval_s: float) -> Any:
    command = ("-m", "tests.agent.watch.probing", WORLD, str(MEASURE_PORT), str(seconds), str(interval_s))
    return json.loads(bed.school.run(sys.executable, *command))


def test_a_slow_line_with_a_deep_queue_has_a_bad_grade() -> None:
    line = Line("deep", steady(4, delay_s=0.04, queue_s=1.0), steady(0.5, delay_s=0.04, queue_s=1.5))
    with linkbed(line) as bed, bed.measurement_server() as url:
        record = speed(bed, url)
    assert record.bufferbloat in (Grade.C, Grade.D, Grade.F)
    assert record.rtt_idle_s is not None
    assert 0.075 < record.rtt_idle_s < 0.1
    assert record.probe_bytes is not None
    assert record.probe_bytes < 150_000
    assert record.upload is not None
    assert record.upload.rtt_loaded_s is not None
    assert record.upload.rtt_loaded_s > 0.12
    assert record.upload.limited_by is LimitedBy.LINE
    assert record.upload.responsiveness_rpm is not None
    assert record.upload.responsiveness_rpm < 600


def test_a_fast_line_with_a_short_queue_has_a_good_grade_and_nobody_else_on_it() -> None:
    way = steady(50, delay_s=0.005, queue_s=0.01)
    with linkbed(Line("short", way, way)) as bed, bed.measurement_server() as url:
        record = speed(bed, url)
    assert record.bufferbloat in (Grade.A_PLUS, Grade.A)
    assert record.limited_by is not LimitedBy.DEVICE
    assert record.rtt_idle_s is not None
    assert 0.009 < record.rtt_idle_s < 0.02
    assert record.others_before_bps is not None
    assert record.others_before_bps < 50_000
    for result in (record.download, record.upload):
        assert result is not None
        assert result.others_bps is not None
        assert result.others_bps < 2e6
        assert result.probes is not None
        assert result.probes >= LEAST_FOR_RESPONSIVENESS


def test_a_round_trip_longer_than_the_kernel_waits_is_no_loss_and_costs_what_is_said() -> None:
    way = steady(20, delay_s=0.7, queue_s=0.2)
    with linkbed(Line("far", way, way)) as bed, bed.measurement_server():
        seen = probing(bed, 1.0, 0.1)
        truth = bed.truth()
    handshakes = [tcp_s for tcp_s, _ in seen["probes"]]
    print(handshakes, seen["cost_bytes"])
    assert len(handshakes) >= 8
    assert None not in handshakes
    assert 1.39 < statistics.median(handshakes) < 1.5
    carried = sum(truth.carried_bytes(direction, 0.0, time.monotonic()) for direction in Direction)
    assert 0.85 < seen["cost_bytes"] / carried < 1.1


def test_lost_probes_are_about_as_many_as_the_line_loses() -> None:
    way = steady(20, delay_s=0.02, queue_s=0.2, loss=0.15)
    with linkbed(Line("lossy", way, way)) as bed, bed.measurement_server():
        probes = probing(bed, 4.0, 0.05)["probes"]
    lost = sum(tcp_s is None for tcp_s, _ in probes) / len(probes)
    print(lost, len(probes))
    assert 0.08 < lost < 0.5  # 0.28 of both ways together; four standard deviations of 80 probes either side
    assert 0.03 < statistics.median(tcp_s for tcp_s, _ in probes if tcp_s is not None) < 0.1


def test_others_on_the_line_are_seen_before_and_during_a_test() -> None:
    down = shared(steady(12, delay_s=0.01, queue_s=0.2), Others(3e6, 1228, passes_school=True))
    line = Line("shared", down, steady(3, delay_s=0.01, queue_s=0.2))
    with linkbed(line) as bed, bed.measurement_server() as url:
        record = speed(bed, url, "--download-only")
        truth = bed.truth()
    assert record.others_before_bps is not None
    assert record.others_before_bps == pytest.approx(3e6, rel=0.1)
    assert record.download is not None
    assert record.download.others_bps is not None
    assert record.download.window_s is not None
    assert record.download.window_end_boottime_s is not None
    # They get less through while the test fills the queue they share.
    end_s = record.download.window_end_boottime_s - (time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic())
    through_bps = truth.others_bps(Direction.DOWNLOAD, end_s - record.download.window_s, end_s)
    assert record.download.others_bps == pytest.approx(through_bps, rel=0.25)


@contextlib.contextmanager
def busy_cores() -> Iterator[None]:
    """Keep every core of this machine busy."""
    command = [sys.executable, "-c", "while True: pass"]
    hogs = [subprocess.Popen(command) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


def test_a_box_without_processor_time_is_the_limit_itself() -> None:
    with linkbed(Line("unused", *(steady(1, delay_s=0.0, queue_s=0.1),) * 2)) as bed:
        # The server goes first: the agent is to wait for a processor, not for the server.
        measure = ("-m", "linkbell_collector.cli", "measure", "--listen", "127.0.0.1:8471")
        server = ("nice", "-n", "-10", sys.executable, *measure)
        with bed.school.service(server, "listening on"), busy_cores():
            printed = bed.school.run(
                "nice", "-n", "10", *SPEED, "ws://127.0.0.1:8471", "--download-only", "--full", "--max-duration", "2"
            )
    print(printed)
    record = SpeedRecord.model_validate_json(printed)
    assert record.limited_by is LimitedBy.DEVICE
    assert record.download is not None
    assert record.download.device_limit is DeviceLimit.CPU
    assert record.others_before_bps is None
