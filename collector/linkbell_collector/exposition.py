"""Render the schools' metrics as text format 0.0.4. Pure, and made to run in a thread.

prometheus-client renders 60 000 to 100 000 lines a second, and we need more than a million: each series keeps its
label text ready, and a line is three strings put together. No timestamps: Prometheus then notices at once when a
series leaves.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from operator import attrgetter
from typing import Any

from linkbell_collector.domain import School
from linkbell_collector.lifetimes import Horizon
from linkbell_collector.live import Slot, Snapshot
from linkbell_wire import RecordKind
from linkbell_wire.words import Direction

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Source(Enum):
    """Where the series of a family come from."""

    KNOWN_SCHOOL = auto()
    SCHOOL = auto()
    AGENT = auto()
    PING = auto()
    DNS = auto()
    HTTP = auto()
    SPEED = auto()
    DOWNLOAD = auto()
    UPLOAD = auto()
    SPEED_ATTEMPT = auto()
    CHECK = auto()
    DATA = auto()


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. ``value`` gets a reading of ``source``; ``None`` leaves its line out.

    ``text`` gets what holds the label texts: a slot, a school or an agent.
    """

    name: str
    help: str
    labels: tuple[str, ...]
    source: Source
    value: Callable[[Any], float | int | None]
    text: Callable[[Any], str] = attrgetter("labels")


_LINE = attrgetter("line")
_INFO_LABELS = attrgetter("info_labels")


def _bytes(bps: float | None) -> float | None:
    return None if bps is None else bps / 8


_SCHOOL = ("school",)
_UPLINK = ("school", "uplink")
_TARGET = ("school", "uplink", "target")
_DIRECTION = ("school", "uplink", "direction")
_AGENT = ("school", "agent")
_INFO = ("school", "name", "region", "district", "provider", "technology", "latitude", "longitude", "simulated")

FAMILIES = (
    Family(
        "linkbell_school_info",
        "What is known of the school; always 1.",
        _INFO,
        Source.KNOWN_SCHOOL,
        lambda school: 1,
        _INFO_LABELS,
    ),
    Family(
        "linkbell_school_up",
        "1 if an agent of the school has reported lately, 0 if the school has gone silent.",
        _SCHOOL,
        Source.SCHOOL,
        attrgetter("up"),
    ),
    Family(
        "linkbell_last_report_timestamp_seconds",
        "When an agent of the school last delivered anything.",
        _SCHOOL,
        Source.SCHOOL,
        lambda row: row.last_report_us / 1e6,
    ),
    Family(
        "linkbell_download_floor_bytes_per_second",
        "Download speed below which the school counts as slow.",
        _SCHOOL,
        Source.SCHOOL,
        lambda row: _bytes(row.school.download_floor_bps),
    ),
    Family(
        "linkbell_upload_floor_bytes_per_second",
        "Upload speed below which the school counts as slow.",
        _SCHOOL,
        Source.SCHOOL,
        lambda row: _bytes(row.school.upload_floor_bps),
    ),
    Family(
        "linkbell_download_bytes_per_second",
        "Download speed of the last speed test that succeeded.",
        _UPLINK,
        Source.DOWNLOAD,
        lambda reading: reading.bps / 8,
        _LINE,
    ),
    Family(
        "linkbell_upload_bytes_per_second",
        "Upload speed of the last speed test that succeeded.",
        _UPLINK,
        Source.UPLOAD,
        lambda reading: reading.bps / 8,
        _LINE,
    ),
    Family(
        "linkbell_last_speed_timestamp_seconds",
        "When the last speed test that succeeded was made.",
        _DIRECTION,
        Source.SPEED,
        lambda reading: reading.at_us / 1e6,
    ),
    Family(
        "linkbell_speed_test_failed",
        "1 if the newest speed test failed, so that the speed shown is an older one.",
        _DIRECTION,
        Source.SPEED_ATTEMPT,
        lambda attempt: int(attempt.failure is not None),
    ),
    Family(
        "linkbell_loaded_rtt_seconds",
        "Round-trip time while the last successful speed test filled the line.",
        _DIRECTION,
        Source.SPEED,
        attrgetter("rtt_loaded_s"),
    ),
    Family(
        "linkbell_floor_check_passed",
        "1 if the line reached its floor at the last check that found out, 0 if not.",
        _DIRECTION,
        Source.CHECK,
        lambda reading: int(reading.passed),
    ),
    Family(
        "linkbell_last_check_timestamp_seconds",
        "When the last floor check that found out was made.",
        _DIRECTION,
        Source.CHECK,
        lambda reading: reading.at_us / 1e6,
    ),
    Family(
        "linkbell_ping_up",
        "1 if the last ping brought at least one reply, 0 if none, or if none could be sent.",
        _TARGET,
        Source.PING,
        lambda reading: int(reading.rtt_s is not None),
    ),
    Family(
        "linkbell_ping_rtt_seconds",
        "Mean round-trip time of the last ping; absent without a reply.",
        _TARGET,
        Source.PING,
        attrgetter("rtt_s"),
    ),
    Family(
        "linkbell_ping_jitter_seconds",
        "Jitter of the last ping; absent with fewer than two replies.",
        _TARGET,
        Source.PING,
        attrgetter("jitter_s"),
    ),
    Family(
        "linkbell_ping_loss_ratio",
        "Share of the last ping's packets that brought no reply, 0 to 1; absent if none could be sent.",
        _TARGET,
        Source.PING,
        attrgetter("loss_ratio"),
    ),
    Family(
        "linkbell_dns_duration_seconds",
        "How long the last look-up took; absent if it failed.",
        _TARGET,
        Source.DNS,
        attrgetter("duration_s"),
    ),
    Family(
        "linkbell_dns_up",
        "1 if the last look-up was answered, 0 if not.",
        _TARGET,
        Source.DNS,
        lambda reading: int(reading.failure is None),
    ),
    Family(
        "linkbell_http_up",
        "1 if the last fetch succeeded, 0 if not.",
        _TARGET,
        Source.HTTP,
        lambda reading: int(reading.failure is None),
    ),
    Family(
        "linkbell_data_used_bytes",
        "What measuring has used of the month's data on this uplink.",
        _UPLINK,
        Source.DATA,
        attrgetter("used_bytes"),
        _LINE,
    ),
    Family(
        "linkbell_data_budget_bytes",
        "What measuring may use in a month on this uplink; absent without a budget.",
        _UPLINK,
        Source.DATA,
        attrgetter("budget_bytes"),
        _LINE,
    ),
    Family(
        "linkbell_agent_info",
        "The version of the agent; always 1.",
        (*_AGENT, "version"),
        Source.AGENT,
        lambda agent: 1,
        _INFO_LABELS,
    ),
    Family(
        "linkbell_agent_clock_offset_seconds",
        "How far the agent's wall clock is ahead of the collector's; negative if behind.",
        _AGENT,
        Source.AGENT,
        attrgetter("clock_offset_s"),
    ),
    Family(
        "linkbell_agent_records_lost",
        "Records that never came and that the agent cannot explain; a lower bound while its spool is not empty.",
        _AGENT,
        Source.AGENT,
        attrgetter("lost"),
    ),
)


def render(snapshot: Snapshot, horizon: Horizon) -> Iterator[str]:
    """Yield each family's text. A school silent for longer than its time to live leaves, and its series with it."""
    sources = _sources(snapshot, horizon)
    for family in FAMILIES:
        name, value, text = family.name, family.value, family.text
        lines = [f"# HELP {name} {family.help}\n# TYPE {name} gauge\n"]
        for holder, reading in sources[family.source]:
            number = value(reading)
            if number is not None:
                lines.append(f"{name}{text(holder)}{number!r}\n")
        yield "".join(lines)


@dataclass(frozen=True, slots=True)
class _SchoolReading:
    """A school at the moment of the scrape."""

    school: School
    last_report_us: int
    up: int


_Items = list[tuple[Any, Any]]


def _sources(snapshot: Snapshot, horizon: Horizon) -> dict[Source, _Items]:
    """Pair what holds the labels with what is current, each reading taken once; all that is old is left out here."""
    speeds = _tests(snapshot, RecordKind.SPEED, horizon)
    return {
        Source.KNOWN_SCHOOL: [
            (live, live)
            for live in snapshot.schools
            # One that never reported has only its description: it is no outage, and can still be found.
            if live.last_report_us == 0 or live.last_report_us >= horizon.school_us
        ],
        Source.SCHOOL: _schools(snapshot, horizon),
        Source.AGENT: [(agent, agent) for agent in snapshot.agents if agent.report_us >= horizon.school_us],
        Source.PING: _recent(snapshot, RecordKind.PING, horizon),
        Source.DNS: _recent(snapshot, RecordKind.DNS, horizon),
        Source.HTTP: _recent(snapshot, RecordKind.HTTP, horizon),
        Source.CHECK: _tests(snapshot, RecordKind.CHECK, horizon),
        Source.DATA: _tests(snapshot, RecordKind.EVENT, horizon),
        Source.SPEED: speeds,
        Source.DOWNLOAD: [item for item in speeds if item[0].target == Direction.DOWNLOAD],
        Source.UPLOAD: [item for item in speeds if item[0].target == Direction.UPLOAD],
        Source.SPEED_ATTEMPT: _attempts(snapshot, horizon),
    }


def _schools(snapshot: Snapshot, horizon: Horizon) -> _Items:
    return [
        (live, _SchoolReading(live.school, live.last_report_us, int(live.last_report_us >= horizon.silent_us)))
        for live in snapshot.schools
        if live.last_report_us >= horizon.school_us
    ]


def _recent(snapshot: Snapshot, kind: RecordKind, horizon: Horizon) -> _Items:
    return [
        (slot, reading)
        for slot in snapshot.slots[kind]
        if (reading := slot.reading) is not None and slot.is_recent(reading.at_us, horizon) and _alive(slot, horizon)
    ]


def _tests(snapshot: Snapshot, kind: RecordKind, horizon: Horizon) -> _Items:
    return [
        (slot, reading)
        for slot in snapshot.slots[kind]
        if (reading := slot.reading) is not None and reading.at_us >= horizon.speed_us and _alive(slot, horizon)
    ]


def _attempts(snapshot: Snapshot, horizon: Horizon) -> _Items:
    return [
        (slot, attempt)
        for slot in snapshot.slots[RecordKind.SPEED]
        if (attempt := slot.attempt) is not None and attempt.at_us >= horizon.speed_us and _alive(slot, horizon)
    ]


def _alive(slot: Slot, horizon: Horizon) -> bool:
    return slot.owner.last_report_us >= horizon.school_us
