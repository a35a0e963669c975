"""May this be measured now? Full tests give way to checks, checks to pings, and pings are kept until the end. Pure."""

from enum import StrEnum

from linkbell_agent.budget.account import HEAD_START_SHARE, Account, account
from linkbell_agent.budget.ledger import Ledger
from linkbell_agent.budget.policy import Cost, Policy
from linkbell_agent.slim import dataclass

MONTHS_END_S = 300.0
"""No test begins so near the end of a month: what it costs could be billed in the next one."""


class Kind(StrEnum):
    """What bytes are spent on. ``ping`` stands for everything small: look-ups and fetches too."""

    SPEED = "speed"
    CHECK = "check"
    PING = "ping"


@dataclass(frozen=True, slots=True)
class Allow:
    """Go on. ``reserve_bytes`` is to be charged, on disk, before the first byte is sent."""

    reserve_bytes: int


@dataclass(frozen=True, slots=True)
class Instead:
    """Not this, but ``kind`` may be measured in its place. ``value`` bytes would have been spent, of ``limit``."""

    kind: Kind
    value: float
    limit: float


@dataclass(frozen=True, slots=True)
class Skip:
    """Nothing may be measured. ``value`` bytes would have been spent, of ``limit``; unknown without a ledger."""

    value: float | None = None
    limit: float | None = None


Decision = Allow | Instead | Skip


def decide(kind: Kind, ledger: Ledger, policy: Policy, cost: Cost) -> Decision:
    """Decide at the ledger's time, which is that of its last :func:`~linkbell_agent.budget.ledger.observe`."""
    if policy.bytes_per_month is None:
        return Allow(0)
    books = account(ledger, policy)
    over = _RULES[kind](books, cost)
    if over is None:
        return Allow(cost.worst_bytes)
    check = Cost(policy.check_bytes, round(ledger.typical_bytes.get(Kind.CHECK, policy.check_bytes)))
    if kind is Kind.SPEED and policy.checks_per_day and _check_over(books, check) is None:
        return Instead(Kind.CHECK, *over)
    if kind is not Kind.PING and _ping_over(books, Cost(0, 0)) is None:
        return Instead(Kind.PING, *over)
    return Skip(*over)


def ping_interval_s(ledger: Ledger, policy: Policy, planned_s: float) -> float:
    """Return how far apart rounds of pings have to be to last until the month's end: at least as planned."""
    if policy.bytes_per_month is None or policy.ping_bytes_per_day <= 0:
        return planned_s
    books = account(ledger, policy)
    planned = policy.ping_bytes_per_day * books.days
    needed = planned * (1 - books.elapsed)
    room = max(0.0, books.limit - books.spent)
    factor = max(1.0, planned / books.ping_month, needed / room if room else _LONGEST)
    return planned_s * min(_LONGEST, factor)


_LONGEST = 60.0


Over = tuple[float, float] | None
"""What would be spent, and what may be; ``None`` if it may be spent."""


def _ping_over(books: Account, cost: Cost) -> Over:
    return _over(books.spent + cost.worst_bytes, books.limit)


def _check_over(books: Account, cost: Cost) -> Over:
    if books.seconds_left < MONTHS_END_S:
        return books.spent + cost.worst_bytes, books.spent
    hard = _over(books.spent + cost.worst_bytes, books.limit - books.ping_left)
    if hard is not None or books.needs_check or _is_behind(books, cost):
        return hard
    return _over(books.used_check + cost.expected_bytes, books.check_lane * books.by_today)


def _speed_over(books: Account, cost: Cost) -> Over:
    if books.seconds_left < MONTHS_END_S:
        return books.spent + cost.worst_bytes, books.spent
    hard = _over(books.spent + cost.worst_bytes, books.limit - books.ping_left - books.check_left)
    if hard is not None or _is_behind(books, cost):
        return hard
    head_start = min(cost.worst_bytes, HEAD_START_SHARE * books.budget)
    return _over(books.used_speed + cost.expected_bytes, books.speed_lane * books.by_today + head_start)


def _is_behind(books: Account, cost: Cost) -> bool:
    """Say whether less was spent than the days so far allowed: then what one kind left over is there for another."""
    return books.spent + cost.expected_bytes <= books.pace


def _over(value: float, limit: float) -> Over:
    return None if value <= limit else (value, max(0.0, limit))


_RULES = {Kind.SPEED: _speed_over, Kind.CHECK: _check_over, Kind.PING: _ping_over}
