"""A month's budget divided: what each kind of measurement may have, and what is left of it at a moment. Pure.

Pings come first, up to ``PING_SHARE``; then checks, up to ``CHECK_SHARE`` of the rest but at least one a day; full
tests have what remains. Each share is given out day by day, so that the fifth of the month leaves as much a day as the
first. What a kind left over in the days before is anybody's.
"""

from linkbell_agent.budget.ledger import Ledger, day_name
from linkbell_agent.budget.months import Period
from linkbell_agent.budget.policy import Policy
from linkbell_agent.slim import dataclass

SAFE_SHARE = 0.98
"""What is never planned for: bytes are counted to the safe side, and still estimated."""

PING_SHARE = 0.3
CHECK_SHARE = 0.6

HEAD_START_SHARE = 0.1
"""Of the budget, at most: by so much a full test may run ahead of its pace, or a new month would begin without one."""


@dataclass(frozen=True, slots=True)
class Account:
    """One uplink's month at one moment, all in bytes. Made by :func:`account`."""

    budget: int
    limit: float
    spent: float
    presumed: float
    """Of that, what nobody knows and counts as spent."""

    used_ping: float
    used_check: float
    used_speed: float
    ping_month: float
    ping_left: float
    check_lane: float
    check_bytes: int
    needs_check: bool
    """Whether checks are planned, and none ran today."""

    speed_lane: float
    days: int
    day: int
    elapsed: float
    """Share of the month that is over."""

    seconds_left: float

    @property
    def check_left(self) -> float:
        """What checks still need until the month's end."""
        days_left = self.days - self.day - (0 if self.needs_check else 1)
        by_time = self.check_lane * (self.days - self.day) / self.days
        one_a_day = min(self.check_lane, self.check_bytes * days_left)
        return max(one_a_day, min(by_time, self.check_lane - self.used_check))

    @property
    def by_today(self) -> float:
        """Share of the month up to the end of this day."""
        return (self.day + 1) / self.days

    @property
    def pace(self) -> float:
        """What all kinds together may have spent until the end of yesterday."""
        return self.ping_month * self.elapsed + (self.check_lane + self.speed_lane) * self.day / self.days

    @property
    def projected(self) -> float:
        """What will be spent by the month's end if the days to come cost what the past ones did."""
        return projected(self.spent, self.elapsed, self.days)


def projected(spent: float, elapsed: float, days: int) -> float:
    """Return the bytes at the end of a month of ``days``, of which the share ``elapsed`` has cost ``spent``.

    A month that has only begun counts as a day old: a test in its first minute is no sign of what is to come.
    """
    past_days = max(1.0, elapsed * days)
    return spent + spent / past_days * days * (1 - elapsed)


def account(ledger: Ledger, policy: Policy) -> Account:
    """Return how the month stands. Raises :class:`ValueError` if there is no budget."""
    if policy.bytes_per_month is None:
        raise ValueError("an account needs a budget")
    now = ledger.seen.wall
    period = policy.calendar.period(now)
    limit = SAFE_SHARE * policy.bytes_per_month
    ping_month = min(policy.ping_bytes_per_day * period.days, PING_SHARE * limit)
    check_lane, speed_lane = _lanes(limit - ping_month, policy, period)
    used = dict(ledger.used) if ledger.key == period.key else {}
    ping_left = ping_month * period.left(now)
    # Whatever was spent that nobody knows of, what pings need was not part of it: tests always left that.
    presumed = min(ledger.presumed.get(period.key, 0.0) * limit, max(0.0, limit - ping_left - sum(used.values())))
    own = sum(used.values()) + presumed
    per_byte = presumed / limit
    return Account(
        budget=policy.bytes_per_month,
        limit=limit,
        spent=own if ledger.seen.trusted else max(own, ledger.unsure_bytes),
        presumed=presumed,
        used_ping=used.get("ping", 0),
        used_check=used.get("check", 0) + per_byte * check_lane,
        used_speed=used.get("speed", 0) + per_byte * speed_lane,
        ping_month=ping_month,
        ping_left=ping_left,
        check_lane=check_lane,
        check_bytes=policy.check_bytes if policy.checks_per_day else 0,
        needs_check=policy.checks_per_day > 0 and ledger.last_day.get("check") != day_name(ledger, period),
        speed_lane=speed_lane,
        days=period.days,
        day=period.day(now),
        elapsed=1 - period.left(now),
        seconds_left=(period.end - now).total_seconds(),
    )


def _lanes(tests: float, policy: Policy, period: Period) -> tuple[float, float]:
    """Return what checks and full tests have in a whole month."""
    planned = min(policy.checks_per_day * policy.check_bytes * period.days, CHECK_SHARE * tests)
    one_a_day = policy.check_bytes * period.days if policy.checks_per_day else 0
    checks = min(tests, max(planned, one_a_day))
    return checks, tests - checks
