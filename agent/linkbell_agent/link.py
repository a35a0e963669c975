"""The agent's tie to its collector, made from the identity on disk and made anew when that changes.

A technician may enrol a box, or enrol it again after its credential was revoked, while the agent is running.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from linkbell_agent.configuration import ConfigurationKeeper
from linkbell_agent.files import StateError
from linkbell_agent.identity import IDENTITY_FILE, Identity, read_identity
from linkbell_agent.sender import Sender
from linkbell_agent.slim import dataclass
from linkbell_agent.spool import Spool

log = logging.getLogger(__name__)

LOOK_INTERVAL_S = 5.0
"""How often the identity is looked at while there is no collector to report to, or it refuses this agent."""

LONGEST_FIRST_DELAY_S = 10.0


class Closable(Protocol):
    """Something that holds a connection."""

    def close(self) -> None:
        """Let go of it."""


@dataclass(frozen=True, slots=True)
class Connected:
    """What talks to one collector under one identity."""

    identity: Identity
    sender: Sender
    keeper: ConfigurationKeeper
    connections: Sequence[Closable]

    def close(self) -> None:
        """Close its connections."""
        for connection in self.connections:
            connection.close()


class CollectorLink:
    """Holds the present :class:`Connected`, ``None`` while this box has not enrolled."""

    def __init__(self, state: Path, connect: Callable[[Identity], Connected]) -> None:
        self._state = state
        self._connect = connect
        self._seen: tuple[int, int] | None = None
        self.present: Connected | None = None

    def refresh(self) -> Connected | None:
        """Look at the identity on disk, connect anew if it has changed, and return what is present."""
        with contextlib.suppress(OSError):
            status = (self._state / IDENTITY_FILE).stat()
            seen = (status.st_mtime_ns, status.st_ino)
            if seen != self._seen:
                self._seen = seen
                self._take_identity()
        return self.present

    def close(self) -> None:
        """Close what is open."""
        if self.present is not None:
            self.present.close()

    def _take_identity(self) -> None:
        try:
            identity = read_identity(self._state)
        except StateError as error:
            log.error("%s", error)
            return
        if identity is None or (self.present is not None and identity == self.present.identity):
            return
        if self.present is not None:
            log.info("enrolled anew as %s", identity.agent)
        self.close()
        self.present = self._connect(identity)


async def report(link: CollectorLink, spool: Spool, interval_s: float, rng: random.Random) -> None:
    """Send for ever: pings each ``interval_s``, everything else at once, and never sooner than the collector asked."""
    # Boxes that got their power back together must not all report in the same second.
    await asyncio.sleep(rng.uniform(0, min(LONGEST_FIRST_DELAY_S, interval_s / 3)))
    while True:
        connected = link.refresh()
        if connected is None:
            await asyncio.sleep(LOOK_INTERVAL_S)
            continue
        wait_s = await connected.sender.send_waiting()
        if wait_s is not None:
            await asyncio.sleep(min(wait_s, LOOK_INTERVAL_S))
        else:
            await spool.wait_for_arrival(interval_s)
