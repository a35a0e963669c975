"""A box in a school, its clock and its line, for as long as a year: what really goes over the line is counted here."""

import random
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from linkbell_agent.budget import cost
from linkbell_agent.budget.decide import Kind
from linkbell_agent.budget.keeper import Keeper
from linkbell_agent.budget.ledger_file import LedgerFile
from linkbell_agent.budget.policy import Policy
from linkbell_agent.clock import Moment
from linkbell_agent.courtesy.rule import Manners, Rates
from linkbell_agent.courtesy.skips import Skips
from linkbell_agent.gatekeeper import BOTH, Ask, Gatekeeper, Go, Look
from linkbell_wire.records import CheckRecord, SpeedRecord, SpeedResult
from linkbell_wire.words import Direction, Engine, Stop, Trigger

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class WorldClock:
    """The box's clocks: ``now_s`` is the truth, in seconds since ``BEGIN``, ``error`` what the wall clock is off by."""

    def __init__(self, begin: datetime = BEGIN) -> None:
        self.begin = begin
        self.now_s = 0.0
        self.booted_s = 0.0
        self.boots = 0
        self.error = timedelta()
        self.is_synced: bool | None = True

    @property
    def true(self) -> datetime:
        return self.begin + timedelta(seconds=self.now_s)

    @property
    def boot_id(self) -> str:
        return f"boot-{self.boots}"

    def now(self) -> Moment:
        return Moment(self.true + self.error, self.now_s - self.booted_s)

    def monotonic(self) -> float:
        return self.now_s - self.booted_s

    def synced(self) -> bool | None:
        return self.is_synced

    def reboot(self, off_s: float = 30.0) -> None:
        self.now_s += off_s
        self.booted_s = self.now_s
        self.boots += 1

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds


async def nobody(seconds: float) -> Rates:
    """Nobody else is on the line."""
    return Rates(0.0, 0.0)


def gatekeeper(
    state: Path, clock: WorldClock, policy: Policy, look: Look = nobody, manners: Manners | None = None
) -> Gatekeeper:
    """Return a new one, as after a start: it knows what is on disk."""
    keeper = Keeper(clock, LedgerFile(state), lambda uplink: policy)
    quiet = manners or Manners(enabled=False)
    return Gatekeeper(keeper, lambda uplink: look, Skips(state), lambda: quiet, clock.monotonic)


def speed_record(clock: WorldClock, download_bytes: int, upload_bytes: int, cap: int | None = None) -> SpeedRecord:
    """Return a test that cost so much."""

    def result(size: int) -> SpeedResult:
        stop = Stop.BYTES if cap is not None and size >= cap else Stop.STABLE
        return SpeedResult(bps=20e6, bytes=size, duration_s=5.0, stop=stop, retransmit_ratio=0.03)

    return SpeedRecord(
        seq=0,
        uplink="main",
        at=datetime(2026, 3, 2, tzinfo=UTC),
        boot_id=clock.boot_id,
        boottime_s=clock.monotonic(),
        engine=Engine.NDT7,
        server="ws://server.example",
        trigger=Trigger.SLOT,
        download=result(download_bytes),
        upload=result(upload_bytes),
        probe_bytes=80_000,
    )


def check_record(clock: WorldClock, size: int) -> CheckRecord:
    """Return a check that cost so much."""
    return CheckRecord(
        seq=0,
        uplink="main",
        at=datetime(2026, 3, 2, tzinfo=UTC),
        boot_id=clock.boot_id,
        boottime_s=clock.monotonic(),
        server="ws://server.example",
        trigger=Trigger.SLOT,
        floor_bps=8e6,
        passed=True,
        bps=8e6,
        bytes=size,
        duration_s=1.0,
    )


SPEED = Ask(Kind.SPEED, BOTH, 20_000_000, speed=Rates(20e6, 5e6))
CHECK = Ask(Kind.CHECK, (Direction.DOWNLOAD,), floor_bps=8e6)


class World:
    """Runs the box. ``spent`` is the truth: bytes per real month; ``days`` what was measured on which day."""

    def __init__(self, state: Path, policy: Policy, seed: int) -> None:
        self.state = state
        self.policy = policy
        self.rng = random.Random(seed)
        self.clock = WorldClock()
        self.spent: dict[str, int] = defaultdict(int)
        self.by_kind: dict[tuple[str, str], int] = defaultdict(int)
        self.days: dict[tuple[str, int], set[str]] = defaultdict(set)
        self.pings_refused = 0
        self.tests_run = 0
        self.tests_refused = 0
        self.kills = 0
        self.box = gatekeeper(state, self.clock, policy)

    def kill(self, off_s: float = 30.0) -> None:
        """Take the power away: what is in memory is gone."""
        self.kills += 1
        self.clock.reboot(off_s)
        self.box = gatekeeper(self.state, self.clock, self.policy)

    async def restart(self) -> None:
        """Stop and start as asked."""
        await self.box.close()
        self.box = gatekeeper(self.state, self.clock, self.policy)

    def _day(self) -> tuple[str, int]:
        period = self.policy.calendar.period(self.clock.true)
        return period.key, period.day(self.clock.true)

    def _spend(self, kind: str, size: int) -> None:
        key = self.policy.calendar.period(self.clock.true).key
        self.spent[key] += size
        self.by_kind[key, kind] += size
        self.days[self._day()].add(kind)

    async def ping(self, size: int) -> None:
        if await self.box.draw("main", size):
            self._spend("ping", size)
        else:
            self.pings_refused += 1

    async def test(self, ask: Ask, cost_of: Callable[[int], int], kill_chance: float) -> None:
        """Run one, or what it is replaced by; now and then the power goes in the middle, all bytes having been sent."""
        answer = await self.box.admit(ask, "main")
        if not isinstance(answer, Go):
            self.tests_refused += 1
            if answer.instead is Kind.CHECK:
                await self.test(CHECK, lambda cap: 1_850_000, kill_chance)
            return
        self.tests_run += 1
        record: SpeedRecord | CheckRecord
        if ask.kind is Kind.SPEED:
            assert answer.max_bytes is not None
            record = speed_record(
                self.clock, cost_of(answer.max_bytes), cost_of(answer.max_bytes // 2), answer.max_bytes
            )
        else:
            record = check_record(self.clock, min(1_850_000, cost_of(1_850_000)))
        self._spend(ask.kind, cost.spent_bytes(record))
        self.clock.now_s += 20
        if self.rng.random() < kill_chance:
            self.kill(self.rng.choice((20.0, 600.0, 4000.0)))
        elif isinstance(record, SpeedRecord):
            await self.box.settle(answer, record)
        else:
            await self.box.settle(answer, record)
