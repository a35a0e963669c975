"""Speed tests, floor checks, skips, verdicts and events, made with the models of linkbell_wire. Pure."""

from collections.abc import Mapping
from typing import Any

from linkbell_collector.clock import from_us
from linkbell_collector.simulate.line import LineState
from linkbell_collector.simulate.noise import bell, between, unit
from linkbell_collector.simulate.records import MEASURE, Frame
from linkbell_wire import CheckRecord, EventRecord, Failure, FailureCode, Operation, SkipRecord, SpeedRecord
from linkbell_wire.records import Evidence, Record, SpeedResult, VerdictRecord
from linkbell_wire.words import (
    ClockQuality,
    Engine,
    EventName,
    Grade,
    LimitedBy,
    ServerScope,
    SkipReason,
    Stop,
    Trigger,
    VerdictState,
)

UNREACHABLE = Failure(operation=Operation.CONNECT, code=FailureCode.NETWORK_UNREACHABLE)
_GRADES = ((0.005, Grade.A_PLUS), (0.03, Grade.A), (0.06, Grade.B), (0.2, Grade.C), (0.4, Grade.D))
_CHECK_S = 1.2
_OVER_FLOOR = 1.25


def _shared(seq: int, uplink: str, moment: Frame) -> dict[str, Any]:
    return {
        "seq": seq,
        "uplink": uplink,
        "at": from_us(moment.wall_us),
        "boot_id": moment.boot_id,
        "boottime_s": moment.boottime_s,
        "clock": ClockQuality.SYNCED if moment.synced else ClockQuality.UNSYNCED,
    }


def _text(record: Record) -> str:
    return record.model_dump_json(exclude_none=True)


def speed(seq: int, uplink: str, moment: Frame, state: LineState, key: int) -> str:
    """Return a speed test that read what ``state`` allows, within a few per cent."""
    shared = _shared(seq, uplink, moment)
    download = _direction(state.down_bps * (1 + 0.03 * bell(key, 1)), state, key)
    upload = _direction(state.up_bps * (1 + 0.03 * bell(key, 2)), state, key + 1)
    bloat = next((grade for limit, grade in _GRADES if state.loaded_s < limit), Grade.F)
    return _text(
        SpeedRecord(
            **shared,
            engine=Engine.NDT7,
            server=MEASURE,
            server_scope=ServerScope.COLLECTOR,
            trigger=Trigger.SLOT,
            download=download,
            upload=upload,
            rtt_idle_s=round(state.rtt_s, 6),
            jitter_idle_s=round(state.jitter_s, 6),
            bufferbloat=bloat,
            probe_bytes=40_000,
            limited_by=LimitedBy.LINE,
        )
    )


def _direction(bps: float, state: LineState, key: int) -> SpeedResult:
    duration_s = between(key, 3, 3, 7)
    bps = round(max(1000.0, bps), 0)
    return SpeedResult(
        bps=bps,
        bps_low=round(bps * 0.97, 0),
        bps_high=round(bps * 1.03, 0),
        bytes=int(bps / 8 * duration_s * 0.9),
        duration_s=round(duration_s, 3),
        streams=1 if bps < 100e6 else 4,
        stop=Stop.STABLE if unit(key, 4) < 0.9 else Stop.TIME,
        rtt_loaded_s=round(state.rtt_s + state.loaded_s, 6),
        retransmit_ratio=round(min(1.0, state.loss_ratio), 5),
        congestion_control="bbr",
        limited_by=LimitedBy.LINE,
    )


def failed_speed(seq: int, uplink: str, moment: Frame) -> str:
    """Return a speed test that did not reach its server."""
    return _text(
        SpeedRecord(
            **_shared(seq, uplink, moment),
            engine=Engine.NDT7,
            server=MEASURE,
            trigger=Trigger.SLOT,
            failure=UNREACHABLE,
        )
    )


def check(seq: int, uplink: str, moment: Frame, state: LineState, floor: tuple[float, int]) -> str:
    """Return a floor check. ``floor`` is the floor in bits per second, and a key."""
    floor_bps, key = floor
    paced_bps = floor_bps * _OVER_FLOOR
    bps = round(min(paced_bps, state.down_bps * (1 + 0.02 * bell(key, 5))), 0)
    return _text(
        CheckRecord(
            **_shared(seq, uplink, moment),
            server=MEASURE,
            server_scope=ServerScope.COLLECTOR,
            trigger=Trigger.SLOT,
            floor_bps=floor_bps,
            passed=bps >= floor_bps,
            sure=True,
            bps=bps,
            paced_bps=paced_bps,
            bytes=int(bps / 8 * _CHECK_S),
            duration_s=_CHECK_S,
            rtt_idle_s=round(state.rtt_s, 6),
        )
    )


def failed_check(seq: int, uplink: str, moment: Frame, floor_bps: float) -> str:
    """Return a floor check that did not reach its server."""
    return _text(
        CheckRecord(
            **_shared(seq, uplink, moment),
            server=MEASURE,
            trigger=Trigger.SLOT,
            floor_bps=floor_bps,
            bytes=0,
            duration_s=0.0,
            failure=UNREACHABLE,
        )
    )


def skipped_speed(seq: int, uplink: str, moment: Frame, reason: SkipReason, bps: float) -> str:
    """Return that a speed test was not made; ``bps`` is what others used of the line."""
    return _text(
        SkipRecord(
            **_shared(seq, uplink, moment),
            skipped="speed",
            target="measure.example",
            reason=reason,
            value=round(bps, 0),
            limit=1e6 if reason is SkipReason.BUSY else None,
        )
    )


def verdict(
    seq: int, uplink: str, moment: Frame, change: tuple[VerdictState, VerdictState | None], evidence: list[Evidence]
) -> str:
    """Return a verdict that changed: what it is, and what it was."""
    now, before = change
    return _text(VerdictRecord(**_shared(seq, uplink, moment), verdict=now, previous=before, evidence=evidence))


def event(seq: int, moment: Frame, name: EventName, details: Mapping[str, str | bool | int | float | None]) -> str:
    """Return an event of the box."""
    return _text(EventRecord(**_shared(seq, "main", moment), event=name, details=dict(details)))
