"""Stands at the door of every test: is there budget for it, and does anybody else use the line?

``admit`` before a test, ``settle`` after it, whatever came of it; ``draw`` before each round of pings.
"""

from collections.abc import Awaitable, Callable
from dataclasses import field
from datetime import datetime
from typing import Literal, TypeVar

from linkbell_agent.budget import cost
from linkbell_agent.budget.decide import Allow, Decision, Instead, Kind, decide
from linkbell_agent.budget.keeper import Keeper, Reservation, Usage
from linkbell_agent.budget.ledger import Ledger
from linkbell_agent.budget.policy import Cost
from linkbell_agent.courtesy.rule import Busy, Manners, Rates, busy
from linkbell_agent.courtesy.skips import Skips
from linkbell_agent.slim import dataclass
from linkbell_wire.records import CheckRecord, SpeedRecord
from linkbell_wire.words import Direction, SkipReason

DEFAULT_MAX_BYTES = 50_000_000
"""Of a direction, where a budget is set and no cap: what has no end cannot be reserved."""

LEAST_MAX_BYTES = 2_000_000
"""A test that may take less finds nothing out on most lines."""

BOTH = (Direction.DOWNLOAD, Direction.UPLOAD)

TestRecord = TypeVar("TestRecord", SpeedRecord, CheckRecord)


@dataclass(frozen=True, slots=True)
class Ask:
    """A test somebody wants to run. ``max_bytes`` is the plan's cap per direction, ``speed`` what the line last had.

    A check needs ``floor_bps``.
    """

    kind: Literal[Kind.SPEED, Kind.CHECK]
    directions: tuple[Direction, ...] = BOTH
    max_bytes: int | None = None
    floor_bps: float | None = None
    speed: Rates = field(default_factory=Rates)


@dataclass(frozen=True, slots=True)
class Go:
    """Run it, with ``max_bytes`` per direction, and hand this to ``settle``.

    ``forced``: others use the line, and enough tests were skipped for that. ``others`` is what they were seen to use.
    """

    max_bytes: int | None
    forced: bool
    others: Rates
    reservation: Reservation


@dataclass(frozen=True, slots=True)
class Refused:
    """Do not. The fields are those of a skip record; ``instead`` may be measured in its place."""

    skipped: Literal["speed", "check"]
    reason: SkipReason
    value: float | None
    limit: float | None
    instead: Kind | None = None


Look = Callable[[float], Awaitable[Rates]]
"""Looks for so many seconds at what others use of the line."""


class Gatekeeper:
    """Of all uplinks. ``look`` is handed the uplink's name and returns what looks at its port."""

    def __init__(
        self,
        keeper: Keeper,
        look: Callable[[str], Look],
        skips: Skips,
        manners: Callable[[], Manners],
        monotonic: Callable[[], float],
    ) -> None:
        self._keeper = keeper
        self._look = look
        self._skips = skips
        self._manners = manners
        self._monotonic = monotonic

    async def admit(self, ask: Ask, uplink: str) -> Go | Refused:
        """Decide; takes up to half a minute while others use the line, so hold nothing that pings wait for.

        When this returns :class:`Go`, the most the test can cost is on disk as spent.
        """
        decision, _ = await self._keeper.reserve(
            uplink, ask.kind, lambda ledger: self._fitting(ask, uplink, ledger)[1], dry=True
        )
        if not isinstance(decision, Allow):
            return _refused(ask, decision)
        others, in_the_way = await self._wait_for_a_quiet_line(ask, uplink)
        name = f"{uplink}/{ask.kind}"
        skipped = self._skips.of(name)
        if in_the_way is not None and skipped < self._manners().skips:
            self._skips.set(name, skipped + 1)
            return Refused(_word(ask.kind), SkipReason.BUSY, in_the_way.bps, in_the_way.limit_bps)
        return await self._reserve(ask, uplink, others, forced=in_the_way is not None)

    async def _reserve(self, ask: Ask, uplink: str, others: Rates, *, forced: bool) -> Go | Refused:
        cap: int | None = None

        def costs(ledger: Ledger) -> Cost:
            nonlocal cap
            cap, most = self._fitting(ask, uplink, ledger)
            return most

        decision, held = await self._keeper.reserve(uplink, ask.kind, costs)
        if held is None:
            return _refused(ask, decision)
        self._skips.set(f"{uplink}/{ask.kind}", 0)
        return Go(cap, forced, others, held)

    async def settle(self, go: Go, record: TestRecord) -> TestRecord:
        """Count what the test really cost, and return its record, marked if it was forced.

        A test that was broken off without a record is not settled: what it was reserved stays spent.
        """
        await self._keeper.settle(go.reservation, cost.spent_bytes(record), is_typical=_has_results(record))
        return record.model_copy(update={"forced": True}) if go.forced else record

    async def draw(self, uplink: str, size_bytes: int) -> bool:
        """Say whether pings that cost ``size_bytes`` may be sent now; then they count as sent."""
        return isinstance(await self._keeper.draw(uplink, size_bytes), Allow)

    async def ping_interval_s(self, uplink: str, planned_s: float) -> float:
        """Return how far apart rounds of pings must be for the budget to last until the month's end."""
        return await self._keeper.ping_interval_s(uplink, planned_s)

    async def usage(self, uplink: str) -> Usage:
        """Return how the month stands. Raises :class:`~linkbell_agent.files.StateError`."""
        return await self._keeper.usage(uplink)

    def heard(self, server_time: datetime) -> None:
        """Take the collector's clock for true where the box's own is not synchronised."""
        self._keeper.heard(server_time)

    async def close(self) -> None:
        """Give back what was reserved for pings and not used; call it last."""
        await self._keeper.close()

    def _fitting(self, ask: Ask, uplink: str, ledger: Ledger) -> tuple[int | None, Cost]:
        """Return the cap in bytes and the cost: a smaller cap where the full one does not fit and tests need less."""
        policy = self._keeper.policy(uplink)
        typical = ledger.typical_bytes.get(ask.kind)
        if policy.bytes_per_month is None:
            return ask.max_bytes, Cost(0, 0)
        if ask.kind is Kind.CHECK:
            return None, cost.check_cost(ask.floor_bps or 0.0, typical)
        full = ask.max_bytes or DEFAULT_MAX_BYTES
        for cap in _smaller(full, typical):
            most = cost.speed_cost(cap, len(ask.directions), _fastest(ask.speed), typical)
            if isinstance(decide(Kind.SPEED, ledger, policy, most), Allow):
                return cap, most
        return full, cost.speed_cost(full, len(ask.directions), _fastest(ask.speed), typical)

    async def _wait_for_a_quiet_line(self, ask: Ask, uplink: str) -> tuple[Rates, Busy | None]:
        manners = self._manners()
        if not manners.enabled:
            return Rates(), None
        look, began_s = self._look(uplink), self._monotonic()
        while True:
            others = await look(manners.look_s)
            found = busy(others, ask.speed, manners, ask.directions)
            if found is None or self._monotonic() - began_s >= manners.wait_s:
                return others, found


def _smaller(full: int, typical_bytes: float | None) -> list[int]:
    """Return caps to try, the largest first: none below what tests are known to cost here."""
    least = max(LEAST_MAX_BYTES, round(typical_bytes or 0))
    return [full, *(cap for cap in (full // 2, full // 4) if cap >= least)]


def _fastest(speed: Rates) -> float | None:
    known = [bps for bps in (speed.download_bps, speed.upload_bps) if bps is not None]
    return max(known, default=None)


def _has_results(record: SpeedRecord | CheckRecord) -> bool:
    if isinstance(record, CheckRecord):
        return record.failure is None
    results = [result for result in (record.download, record.upload) if result is not None]
    return bool(results) and all(result.bps is not None for result in results)


def _refused(ask: Ask, decision: Decision) -> Refused:
    if isinstance(decision, Allow):
        raise ValueError("what is allowed is not refused")
    instead = decision.kind if isinstance(decision, Instead) else None
    return Refused(_word(ask.kind), SkipReason.BUDGET, decision.value, decision.limit, instead)


def _word(kind: Kind) -> Literal["speed", "check"]:
    return "speed" if kind is Kind.SPEED else "check"
