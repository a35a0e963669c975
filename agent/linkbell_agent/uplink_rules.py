"""What one of several uplinks is measured by: the box's settings for it, and what its collector says of it. Pure.

Neither side can spend what the other would not: the stricter budget counts, the longer interval of pings, and a test
that the box refuses is not run whoever asks. A backup that has a budget is not filled to see how fast it is: without
a word on it from either side no full test runs there.
"""

from typing import NamedTuple

from linkbell_agent.budget.profiles import BudgetPlan, Wish, merge
from linkbell_agent.sections import BudgetSettings, OneOfUplinks
from linkbell_wire.configuration import BudgetConfiguration, UplinkConfiguration
from linkbell_wire.words import UplinkRole


class Rules(NamedTuple):
    """What holds on one uplink."""

    role: UplinkRole
    budget: BudgetPlan
    speed: bool
    check: bool
    ping_interval_s: float


def rules_of(
    way: OneOfUplinks,
    remote: UplinkConfiguration | None,
    budget: BudgetSettings,
    remote_budget: BudgetConfiguration | None,
) -> Rules:
    """Merge. ``budget`` and ``remote_budget`` are those for all uplinks, each used where this one has none."""
    said = remote or UplinkConfiguration(name=way.name)
    role = said.role or way.role or UplinkRole.PRIMARY
    here, there = way.budget or budget, said.budget or remote_budget or BudgetConfiguration()
    merged = merge(
        Wish(here.profile, here.bytes_per_month, here.billing_day),
        Wish(there.profile, there.bytes_per_month, there.billing_day),
    )
    is_dear = role is UplinkRole.BACKUP and merged.bytes_per_month is not None
    return Rules(
        role=role,
        budget=merged,
        speed=_agreed(way.speed, said.speed, without=not is_dear),
        check=_agreed(way.check, said.check, without=True),
        ping_interval_s=max(way.ping_interval_s or 0.0, said.ping_interval_s or 0.0),
    )


def _agreed(local: bool | None, remote: bool | None, *, without: bool) -> bool:
    """A refusal of either side holds; ``without`` is for when neither says anything."""
    if local is None and remote is None:
        return without
    return local is not False and remote is not False
