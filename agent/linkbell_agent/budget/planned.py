"""What a plan costs, and so what its uplink may spend on what. Pure."""

from linkbell_agent.budget.cost import check_cost, ping_bytes
from linkbell_agent.budget.months import Calendar, zone_named
from linkbell_agent.budget.policy import Policy
from linkbell_agent.plan import Plan
from linkbell_wire.words import Layer

_DAY_S = 86_400.0


LOOK_UP_BYTES = 300
"""A question and its answer, with headers."""

HANDSHAKE_BYTES = 6_000
"""Of TLS with a usual chain of certificates; sessions that are taken up again need less."""

PAGE_BYTES = 9_000
"""As much of a platform's page as is read, with headers."""

SMALL_PAGE_BYTES = 1_500
"""An answer of a few bytes: the collector's health, the check for a login page."""


def round_bytes(plan: Plan) -> int:
    """Return what one round of pings, look-ups and fetches costs on the uplink, and rather more than less.

    Pings of the gateway never leave the school.
    """
    layers = plan.layers
    pings = sum(
        ping_bytes(plan.ping_count, target.method) for target in plan.targets if target.layer is not Layer.GATEWAY
    )
    servers = 1 + len(layers.resolvers) + len(layers.given)
    pages = [(platform.url, PAGE_BYTES) for platform in layers.platforms]
    pages += [(url, SMALL_PAGE_BYTES) for url in (layers.collector, layers.portal_url) if url is not None]
    fetches = sum(size + (HANDSHAKE_BYTES if url.startswith("https:") else 0) for url, size in pages)
    return pings + servers * len(layers.names) * LOOK_UP_BYTES + fetches


def policy_of(plan: Plan, checks_per_day: float, floor_bps: float | None) -> Policy:
    """Return the policy of a plan that checks the line ``checks_per_day`` times, all directions counted.

    ``floor_bps`` is the largest floor that is checked, ``None`` if none is.
    """
    budget = plan.budget
    most = budget.limits.checks_per_day
    return Policy(
        bytes_per_month=budget.bytes_per_month,
        calendar=Calendar(zone_named(plan.timezone), budget.billing_day),
        checks_per_day=0.0 if floor_bps is None else min(checks_per_day, most or checks_per_day),
        check_bytes=0 if floor_bps is None else check_cost(floor_bps).worst_bytes,
        ping_bytes_per_day=round_bytes(plan) * _DAY_S / plan.ping_interval_s,
    )
