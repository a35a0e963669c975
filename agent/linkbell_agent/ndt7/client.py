"""One direction of one test against one server, from the name to the result."""

import asyncio
import contextlib
from collections.abc import Callable

from linkbell_agent.classify import NetworkFailure
from linkbell_agent.ndt7.connection import Opened, open_test
from linkbell_agent.ndt7.endpoint import Endpoint
from linkbell_agent.ndt7.exchange import Exchange
from linkbell_agent.ndt7.held_back import HeldBack, held_back
from linkbell_agent.ndt7.judge import failed, judge
from linkbell_agent.ndt7.rules import Caps, StopRule
from linkbell_agent.ndt7.upgrade import ServerBusy, Upgrade
from linkbell_agent.net import Uplink
from linkbell_agent.slim import dataclass
from linkbell_wire.records import SpeedResult
from linkbell_wire.words import Direction

RuleFactory = Callable[[float], StopRule]
"""Makes a rule for one direction of one test, given the round trip of the unloaded line to the server in seconds."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One direction's result. ``admitted`` says that the server took the test, however it went after that.

    ``window`` is the stretch of time the speed speaks of, on the monotonic clock and at the receiver.
    """

    result: SpeedResult
    admitted: bool
    rtt_idle_s: float | None = None
    retry_after_s: float | None = None
    window: tuple[float, float] | None = None
    held_back: HeldBack | None = None


@dataclass(frozen=True, slots=True)
class Client:
    """Runs tests on one uplink. ``monotonic`` gives seconds that never jump.

    Without ``make_rule`` a test is ndt7 as M-Lab runs it: one connection, all of the time. With it, a rule may end a
    test sooner, and up to ``streams`` connections fill lines that one cannot, where the server offers that.
    """

    uplink: Uplink
    monotonic: Callable[[], float]
    make_rule: RuleFactory | None = None
    streams: int = 1

    async def measure(self, direction: Direction, endpoint: Endpoint, caps: Caps) -> Outcome:
        """Run one direction. Network trouble is in the result; nothing is left open, cancelled or not."""
        upgrade = Upgrade(endpoint, direction)
        try:
            opened = await open_test(upgrade, self.uplink)
        except NetworkFailure as error:
            retry_after_s = error.retry_after_s if isinstance(error, ServerBusy) else None
            return Outcome(failed(error.failure), admitted=False, retry_after_s=retry_after_s)
        rule = None if self.make_rule is None else self.make_rule(opened.round_trip_s)
        exchange = Exchange(direction, caps, rule, self.monotonic)
        joining = asyncio.create_task(self._add_streams(exchange, upgrade, opened))
        try:
            ending = await exchange.run(opened)
        finally:
            joining.cancel()
            await asyncio.wait([joining])
        judged = judge(direction, ending, caps.max_duration_s)
        return Outcome(
            judged.result,
            admitted=True,
            rtt_idle_s=opened.rtt_idle_s,
            window=judged.window,
            held_back=held_back(direction, ending),
        )

    async def _add_streams(self, exchange: Exchange, upgrade: Upgrade, first: Opened) -> None:
        """Open the other streams side by side once they are of use. One that cannot be had is done without."""
        streams = 1 if self.make_rule is None else self.streams

        async def add() -> None:
            with contextlib.suppress(NetworkFailure):
                exchange.join(await open_test(upgrade.another(), self.uplink))

        await exchange.wants_more.wait()
        async with asyncio.TaskGroup() as group:
            for _ in range(min(streams, first.streams_offered) - 1):
                group.create_task(add())
