"""What the agent says of a line it is not alone on, and of one that gives more at first, held to the line's own log."""

import sys
import time

import pytest

from linkbell_wire.records import CheckRecord, SpeedRecord, SpeedResult
from linkbell_wire.words import Direction
from tests.linkbed.bed import linkbed, why_not
from tests.linkbed.lines import Line, Others, boosted, shared, steady
from tests.linkbed.profiles import MORE_PROFILES
from tests.linkbed.truth import PAYLOAD_SHARE, Truth

REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))

FLOOR_BPS = 8e6


def measured(line: Line) -> tuple[SpeedRecord, Truth]:
    with linkbed(line) as bed, bed.measurement_server() as url:
        time.sleep(1.0)
        printed = bed.school.run(sys.executable, "-m", "linkbell_agent", "speed", "--server", url, "--json")
        truth = bed.truth()
    print(printed)
    return SpeedRecord.model_validate_json(printed), truth


def window(result: SpeedResult) -> tuple[float, float]:
    """When the stretch began and ended that the number speaks of, on CLOCK_MONOTONIC."""
    assert result.window_s is not None
    assert result.window_end_boottime_s is not None
    end_s = result.window_end_boottime_s - (time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic())
    return end_s - result.window_s, end_s


BUSY = shared(steady(20, delay_s=0.02, queue_s=0.2), Others(8e6, 1200))


@pytest.mark.parametrize(
    "line", [Line("40 % others", BUSY, BUSY), *(make(1) for make in MORE_PROFILES.values())], ids=lambda line: line.name
)
def test_a_speed_is_what_was_left_while_it_was_read(line: Line) -> None:
    record, truth = measured(line)
    for direction, result, way in (
        (Direction.DOWNLOAD, record.download, line.down),
        (Direction.UPLOAD, record.upload, line.up),
    ):
        assert result is not None
        assert result.bps is not None
        left_bps = truth.payload_bps(direction, *window(result), way.delay_s)
        print(direction, result.bps, left_bps, truth.sustained_bps(direction, *window(result), way.delay_s))
        is_changing = any(one.burst_s for one in way.others)
        assert result.bps == pytest.approx(left_bps, rel=0.06 if is_changing else 0.03)
        if way.others and not is_changing:  # in a pause, all of the line was left
            assert result.bps < 0.95 * way.mean_bps * PAYLOAD_SHARE


@pytest.mark.parametrize(("size_bytes", "passed"), [(60_000, False), (3_000_000, True)], ids=["spent", "lasts"])
def test_a_floor_check_tells_of_its_moment_on_a_line_with_an_allowance(size_bytes: int, passed: bool) -> None:
    way = boosted(steady(6, delay_s=0.015, queue_s=0.2), 30, size_bytes)
    with linkbed(Line("boost", way, way)) as bed, bed.measurement_server() as url:
        command = [sys.executable, "-m", "linkbell_agent", "check", "--server", url, "--json"]
        began_s = time.monotonic()
        printed = bed.school.run(*command, "--floor", f"{FLOOR_BPS / 1e6}M")
        ended_s = time.monotonic()
        truth = bed.truth(ended_s)
    record = CheckRecord.model_validate_json(printed)
    busy = [one.start_s for one in truth.bins(Direction.DOWNLOAD, began_s, ended_s) if one.served_bytes > 2000]
    moment = (Direction.DOWNLOAD, busy[0], busy[-1])
    print(printed, truth.payload_bps(*moment), truth.sustained_bps(*moment))
    assert record.passed is (truth.payload_bps(*moment) > FLOOR_BPS) is passed
    # Half a second cannot tell what is behind a large allowance: the line is below this floor for longer.
    assert truth.sustained_bps(*moment) < FLOOR_BPS
