"""What a speed leaves out, in sentences for people who are no engineers."""

from datetime import UTC, datetime
from typing import Any

import pytest

from linkbell_agent.describe import explain
from linkbell_wire.records import SpeedRecord, SpeedResult
from linkbell_wire.words import DeviceLimit, Engine, Grade, LimitedBy, Stop, Trigger


def record(result: dict[str, Any] | None = None, **more: Any) -> SpeedRecord:
    download = SpeedResult(bps=20e6, bytes=1, duration_s=1.0, stop=Stop.STABLE).model_copy(update=result or {})
    base = SpeedRecord(
        seq=0,
        uplink="main",
        at=datetime(2026, 3, 2, tzinfo=UTC),
        boot_id="b",
        boottime_s=1.0,
        engine=Engine.NDT7,
        server="ws://a",
        trigger=Trigger.MANUAL,
        download=download,
    )
    return base.model_copy(update=more)


LOADED: dict[str, Any] = {"rtt_loaded_s": 0.24}
SLOW_UPLOAD = SpeedResult(bps=1e6, bytes=1, duration_s=1.0, stop=Stop.STABLE, rtt_loaded_s=0.5)
UPLOADING = "500 ms while uploading"
SUFFER = "video calls will suffer while somebody"
CPU = {"limited_by": LimitedBy.DEVICE, "device_limit": DeviceLimit.CPU}


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (record(), []),
        (record(LOADED), []),
        (
            record(LOADED, rtt_idle_s=0.0201, bufferbloat=Grade.C),
            [f"under load: 240 ms while downloading, 20.1 ms when idle (grade C): {SUFFER} downloads"],
        ),
        (
            record(LOADED, rtt_idle_s=0.0201, bufferbloat=Grade.C, upload=SLOW_UPLOAD),
            [f"under load: 240 ms while downloading, {UPLOADING}, 20.1 ms when idle (grade C): {SUFFER} uploads"],
        ),
        (record(others_during_bps=1e6), []),
        (record(others_during_bps=3e6), ["others used 3.0 Mbit/s meanwhile: the speed is what they left"]),
        (record(CPU), ["download: this box was the limit, not the line: its processor was busy all the time"]),
        (
            record({"limited_by": LimitedBy.SERVER}),
            ["download: the measurement server was the limit, not the line"],
        ),
        (record({"limited_by": LimitedBy.LINE}), []),
    ],
)
def test_what_a_speed_leaves_out_is_said_if_it_matters(shown: SpeedRecord, expected: list[str]) -> None:
    assert explain(shown) == expected


@pytest.mark.parametrize("grade", Grade)
def test_every_grade_has_words(grade: Grade) -> None:
    (line,) = explain(record(LOADED, rtt_idle_s=0.02, bufferbloat=grade))
    assert f"(grade {grade}): " in line


@pytest.mark.parametrize("cause", DeviceLimit)
def test_every_limit_of_the_box_has_words(cause: DeviceLimit) -> None:
    (line,) = explain(record({"limited_by": LimitedBy.DEVICE, "device_limit": cause}))
    assert line.startswith("download: this box was the limit, not the line: ")
