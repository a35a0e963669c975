"""Opens the further connections of a check, all at once; what is not there in time is done without."""

import asyncio
from collections.abc import Sequence

from linkbell_agent.classify import NetworkFailure
from linkbell_agent.ndt7.connection import Opened, open_test
from linkbell_agent.ndt7.upgrade import Upgrade
from linkbell_agent.net import Uplink

JOIN_S, JOIN_ROUNDS = 0.3, 3.0
"""So long, and so many round trips, the first connection waits: they need two, one more allows for a queue."""


async def open_others(upgrade: Upgrade, uplink: Uplink, count: int, rtt_s: float) -> list[Opened]:
    """Return up to ``count`` more connections of the check that ``upgrade`` began. Cancelled, none is left open."""
    tasks = [asyncio.create_task(open_test(upgrade.another(), uplink)) for _ in range(count)]
    if not tasks:
        return []
    try:
        await asyncio.wait(tasks, timeout=JOIN_S + JOIN_ROUNDS * rtt_s)
    except asyncio.CancelledError:
        await _abandon(tasks)
        raise
    ready = [task for task in tasks if task.done() and not task.exception()]
    await _abandon([task for task in tasks if task not in ready])
    return [task.result() for task in ready]


async def _abandon(tasks: Sequence[asyncio.Task[Opened]]) -> None:
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Opened):
            outcome.connection.close()
        elif not isinstance(outcome, NetworkFailure | asyncio.CancelledError):
            raise outcome
