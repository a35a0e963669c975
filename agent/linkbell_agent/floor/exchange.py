"""A floor check under way: paced bytes one way, reports of the server the other, until the rule knows.

Smaller than a speed test's exchange and apart from it: here packets are counted and not bytes, the budget is spent by
the sender, and a stop is due within a few hundredths of a second.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import field

from pydantic import ValidationError

from linkbell_agent import averages
from linkbell_agent.classify import NetworkFailure, network_failure
from linkbell_agent.floor.curve import Arrivals
from linkbell_agent.floor.rule import Decision, FloorRule, State
from linkbell_agent.ndt7.channel import Allowance, Channel
from linkbell_agent.ndt7.connection import Connection, Opened
from linkbell_agent.slim import dataclass
from linkbell_wire import floor
from linkbell_wire.failures import Failure, FailureCode, Operation
from linkbell_wire.ndt7.tcp_info import TcpInfo

TICK_S = 0.02
DECIDE_EVERY = 3
"""The rule is asked at every third tick: it looks through all samples, and small boxes are slow."""

STALL_S = 2.0
STALL_ROUNDS = 4.0
"""A line on which nothing has arrived for so long, and so many round trips, is dead."""

WHOLE = 0.98
NEARLY_WHOLE = 0.85
QUIET_S = 0.2
"""The budget counts as arrived with its last packets missing, which may be lost; with more missing once it is quiet."""

GOODBYE_S, MOST_GOODBYE_S = 0.1, 1.5
"""For what is still under way to arrive and be counted, besides one and a half round trips."""

FEW_LOST = 0.03
"""Of what was sent: lines lose as much by chance, and a sender that lost no more was not told to slow down by them."""

QUEUED, QUEUED_OF_S, QUEUED_S = 0.2, 0.1, 0.01
"""A round trip that is longer than the least by this part of it (of at most so much), and by this, has waited."""

LATEST_RTTS = 5
"""Over a satellite the queue is seen only in the last reports of a check."""

AT_ONCE_S, LOOKS_AGAIN = 0.004, 3
"""Looks at several connections that took longer are repeated."""

READ_BUFFER_BYTES = 1 << 16
MAX_TEXTS = 1500
"""Fifty a second for the longest check, and room for as many again; a server that sends more is broken."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one check may take, and the least round trip seen before it."""

    floor_bps: float
    rtt_s: float
    max_duration_s: float = floor.MAX_DURATION_S

    streams: int = 1
    waits_for_begin: bool = False
    """Whether the server of a download waits to be told that all connections are there."""

    @property
    def budget_bytes(self) -> int:
        """Most payload the sender may send."""
        return floor.budget_bytes(self.floor_bps, self.streams)


@dataclass(slots=True)
class SenderState:
    """How the sending went, as the sending side's kernel saw it: what tells a slow line from a slow sender."""

    rtts_s: list[float] = field(default_factory=list)
    rtt_min_s: float | None = None
    retransmit_ratio: float | None = None
    rwnd_limited_s: float = 0.0
    starved_s: float = 0.0
    congestion_control: str | None = None

    @property
    def has_queued(self) -> bool:
        """Say whether packets had to wait on the way: a line that is slower than its sender makes them."""
        if not self.rtts_s:
            return False
        least_s = self.rtt_min_s or min(self.rtts_s)
        high_s = sorted(self.rtts_s)[int(0.95 * (len(self.rtts_s) - 1))]
        latest_s = averages.median(self.rtts_s[-LATEST_RTTS:])
        return max(high_s, latest_s) > least_s + QUEUED * min(least_s, QUEUED_OF_S) + QUEUED_S

    @property
    def has_lost_much(self) -> bool:
        """Say whether so much was lost that a line, or a policer on it, must have dropped it for want of room."""
        return (self.retransmit_ratio or 0.0) > FEW_LOST

    @property
    def rtt_loaded_s(self) -> float | None:
        """Median round trip."""
        return averages.median(self.rtts_s) if self.rtts_s else None


def total(counts: Iterable[int | None]) -> int | None:
    """Return the sum, ``None`` if one of them is not known."""
    known = list(counts)
    return None if None in known else sum(count or 0 for count in known)


@dataclass(slots=True)
class Ending:
    """Everything known when a check is over."""

    decision: Decision | None = None
    failure: Failure | None = None
    duration_s: float = 0.0
    cost_bytes: int = 0
    sender: SenderState = field(default_factory=SenderState)


class FloorExchange:
    """What both directions share. Made for one check: ``await run()`` once.

    ``others`` are further connections of the same check. The first speaks for all; what becomes of the others is of no
    matter as long as they keep to the protocol.
    """

    operation: Operation

    def __init__(
        self,
        connection: Connection,
        limits: Limits,
        monotonic: Callable[[], float],
        others: Sequence[Opened] = (),
    ) -> None:
        self._connection = connection
        self._connections = [connection, *(other.connection for other in others)]
        self._others_first_bytes = [other.first_bytes for other in others]
        self._limits = limits
        allowance = Allowance(MAX_TEXTS, self._most_payload_bytes(limits), tiny_texts=True)
        self._channel = Channel(connection, allowance, self)
        self._channels = [self._channel, *(Channel(other.connection, allowance, _Follower(self)) for other in others)]
        self._monotonic = monotonic
        self._rule = FloorRule(limits.floor_bps, limits.rtt_s)
        self._arrivals = Arrivals()
        self._loop = asyncio.get_running_loop()
        self._decided: asyncio.Future[Decision] = self._loop.create_future()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._ending = Ending()
        self._started_s = 0.0
        self._ticker: asyncio.TimerHandle | None = None
        self._ticks = 0

    async def run(self, first_bytes: bytes) -> Ending:
        """Run the check to its end. Network trouble is in the :class:`Ending`; the connection is closed after."""
        self._started_s = self._monotonic()
        try:
            self._begin(first_bytes)
            self._ending.decision = await self._decided
            self._ending.duration_s = self._elapsed_s()
            await self._say_goodbye()
        except NetworkFailure as error:
            self._ending.failure = error.failure
            self._ending.duration_s = self._elapsed_s()
        finally:
            if self._ticker is not None:
                self._ticker.cancel()
            self._ending.cost_bytes = self._cost_bytes()
            for connection in self._connections:
                connection.close()
        return self._ending

    # What the directions differ in

    def _begin(self, first_bytes: bytes) -> None:
        buffer = memoryview(bytearray(READ_BUFFER_BYTES))
        for channel, first in zip(self._channels, [first_bytes, *self._others_first_bytes], strict=True):
            channel.begin(first, buffer)
        self._tick()

    def _most_payload_bytes(self, limits: Limits) -> int:
        """Return how much the server may send."""
        raise NotImplementedError

    def _sample(self) -> None:
        """Feed the rule with what has arrived by now."""
        raise NotImplementedError

    def _decide(self, *, capped: bool) -> Decision:
        raise NotImplementedError

    def _arrived_bytes(self) -> float:
        """Return the payload that reached the receiver, in whatever order."""
        raise NotImplementedError

    def _cost_bytes(self) -> int:
        """Return the payload that was put on the line."""
        raise NotImplementedError

    def _take_report(self, report: floor.Report) -> None:
        raise NotImplementedError

    # What the channel tells

    @property
    def is_in_message(self) -> bool:
        """Whether a message of our own is sent in part."""
        return False

    def take_text(self, text: bytes) -> None:
        """Take a report; one that makes no sense is as good as none."""
        with contextlib.suppress(ValidationError):
            self._take_report(floor.Report.model_validate_json(text))

    def has_read(self) -> None:
        """Do nothing: what came is looked at with the next tick."""

    def has_ended(self) -> None:
        """End: a server that leaves before the answer is known has failed."""
        self.has_failed(NetworkFailure(Operation.RECEIVE, FailureCode.CONNECTION_CLOSED))

    def has_failed(self, failure: NetworkFailure) -> None:
        """End with ``failure``, unless the answer is known already: then it stands."""
        if not self._decided.done():
            self._decided.set_exception(failure)
        if not self._gone.done():
            self._gone.set_result(None)

    # Deciding

    @property
    def _line_is_full(self) -> bool:
        """Say whether anything shows that the line holds the sender back. If the sender says nothing, it may be."""
        sender = self._ending.sender
        return not sender.rtts_s or sender.has_queued or sender.has_lost_much

    def _elapsed_s(self) -> float:
        return self._monotonic() - self._started_s

    def _tick(self) -> None:
        self._ticker = self._loop.call_later(TICK_S, self._tick)
        self._ticks += 1
        try:
            for channel in self._channels:
                if not channel.is_gone:
                    channel.flush()
            self._sample()
            if not self._decided.done():
                self._consider()
        except OSError as error:
            self._channel.fail(network_failure(self.operation, error))

    def _consider(self) -> None:
        elapsed_s = self._elapsed_s()
        capped = elapsed_s >= self._limits.max_duration_s or self._is_spent(elapsed_s)
        if not capped and self._ticks % DECIDE_EVERY:
            return
        decision = self._decide(capped=capped)
        if decision.state is not State.GO_ON:
            self._decided.set_result(decision)
        elif self._silence_s(elapsed_s) > max(STALL_S, STALL_ROUNDS * self._limits.rtt_s):
            self._channel.fail(NetworkFailure(self.operation, FailureCode.TIMEOUT))

    def _is_spent(self, elapsed_s: float) -> bool:
        arrived, budget = self._arrived_bytes(), self._limits.budget_bytes
        quiet = self._silence_s(elapsed_s) > max(QUIET_S, 2 * self._limits.rtt_s)
        return arrived >= (NEARLY_WHOLE if quiet else WHOLE) * budget

    def _silence_s(self, elapsed_s: float) -> float:
        return elapsed_s - self._arrivals.best[0].last_arrival_s

    def _views(self, before: Sequence[TcpInfo | None]) -> tuple[float, list[TcpInfo | None]]:
        """Look at all connections, and say when; of one that is gone, the view ``before`` stays.

        On a busy box another program may come between two of many looks: then they are of no one moment.
        """
        began_s = self._elapsed_s()
        views = [one.info() or was for one, was in zip(self._connections, before, strict=True)]
        for _ in range(LOOKS_AGAIN if len(views) > 1 else 0):
            ended_s = self._elapsed_s()
            if ended_s - began_s < AT_ONCE_S:
                break
            began_s = ended_s
            views = [one.info() or was for one, was in zip(self._connections, views, strict=True)]
        return began_s, views

    async def _say_goodbye(self) -> None:
        """Tell the server to stop, and count what is still under way: it is on the line and will be paid for."""
        if self._channel.is_gone:
            return
        self._channel.say_goodbye()
        await asyncio.wait([self._gone], timeout=min(MOST_GOODBYE_S, GOODBYE_S + 1.5 * self._limits.rtt_s))
        with contextlib.suppress(OSError):
            self._sample()


class _Follower:
    """Hears one of the further connections for the exchange."""

    is_in_message = False

    def __init__(self, exchange: FloorExchange) -> None:
        self._exchange = exchange

    def take_text(self, text: bytes) -> None:
        """Do nothing: the first connection speaks."""

    def has_read(self) -> None:
        """Do nothing: what came is looked at with the next tick."""

    def has_ended(self) -> None:
        """Do nothing: what it would have carried is carried by the others."""

    def has_failed(self, failure: NetworkFailure) -> None:
        """Go on without it, unless the server broke the protocol."""
        if failure.failure.code in (FailureCode.PROTOCOL_ERROR, FailureCode.MESSAGE_TOO_LARGE):
            self._exchange.has_failed(failure)
