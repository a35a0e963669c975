"""The budget at work: reserves on disk before anything is sent, settles afterwards, and gives pings out by the hour.

A reservation is a charge of the most a test can cost; settling takes back what it did not. So whatever ends the agent
in the middle, a power cut or a kill, the ledger never says less than was spent.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime

from linkbell_agent.budget.account import account, projected
from linkbell_agent.budget.decide import Allow, Decision, Kind, Skip, decide, ping_interval_s
from linkbell_agent.budget.ledger import Ledger, Reading, charge, learn, mark_day
from linkbell_agent.budget.ledger_file import LedgerFile
from linkbell_agent.budget.months import since
from linkbell_agent.budget.policy import Cost, Policy
from linkbell_agent.clock import Clock
from linkbell_agent.files import StateError
from linkbell_agent.slim import dataclass
from linkbell_agent.threads import Worker

log = logging.getLogger(__name__)

FIRST_PINGS = 5
"""Rounds of pings reserved at a start. Each reservation is as large as all before it together, up to an hour's, so that
a box that loses its power every few minutes does not pay for hours it never saw."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """Bytes charged ahead, in the month ``key``."""

    uplink: str
    kind: Kind
    size_bytes: int
    key: str


@dataclass(frozen=True, slots=True)
class Usage:
    """How the month stands. ``budget_bytes`` is ``None`` without a budget; ``projected_bytes`` is for its end."""

    month: str
    ends: datetime
    used_bytes: Mapping[str, int]
    presumed_bytes: int
    budget_bytes: int | None
    projected_bytes: int

    def details(self) -> dict[str, str | bool | int | float | None]:
        """Return it as the particulars of the event ``data_use``."""
        return {
            "month": self.month,
            "used_bytes": sum(self.used_bytes.values()) + self.presumed_bytes,
            "projected_bytes": self.projected_bytes,
            "budget_bytes": self.budget_bytes,
            "presumed_bytes": self.presumed_bytes,
            **{f"{kind}_bytes": self.used_bytes.get(kind, 0) for kind in Kind},
        }


@dataclass(slots=True)
class _Allotment:
    """Bytes of pings that are on disk as spent already, good until the month ends."""

    left_bytes: int
    granted_bytes: int
    until_s: float
    key: str


class Keeper:
    """Keeps the ledgers of all uplinks. ``policies`` says what an uplink may spend now."""

    def __init__(self, clock: Clock, file: LedgerFile, policies: Callable[[str], Policy]) -> None:
        self._clock = clock
        self._file = file
        self._policies = policies
        self._disk = Worker("linkbell-budget")
        self._heard: tuple[datetime, float] | None = None
        self._pings: dict[str, _Allotment] = {}
        self._disk_works = True

    def policy(self, uplink: str) -> Policy:
        """Return what the uplink may spend."""
        return self._policies(uplink)

    def heard(self, server_time: datetime) -> None:
        """Take the collector's clock for true, where the box's own is not synchronised."""
        self._heard = (server_time, self._clock.now().boottime_s)

    async def ledger(self, uplink: str) -> Ledger:
        """Return the ledger as it is now. Raises :class:`StateError` if it cannot be read."""
        return await self._update(uplink, lambda ledger: ledger)

    async def reserve(
        self, uplink: str, kind: Kind, costs: Callable[[Ledger], Cost], *, dry: bool = False
    ) -> tuple[Decision, Reservation | None]:
        """Decide, and charge what is allowed; ``dry`` only decides. ``costs`` may ask the ledger what is typical.

        Where the disk does not take the charge, a test that has a budget is not run.
        """
        policy = self._policies(uplink)
        decision: Decision = Skip()

        def change(ledger: Ledger) -> Ledger:
            nonlocal decision
            decision = decide(kind, ledger, policy, costs(ledger))
            if dry or not isinstance(decision, Allow) or decision.reserve_bytes == 0:
                return ledger
            charged = charge(ledger, kind, decision.reserve_bytes)
            return mark_day(charged, kind, policy.calendar.period(charged.seen.wall))

        try:
            ledger = await self._update(uplink, change, keep=False)
        except StateError as error:
            self._say_disk_fails(error)
            unmetered = policy.bytes_per_month is None
            return (Allow(0), Reservation(uplink, kind, 0, "")) if unmetered else (Skip(), None)
        if not isinstance(decision, Allow) or dry:
            return decision, None
        return decision, Reservation(uplink, kind, decision.reserve_bytes, ledger.key)

    async def settle(self, held: Reservation, spent_bytes: int, *, is_typical: bool) -> None:
        """Put what was really spent in the place of the reservation, and learn from it where that is typical."""

        def change(ledger: Ledger) -> Ledger:
            settled = charge(ledger, held.kind, spent_bytes - held.size_bytes, held.key)
            return learn(settled, held.kind, spent_bytes) if is_typical else settled

        try:
            await self._update(held.uplink, change)
        except StateError as error:
            self._say_disk_fails(error)

    async def draw(self, uplink: str, size_bytes: int) -> Decision:
        """Take ``size_bytes`` for pings, look-ups or fetches that are about to be made.

        Without a disk pings go on: their share was never given to anything else, and they are few.
        """
        lot = self._pings.get(uplink)
        now_s = self._clock.monotonic()
        if lot is not None and lot.left_bytes >= size_bytes and now_s < lot.until_s:
            lot.left_bytes -= size_bytes
            return Allow(size_bytes)
        return await self._draw_anew(uplink, size_bytes, lot, now_s)

    async def _draw_anew(self, uplink: str, size_bytes: int, lot: _Allotment | None, now_s: float) -> Decision:
        policy = self._policies(uplink)
        granted = 0 if lot is None else lot.granted_bytes
        hour = round(policy.ping_bytes_per_day / 24)
        chunk = max(size_bytes, min(max(FIRST_PINGS * size_bytes, granted), hour))
        decision: Decision = Skip()
        taken = 0

        def change(ledger: Ledger) -> Ledger:
            nonlocal decision, taken
            for taken in (chunk, size_bytes):
                decision = decide(Kind.PING, ledger, policy, Cost(taken, taken))
                if isinstance(decision, Allow):
                    return charge(ledger, Kind.PING, taken)
            return ledger

        try:
            ledger = await self._update(uplink, change)
        except StateError as error:
            self._say_disk_fails(error)
            is_over = isinstance(decision, Skip) and decision.limit is not None
            return decision if is_over else Allow(size_bytes)
        if isinstance(decision, Allow):
            left_s = (policy.calendar.period(ledger.seen.wall).end - ledger.seen.wall).total_seconds()
            # What is left of an older allotment of another month was of that month.
            kept = lot.left_bytes if lot is not None and lot.key == ledger.key else 0
            self._pings[uplink] = _Allotment(kept + taken - size_bytes, granted + taken, now_s + left_s, ledger.key)
        return decision

    async def close(self) -> None:
        """Give back what pings did not use: a stop that was asked for costs nothing."""
        for uplink, lot in self._pings.items():
            if lot.left_bytes > 0:
                held = Reservation(uplink, Kind.PING, lot.left_bytes, lot.key)
                await self.settle(held, 0, is_typical=False)
        self._pings.clear()

    async def ping_interval_s(self, uplink: str, planned_s: float) -> float:
        """Return how far apart rounds of pings have to be for the budget to last; as planned if unknown."""
        try:
            return ping_interval_s(await self.ledger(uplink), self._policies(uplink), planned_s)
        except StateError:
            return planned_s

    async def usage(self, uplink: str) -> Usage:
        """Return how the month stands. Raises :class:`StateError` if that cannot be read."""
        ledger, policy = await self.ledger(uplink), self._policies(uplink)
        return usage(ledger, policy)

    def _reading(self) -> Reading:
        moment = self._clock.now()
        if self._clock.synced():
            return Reading(moment.wall, True, self._clock.boot_id, moment.boottime_s)
        if self._heard is not None:
            wall = since(self._heard[0], moment.boottime_s - self._heard[1])
            return Reading(wall, True, self._clock.boot_id, moment.boottime_s)
        return Reading(moment.wall, False, self._clock.boot_id, moment.boottime_s)

    async def _update(self, uplink: str, change: Callable[[Ledger], Ledger], *, keep: bool = True) -> Ledger:
        reading, calendar = self._reading(), self._policies(uplink).calendar
        ledger = await self._disk.run(lambda: self._file.update(uplink, reading, calendar, change, keep=keep))
        self._disk_works = True
        return ledger

    def _say_disk_fails(self, error: StateError) -> None:
        if self._disk_works:
            log.error("what is spent cannot be written down, so tests on a budget wait: %s", error)
        self._disk_works = False


def usage(ledger: Ledger, policy: Policy) -> Usage:
    """Return how the month of ``ledger`` stands."""
    period = policy.calendar.period(ledger.seen.wall)
    used = ledger.used if ledger.key == period.key else {}
    presumed = 0 if policy.bytes_per_month is None else round(account(ledger, policy).presumed)
    elapsed = 1 - period.left(ledger.seen.wall)
    return Usage(
        month=period.key,
        ends=period.end,
        used_bytes=used,
        presumed_bytes=presumed,
        budget_bytes=policy.bytes_per_month,
        projected_bytes=round(projected(sum(used.values()) + presumed, elapsed, period.days)),
    )
