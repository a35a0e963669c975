"""The test itself: bytes one way, measurements the other, until a rule, the server or the line ends it."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from pydantic import ValidationError

from linkbell_agent.classify import NetworkFailure, network_failure
from linkbell_agent.ndt7.connection import Connection
from linkbell_agent.ndt7.rules import Caps, Sample
from linkbell_wire.failures import Failure, FailureCode, Operation
from linkbell_wire.ndt7 import frames
from linkbell_wire.ndt7.frames import Frame, FrameError, FrameReader, Opcode
from linkbell_wire.ndt7.measurement import Measurement, TcpInfoMessage
from linkbell_wire.ndt7.tcp_info import TcpInfo
from linkbell_wire.words import Stop

TICK_S = 0.05
STALL_S = 5.0
"""A line on which nothing has moved for this long is dead; half the test's length, if that is shorter."""

READS_PER_TURN = 8
"""So many reads, then the rest of the agent has its turn."""

MAX_TEXTS = 400
"""ten a second for the longest test, and room; a server that sends more is broken."""

TINY_FRAMES = 1000
FRAME_BYTES = 256
"""A thousand frames may be of any size; from then on they must carry this much on average. ndt7's least is 1024."""

_GOOD_CLOSES = (frames.CLOSE_NORMAL, frames.CLOSE_GOING_AWAY, None)


@dataclass(frozen=True, slots=True)
class Claim:
    """What the server said, and when it arrived: seconds since the end of the handshake."""

    arrived_s: float
    tcp: TcpInfoMessage


@dataclass(slots=True)
class Ending:
    """Everything known when a test is over; what it is worth is decided in :mod:`linkbell_agent.ndt7.judge`."""

    stop: Stop | None = None
    failure: Failure | None = None
    sample: Sample = field(default_factory=lambda: Sample(0.0, 0))
    cost_bytes: int = 0
    payload_share: float = 1.0
    """Payload among the bytes TCP carried: the rest are frame headers and TLS."""
    claims: list[Claim] = field(default_factory=list)
    own_rtts_s: list[float] = field(default_factory=list)
    own: TcpInfo | None = None
    congestion_control: str | None = None


class Exchange:
    """What both directions share. Made for one test: ``await run()`` once."""

    goodbye_s: float
    operation: Operation

    def __init__(self, connection: Connection, caps: Caps, monotonic: Callable[[], float], buffer_bytes: int) -> None:
        self._connection = connection
        self._caps = caps
        self._monotonic = monotonic
        self._buffer = memoryview(bytearray(buffer_bytes))
        self._reader = FrameReader(masked=False)
        self._loop = asyncio.get_running_loop()
        self._decided: asyncio.Future[Stop] = self._loop.create_future()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._ending = Ending()
        self._outbox = b""
        self._started_s = 0.0
        self._progress = Sample(0.0, 0)
        self._stall_s = min(STALL_S, caps.max_duration_s / 2)
        self._ticker: asyncio.TimerHandle | None = None
        self._tick_s = TICK_S
        self._texts = 0

    async def run(self, first_bytes: bytes) -> Ending:
        """Run the test to its end. Network trouble is in the :class:`Ending`; the connection is closed after."""
        try:
            self._begin(first_bytes)
            self._ending.stop = await self._decided
            await self._say_goodbye()
        except NetworkFailure as error:
            self._ending.failure = error.failure
        finally:
            self._ending.cost_bytes = self._cost_bytes()
            if self._ticker is not None:
                self._ticker.cancel()
            self._connection.close()
        return self._ending

    # What the directions differ in

    def _delivered_bytes(self) -> int:
        """Return the payload bytes that have arrived at the receiver."""
        raise NotImplementedError

    def _cost_bytes(self) -> int:
        """Return the payload bytes that were put on the line, arrived or not."""
        raise NotImplementedError

    def _check(self) -> None:
        """Raise :class:`FrameError` at what ndt7 does not allow the server."""
        if self._reader.frames > TINY_FRAMES + self._reader.payload_bytes // FRAME_BYTES:
            raise FrameError("far too many tiny frames")

    def _on_tick(self) -> None:
        """Look around, twenty times a second."""

    # Reading

    def _begin(self, first_bytes: bytes) -> None:
        self._started_s = self._monotonic()
        self._feed(memoryview(first_bytes))
        self._connection.on_readable(self._readable)
        self._tick()

    def _readable(self) -> None:
        try:
            for _ in range(READS_PER_TURN):
                count = self._connection.receive(self._buffer)
                if count is None:
                    return
                if count == 0:
                    self._server_ended()
                    return
                self._feed(self._buffer[:count])
                self._consider()
                if self._gone.done():
                    return
        except OSError as error:
            self._fail(network_failure(Operation.RECEIVE, error))

    def _feed(self, data: memoryview) -> None:
        try:
            for frame in self._reader.feed(data):
                self._receive(frame)
            self._check()
        except FrameError as error:
            large = error.close_code == frames.CLOSE_TOO_BIG
            code = FailureCode.MESSAGE_TOO_LARGE if large else FailureCode.PROTOCOL_ERROR
            self._fail(NetworkFailure(Operation.RECEIVE, code))

    def _receive(self, frame: Frame) -> None:
        if frame.opcode is Opcode.TEXT:
            self._texts += 1
            if self._texts > MAX_TEXTS:
                raise FrameError("far too many texts")
            self._take_claim(frame.payload)
        elif frame.opcode is Opcode.PING:
            # One answer waits at most: RFC 6455 asks only for the latest ping to be answered.
            self._outbox = self._outbox or frames.message(Opcode.PONG, frame.payload, os.urandom(4))
            self._flush_outbox()
        elif frame.opcode is Opcode.CLOSE:
            if frames.close_code(frame.payload) not in _GOOD_CLOSES:
                raise FrameError("the server refused to go on")
            self._server_ended()

    def _take_claim(self, text: bytes) -> None:
        try:
            measurement = Measurement.model_validate_json(text)
        except ValidationError:
            return  # ndt7 lets a client ignore them all
        if measurement.tcp is not None and not self._decided.done():
            self._ending.claims.append(Claim(self._elapsed_s(), measurement.tcp))

    def _flush_outbox(self) -> None:
        """Send a waiting control frame; what does not fit now goes with the next tick."""
        if self._outbox:
            self._outbox = self._outbox[self._connection.send(self._outbox) :]

    # Deciding

    def _elapsed_s(self) -> float:
        return self._monotonic() - self._started_s

    def _consider(self) -> None:
        if self._decided.done():
            return
        sample = Sample(self._elapsed_s(), self._delivered_bytes())
        if sample.bytes > self._progress.bytes:
            self._progress = sample
        stop = self._caps(sample)
        if stop is not None:
            self._decide(stop, sample)
        elif sample.elapsed_s - self._progress.elapsed_s > self._stall_s:
            self._fail(NetworkFailure(self.operation, FailureCode.TIMEOUT))

    def _decide(self, stop: Stop, sample: Sample) -> None:
        self._ending.sample = sample
        self._ending.own = self._connection.info()
        self._decided.set_result(stop)

    def _server_ended(self) -> None:
        if not self._decided.done():
            self._decide(Stop.SERVER, Sample(self._elapsed_s(), self._delivered_bytes()))
        self._leave()

    def _leave(self) -> None:
        self._connection.ignore()
        if not self._gone.done():
            self._gone.set_result(None)

    def _fail(self, failure: NetworkFailure) -> None:
        """End with ``failure``, unless the test was over already: then its result stands."""
        if not self._decided.done():
            self._ending.sample = Sample(self._elapsed_s(), self._delivered_bytes())
            self._decided.set_exception(failure)
        self._leave()

    def _tick(self) -> None:
        self._ticker = self._loop.call_later(self._tick_s, self._tick)
        try:
            self._flush_outbox()
            self._on_tick()
            self._consider()
        except OSError as error:
            self._fail(network_failure(self.operation, error))

    async def _say_goodbye(self) -> None:
        """Send a close frame and give the server a moment to answer it; then the line is cut."""
        if not self._gone.done():
            self._outbox += frames.message(
                Opcode.CLOSE, frames.close_payload(frames.CLOSE_NORMAL, "Done"), os.urandom(4)
            )
            with contextlib.suppress(OSError):
                self._flush_outbox()
            await asyncio.wait([self._gone], timeout=self.goodbye_s)
