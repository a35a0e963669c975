"""A school's day as the agent would have seen it: for tests, and to look at the page by eye.

``python -m tests.agent.page.school_day`` serves it at http://127.0.0.1:8472/.
"""

import asyncio
import math
import random
import sys
from datetime import UTC, datetime, timedelta

from linkbell_agent.page.facts import Facts
from linkbell_agent.page.server import PageServer, ServedAt
from linkbell_agent.recent.history import History
from linkbell_agent.recent.intake import Intake
from linkbell_wire.failures import Failure, FailureCode, Operation
from linkbell_wire.records import (
    CheckRecord,
    EventRecord,
    Evidence,
    PingRecord,
    Record,
    SkipRecord,
    SpeedRecord,
    SpeedResult,
    VerdictRecord,
)
from linkbell_wire.words import (
    Direction,
    Engine,
    EventName,
    Layer,
    LimitedBy,
    PingMethod,
    SkipReason,
    Stop,
    Trigger,
    VerdictState,
)

BOOT = "11111111-2222-3333-4444-555555555555"
NOW = datetime(2026, 11, 24, 9, 5, tzinfo=UTC)
UPTIME_S = 200_000.0
FLOOR_BPS = 20e6

TARGETS = (
    ("gateway", Layer.GATEWAY, "192.168.1.1", 0.0011),
    ("isp-hop", Layer.ISP, "10.20.0.1", 0.008),
    ("resolver", Layer.DNS, "192.0.2.53", 0.011),
    ("ministry", Layer.DOMESTIC, "edu.example.kz", 0.019),
    ("international", Layer.INTERNATIONAL, "1.1.1.1", 0.074),
    ("collector", Layer.COLLECTOR, "collector.example", 0.031),
)
OUTAGES = (
    (VerdictState.ISP_DOWN, 1330, 1290),
    (VerdictState.DEGRADED, 700, 520),
    (VerdictState.INTERNATIONAL_DOWN, 300, 255),
)
"""State, and its beginning and end in minutes before now."""

POWER_CUT = (980, 905)


class Day:
    """Makes records at minutes before now."""

    def __init__(self) -> None:
        self.rng = random.Random(7)
        self.intake = Intake(History(BOOT))

    def common(self, ago_min: float) -> dict[str, object]:
        return {
            "seq": 0,
            "uplink": "main",
            "at": NOW - timedelta(minutes=ago_min),
            "boot_id": BOOT,
            "boottime_s": UPTIME_S - 60 * ago_min,
        }

    def add(self, record: Record) -> None:
        self.intake.add(record)

    def ping(self, ago_min: float, target: tuple[str, Layer, str, float], answered: float) -> None:
        name, layer, host, base_s = target
        received = round(10 * answered)
        busy = 1 + 0.6 * max(0.0, math.sin((1440 - ago_min) / 1440 * 2 * math.pi)) ** 2
        rtt_s = base_s * busy * self.rng.lognormvariate(0, 0.12)
        times = dict.fromkeys(("rtt_min_s", "rtt_mean_s", "rtt_p95_s", "rtt_max_s"), rtt_s) if received else {}
        lost = {FailureCode.TIMEOUT: 10 - received} if received < 10 else {}
        self.add(
            PingRecord.model_validate(
                {
                    **self.common(ago_min),
                    "target": name,
                    "layer": layer,
                    "host": host,
                    "method": PingMethod.ICMP,
                    "sent": 10,
                    "received": received,
                    "failures": lost,
                    **times,
                }
            )
        )

    def speed(self, ago_min: float, down_bps: float | None, up_bps: float | None) -> None:
        def result(bps: float | None) -> SpeedResult:
            if bps is None:
                failure = Failure(operation=Operation.CONNECT, code=FailureCode.TIMEOUT)
                return SpeedResult(bytes=0, duration_s=1.0, failure=failure)
            return SpeedResult(bps=bps, bytes=2_000_000, duration_s=1.5, stop=Stop.STABLE, rtt_loaded_s=0.12)

        self.add(
            SpeedRecord(
                **self.common(ago_min),  # type: ignore[arg-type]
                engine=Engine.NDT7,
                server="wss://measure.example.kz:8471",
                trigger=Trigger.SLOT,
                download=result(down_bps),
                upload=result(up_bps),
                rtt_idle_s=0.031,
                limited_by=LimitedBy.LINE,
            )
        )

    def check(self, ago_min: float, bps: float) -> None:
        self.add(
            CheckRecord(
                **self.common(ago_min),  # type: ignore[arg-type]
                server="wss://measure.example.kz:8471",
                direction=Direction.DOWNLOAD,
                trigger=Trigger.SLOT,
                floor_bps=FLOOR_BPS,
                passed=bps >= FLOOR_BPS,
                sure=True,
                bps=bps,
                bytes=700_000,
                duration_s=0.6,
            )
        )

    def verdict(self, ago_min: float, state: VerdictState) -> None:
        lost = Failure(operation=Operation.RECEIVE, code=FailureCode.TIMEOUT)
        evidence = [
            Evidence(layer=layer, target=name, up=up, failure=None if up else lost)
            for name, layer, _, _ in TARGETS
            for up in (state is not VerdictState.ISP_DOWN or layer is Layer.GATEWAY,)
        ]
        self.add(VerdictRecord(**self.common(ago_min), verdict=state, evidence=evidence))  # type: ignore[arg-type]

    def event(self, ago_min: float, name: EventName) -> None:
        self.add(EventRecord(**self.common(ago_min), event=name))  # type: ignore[arg-type]


def answered(layer: Layer, ago_min: float, rng: random.Random) -> float:
    """Return the share of packets that come back."""
    for state, begin, end in OUTAGES:
        if not end < ago_min <= begin:
            continue
        if state is VerdictState.ISP_DOWN:
            return 1.0 if layer is Layer.GATEWAY else 0.0
        if state is VerdictState.INTERNATIONAL_DOWN:
            return 0.0 if layer is Layer.INTERNATIONAL else 1.0
        if layer is not Layer.GATEWAY:
            return rng.choice((1.0, 0.9, 0.7, 0.8))
    return 1.0 if rng.random() < 0.985 else 0.9


def school_day(final: VerdictState | None = VerdictState.OK, *, slow: bool = False) -> History:
    """Return a day with an outage, a power cut, an hour of trouble abroad, and ``final`` from ten minutes ago.

    Without ``final`` the agent has just started and knows nothing yet.
    """
    day = Day()
    for ago, what in _story(final):
        if isinstance(what, VerdictState):
            day.verdict(ago, what)
        else:
            day.event(ago, what)
    _pings(day, final)
    _speeds(day)
    for ago in (60, 40, 20) if slow else ():
        day.speed(ago, 11e6, 4e6)
    day.add(SkipRecord(**day.common(300), skipped="speed", reason=SkipReason.BUSY))  # type: ignore[arg-type]
    return day.intake.history


def _story(final: VerdictState | None) -> list[tuple[float, VerdictState | EventName]]:
    story: list[tuple[float, VerdictState | EventName]] = [(1500, EventName.START), (1499, VerdictState.OK)]
    for state, begin, end in OUTAGES:
        story += [(begin, state), (end, VerdictState.OK)]
    story += [(POWER_CUT[1], EventName.START), (POWER_CUT[1] - 1, VerdictState.OK)]
    if final is None:
        story.append((1, EventName.START))
    elif final is not VerdictState.OK:
        story.append((10, final))
    return sorted(story, key=lambda one: -one[0])


def _is_power_cut(ago_min: float) -> bool:
    return POWER_CUT[1] < ago_min <= POWER_CUT[0]


def _pings(day: Day, final: VerdictState | None) -> None:
    for minute in range(1440, -1, -1):
        if _is_power_cut(minute):
            continue
        for target in TARGETS:
            nothing = final is VerdictState.LAN_DOWN and minute < 12
            no_line = final is VerdictState.ISP_DOWN and minute < 12 and target[1] is not Layer.GATEWAY
            day.ping(minute, target, 0.0 if nothing or no_line else answered(target[1], minute, day.rng))


def _speeds(day: Day) -> None:
    day.speed(1400, 33e6, 8.25e6)
    day.speed(1310, None, None)
    for ago, down in ((1100, 28e6), (850, 24.5e6), (610, 12.1e6), (430, 31.3e6), (180, 22.4e6)):
        day.speed(ago, down, down / 4)
    for ago in range(1380, 20, -47):
        if not _is_power_cut(ago) and not 1290 < ago < 1330:
            day.check(ago, 14e6 if 520 < ago < 700 else 23e6)


def school_facts(**changes: object) -> Facts:
    """Return the facts of that school's box."""
    facts: dict[str, object] = {
        "version": "0.1.0",
        "instance": "0123456789ab",
        "boot_id": BOOT,
        "now_s": NOW.timestamp(),
        "boottime_s": UPTIME_S,
        "synced": True,
        "agent": "agent-0421",
        "school": "0421",
        "school_name": "№ 12 мектеп, Ақтау",
        "timezone": "Asia/Aqtau",
        "collector": "https://collector.example",
        "device": "eth0",
        "gateway": "192.168.1.1",
        "address": "192.168.1.20",
        "download_floor_bps": FLOOR_BPS,
        "upload_floor_bps": 5e6,
        "waiting": 0,
    }
    return Facts.from_state(facts | changes)


async def _serve() -> None:
    final = VerdictState(sys.argv[1]) if len(sys.argv) > 1 else VerdictState.OK
    server = PageServer(ServedAt("127.0.0.1", 8472), school_day(final), school_facts)
    await server.serve_for_ever()


if __name__ == "__main__":
    asyncio.run(_serve())
