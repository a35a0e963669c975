"""The check on emulated lines either side of its floor, and what a bystander notices on one of twice the floor."""

import sys
import time

import pytest

from linkbell_wire import floor
from linkbell_wire.records import CheckRecord
from linkbell_wire.words import Direction
from tests.linkbed.bed import linkbed, why_not
from tests.linkbed.lines import Line, steady
from tests.linkbed.truth import PAYLOAD_SHARE, Bin

REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))

LEAST = floor.MIN_FLOOR_BPS / 1e6


def run(
    floor_mbit: float, share: float, direction: Direction, delay_s: float = 0.02, loss: float = 0.0
) -> tuple[CheckRecord, list[Bin]]:
    """Check a line of ``share`` times the floor; give the record, and the bins of the line that carried anything."""
    rate_mbit = floor_mbit * share / PAYLOAD_SHARE / (1 - loss)
    way = steady(rate_mbit, delay_s=delay_s, queue_s=max(0.2, 2 * delay_s), loss=loss)
    with linkbed(Line("floor", way, way)) as bed, bed.measurement_server() as url:
        command = [sys.executable, "-m", "linkbell_agent", "check", "--server", url, "--json"]
        began = time.monotonic()
        printed = bed.school.run(*command, "--floor", f"{floor_mbit}M", "--direction", direction)
        ended = time.monotonic()
        bins = bed.truth(ended).bins(direction, began, ended)
    print(printed)
    return CheckRecord.model_validate_json(printed), [one for one in bins if one.served_bytes]


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("share", [0.85, 1.15, 2.0])
def test_the_answer_is_right_and_cheap(share: float, direction: Direction) -> None:
    record, bins = run(8, share, direction)
    assert record.passed is (share > 1)
    assert record.bps is not None
    assert 0.95 < record.bps / 1e6 / min(8 * share, 9.2) < 1.05
    assert sum(one.served_bytes for one in bins) < 2e6
    if share == 2.0:
        waits_s = sorted(one.wait_s for one in bins)
        assert waits_s[int(0.95 * len(waits_s))] < 0.02


@pytest.mark.parametrize(
    ("floor_mbit", "share", "direction"),
    [
        (LEAST, 2.0, Direction.DOWNLOAD),
        (LEAST, 0.5, Direction.UPLOAD),
        (0.5, 0.8, Direction.DOWNLOAD),
        (0.5, 1.5, Direction.UPLOAD),
        (2, 1.5, Direction.DOWNLOAD),
        (2, 0.85, Direction.UPLOAD),
    ],
)
def test_low_floors_are_told_as_well(floor_mbit: float, share: float, direction: Direction) -> None:
    record, bins = run(floor_mbit, share, direction)
    assert record.passed is (share > 1)
    assert record.bps is not None
    # Half of the lowest floor is four packets a second, and one more or less of fifty is 2 %.
    assert 0.93 < record.bps / 1e6 / min(floor_mbit * share, 1.15 * floor_mbit) < 1.15
    assert sum(one.served_bytes for one in bins) < 1.15 * floor.budget_bytes(floor_mbit * 1e6)


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("share", [0.85, 1.15, 2.0])
def test_by_satellite_a_lost_packet_costs_one_connection_its_part_and_not_the_answer(
    share: float, direction: Direction
) -> None:
    record, bins = run(8, share, direction, delay_s=0.29, loss=0.002)
    assert record.passed is (share > 1)
    assert record.bps is not None
    assert 0.95 < record.bps / 1e6 / min(8 * share, 9.2) < 1.05
    assert sum(one.served_bytes for one in bins) < 2e6
    assert record.duration_s < 4
    if share == 2.0:
        waits_s = sorted(one.wait_s for one in bins)
        assert waits_s[int(0.95 * len(waits_s))] < 0.02
