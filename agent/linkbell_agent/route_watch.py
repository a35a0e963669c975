"""Looks which uplink carries the default route, remembers it across restarts, and reports moves for an event."""

import json
import logging
from collections.abc import Callable, Collection
from pathlib import Path

from linkbell_agent.failover import DefaultRoute, Move
from linkbell_agent.files import StateError, read_if_there, write_whole
from linkbell_agent.slim import dataclass

log = logging.getLogger(__name__)

FILE = "default-route.json"
LOOK_S = 5.0
"""A question to the kernel each time."""

Details = dict[str, str | bool | int | float | None]


@dataclass(frozen=True, slots=True)
class Looking:
    """How to see the box's default route. ``uplinks`` are their names."""

    uplinks: Collection[str]
    carrier: Callable[[], str | None]
    """Returns the uplink that carries now, ``None`` if none of them does."""
    evidence: Callable[[Move], Details]
    """Returns why it moved, as far as can be seen, and what carries now."""


class RouteWatch:
    """Where the route was when the agent ended is in the state folder: a move while it was stopped is one, too."""

    def __init__(self, state: Path, looking: Looking, monotonic: Callable[[], float]) -> None:
        self._file = state / FILE
        self._looking = looking
        self._monotonic = monotonic
        self._route = self._kept()
        self._was_stopped = self._route.is_known
        self._seen: str | None = None
        self._has_looked = False

    def carries(self, uplink: str) -> bool:
        """Say whether the default route leaves by that uplink, as seen last."""
        if not self._has_looked:
            self._see()
        return self._seen == uplink

    def look(self, verdict: Callable[[str | None], str | None]) -> Details | None:
        """Look once; return the particulars of the event ``failover`` if there is a move to report."""
        seen = self._see()
        was_known = self._route.is_known
        move = self._route.see(seen, self._monotonic())
        if move is None:
            if self._route.is_known and not was_known:
                self._write()
            if seen == self._route.carrier:
                self._was_stopped = False
            return None
        self._write()
        log.warning("the default route has moved from %s to %s", move.before or "no uplink", move.now or "no uplink")
        details: Details = {
            "from": move.before,
            "to": move.now,
            **self._looking.evidence(move),
            "from_verdict": verdict(move.before),
            "to_verdict": verdict(move.now),
            "changes": move.changes,
            "while_stopped": self._was_stopped,
        }
        self._was_stopped = False
        return details

    def _see(self) -> str | None:
        self._has_looked = True
        self._seen = self._looking.carrier()
        return self._seen

    def _kept(self) -> DefaultRoute:
        try:
            carrier = json.loads(read_if_there(self._file) or b"{}")["carrier"]
        except (StateError, ValueError, KeyError, TypeError):
            return DefaultRoute()
        is_known = carrier is None or carrier in self._looking.uplinks
        return DefaultRoute(carrier if is_known else None, is_known=is_known)

    def _write(self) -> None:
        try:
            write_whole(self._file, json.dumps({"carrier": self._route.carrier}).encode())
        except StateError as error:
            log.warning("a move of the default route while no agent runs will not be noticed: %s", error)
