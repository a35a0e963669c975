"""The agent's settings, section by section: every setting with its bounds, its default and its help.

``docs/agent.md`` is held against this table by a test; how it is filled is in :mod:`linkbell_agent.settings`.
"""

import ipaddress
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from linkbell_agent.page.listen import read_listen
from linkbell_wire import calendar, fields
from linkbell_wire.configuration import (
    MAX_NAMES,
    MAX_PLATFORMS,
    MAX_TARGETS,
    MAX_UPLINKS,
    PlatformConfiguration,
    SpeedServer,
    TargetConfiguration,
)
from linkbell_wire.words import BudgetProfile, Direction, Engine, UplinkRole


def _is_address(value: str) -> str:
    ipaddress.ip_address(value)  # its ValueError says what is wrong
    return value


def _is_zone(value: str) -> str:
    # Imported late: most boxes are told their zone by the collector.
    import difflib

    from linkbell_agent.schedule.calendar import find_zone, known_zones

    if find_zone(value) is None:
        cities = {zone.rpartition("/")[2].lower(): zone for zone in sorted(known_zones())}
        near = difflib.get_close_matches(value.rpartition("/")[2].lower(), cities, n=1, cutoff=0.7)
        hint = f"Did you mean {cities[near[0]]}?" if near else "Write it like Asia/Almaty."
        raise ValueError(f"{value} is no time zone this box knows. {hint}")
    return value


def _is_listening_address(value: str) -> str:
    read_listen(value)
    return value


def _is_network(value: str) -> str:
    ipaddress.ip_network(value)
    return value


class Section(BaseModel):
    """What all of them refuse: keys nobody knows, and numbers that are none."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)


class TargetSettings(TargetConfiguration):
    """A target as the wire has it, but a key nobody knows is a mistake here."""

    model_config = ConfigDict(extra="forbid")


class PlatformSettings(PlatformConfiguration):
    """A platform as the wire has it, but a key nobody knows is a mistake here."""

    model_config = ConfigDict(extra="forbid")


class ServerSettings(SpeedServer):
    """A measurement server as the wire has it, but a key nobody knows is a mistake here."""

    model_config = ConfigDict(extra="forbid")


class UplinkSettings(Section):
    """The way out of the school that is measured."""

    name: fields.Name = Field("main", description="Name of the uplink in every record.")
    device: Annotated[str, Field(min_length=1, max_length=15)] | None = Field(
        None, description="Network interface to bind every probe to, such as eth0 (needs CAP_NET_RAW)."
    )
    source: Annotated[str, AfterValidator(_is_address)] | None = Field(
        None, description="Local IP address to bind every probe to."
    )


class PingSettings(Section):
    """Pings of every target."""

    interval_s: float = Field(60.0, ge=10, le=86_400, description="Seconds from one round of pings to the next.")
    count: int = Field(10, ge=1, le=100, description="Packets to each target in a round.")


class LayerSettings(Section):
    """What the verdict is decided from, besides pings."""

    quick_interval_s: float = Field(
        12.0, ge=5, le=60, description="Seconds from one round to the next while something looks wrong."
    )
    portal_url: fields.WebUrl = Field(
        "http://connectivitycheck.gstatic.com/generate_204",
        description="Page that answers 204 in the clear, to see whether a login page answers instead.",
    )
    dns_names: list[fields.Host] = Field(
        default_factory=list,
        max_length=MAX_NAMES,
        description="Names to look up; else the collector's, and example.com.",
    )
    resolvers: list[Annotated[str, AfterValidator(_is_address)]] = Field(
        default_factory=list,
        max_length=MAX_NAMES,
        description="Name servers to ask besides the box's own; they do not decide the verdict.",
    )


class SpeedSettings(Section):
    """Full speed tests."""

    enabled: bool = Field(True, description="Whether full speed tests run by themselves.")
    engine: Engine = Field(Engine.NDT7, description="What measures: ndt7, or ookla (speedtest-cli, an extra).")
    per_day: int = Field(
        3, ge=1, le=288, description="Tests a day, each at a random moment of its part of the school's hours."
    )
    max_duration_s: float = Field(10.0, ge=1, le=15, description="Longest time per direction, in seconds.")
    max_bytes: int | None = Field(
        None, ge=100_000, le=10**11, description="Most bytes per direction; none when not set."
    )
    full: bool = Field(
        False,
        description="Whether tests run as M-Lab's do: one connection, for all of the time, instead of until they know.",
    )
    mlab_consent: bool = Field(
        False,
        description="Whether M-Lab's servers may be used. They publish this line's address with each result, for ever.",
    )
    servers: list[ServerSettings] = Field(
        default_factory=list,
        max_length=8,
        description="Measurement servers, best first; else the collector names them.",
    )


class CheckSettings(Section):
    """Floor checks."""

    enabled: bool = Field(True, description="Whether floor checks run by themselves, where a floor is known.")
    interval_s: float = Field(
        1800.0, ge=60, le=86_400, description="Seconds of school hours from one floor check to the next, on average."
    )
    directions: list[Direction] = Field(
        default_factory=lambda: [Direction.DOWNLOAD],
        max_length=2,
        description="Directions that are checked: download, upload, or both.",
    )


class CalendarSettings(Section):
    """When the school is open, where the collector does not say."""

    timezone: Annotated[str, AfterValidator(_is_zone)] | None = Field(
        None, description="Time zone of the school, such as Asia/Almaty, where the collector names none; else UTC."
    )
    weekdays: calendar.WeekdaysText = Field(
        "mon-fri", description="School days: mon-fri, mon-sat, sun-thu, or mon,wed,fri."
    )
    hours: calendar.HoursText = Field(
        "08:00-18:00",
        description="Opening hours, such as 08:00-13:00, 14:00-19:00; sat 08:00-13:00. Past midnight is 18:00-01:00.",
    )
    holidays: list[calendar.DaysText] = Field(
        default_factory=list,
        max_length=calendar.MAX_DAYS_ENTRIES,
        description="Days without school: 2026-03-22, or 2026-03-21/2026-03-29 with both ends included.",
    )
    terms: list[calendar.DaysText] = Field(
        default_factory=list,
        max_length=calendar.MAX_DAYS_ENTRIES,
        description="Days that are in a term, written like holidays; empty is all of the year.",
    )


class BudgetSettings(Section):
    """How much of a month's data measuring may use."""

    profile: BudgetProfile | None = Field(
        None,
        description="Kind of line: unmetered, metered, satellite; unset: metered if bytes are given, else unmetered.",
    )
    bytes_per_month: int | None = Field(
        None, ge=10_000_000, le=10**13, description="Most bytes a month for all measuring; unset: what the profile has."
    )
    billing_day: int | None = Field(
        None, ge=1, le=28, description="Day on which a month begins, in the school's time zone; unset: the first."
    )


class OneOfUplinks(UplinkSettings):
    """One of several ways out. ``role`` unset: the first of the list is the primary one, others are backups."""

    name: fields.Name
    role: UplinkRole | None = None
    resolvers: list[Annotated[str, AfterValidator(_is_address)]] | None = Field(None, max_length=MAX_NAMES)
    budget: BudgetSettings | None = None
    speed: bool | None = None
    check: bool | None = None
    ping_interval_s: float | None = Field(None, ge=10, le=86_400)


class CourtesySettings(Section):
    """Waiting while others use the line."""

    enabled: bool = Field(True, description="Whether tests wait while others use the line.")
    busy_share: float = Field(
        0.1, gt=0, le=1, description="Share of the line's last known speed that others may use without a test waiting."
    )
    busy_bps: float = Field(
        256_000.0, ge=1000, le=1e12, description="Bits per second that others may always use without a test waiting."
    )
    look_s: float = Field(2.0, ge=0.5, le=30, description="Seconds of traffic that are looked at.")
    wait_s: float = Field(
        30.0, ge=0, le=600, description="Seconds a busy line is looked at again before a test is skipped."
    )
    skips: int = Field(
        3, ge=0, le=1000, description="Tests skipped in a row, after which one runs anyway and is marked."
    )


class ReportSettings(Section):
    """Sending to the collector."""

    interval_s: float = Field(
        30.0,
        ge=1,
        le=3600,
        description="Seconds a ping may wait to be reported with others; anything rarer goes at once.",
    )
    batch_records: int = Field(60, ge=1, le=1000, description="Most records in one report.")
    max_share: float = Field(
        0.5,
        ge=0.01,
        le=1,
        description="Largest share of the time in which history is sent after an outage; the line is the school's.",
    )


class SpoolSettings(Section):
    """Keeping what is not yet acknowledged."""

    max_records: int = Field(
        200_000, ge=1000, le=10_000_000, description="Most records kept; past it the least worth go first."
    )
    flush_after_s: float = Field(
        600.0, ge=1, le=3600, description="Seconds after which an unacknowledged record is written to disk."
    )


class PageSettings(Section):
    """The page on the school's own network."""

    enabled: bool = Field(True, description="Whether the page for the school's own network is served.")
    listen: Annotated[str, AfterValidator(_is_listening_address)] = Field(
        "0.0.0.0:8472", description="Address and port the page is served at; it answers private addresses only."
    )
    allow: list[Annotated[str, AfterValidator(_is_network)]] = Field(
        default_factory=list,
        max_length=16,
        description="Networks that may see the page besides private ones, such as 203.0.113.0/24.",
    )


class Settings(Section):
    """All settings of the agent."""

    state: Path = Field(
        Path("/var/lib/linkbell-agent"), description="Folder of identity, spool and last configuration."
    )
    log_level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = Field(
        "info", description="How much the agent says on standard error: debug, info, warning or error."
    )
    language: Annotated[str, Field(pattern="^(en|ru|kk)$")] | None = Field(
        None, description="Language of page, status and doctor: en, ru or kk; else as browser or LANG say."
    )
    default_targets: bool = Field(
        True, description="Ping gateway, resolver, collector and an international host besides the configured targets."
    )
    targets: list[TargetSettings] = Field(
        default_factory=list, max_length=MAX_TARGETS, description="Targets to ping, where the collector gives no list."
    )
    platforms: list[PlatformSettings] = Field(
        default_factory=list,
        max_length=MAX_PLATFORMS,
        description="Web platforms of the school, fetched every round, where the collector gives no list.",
    )
    allow_private: list[Annotated[str, AfterValidator(_is_network)]] = Field(
        default_factory=list,
        max_length=32,
        description="Private networks the collector may name targets in, besides the box's own.",
    )
    uplink: UplinkSettings = Field(default_factory=UplinkSettings, description="The way out that is measured.")
    uplinks: list[OneOfUplinks] = Field(
        default_factory=list,
        max_length=MAX_UPLINKS,
        description="The ways out, where there are several; each is bound and measured by itself.",
    )
    ping: PingSettings = Field(default_factory=PingSettings, description="Pings.")
    layers: LayerSettings = Field(default_factory=LayerSettings, description="What the verdict is decided from.")
    speed: SpeedSettings = Field(default_factory=SpeedSettings, description="Full speed tests.")
    check: CheckSettings = Field(default_factory=CheckSettings, description="Floor checks.")
    calendar: CalendarSettings = Field(default_factory=CalendarSettings, description="When the school is open.")
    budget: BudgetSettings = Field(default_factory=BudgetSettings, description="A month's data.")
    courtesy: CourtesySettings = Field(default_factory=CourtesySettings, description="Giving way to others.")
    report: ReportSettings = Field(default_factory=ReportSettings, description="Sending to the collector.")
    spool: SpoolSettings = Field(default_factory=SpoolSettings, description="Keeping what is not acknowledged.")
    page: PageSettings = Field(default_factory=PageSettings, description="The page on the school's own network.")

    @field_validator("uplinks")
    @classmethod
    def _can_be_told_apart(cls, uplinks: list[OneOfUplinks], info: ValidationInfo) -> list[OneOfUplinks]:
        alone = info.data.get("uplink")
        if uplinks and alone is not None and alone.model_fields_set:
            raise ValueError("uplink and uplinks are both set: put all of them into uplinks, or leave uplinks out")
        _tell_apart(uplinks)
        return uplinks

    @property
    def has_several(self) -> bool:
        """Whether the box has more than one uplink; a list of one is the short form in more words."""
        return len(self.uplinks) > 1

    @property
    def ways(self) -> list[OneOfUplinks]:
        """The uplinks, the first of them the one for what is not of one uplink; ``uplink`` if none are listed."""
        if not self.uplinks:
            return [OneOfUplinks.model_construct(**dict(self.uplink), role=UplinkRole.PRIMARY)]
        default = [UplinkRole.PRIMARY, *([UplinkRole.BACKUP] * (len(self.uplinks) - 1))]
        return [
            one if one.role is not None else one.model_copy(update={"role": role})
            for one, role in zip(self.uplinks, default, strict=True)
        ]


def _tell_apart(uplinks: list[OneOfUplinks]) -> None:
    """Raise ``ValueError`` for uplinks of which a packet could not be said to belong to one."""
    if len(uplinks) < 2:
        return
    names = [one.name for one in uplinks]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two uplinks are called {name}: give each a name of its own")
    for one in uplinks:
        if one.device is None and one.source is None:
            raise ValueError(f"{one.name} is bound to nothing: give it a device, such as eth0, or a source address")
        for other in uplinks[names.index(one.name) + 1 :]:
            if one.source is not None and one.source == other.source:
                raise ValueError(
                    f"{one.name} and {other.name} have the same source, {one.source}: nothing tells them apart"
                )
            if one.device is not None and one.device == other.device and None in (one.source, other.source):
                raise ValueError(
                    f"{one.name} and {other.name} have the same device, {one.device}: give each a source as well"
                )
