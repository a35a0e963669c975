"""Making the tests of one kind at the moments of :mod:`~linkbell_agent.schedule`, and recording what came of each."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import Literal

from linkbell_agent.done_file import DoneFile
from linkbell_agent.probes.base import ProbeContext
from linkbell_agent.schedule.done import Done
from linkbell_agent.schedule.outcome import TRIED_AGAIN, failure_of
from linkbell_agent.schedule.slots import Agenda, Due, Kind, Present, Slot, Timetable, present
from linkbell_agent.slim import dataclass
from linkbell_wire.records import Record, SkipRecord
from linkbell_wire.words import SkipReason

log = logging.getLogger(__name__)

LONGEST_SLEEP_S = 30.0
"""The clock is looked at again at least this often while waiting: clocks are stepped, plans change."""

FIRST_TEST_DELAY_S = 2.0


class Asked:
    """For how long a busy server asked to be left alone, None if none did. Filled in by the probe."""

    seconds: float | None = None

    def __call__(self, seconds: float) -> None:
        """Note it."""
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Work:
    """What is measured. ``timetable`` is None while it is not wanted; without a server nothing can be measured.

    ``first_at_once`` is for what a technician waits for; ``now`` for what was asked for on the command line.
    """

    kind: Kind
    timetable: Callable[[], Timetable | None]
    has_server: Callable[[], bool]
    measure: Callable[[Asked], Awaitable[Record]]
    first_at_once: bool = False
    now: bool = False
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class Rounds:
    """The tests of one kind on one uplink, one in each slot, recorded once a slot."""

    def __init__(
        self, work: Work, context: ProbeContext, done: DoneFile, seed: str, keep: Callable[[Record], None]
    ) -> None:
        self._work = work
        self._context = context
        self._file = done
        self._seed = seed
        self._keep = keep
        self._name = f"{context.uplink.name}/{work.kind}"
        self._is_asked_for = work.now
        self._timetable: Timetable | None = None
        self._was_off = False
        self._due: Due | None = None
        self._failed: tuple[Slot, Record] | None = None
        """A failure that is not recorded yet, since its slot has another try."""

    async def run(self) -> None:
        """Test for ever."""
        try:
            if self._is_asked_for or self._is_first():
                # A new installation shows its first number at once. Later ones wait for their moment, or every power
                # cut in a village would be followed by all its schools testing together.
                self._is_asked_for = False
                self._look_back()
                await self._work.sleep(FIRST_TEST_DELAY_S)
                await self._test_now()
            while True:
                wait_s = self._look()
                if wait_s > 0:
                    await self._work.sleep(min(LONGEST_SLEEP_S, wait_s))
                else:
                    await self._serve()
        finally:
            self._give_up()
            self._file.flush()

    def _look_back(self) -> None:
        """Note what went by before the first test: of a new installation nothing did."""
        agenda = self._agenda()
        if agenda is not None:
            self._note_what_went_by(agenda, self._present())

    def _look(self) -> float:
        """Return for how many seconds nothing is to be done. Records what went by meanwhile."""
        agenda, at = self._agenda(), self._present()
        if agenda is None:
            self._give_up()
            self._due, self._was_off = None, True
            return LONGEST_SLEEP_S
        if self._failed is not None and self._failed[0].end <= at.now:
            self._give_up()
        self._note_what_went_by(agenda, at)
        if self._is_first() and self._work.has_server():
            self._due = None
            return 0.0
        self._due = agenda.next_due(at, self._done, self._due)
        return LONGEST_SLEEP_S if self._due is None else (self._due.moment - at.now).total_seconds()

    def _note_what_went_by(self, agenda: Agenda, at: Present) -> None:
        gone = agenda.gone_by(at, self._done)
        if gone:
            # Of a timetable that was not in force then, or of the time before the installation, nothing was missed.
            if self._done.ever and not self._was_off and self._timetable in (None, agenda.timetable):
                log.warning("%d of today's slots went by without a %s", len(gone), self._work.kind)
                self._skip(SkipReason.MISSED, len(gone))
            self._file.hold(self._name, self._done.missed(gone))
        self._timetable, self._was_off = agenda.timetable, False

    async def _serve(self) -> None:
        if self._due is None:
            await self._test_now()
        elif self._due.slot.is_closed:
            self._skip(SkipReason.CLOSED)
            self._mark(self._done.served(self._due.slot))
        else:
            await self._test(self._due.slot)

    async def _test_now(self) -> None:
        agenda = self._agenda()
        slot = None if agenda is None else agenda.current(self._present())
        # Beside a slot that has its result, and out of hours, it stands for no slot.
        await self._test(None if slot is None or self._done.is_served(slot) else slot)

    async def _test(self, slot: Slot | None) -> None:
        if not self._work.has_server():
            self._skip(SkipReason.NO_SERVER)
            if slot is not None:
                self._file.hold(self._name, self._done.served(slot))
            return
        self._mark(replace(self._done, ever=True) if slot is None else self._done.begun(slot))
        asked = Asked()
        record = await self._work.measure(asked)
        again = None if slot is None else self._when_again(slot, record, asked)
        if slot is not None and again is not None:
            self._failed = (slot, record)
            self._mark(self._done.to_try_again(slot, again))
            return
        self._failed = None
        self._keep(record)
        if slot is not None:
            self._mark(self._done.served(slot))

    def _when_again(self, slot: Slot, record: Record, asked: Asked) -> datetime | None:
        failure, agenda = failure_of(record), self._agenda()
        if failure is None:
            return None
        attempts, now = self._done.attempts_in(slot).count, self._present().now
        again = None
        if agenda is not None and failure.code in TRIED_AGAIN:
            again = agenda.again(slot, now, attempts, asked.seconds)
        what = f"{self._work.kind} failed at attempt {attempts} ({failure.operation}: {failure.code})"
        if again is None:
            log.info("%s: recorded as failed", what)
        else:
            log.info("%s: again in %.0f s", what, (again - now).total_seconds())
        return again

    def _give_up(self) -> None:
        """Record a failure whose next try will not be made."""
        if self._failed is None:
            return
        slot, record = self._failed
        self._failed = None
        self._keep(record)
        self._mark(self._done.served(slot))

    def _skip(self, reason: SkipReason, value: float | None = None) -> None:
        skipped: Literal["speed", "check"] = "speed" if self._work.kind is Kind.SPEED else "check"
        self._keep(SkipRecord(**self._context.stamp(), skipped=skipped, reason=reason, value=value))

    def _mark(self, done: Done) -> None:
        # A check is cheap and frequent: one more after a power cut does less harm than a write for each.
        self._file.put(self._name, done, soon=self._work.kind is Kind.SPEED)

    def _is_first(self) -> bool:
        return self._work.first_at_once and not self._done.ever and self._work.timetable() is not None

    @property
    def _done(self) -> Done:
        return self._file.get(self._name)

    def _agenda(self) -> Agenda | None:
        timetable = self._work.timetable()
        return None if timetable is None else Agenda(self._seed, self._context.uplink.name, timetable)

    def _present(self) -> Present:
        moment = self._context.clock.now()
        return present(moment.wall, moment.boottime_s, self._context.clock.boot_id)
