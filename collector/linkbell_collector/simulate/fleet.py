"""The schools of a simulation, from a seed. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from linkbell_collector.simulate import names
from linkbell_collector.simulate.noise import between, key_of, mix, unit
from linkbell_collector.simulate.technologies import BACKUP_SHARE, SHARES, TECHNOLOGIES, Technology

TIMEZONE = "Asia/Almaty"
UTC_OFFSET_S = 5 * 3600
"""All of Kazakhstan since March 2024."""

VILLAGE_SCHOOLS = 3
"""Schools that share a village, and so its electricity."""


@dataclass(frozen=True, slots=True)
class FleetSpec:
    """What a fleet is made from: the same values, the same fleet.

    ``district_sizes`` and ``provider_sizes`` fix the schools of the first districts and providers; the others share
    the rest. ``prefix`` begins every school's id.
    """

    schools: int = 447
    regions: int = 5
    districts: int = 20
    providers: int = 4
    seed: int = 1
    prefix: str = "sim"
    district_sizes: tuple[int, ...] = ()
    provider_sizes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """One line: what was bought, in bits per second, and its round trip, jitter (s) and loss while all is well."""

    uplink: str
    technology: Technology
    down_bps: float
    up_bps: float
    rtt_s: float
    jitter_s: float
    loaded_s: float


@dataclass(frozen=True, slots=True)
class Site:
    """One simulated school. ``key`` seeds everything that happens to it; ``abroad_s`` is the round trip beyond."""

    index: int
    id: str
    name: str
    region: str
    district: str
    village: str
    provider: str
    latitude: float
    longitude: float
    line: Line
    backup: Line | None
    key: int
    region_key: int
    abroad_s: float

    @property
    def offset_s(self) -> float:
        """Where in the minute this school measures: no two thousand at :00."""
        return unit(self.key, 91) * 60


def build_fleet(spec: FleetSpec) -> list[Site]:
    """Return the schools. Raises ``ValueError`` where the numbers cannot be."""
    _check(spec)
    root = key_of(f"linkbell simulation {spec.seed}")
    districts = _sizes(spec.schools, spec.districts, spec.district_sizes)
    providers = _spread(_sizes(spec.schools, spec.providers, spec.provider_sizes), mix(root, 1))
    sites: list[Site] = []
    for district, size in enumerate(districts):
        for place in range(size):
            index = len(sites)
            sites.append(_site(spec, root, (index, district, place), names.provider(providers[index])))
    return sites


def _check(spec: FleetSpec) -> None:
    for name in ("schools", "regions", "districts", "providers"):
        if getattr(spec, name) < 1:
            raise ValueError(f"{name}: must be at least 1")
    if spec.districts < spec.regions:
        raise ValueError(f"districts: {spec.districts} districts cannot fill {spec.regions} regions")
    for name, sizes, groups in (
        ("district_sizes", spec.district_sizes, spec.districts),
        ("provider_sizes", spec.provider_sizes, spec.providers),
    ):
        rest = spec.schools - sum(sizes)
        if len(sizes) > groups or rest < 0 or (len(sizes) == groups and rest) or min(sizes, default=1) < 1:
            raise ValueError(f"{name}: {list(sizes)} does not fit {spec.schools} schools in {groups} groups")


def _sizes(total: int, groups: int, fixed: Sequence[int]) -> list[int]:
    """Share ``total`` among the groups: the fixed ones first, the rest from large to a third of that."""
    open_groups = groups - len(fixed)
    rest = total - sum(fixed)
    weights = [3 - 2 * number / max(1, open_groups - 1) for number in range(open_groups)]
    shares = [int(rest * weight / sum(weights)) for weight in weights]
    for number in range(rest - sum(shares)):
        shares[number % open_groups] += 1
    return [*fixed, *shares]


def _spread(sizes: Sequence[int], key: int) -> list[int]:
    """Return for each school its group's number, groups of these sizes scattered over all schools."""
    flat = [number for number, size in enumerate(sizes) for _ in range(size)]
    order = sorted(range(len(flat)), key=lambda index: mix(key, index))
    groups = [0] * len(flat)
    for place, index in enumerate(order):
        groups[index] = flat[place]
    return groups


def _site(spec: FleetSpec, root: int, numbers: tuple[int, int, int], provider: str) -> Site:
    index, district, place = numbers
    key = mix(mix(root, 2), index)
    region, latitude, longitude = names.region(district % spec.regions)
    district_key = mix(mix(root, 3), district)
    village_number = place // VILLAGE_SCHOOLS
    village = names.VILLAGES[(district * 5 + village_number) % len(names.VILLAGES)]
    village_key = mix(district_key, village_number)
    technology = _technology(unit(key, 1))
    return Site(
        index=index,
        id=f"{spec.prefix}-{index + 1:05d}",
        name=names.school(index % 97 + 1, village, mix(key, 2)),
        region=region,
        district=names.district(district),
        village=f"{names.district(district)}, {village} {village_number + 1}",
        provider=provider,
        latitude=round(
            latitude
            + between(district_key, 1, -1, 1)
            + between(village_key, 2, -0.3, 0.3)
            + between(key, 5, -0.01, 0.01),
            5,
        ),
        longitude=round(
            longitude
            + between(district_key, 3, -1.6, 1.6)
            + between(village_key, 4, -0.4, 0.4)
            + between(key, 6, -0.01, 0.01),
            5,
        ),
        line=_line("main", technology, key, 10),
        backup=_line("backup", TECHNOLOGIES["4g"], key, 30) if unit(key, 3) < BACKUP_SHARE else None,
        key=key,
        region_key=mix(mix(root, 4), district % spec.regions),
        abroad_s=between(key, 4, 0.055, 0.095),
    )


def _technology(draw: float) -> Technology:
    for name, share in SHARES:
        if draw < share:
            return TECHNOLOGIES[name]
        draw -= share
    return TECHNOLOGIES[SHARES[0][0]]


def _line(uplink: str, technology: Technology, key: int, first: int) -> Line:
    low, high = technology.down_bps
    down_bps = low * (high / low) ** unit(key, first)  # tariffs grow by steps of a factor, not of a sum
    return Line(
        uplink=uplink,
        technology=technology,
        down_bps=down_bps,
        up_bps=down_bps * between(key, first + 1, *technology.up_share),
        rtt_s=between(key, first + 2, *technology.rtt_s),
        jitter_s=between(key, first + 3, *technology.jitter_s),
        loaded_s=between(key, first + 4, *technology.loaded_s),
    )
