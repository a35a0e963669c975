"""What kinds of lines there are, as data. Pure.

A profile caps the schedule; whatever is ``None`` it leaves as configured. ``bytes_per_month`` is for those who name no
number. Satellite: what a shared VSAT line can spare, with a test a day, a check every six hours, and pings every five
minutes.
"""

from collections.abc import Mapping

from linkbell_agent.slim import dataclass
from linkbell_wire.words import BudgetProfile


@dataclass(frozen=True, slots=True)
class Limits:
    """The most a line of one kind is measured. ``speed_max_bytes`` is per direction, as all caps of tests are."""

    bytes_per_month: int | None = None
    speed_per_day: int | None = None
    speed_max_bytes: int | None = None
    checks_per_day: int | None = None
    ping_interval_s: float | None = None
    ping_count: int | None = None


PROFILES: Mapping[BudgetProfile, Limits] = {
    BudgetProfile.UNMETERED: Limits(),
    BudgetProfile.METERED: Limits(bytes_per_month=1_000_000_000, speed_max_bytes=50_000_000),
    BudgetProfile.SATELLITE: Limits(
        bytes_per_month=1_000_000_000,
        speed_per_day=1,
        speed_max_bytes=20_000_000,
        checks_per_day=4,
        ping_interval_s=300.0,
        ping_count=5,
    ),
}

STRICTEST_FIRST = (BudgetProfile.SATELLITE, BudgetProfile.METERED, BudgetProfile.UNMETERED)


@dataclass(frozen=True, slots=True)
class BudgetPlan:
    """The budget of one uplink. Without ``bytes_per_month`` bytes are counted and nothing is refused."""

    profile: BudgetProfile = BudgetProfile.UNMETERED
    bytes_per_month: int | None = None
    billing_day: int = 1

    @property
    def limits(self) -> Limits:
        """What the profile holds the schedule to."""
        return PROFILES[self.profile]


@dataclass(frozen=True, slots=True)
class Wish:
    """What one side, the box or its collector, says of the budget."""

    profile: BudgetProfile | None = None
    bytes_per_month: int | None = None
    billing_day: int | None = None


def merge(local: Wish, remote: Wish) -> BudgetPlan:
    """Return the stricter of both: neither side can spend what the other would not.

    Bytes without a profile are a metered line. The collector's billing day goes before the box's own. A profile's own
    number of bytes is for those who name none.
    """
    named = [wish.profile for wish in (local, remote) if wish.profile is not None]
    profile = next((one for one in STRICTEST_FIRST if one in named), BudgetProfile.UNMETERED)
    given = [one for one in (local.bytes_per_month, remote.bytes_per_month) if one is not None]
    size = min(given, default=PROFILES[profile].bytes_per_month)
    if size is not None and profile is BudgetProfile.UNMETERED:
        profile = BudgetProfile.METERED
    return BudgetPlan(profile, size, remote.billing_day or local.billing_day or 1)
