"""What to measure: the collector's configuration where there is one, the local settings where not. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from ipaddress import ip_address
from typing import TypeVar
from urllib.parse import urlsplit

from linkbell_agent.budget.profiles import BudgetPlan, Limits, Wish, merge
from linkbell_agent.courtesy.rule import Manners
from linkbell_agent.schedule.calendar import SchoolCalendar, find_zone, read_ranges, week_of
from linkbell_agent.schedule.slots import Kind, Timetable
from linkbell_agent.settings import CalendarSettings, Settings
from linkbell_wire.configuration import (
    AgentConfiguration,
    BudgetConfiguration,
    CalendarConfiguration,
    CheckConfiguration,
    PingConfiguration,
    SchoolConfiguration,
    SpeedConfiguration,
    SpeedServer,
    TargetConfiguration,
)
from linkbell_wire.words import Direction, Engine, Layer, PingMethod, ServerScope

T = TypeVar("T")

INTERNATIONAL_HOST = "1.1.1.1"
"""Pinged to see whether the world beyond the provider answers: anycast, open to pings, an address and not a name."""

MEASUREMENT_PORT = 8471

SCHOOL_DAY_S = 12 * 3600.0
"""Of two shifts; few schools are open for longer."""

MLAB_DOMAINS = ("measurement-lab.org", "measurementlab.net")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a running agent does."""

    targets: tuple[TargetConfiguration, ...]
    ping_interval_s: float
    ping_count: int
    speed_enabled: bool
    speed_per_day: int
    speed_max_duration_s: float
    speed_max_bytes: int | None
    speed_full: bool
    servers: tuple[SpeedServer, ...]
    speed_engine: Engine = Engine.NDT7
    calendar: SchoolCalendar = field(default_factory=SchoolCalendar)
    check_interval_s: float = 1800.0
    floors: Mapping[Direction, float] = field(default_factory=dict)
    """In bits per second, of the directions that are checked: none if checks are off or no floor is known."""

    budget: BudgetPlan = field(default_factory=BudgetPlan)
    manners: Manners = field(default_factory=Manners)
    timezone: str = "UTC"

    def timetable(self, kind: Kind) -> Timetable | None:
        """Return when tests of that kind run, None if they do not."""
        if kind is Kind.SPEED:
            return Timetable(kind, self.calendar, per_day=self.speed_per_day) if self.speed_enabled else None
        direction = Direction.DOWNLOAD if kind is Kind.CHECK_DOWNLOAD else Direction.UPLOAD
        if direction not in self.floors:
            return None
        # One record says that a school is closed, for both directions.
        says_closed = direction is next(iter(self.floors))
        return Timetable(kind, self.calendar, interval_s=self.check_interval_s, says_closed=says_closed)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the box sees of its network: the default gateway, resolvers, and its collector's URL."""

    gateway: str | None
    nameservers: Sequence[str]
    collector: str | None


def make_plan(settings: Settings, configuration: AgentConfiguration | None, surroundings: Surroundings) -> Plan:
    """Merge. The collector's list of targets replaces the local one; the box's own layers are always kept.

    The budget's profile holds the schedule to what such a line can bear, whoever asks for more.
    """
    remote = configuration or AgentConfiguration()
    configured = settings.targets if remote.targets is None else remote.targets
    targets = {target.name: target for target in default_targets(surroundings)} if settings.default_targets else {}
    targets.update((target.name, target) for target in configured)
    ping = remote.ping or PingConfiguration()
    speed = remote.speed or SpeedConfiguration()
    check = remote.check or CheckConfiguration()
    wanted = _first(check.directions, settings.check.directions)
    checked = _first(check.enabled, True) and settings.check.enabled
    budget = _budget(settings, remote)
    most = budget.limits
    calendar = make_calendar(remote, settings.calendar)
    return Plan(
        targets=tuple(targets.values()),
        ping_interval_s=max(_first(ping.interval_s, settings.ping.interval_s), most.ping_interval_s or 0.0),
        ping_count=_least(_first(ping.count, settings.ping.count), most.ping_count),
        speed_enabled=_first(speed.enabled, True) and settings.speed.enabled,
        speed_per_day=_least(_first(speed.per_day, settings.speed.per_day), most.speed_per_day),
        speed_max_duration_s=min(filter(None, (speed.max_duration_s, settings.speed.max_duration_s))),
        speed_max_bytes=min(
            filter(None, (speed.max_bytes, settings.speed.max_bytes, most.speed_max_bytes)), default=None
        ),
        speed_full=settings.speed.full,
        servers=_allowed(
            settings.speed.servers or speed.servers or _beside(surroundings.collector),
            mlab_consent=settings.speed.mlab_consent or bool(speed.mlab_consent),
        ),
        speed_engine=settings.speed.engine,
        calendar=calendar,
        check_interval_s=max(_first(check.interval_s, settings.check.interval_s), _check_interval_s(most)),
        floors=_floors(remote.school, wanted) if checked else {},
        budget=budget,
        manners=Manners(**settings.courtesy.model_dump()),
        timezone=str(getattr(calendar.zone, "key", "UTC")),
    )


def _budget(settings: Settings, remote: AgentConfiguration) -> BudgetPlan:
    here, there = settings.budget, remote.budget or BudgetConfiguration()
    return merge(
        Wish(here.profile, here.bytes_per_month, here.billing_day),
        Wish(there.profile, there.bytes_per_month, there.billing_day),
    )


def _check_interval_s(most: Limits) -> float:
    """Return the least time between two checks in which a school day has no more of them than a budget bears."""
    return SCHOOL_DAY_S / most.checks_per_day if most.checks_per_day else 0.0


def make_calendar(remote: AgentConfiguration, local: CalendarSettings) -> SchoolCalendar:
    """Merge, part by part. A zone this box does not know counts as none, and none at all is UTC."""
    calendar = remote.calendar or CalendarConfiguration()
    named = "UTC" if remote.school is None else remote.school.timezone
    # UTC is also what a collector says that knows no better, and then the box's own setting may.
    names = (None if named == "UTC" else named, local.timezone)
    zones = (find_zone(name) for name in names if name is not None)
    return SchoolCalendar(
        zone=next((zone for zone in zones if zone is not None), UTC),
        week=week_of(_first(calendar.weekdays, local.weekdays), _first(calendar.hours, local.hours)),
        holidays=read_ranges(_first(calendar.holidays, local.holidays)),
        terms=read_ranges(_first(calendar.terms, local.terms)),
    )


def _floors(school: SchoolConfiguration | None, directions: Sequence[Direction]) -> dict[Direction, float]:
    if school is None:
        return {}
    known = {Direction.DOWNLOAD: school.download_floor_bps, Direction.UPLOAD: school.upload_floor_bps}
    floors = ((direction, known[direction]) for direction in Direction if direction in directions)
    return {direction: floor_bps for direction, floor_bps in floors if floor_bps}


def is_mlab(url: str) -> bool:
    """Say whether ``url`` is one of M-Lab's public servers, which publish who was measured."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    return any(host == domain or host.endswith(f".{domain}") for domain in MLAB_DOMAINS)


def _allowed(servers: Sequence[SpeedServer], *, mlab_consent: bool) -> tuple[SpeedServer, ...]:
    return tuple(server for server in servers if mlab_consent or not is_mlab(server.url))


def _first(remote: T | None, local: T) -> T:
    return local if remote is None else remote


def _least(value: int, most: int | None) -> int:
    return value if most is None else min(value, most)


def default_targets(surroundings: Surroundings) -> list[TargetConfiguration]:
    """Return a target for each layer the box can find by itself, nearest first."""
    targets = []
    if surroundings.gateway is not None:
        targets.append(TargetConfiguration(name="gateway", layer=Layer.GATEWAY, host=surroundings.gateway))
    resolver = next((server for server in surroundings.nameservers if not _is_loopback(server)), None)
    if resolver is not None:
        targets.append(TargetConfiguration(name="resolver", layer=Layer.DNS, host=resolver, port=53))
    targets.append(TargetConfiguration(name="international", layer=Layer.INTERNATIONAL, host=INTERNATIONAL_HOST))
    if surroundings.collector is not None:
        targets.append(_collector_target(surroundings.collector))
    return targets


def _collector_target(url: str) -> TargetConfiguration:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    # Over TCP to its own port: that is the way results go, and hosters often drop pings.
    return TargetConfiguration(
        name="collector", layer=Layer.COLLECTOR, host=parts.hostname or "", method=PingMethod.TCP, port=port
    )


def _beside(collector: str | None) -> list[SpeedServer]:
    """Without any server configured, the measurement server is looked for beside the collector."""
    if collector is None:
        return []
    host = urlsplit(collector).hostname or ""
    if ":" in host:
        host = f"[{host}]"
    return [SpeedServer(url=f"ws://{host}:{MEASUREMENT_PORT}", scope=ServerScope.COLLECTOR)]


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False
