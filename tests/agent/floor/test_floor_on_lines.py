"""The check on emulated lines 15 % either side of its floor, and what a bystander notices on one of twice the floor."""

import sys
import time

import pytest

from linkbell_wire.records import CheckRecord
from linkbell_wire.words import Direction
from tests.linkbed.bed import linkbed, why_not
from tests.linkbed.lines import Line, steady
from tests.linkbed.truth import PAYLOAD_SHARE

REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))

FLOOR = 8.0


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("share", [0.85, 1.15, 2.0])
def test_the_answer_is_right_and_cheap(share: float, direction: Direction) -> None:
    way = steady(FLOOR * share / PAYLOAD_SHARE, delay_s=0.02, queue_s=0.2)
    with linkbed(Line("floor", way, way)) as bed, bed.measurement_server() as url:
        command = [sys.executable, "-m", "linkbell_agent", "check", "--server", url, "--floor", "8M", "--json"]
        began = time.monotonic()
        printed = bed.school.run(*command, "--direction", direction)
        ended = time.monotonic()
        truth = bed.truth(ended)
    print(printed)
    record = CheckRecord.model_validate_json(printed)
    assert record.passed is (share > 1)
    assert record.bps is not None
    assert 0.95 < record.bps / 1e6 / min(FLOOR * share, 9.2) < 1.05
    assert truth.carried_bytes(direction, began, ended) < 2e6
    if share == 2.0:
        assert truth.mean_wait_s(direction, began, ended) < 0.02
