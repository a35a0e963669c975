"""Each kind of record leaves in the history what a technician asks for."""

from datetime import UTC, datetime
from typing import Any

import pytest

from linkbell_agent.recent.history import History
from linkbell_agent.recent.intake import Intake
from linkbell_agent.recent.stretch import Last
from linkbell_wire.records import NO_SUCH_NAME, RECORD_ADAPTER, DnsRecord, HttpRecord, PingRecord
from tests.agent.fakes import BOOT

COMMON = {"seq": 0, "uplink": "main", "at": datetime(2026, 3, 2, tzinfo=UTC), "boot_id": BOOT, "boottime_s": 90.0}
TIMES = dict.fromkeys(("rtt_min_s", "rtt_mean_s", "rtt_p95_s", "rtt_max_s"), 0.02)
PING = {"kind": "ping", "target": "t", "layer": "isp", "host": "192.0.2.1", "method": "icmp"}
DNS = {"kind": "dns", "target": "t", "name": "example.kz"}
HTTP = {"kind": "http", "target": "t", "layer": "platform", "url": "https://example.kz"}
TIMEOUT = {"operation": "receive", "code": "timeout"}


def taken(**given: Any) -> History:
    intake = Intake(History(BOOT))
    intake.add(RECORD_ADAPTER.validate_python(COMMON | given, strict=False))
    return intake.history


@pytest.mark.parametrize(
    ("record", "last"),
    [
        (PING | {"sent": 4, "received": 3, "failures": {"timeout": 1}} | TIMES, Last(90.0, True, 0.02, 0.25, None)),
        (PING | {"sent": 2, "received": 0, "failures": {"timeout": 2}}, Last(90.0, False, None, 1.0, "timeout")),
        (
            PING | {"sent": 0, "received": 0, "failure": {"operation": "resolve", "code": "dns_timeout"}},
            Last(90.0, False, None, None, "dns_timeout"),
        ),
        (DNS | {"duration_s": 0.03, "answers": 1}, Last(90.0, True, 0.03, 0.0, None)),
        (DNS | {"failure": TIMEOUT}, Last(90.0, False, None, 1.0, "timeout")),
        (HTTP | {"status": 200, "duration_s": 0.4}, Last(90.0, True, 0.4, 0.0, None)),
        (HTTP | {"status": 503, "duration_s": 0.4, "failure": TIMEOUT}, Last(90.0, False, None, 1.0, "timeout")),
    ],
)
def test_what_is_measured_again_and_again_becomes_a_track(record: dict[str, Any], last: Last) -> None:
    (track,) = taken(**record).present.tracks.values()
    assert track.kind == record["kind"]
    assert track.last == last
    found = track.minutes.at(1)
    assert (found.rtt_s is None, found.loss_ratio) == (last.rtt_s is None, last.loss_ratio)


def test_a_speed_test_keeps_speeds_cost_and_the_first_failure() -> None:
    history = taken(
        kind="speed",
        engine="ndt7",
        server="ws://192.0.2.2:8471",
        trigger="slot",
        download={"bps": 9e6, "bytes": 1000, "duration_s": 1.0, "stop": "stable", "rtt_loaded_s": 0.2},
        upload={"bytes": 10, "duration_s": 1.0, "failure": TIMEOUT},
        probe_bytes=5,
        rtt_idle_s=0.03,
    )
    (speed,) = history.present.speeds
    assert (speed.download_bps, speed.upload_bps, speed.failure) == (9e6, None, "timeout")
    assert (speed.cost_bytes, speed.rtt_idle_s, speed.rtt_loaded_s) == (1015, 0.03, 0.2)


def test_checks_verdicts_skips_and_events_are_kept() -> None:
    check = taken(
        kind="check", server="ws://h:1", trigger="slot", floor_bps=8e6, passed=False, bps=6e6, bytes=1, duration_s=1.0
    )
    assert check.present.checks[0].passed is False
    verdict = taken(
        kind="verdict",
        verdict="isp_down",
        evidence=[
            {"layer": "gateway", "target": "gateway", "up": True},
            {"layer": "isp", "target": "hop", "up": False, "failure": TIMEOUT},
        ],
    )
    assert verdict.present.verdicts[0] == (90.0, "isp_down")
    assert verdict.evidence == [("gateway", "gateway", True, None), ("isp", "hop", False, "timeout")]
    assert taken(kind="skip", skipped="speed", reason="busy").present.skips[0] == (90.0, "speed", "busy")
    assert taken(kind="event", event="start").present.events[0] == (90.0, "start")


def test_a_gateway_that_answers_arp_and_ignores_pings_is_there_and_has_lost_nothing() -> None:
    silent = PING | {"layer": "gateway", "sent": 2, "received": 0, "failures": {"timeout": 2}, "neighbour": "answers"}
    (track,) = taken(**silent).present.tracks.values()
    assert track.last == Last(90.0, True, None, None, None)


def test_kinds_of_probes_at_one_target_are_told_apart() -> None:
    intake = Intake(History(BOOT))
    for model, given in (
        (PingRecord, PING | {"sent": 1, "received": 1} | TIMES),
        (DnsRecord, DNS | {"duration_s": 0.1}),
        (HttpRecord, HTTP | {"status": 200}),
    ):
        intake.add(model.model_validate(COMMON | given, strict=False))
    lie_check = DNS | {"target": "t-lie", "name": NO_SUCH_NAME, "duration_s": 0.1}
    intake.add(DnsRecord.model_validate(COMMON | lie_check, strict=False))
    assert list(intake.history.present.tracks) == [("ping", "t"), ("dns", "t"), ("http", "t")]
