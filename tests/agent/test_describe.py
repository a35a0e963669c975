"""What a speed leaves out, in sentences for people who are no engineers."""

from datetime import UTC, datetime
from typing import Any

import pytest

from linkbell_agent.describe import describe, explain
from linkbell_wire.failures import FailureCode, Operation
from linkbell_wire.records import NO_SUCH_NAME, Record, SpeedRecord, SpeedResult, VerdictRecord
from linkbell_wire.words import (
    DeviceLimit,
    Engine,
    Grade,
    Layer,
    LimitedBy,
    NeighbourState,
    Stop,
    Trigger,
    VerdictState,
)
from tests.agent.layers.records import STAMP, dns, http, ping


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


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (ping(Layer.GATEWAY, lost=10), "ping   gateway        DOWN   no reply from 192.0.2.1: 10 × timeout (icmp)"),
        (
            ping(Layer.GATEWAY, lost=10, neighbour=NeighbourState.ANSWERS),
            "ping   gateway        up     answers ARP and no pings (192.0.2.1)",
        ),
        (dns(), "dns    resolver       up     20.0 ms, example.kz (198.51.100.53)"),
        (
            dns(target="resolver-lie").model_copy(update={"name": NO_SUCH_NAME}),
            "dns    resolver-lie   true   20.0 ms, no address for a name that does not exist (198.51.100.53)",
        ),
        (
            dns(FailureCode.DNS_TIMEOUT, None, "system"),
            "dns    system         DOWN   example.kz: resolve: dns timeout (the system's resolver)",
        ),
        (http(), "http   platform       up     –, status 200 (https://platform.example/)"),
        (
            http(code=FailureCode.HTTP_STATUS, status=503),
            "http   platform       DOWN   http request: http status, status 503 (https://platform.example/)",
        ),
        (
            http(code=FailureCode.TIMEOUT, operation=Operation.CONNECT, status=None),
            "http   platform       DOWN   connect: timeout (https://platform.example/)",
        ),
    ],
)
def test_a_layers_record_is_one_line(shown: Record, expected: str) -> None:
    assert describe(shown) == expected


@pytest.mark.parametrize("verdict", VerdictState)
def test_every_verdict_has_words(verdict: VerdictState) -> None:
    assert describe(VerdictRecord(**STAMP, verdict=verdict)).startswith(f"now    {verdict}")
