"""`GET /api/v1/agent/config`: what the collector asks an agent to measure. Validated whole before any of it is used."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from linkbell_wire import calendar, fields, words
from linkbell_wire.fields import WireModel

MAX_TARGETS = 32
MAX_PLATFORMS = 8
MAX_NAMES = 4
MAX_UPLINKS = 8

MIN_TEST_BYTES, MAX_TEST_BYTES = 100_000, 10**11
"""What may be set as the most bytes of a test in one direction."""


class TargetConfiguration(WireModel):
    """Something to ping. Without ``method`` the agent takes the best its box allows; ``port`` is for TCP."""

    name: fields.Name
    layer: words.Layer
    host: fields.Host
    method: words.PingMethod | None = None
    port: fields.Port | None = None


class PlatformConfiguration(WireModel):
    """Something the school works with on the web, fetched as a browser would."""

    name: fields.Name
    url: fields.WebUrl


class DnsConfiguration(WireModel):
    """What is looked up, and at which name servers besides the box's own."""

    names: Annotated[list[fields.Host], Field(max_length=MAX_NAMES)] | None = None
    resolvers: Annotated[list[fields.Host], Field(max_length=MAX_NAMES)] | None = None


class SpeedServer(WireModel):
    """A measurement server, best first."""

    url: fields.Url
    scope: words.ServerScope = words.ServerScope.UNKNOWN


class PingConfiguration(WireModel):
    """How often each target is pinged, and with how many packets."""

    interval_s: Annotated[float, Field(ge=10, le=86_400)] | None = None
    count: Annotated[int, Field(ge=1, le=100)] | None = None


class SpeedConfiguration(WireModel):
    """Full speed tests: ``per_day`` random moments, each within a cap in seconds and bytes per direction.

    ``mlab_consent`` allows M-Lab's public servers, which publish the addresses they measure.
    """

    enabled: bool | None = None
    per_day: Annotated[int, Field(ge=1, le=288)] | None = None
    max_duration_s: Annotated[float, Field(ge=1, le=15)] | None = None
    max_bytes: Annotated[int, Field(ge=MIN_TEST_BYTES, le=MAX_TEST_BYTES)] | None = None
    servers: Annotated[list[SpeedServer], Field(max_length=8)] = Field(default_factory=list)
    mlab_consent: bool | None = None


class CheckConfiguration(WireModel):
    """Floor checks: one in each ``interval_s`` of the school's hours, in each direction whose floor is known."""

    enabled: bool | None = None
    interval_s: Annotated[float, Field(ge=60, le=86_400)] | None = None
    directions: Annotated[list[words.Direction], Field(max_length=2)] | None = None


class CalendarConfiguration(WireModel):
    """When the school is open, in its own time zone: tests run then. Without ``terms`` it always is term.

    How weekdays, hours and days are written is in :mod:`linkbell_wire.calendar`.
    """

    weekdays: calendar.WeekdaysText | None = None
    hours: calendar.HoursText | None = None
    holidays: Annotated[list[calendar.DaysText], Field(max_length=calendar.MAX_DAYS_ENTRIES)] | None = None
    terms: Annotated[list[calendar.DaysText], Field(max_length=calendar.MAX_DAYS_ENTRIES)] | None = None


class BudgetConfiguration(WireModel):
    """How much of a month's data measuring may use on each uplink, counted from one ``billing_day`` to the next.

    A profile says what kind of line it is; ``bytes_per_month`` without one is a metered line, and ``metered`` needs
    bytes from the collector or from the box. The stricter of both counts.
    """

    profile: words.BudgetProfile | None = None
    bytes_per_month: Annotated[int, Field(ge=10_000_000, le=10**13)] | None = None
    billing_day: Annotated[int, Field(ge=1, le=28)] | None = None


class UplinkConfiguration(WireModel):
    """What is different on one of the box's uplinks; one it does not have is passed over.

    ``budget`` stands in the place of the one for all, and so do the floors in that of the school's. ``speed`` and
    ``check`` say whether full tests and floor checks run there; the box's own refusal holds. Of two intervals of pings
    the longer counts.
    """

    name: fields.Name
    role: words.UplinkRole | None = None
    budget: BudgetConfiguration | None = None
    speed: bool | None = None
    check: bool | None = None
    ping_interval_s: Annotated[float, Field(ge=10, le=86_400)] | None = None
    download_floor_bps: fields.BitRate | None = None
    upload_floor_bps: fields.BitRate | None = None


class SchoolConfiguration(WireModel):
    """What the agent should know of its own school."""

    id: fields.Name
    name: fields.Text
    timezone: fields.Text = "UTC"
    download_floor_bps: fields.BitRate | None = None
    upload_floor_bps: fields.BitRate | None = None


class AgentConfiguration(WireModel):
    """The whole configuration. ``portal_url`` is a page that answers 204, to see whether a login page does instead.

    Whatever is ``None`` leaves the agent's own setting in place.
    """

    version: Annotated[int, Field(ge=1, le=1)] = 1
    school: SchoolConfiguration | None = None
    targets: Annotated[list[TargetConfiguration], Field(max_length=MAX_TARGETS)] | None = None
    platforms: Annotated[list[PlatformConfiguration], Field(max_length=MAX_PLATFORMS)] | None = None
    dns: DnsConfiguration | None = None
    portal_url: fields.WebUrl | None = None
    ping: PingConfiguration | None = None
    speed: SpeedConfiguration | None = None
    check: CheckConfiguration | None = None
    calendar: CalendarConfiguration | None = None
    budget: BudgetConfiguration | None = None
    uplinks: Annotated[list[UplinkConfiguration], Field(max_length=MAX_UPLINKS)] | None = None

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [target.name for target in self.targets or []]
        if len(names) != len(set(names)):
            raise ValueError("target names must be unique")
        names = [platform.name for platform in self.platforms or []]
        if len(names) != len(set(names)):
            raise ValueError("platform names must be unique")
        names = [uplink.name for uplink in self.uplinks or []]
        if len(names) != len(set(names)):
            raise ValueError("uplink names must be unique")
        return self
