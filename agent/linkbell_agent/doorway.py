"""Opens the door that tests of the line have to pass, when the first of them comes."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from linkbell_agent.clock import Clock
from linkbell_agent.plan import SCHOOL_DAY_S, Plan

if TYPE_CHECKING:
    from linkbell_agent.gatekeeper import Gatekeeper

log = logging.getLogger(__name__)


class Doorway:
    """Call it for the door, which is the same each time.

    Without a budget it counts what measuring costs all the same. On a box beside the router it sees what that box
    itself does with the line, such as fetching its updates, and says that it sees no more.

    ``plan`` and ``device`` are told the name of an uplink; ``device`` returns the network device that it leads out by
    at the moment, ``None`` without any. ``uplinks`` are the names of all.
    """

    def __init__(
        self,
        clock: Clock,
        state: Path,
        plan: Callable[[str], Plan],
        device: Callable[[str], str | None],
        uplinks: Sequence[str] = ("main",),
    ) -> None:
        self._uplinks = uplinks
        self._clock = clock
        self._state = state
        self._plan = plan
        self._device = device
        self._door: Gatekeeper | None = None

    def __call__(self) -> "Gatekeeper":
        """Return the door."""
        if self._door is None:
            self._door = self._open()
        return self._door

    def heard(self, server_time: datetime) -> None:
        """Take the collector's clock for true where the box's own is not synchronised."""
        if self._door is not None:
            self._door.heard(server_time)

    def _say_what_is_seen(self) -> None:
        from linkbell_agent.courtesy.sight import look_around

        outside, *others = (self._device(name) for name in self._uplinks)
        log.info("%s", look_around(outside=outside, besides=others).sentence)

    def _open(self) -> "Gatekeeper":
        from linkbell_agent.budget.keeper import Keeper
        from linkbell_agent.budget.ledger_file import LedgerFile
        from linkbell_agent.budget.planned import policy_of
        from linkbell_agent.budget.policy import Policy
        from linkbell_agent.courtesy.port import PortLook
        from linkbell_agent.courtesy.rule import Manners
        from linkbell_agent.courtesy.skips import Skips
        from linkbell_agent.gatekeeper import Gatekeeper

        def policy(uplink: str) -> Policy:
            plan = self._plan(uplink)
            per_day = len(plan.floors) * SCHOOL_DAY_S / plan.check_interval_s
            return policy_of(plan, per_day, max(plan.floors.values(), default=None))

        self._say_what_is_seen()
        keeper = Keeper(self._clock, LedgerFile(self._state), policy)

        def look(uplink: str) -> PortLook:
            return PortLook(lambda: self._device(uplink), self._clock.monotonic, asyncio.sleep)

        def manners() -> Manners:
            return self._plan(self._uplinks[0]).manners  # the box's, whatever the uplink

        return Gatekeeper(keeper, look, Skips(self._state), manners, self._clock.monotonic)
