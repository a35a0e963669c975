"""What to measure: the collector's configuration where there is one, the local settings where not. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from datetime import UTC
from ipaddress import ip_address
from typing import TypeVar
from urllib.parse import urlsplit

from linkbell_agent.budget.profiles import BudgetPlan, Limits
from linkbell_agent.courtesy.rule import Manners
from linkbell_agent.net import Binding
from linkbell_agent.permit import IpNetwork, Permit, permit, plain
from linkbell_agent.schedule.calendar import SchoolCalendar, find_zone, read_ranges, week_of
from linkbell_agent.schedule.slots import Kind, Timetable
from linkbell_agent.sections import CalendarSettings, OneOfUplinks, Settings
from linkbell_agent.slim import dataclass
from linkbell_agent.uplink_rules import Rules, rules_of
from linkbell_wire.configuration import (
    AgentConfiguration,
    CalendarConfiguration,
    CheckConfiguration,
    DnsConfiguration,
    PingConfiguration,
    PlatformConfiguration,
    SpeedConfiguration,
    SpeedServer,
    TargetConfiguration,
)
from linkbell_wire.words import Direction, Engine, Layer, PingMethod, ServerScope, UplinkRole

T = TypeVar("T")

INTERNATIONAL_HOST = "1.1.1.1"
"""Pinged to see whether the world beyond the provider answers: anycast, open to pings, an address and not a name."""

EXAMPLE_NAME = "example.com"
"""Exists, has addresses, and always will (RFC 2606)."""

MEASUREMENT_PORT = 8471

SCHOOL_DAY_S = 12 * 3600.0
"""Of two shifts; few schools are open for longer."""
MAX_RESOLVERS = 3
"""As many as the system's own resolver asks (resolv.conf(5))."""

MLAB_DOMAINS = ("measurement-lab.org", "measurementlab.net")


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """What the verdict is decided from besides pings.

    ``resolvers`` are the box's own, ``local_resolvers`` those of them that stand in the school; ``given`` are asked
    besides. ``expected`` permits answers that are no public address. ``collector`` and ``portal_url`` are None where
    they are not to be fetched.
    """

    gateway: str | None = None
    resolvers: tuple[str, ...] = ()
    local_resolvers: frozenset[str] = frozenset()
    given: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    expected: Permit | None = None
    platforms: tuple[PlatformConfiguration, ...] = ()
    collector: str | None = None
    portal_url: str | None = None
    discovers_isp: bool = False
    quick_interval_s: float = 12.0
    is_direct: bool = False
    """Whether the line begins at the box, as that of a modem does: there is no router to ask."""
    asks_system: bool = True
    """Whether names are looked up the way programs do as well, which goes by the box's own routes."""


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
    layers: LayerPlan = LayerPlan()
    permit: Permit | None = None
    timezone: str = "UTC"
    role: UplinkRole = UplinkRole.PRIMARY
    binding: Binding | None = None
    """What holds probes to their uplink beside its settings, on a box with several."""

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
    """What the box sees of its network: the default gateway, resolvers, and its collector's URL.

    ``networks`` are those its uplink has an address in, such as ``192.168.1.0/24``. ``binding`` is of a box with
    several uplinks: there all this is of one of them.
    """

    gateway: str | None
    nameservers: Sequence[str]
    collector: str | None
    networks: Sequence[str] = ()
    binding: Binding | None = None
    is_direct: bool = False


def make_plan(
    settings: Settings,
    configuration: AgentConfiguration | None,
    surroundings: Surroundings,
    way: OneOfUplinks | None = None,
) -> Plan:
    """Merge, for the uplink ``way`` (the box's first). The collector's list of targets replaces the local one.

    The box's own layers are always kept. The budget's profile holds the schedule to what such a line can bear, whoever
    asks for more.
    """
    remote = configuration or AgentConfiguration()
    way = way or settings.ways[0]
    rules, floors = _rules(settings, remote, way), floors_of(remote, way.name)
    configured = settings.targets if remote.targets is None else remote.targets
    targets = {target.name: target for target in default_targets(surroundings)} if settings.default_targets else {}
    targets.update((target.name, target) for target in configured)
    ping = remote.ping or PingConfiguration()
    speed = remote.speed or SpeedConfiguration()
    check = remote.check or CheckConfiguration()
    wanted = _first(check.directions, settings.check.directions)
    checked = _first(check.enabled, True) and settings.check.enabled and rules.check
    most = rules.budget.limits
    calendar = make_calendar(remote, settings.calendar)
    return Plan(
        targets=tuple(targets.values()),
        ping_interval_s=max(
            _first(ping.interval_s, settings.ping.interval_s), most.ping_interval_s or 0.0, rules.ping_interval_s
        ),
        ping_count=_least(_first(ping.count, settings.ping.count), most.ping_count),
        speed_enabled=_first(speed.enabled, True) and settings.speed.enabled and rules.speed,
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
        floors={direction: floors[direction] for direction in Direction if direction in floors and direction in wanted}
        if checked
        else {},
        budget=rules.budget,
        manners=Manners(**settings.courtesy.model_dump()),
        timezone=str(getattr(calendar.zone, "key", "UTC")),
        layers=_layers(settings, remote, surroundings, targets.values()),
        permit=_permit(settings, surroundings),
        role=rules.role,
        binding=surroundings.binding,
    )


def _rules(settings: Settings, remote: AgentConfiguration, way: OneOfUplinks) -> Rules:
    said = next((one for one in remote.uplinks or () if one.name == way.name), None)
    return rules_of(way, said, settings.budget, remote.budget)


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


def floors_of(remote: AgentConfiguration, uplink: str) -> dict[Direction, float]:
    """Return the floors of one uplink that the collector has told: its own before the school's."""
    said = next((one for one in remote.uplinks or () if one.name == uplink), None)
    sources = [one for one in (remote.school, said) if one is not None]
    floors: dict[Direction, float] = {}
    for one in sources:
        for direction, floor_bps in (
            (Direction.DOWNLOAD, one.download_floor_bps),
            (Direction.UPLOAD, one.upload_floor_bps),
        ):
            floors.update({direction: floor_bps} if floor_bps else {})
    return floors


def _layers(
    settings: Settings,
    remote: AgentConfiguration,
    surroundings: Surroundings,
    targets: Iterable[TargetConfiguration],
) -> LayerPlan:
    dns = remote.dns or DnsConfiguration()
    resolvers = tuple(server for server in surroundings.nameservers if not _is_loopback(server))[:MAX_RESOLVERS]
    own = permit(surroundings.networks, [], []).networks
    local = (server for server in resolvers if server == surroundings.gateway or _is_within(server, own))
    names = _first(dns.names, settings.layers.dns_names)
    explicit = remote.portal_url is not None or "portal_url" in settings.layers.model_fields_set
    return LayerPlan(
        gateway=surroundings.gateway,
        resolvers=resolvers,
        local_resolvers=frozenset(local),
        given=tuple(server for server in _first(dns.resolvers, settings.layers.resolvers) if server not in resolvers),
        names=tuple(names or (_default_names(surroundings.collector) if settings.default_targets else ())),
        expected=permit(settings.allow_private, [], _permit(settings, surroundings).hosts),
        platforms=tuple(_first(remote.platforms, list(settings.platforms))),
        collector=surroundings.collector if settings.default_targets else None,
        portal_url=_first(remote.portal_url, settings.layers.portal_url)
        if settings.default_targets or explicit
        else None,
        discovers_isp=settings.default_targets and not any(target.layer is Layer.ISP for target in targets),
        quick_interval_s=settings.layers.quick_interval_s,
        is_direct=surroundings.is_direct,
        asks_system=surroundings.binding is None,
    )


def _default_names(collector: str | None) -> list[str]:
    """Return what to look up: the name results go to, if it is one, and one that was made for examples."""
    host = "" if collector is None else urlsplit(collector).hostname or ""
    return [host, EXAMPLE_NAME] if "." in host and not _is_address(host) else [EXAMPLE_NAME]


def _permit(settings: Settings, surroundings: Surroundings) -> Permit:
    """Return which addresses may be talked to: what the box found, and what it was told by hand."""
    urls = [server.url for server in settings.speed.servers] + [platform.url for platform in settings.platforms]
    urls += [settings.layers.portal_url, surroundings.collector or ""]
    hosts = [target.host for target in settings.targets] + [urlsplit(url).hostname for url in urls]
    found = [surroundings.gateway, *(server for server in surroundings.nameservers if not _is_loopback(server))]
    return permit((*surroundings.networks, *settings.allow_private), (*found, *settings.layers.resolvers), hosts)


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


def _is_address(host: str) -> bool:
    try:
        plain(host)
    except ValueError:
        return False
    return True


def _is_within(address: str, networks: Sequence[IpNetwork]) -> bool:
    return _is_address(address) and any(plain(address) in network for network in networks)


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False
