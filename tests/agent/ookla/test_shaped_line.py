"""What speedtest-cli says of a line of known rate is near it, and it cost what the line carried."""

import sys
import time

import pytest

from linkbell_wire.records import SpeedRecord
from linkbell_wire.words import Direction
from tests.linkbed.bed import linkbed, why_not
from tests.linkbed.lines import Line, steady
from tests.linkbed.truth import PAYLOAD_SHARE

REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))


@pytest.mark.parametrize("mbit", [8, 50], ids=lambda mbit: f"{mbit} Mbit/s")
def test_a_shaped_line_reads_near_its_rate(mbit: float) -> None:
    way = steady(mbit, delay_s=0.01, queue_s=0.3)
    with linkbed(Line("shaped", way, way)) as bed, bed.measurement_server() as url:
        command = [sys.executable, "-m", "linkbell_agent", "speed", "--engine", "ookla", "--server", url]
        began_s = time.monotonic()
        printed = bed.school.run(*command, "--max-duration", "6", "--json")
        ended_s = time.monotonic()
        truth = bed.truth()
    print(printed)
    record = SpeedRecord.model_validate_json(printed)
    for direction, result in ((Direction.DOWNLOAD, record.download), (Direction.UPLOAD, record.upload)):
        assert result is not None
        assert result.bps is not None
        # Slow start is in the mean, and eight connections send a part again: low, and never high.
        assert 0.8 < result.bps / (mbit * 1e6 * PAYLOAD_SHARE) < 1.03
        carried = truth.carried_bytes(direction, began_s, ended_s) * PAYLOAD_SHARE
        assert 0.8 < result.bytes / carried < 1.05  # counted by two clocks: a few hundredths of a second apart
    assert record.rtt_idle_s == pytest.approx(0.02, abs=0.03)
