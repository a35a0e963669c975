"""The test itself: streams side by side, looked at a hundred times a second, until something ends it."""

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from linkbell_agent.classify import NetworkFailure, network_failure
from linkbell_agent.ndt7.connection import Opened
from linkbell_agent.ndt7.download import Download
from linkbell_agent.ndt7.readings import Readings
from linkbell_agent.ndt7.rules import Caps, Estimate, Sample, StopRule
from linkbell_agent.ndt7.stream import Claim, Stream
from linkbell_agent.ndt7.upload import Upload
from linkbell_wire.failures import Failure, FailureCode
from linkbell_wire.ndt7.tcp_info import TcpInfo
from linkbell_wire.words import Direction, Stop

TICK_S = 0.01
LAST_TICK_S = 0.002
"""Once all bytes of an upload's cap are handed over: on a fast line a longer tick would be counted as slowness."""

MORE_STREAMS_BPS = 4e6
MORE_STREAMS_RTT_S = 0.15
"""More streams are of use on a line this fast or this long, and where loss holds one down. On others they would only
wait in its queue: each keeps four packets under way at least, half a second of a slow upload (tcp_bbr.c)."""

LEAST_S_TO_JUDGE = 0.05
"""A speed over less time than this is that of a burst."""

QUEUED, QUEUED_S = 1.1, 0.002
"""A round trip longer than this many times the least, and this much more, had to wait."""

STALL_S = 5.0
"""A line on which nothing has moved for this long is dead; half the test's length, if that is shorter."""

DEAD_END_S = 2.0
"""Nothing for this long before the end of its time, and the line died: the mean would be a speed it never had."""

BUFFER_BYTES = 1 << 17
SMALL_BUFFER_BYTES = 1 << 14
"""To read into, one for all streams, since each read is counted at once. An upload reads no more than measurements."""

PAYLOAD_BYTES = 1 << 17

LEAST_GOODBYE_S = {Direction.DOWNLOAD: 0.05, Direction.UPLOAD: 0.5}
"""Time for our close frames to be answered; of an upload, for the rest of the last message to leave before them."""

LONGEST_GOODBYE_S = 1.5
GOODBYE_RTTS = 2.0
GOODBYE_QUEUE_S = 0.25
"""What is under way when a download ends has been paid for: it is waited for, so as to be counted, and so as not to be
in the way of what comes next. A server that does not stop is cut off."""

_STREAMS: dict[Direction, type[Stream]] = {Direction.DOWNLOAD: Download, Direction.UPLOAD: Upload}


@dataclass(slots=True)
class Ending:
    """Everything known when a test is over; what it is worth is decided in :mod:`linkbell_agent.ndt7.judge`."""

    stop: Stop | None = None
    failure: Failure | None = None
    sample: Sample = field(default_factory=lambda: Sample(0.0, 0))
    """Payload at the receiver at the stop."""
    cost_bytes: int = 0
    payload_share: float = 1.0
    """Payload among the bytes TCP carried, which the estimate is in: the rest are frame headers and TLS."""
    is_ruled: bool = False
    """Whether a rule watched the test: then ``estimate`` is the speed, and without one there is none."""
    estimate: Estimate | None = None
    started_s: float = 0.0
    """The zero of all other times, on the monotonic clock."""
    streams: int = 1
    is_split: bool = False
    """Whether a box half-way seems to shake hands, and so to acknowledge, in the server's place."""
    readings: Readings = field(default_factory=Readings)
    """Payload at the receiver, look by look."""
    could_wait_bytes: int = 0
    """How much more may have arrived at any moment, at most, than was delivered."""
    claims: list[Claim] = field(default_factory=list)
    own_rtts_s: list[float] = field(default_factory=list)
    own: list[TcpInfo] = field(default_factory=list)
    """Our kernel's last view of each stream."""
    congestion_control: str | None = None


class Exchange:
    """One direction of one test. ``await run()`` once; more streams may :meth:`join` meanwhile."""

    def __init__(self, direction: Direction, caps: Caps, rule: StopRule | None, monotonic: Callable[[], float]) -> None:
        is_upload = direction is Direction.UPLOAD
        self.buffer = memoryview(bytearray(SMALL_BUFFER_BYTES if is_upload else BUFFER_BYTES))
        self.payload = memoryview(os.urandom(PAYLOAD_BYTES if is_upload else 0))
        self._direction = direction
        self._caps = caps
        self._rule = rule
        self._monotonic = monotonic
        self._streams: list[Stream] = []
        self._loop = asyncio.get_running_loop()
        self._decided: asyncio.Future[Stop] = self._loop.create_future()
        self._all_gone = asyncio.Event()
        self.wants_more = asyncio.Event()
        """Set once more streams would help to fill the line."""
        self._ending = Ending(is_ruled=rule is not None)
        self._granted_bytes = 0
        self._progress = Sample(0.0, 0)
        self._stall_s = min(STALL_S, caps.max_duration_s / 2)
        self._ticker: asyncio.TimerHandle | None = None
        self._tick_s = TICK_S

    async def run(self, first: Opened) -> Ending:
        """Run the test to its end. Network trouble is in the :class:`Ending`; all connections are closed after."""
        self._ending.started_s = self._monotonic()
        self._ending.is_split = first.is_split
        least_s = LEAST_GOODBYE_S[self._direction]
        under_way_s = GOODBYE_RTTS * (first.rtt_idle_s or 0.0) + GOODBYE_QUEUE_S
        try:
            self.join(first)
            if first.round_trip_s >= MORE_STREAMS_RTT_S:
                self.wants_more.set()
            self._tick()
            self._ending.stop = await self._decided
            # A cap in bytes allows for nothing more: what is under way is not waited for.
            is_capped = self._ending.stop is Stop.BYTES
            await self._say_goodbye(least_s if is_capped else min(least_s + under_way_s, LONGEST_GOODBYE_S))
        except NetworkFailure as error:
            self._ending.failure = error.failure
        finally:
            if self._ticker is not None:
                self._ticker.cancel()
            self._close()
        return self._ending

    def join(self, opened: Opened) -> None:
        """Take one more stream in; if the test is over already, it is closed."""
        if self.is_decided:
            opened.connection.close()
            return
        stream = _STREAMS[self._direction](opened, self)
        self._streams.append(stream)
        stream.begin()

    # What streams ask and tell

    @property
    def is_decided(self) -> bool:
        """Whether the test is over but for the goodbye."""
        return self._decided.done()

    def elapsed_s(self) -> float:
        """Return the seconds since the end of the first handshake."""
        return self._monotonic() - self._ending.started_s

    def grant(self, size: int) -> int:
        """Return how many of ``size`` more bytes may be put on the line."""
        if self._caps.max_bytes is not None:
            size = max(0, min(size, self._caps.max_bytes - self._granted_bytes))
            if size == 0:
                self._tick_s = LAST_TICK_S
        self._granted_bytes += size
        return size

    def has_read(self) -> None:
        """Stop at once at the cap in bytes; everything else can wait for the next tick."""
        if self._caps.max_bytes is not None and self._direction is Direction.DOWNLOAD and not self.is_decided:
            self._consider_caps(self._sample())

    def has_ended(self) -> None:
        """End with the first stream that the server closes: the others lack its share."""
        if not self.is_decided:
            self._decide(Stop.SERVER, self._sample())
        self._note_gone()

    def has_failed(self, failure: NetworkFailure) -> None:
        """End with ``failure``, unless the test was over already: then its result stands."""
        if not self.is_decided:
            self._ending.sample = self._sample()
            self._decided.set_exception(failure)
        self._note_gone()

    def _note_gone(self) -> None:
        if all(stream.is_gone for stream in self._streams):
            self._all_gone.set()

    # Deciding

    def _tick(self) -> None:
        self._ticker = self._loop.call_later(self._tick_s, self._tick)
        try:
            began_s = self.elapsed_s()
            for stream in self._streams:
                if not stream.is_gone:
                    stream.look()
            if not self.is_decided:
                # Several streams take a while to look at: half of it passed before the middle one's.
                self._consider((began_s + self.elapsed_s()) / 2)
        except OSError as error:
            self.has_failed(network_failure(self._streams[0].operation, error))

    def _sample(self) -> Sample:
        return Sample(self.elapsed_s(), sum(stream.delivered_bytes() for stream in self._streams))

    def _consider(self, looked_s: float) -> None:
        arrived = Sample(
            looked_s,
            sum(stream.carried_bytes() or stream.delivered_bytes() for stream in self._streams),
            self._is_queued(),
        )
        if arrived.bytes > self._progress.bytes:
            self._progress = arrived
        sample = self._sample()
        self._ending.readings.add(sample.elapsed_s, sample.bytes)
        if self._is_dead(arrived.elapsed_s):
            self.has_failed(NetworkFailure(self._streams[0].operation, FailureCode.TIMEOUT))
        elif not self._consider_caps(sample):
            self._consider_rule(arrived, sample)

    def _is_queued(self) -> bool | None:
        """Say whether what arrived since the last look met a queue. Streams all go through the same one."""
        fresh = [stream.fresh_rtt_s for stream in self._streams if stream.fresh_rtt_s is not None]
        least = [stream.info.min_rtt_s for stream in self._streams if stream.info and stream.info.min_rtt_s]
        if self._direction is Direction.DOWNLOAD or not fresh or not least:
            return None
        return min(fresh) > QUEUED * min(least) + QUEUED_S

    def _is_dead(self, elapsed_s: float) -> bool:
        still_s = elapsed_s - self._progress.elapsed_s
        at_the_end = elapsed_s >= self._caps.max_duration_s
        return still_s > self._stall_s or (at_the_end and still_s > min(DEAD_END_S, self._stall_s))

    def _consider_rule(self, arrived: Sample, sample: Sample) -> None:
        is_fast = arrived.bytes * 8 > MORE_STREAMS_BPS * max(arrived.elapsed_s, LEAST_S_TO_JUDGE)
        if is_fast or any(stream.is_held_down for stream in self._streams):
            self.wants_more.set()
        stop = None if self._rule is None else self._rule(arrived)
        if stop is not None:
            self._decide(stop, sample)

    def _consider_caps(self, sample: Sample) -> bool:
        """Hold what has come against the caps: of a download, what waits behind a lost packet has come as well."""
        is_upload = self._direction is Direction.UPLOAD
        count = sample.bytes if is_upload else sum(stream.cost_bytes() for stream in self._streams)
        stop = self._caps(sample.elapsed_s, round(count))
        if stop is not None:
            self._decide(stop, sample)
        return stop is not None

    def _decide(self, stop: Stop, sample: Sample) -> None:
        self._ending.sample = sample
        self._decided.set_result(stop)

    # Ending

    async def _say_goodbye(self, timeout_s: float) -> None:
        """Send close frames and give the server a moment to answer them; then the line is cut."""
        for stream in self._streams:
            stream.say_goodbye()
        if not all(stream.is_gone for stream in self._streams):
            try:
                async with asyncio.timeout(timeout_s):
                    await self._all_gone.wait()
            except TimeoutError:
                pass

    def _close(self) -> None:
        ending, streams = self._ending, self._streams
        ending.cost_bytes = sum(stream.cost_bytes() for stream in streams)
        ending.could_wait_bytes = sum(stream.could_wait_bytes() for stream in streams)
        ending.streams = max(1, len(streams))
        ending.estimate = None if self._rule is None else self._rule.estimate
        ending.claims = sorted((claim for stream in streams for claim in stream.claims), key=_arrival)
        ending.own_rtts_s = [rtt_s for stream in streams for rtt_s in stream.rtts_s]
        ending.own = [stream.info for stream in streams if stream.info is not None]
        ending.payload_share = _mean_share(streams)
        ending.congestion_control = streams[0].congestion_control if streams else None
        for stream in streams:
            stream.close()
        if self._decided.done() and not self._decided.cancelled():
            self._decided.exception()  # taken note of, also where nobody waited for it any more


def _arrival(claim: Claim) -> float:
    return claim.arrived_s


def _mean_share(streams: Sequence[Stream]) -> float:
    """Return the share of payload over all streams."""
    carried = sum(stream.carried_bytes() for stream in streams)
    return sum(stream.payload_share * stream.carried_bytes() for stream in streams) / carried if carried else 1.0
