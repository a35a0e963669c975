"""The number itself: what the agent says of a line of known rate, at a school's distance, is what the line carries."""

import sys

import pytest

from linkbell_wire.records import SpeedRecord
from tests.linkbed.bed import linkbed, why_not
from tests.linkbed.lines import Line, steady
from tests.linkbed.truth import PAYLOAD_SHARE

REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))


@pytest.mark.parametrize("mbit", [2, 8, 50], ids=lambda mbit: f"{mbit} Mbit/s")
def test_a_shaped_line_reads_as_its_rate(mbit: float) -> None:
    way = steady(mbit, delay_s=0.01, queue_s=0.3)
    with linkbed(Line("shaped", way, way)) as bed, bed.measurement_server() as url:
        command = [sys.executable, "-m", "linkbell_agent", "speed", "--server", url, "--json"]
        printed = bed.school.run(*command)
    print(printed)
    record = SpeedRecord.model_validate_json(printed)
    for result in (record.download, record.upload):
        assert result is not None
        assert result.bps is not None
        assert 0.97 < result.bps / (mbit * 1e6 * PAYLOAD_SHARE) < 1.03
        assert mbit < 8 or result.bytes < 0.2 * 10 * result.bps / 8  # of what ten seconds would have cost
