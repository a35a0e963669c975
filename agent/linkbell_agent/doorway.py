"""Opens the door that tests of the line have to pass, once there is a reason for one."""

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
    """Call it with the plan. A box with no budget that sees only its own traffic has no use for a door.

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
        self._is_router: bool | None = None

    def __call__(self, plan: Plan) -> "Gatekeeper | None":
        """Return the door, ``None`` while there is nothing to ask it."""
        if self._door is None and (plan.budget.bytes_per_month is not None or self._sees_others(plan)):
            self._door = self._open()
        return self._door

    def heard(self, server_time: datetime) -> None:
        """Take the collector's clock for true where the box's own is not synchronised."""
        if self._door is not None:
            self._door.heard(server_time)

    def _sees_others(self, plan: Plan) -> bool:
        if not plan.manners.enabled:
            return False
        if self._is_router is None:
            from linkbell_agent.courtesy.sight import look_around

            outside, *others = (self._device(name) for name in self._uplinks)
            sight = look_around(outside=outside, besides=others)
            log.info("%s", sight.sentence)
            self._is_router = not sight.sees_only_itself
        return self._is_router

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

        keeper = Keeper(self._clock, LedgerFile(self._state), policy)

        def look(uplink: str) -> PortLook:
            return PortLook(lambda: self._device(uplink), self._clock.monotonic, asyncio.sleep)

        def manners() -> Manners:
            return self._plan(self._uplinks[0]).manners  # the box's, whatever the uplink

        return Gatekeeper(keeper, look, Skips(self._state), manners, self._clock.monotonic)
