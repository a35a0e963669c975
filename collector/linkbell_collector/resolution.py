"""Which value holds for a school: its own, else its region's, else its country's, else the collector's. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from linkbell_collector.domain import School
from linkbell_collector.profile import DESCRIBING, NO_WISHES, NOTHING, Profile, Wishes, flat, merge, wishes_of


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds where neither school nor region says anything. ``country`` is that of schools that name none."""

    everywhere: Profile = NOTHING
    countries: Mapping[str, Profile] = field(default_factory=dict)
    country: str | None = None


class Level(NamedTuple):
    """Who set something: ``school``, ``region Almaty``, ``country KZ``, ``collector``."""

    name: str
    profile: Profile


class Resolver:
    """Fills schools with the defaults that hold for them; what schools of one region share is merged once."""

    def __init__(self, defaults: Defaults, regions: Mapping[str, Profile]) -> None:
        self._defaults = defaults
        self._regions = regions
        self._shared: dict[tuple[str | None, str | None], tuple[Profile, Wishes]] = {}

    def resolve(self, school: School) -> School:
        """Return the school as it is to be treated: nothing in it is missing that a wider level sets."""
        country = school.country or self._defaults.country
        key = (school.region, country)
        if key not in self._shared:
            self._shared[key] = self._merged(school)
        shared, wishes = self._shared[key]
        if school.wishes is not NO_WISHES:
            wishes = merge(school.wishes, wishes)
        return replace(
            school,
            country=country,
            timezone=_first(school.timezone, shared.timezone),
            provider=_first(school.provider, shared.provider),
            download_floor_bps=_first(school.download_floor_bps, shared.download_floor_bps),
            upload_floor_bps=_first(school.upload_floor_bps, shared.upload_floor_bps),
            contract_download_bps=_first(school.contract_download_bps, shared.contract_download_bps),
            contract_upload_bps=_first(school.contract_upload_bps, shared.contract_upload_bps),
            wishes=wishes,
        )

    def levels(self, school: School) -> list[Level]:
        """Return all that is said of a school, nearest first."""
        country = school.country or self._defaults.country
        return [
            Level("school", own_profile(school)),
            Level(f"region {school.region}", self._regions.get(school.region or "", NOTHING)),
            Level(f"country {country}", self._defaults.countries.get(country or "", NOTHING)),
            Level("collector", self._defaults.everywhere),
        ]

    def origins(self, school: School) -> Iterator[tuple[str, Any, str]]:
        """Yield each field that is set, its value, and who set it."""
        levels = [(name, dict(flat(profile))) for name, profile in self.levels(school)]
        for path, value in flat(own_profile(self.resolve(school))):
            yield path, value, next(name for name, said in levels if path in said)

    def _merged(self, school: School) -> tuple[Profile, Wishes]:
        merged = NOTHING
        for level in reversed(self.levels(school)[1:]):
            merged = merge(level.profile, merged)
        return merged, wishes_of(merged)


def own_profile(school: School) -> Profile:
    """Return what is set for the school itself."""
    described = {name: getattr(school, name) for name in DESCRIBING}
    said = {name: value for name, value in described.items() if value is not None}
    return merge(school.wishes, NOTHING.model_copy(update=said))


def with_profile(school: School, profile: Profile) -> School:
    """Return the school with ``profile`` as its own."""
    described = {name: getattr(profile, name) for name in DESCRIBING}
    return replace(school, **described, wishes=wishes_of(profile))


def _first(own: Any, shared: Any) -> Any:
    return shared if own is None else own
