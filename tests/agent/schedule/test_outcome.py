"""Which failures are worth another try: every code is in one of two lists, and half a result is one."""

from collections.abc import Mapping
from typing import Any

import pytest

from linkbell_agent.schedule.outcome import FINAL, TRIED_AGAIN, failure_of
from linkbell_wire.failures import Failure, FailureCode, Operation
from linkbell_wire.records import CheckRecord, Record, SkipRecord, SpeedRecord, SpeedResult
from linkbell_wire.words import Engine, SkipReason, Stop, Trigger
from tests.agent.fakes import START

STAMP: Mapping[str, Any] = {"seq": 0, "uplink": "main", "at": START, "boot_id": "b", "boottime_s": 1.0}
RESULT = SpeedResult(bps=1e6, bytes=1000, duration_s=1, stop=Stop.TIME)


def failed(code: FailureCode) -> SpeedResult:
    return SpeedResult(bytes=0, duration_s=0, failure=failure(code))


def failure(code: FailureCode) -> Failure:
    return Failure(operation=Operation.CONNECT, code=code)


def speed(download: SpeedResult | None = None, upload: SpeedResult | None = None, **more: Any) -> SpeedRecord:
    server = "ws://192.0.2.7:8471"
    given: dict[str, Any] = {**STAMP, **more}
    return SpeedRecord(
        **given, engine=Engine.NDT7, server=server, trigger=Trigger.SLOT, download=download, upload=upload
    )


def test_every_code_is_in_one_of_the_two_lists() -> None:
    assert set(FailureCode) == TRIED_AGAIN | FINAL
    assert not TRIED_AGAIN & FINAL


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (speed(RESULT, RESULT), None),
        (speed(RESULT, failed(FailureCode.CONNECTION_RESET)), None),
        (speed(failed(FailureCode.TIMEOUT), RESULT), None),
        (speed(failed(FailureCode.SERVER_BUSY), failed(FailureCode.SERVER_BUSY)), FailureCode.SERVER_BUSY),
        (speed(failed(FailureCode.INCONCLUSIVE), failed(FailureCode.TIMEOUT)), FailureCode.TIMEOUT),
        (speed(upload=failed(FailureCode.INCONCLUSIVE)), FailureCode.INCONCLUSIVE),
        (speed(failure=failure(FailureCode.ENGINE_MISSING)), FailureCode.ENGINE_MISSING),
        (SkipRecord(**STAMP, skipped="speed", reason=SkipReason.BUDGET), None),
        (
            CheckRecord(
                **STAMP,
                server="ws://192.0.2.7:8471",
                trigger=Trigger.SLOT,
                floor_bps=1e6,
                bytes=0,
                duration_s=0,
                failure=failure(FailureCode.UPLINK_UNAVAILABLE),
            ),
            FailureCode.UPLINK_UNAVAILABLE,
        ),
    ],
)
def test_what_brought_something_is_a_result(record: Record, code: FailureCode | None) -> None:
    found = failure_of(record)
    assert (found and found.code) == code
