"""One test on one connection, after the 101: frames in, frames out, and an end that nothing can put off.

The transport is taken over from aiohttp with ``set_protocol()``. aiohttp's own WebSocket classes assemble and unmask
each message, up to 16 MB of it, before anyone sees a byte; here binary payload is counted where it lies. Numbers and
reasons: ``docs/decisions/0001-own-ndt7-data-path.md``.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from linkbell_collector.measure.group import Group
from linkbell_collector.measure.kernel import KernelSocket
from linkbell_collector.measure.metrics import Outcome
from linkbell_collector.measure.reports import FloodGuard, next_interval_s, report
from linkbell_collector.measure.settings import Timings
from linkbell_wire.ndt7 import MAX_SENT_MESSAGE_BYTES, MIN_MESSAGE_BYTES, frames, next_message_size
from linkbell_wire.ndt7.frames import Frame, FrameError, FrameReader, Opcode
from linkbell_wire.ndt7.measurement import ConnectionInfo
from linkbell_wire.words import Direction

UPLOAD_BUFFER_BYTES = 1 << 18
DOWNLOAD_BUFFER_BYTES = 1 << 12
WRITE_HIGH_BYTES = 1 << 16
"""Above this much unsent the sender waits: one message at most lies in this process."""

LONGEST_MESSAGE_S = 0.02
"""Messages grow only while one takes no longer than this: measurements and the close frame wait behind it."""

MESSAGES_PER_TURN = 4
"""So many messages, then the other connections of this process have their turn."""

TEXT_BURST = 20
TEXTS_PER_S = 10.0
"""ndt7 allows ten texts a second on average."""
CONTROL_BURST = 50
CONTROLS_PER_S = 25.0
TINY_FRAMES = 1000
FRAME_BYTES = 256
"""A thousand frames may be of any size; from then on they must carry this much on average. ndt7's least is 1024."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one test is to do."""

    direction: Direction
    timings: Timings
    connection: ConnectionInfo
    early_exit_bytes: int | None = None
    group: Group | None = None
    """The other streams of the same test, where the client said that it has any."""


class Session(asyncio.BufferedProtocol):
    """What both directions share. Begin with :meth:`begin`; the end is ``await session.ended``."""

    def __init__(
        self, transport: asyncio.Transport, previous: asyncio.BaseProtocol, kernel: KernelSocket, plan: Plan
    ) -> None:
        self.ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._previous = previous
        self._kernel = kernel
        self._plan = plan
        self._reader = FrameReader(masked=True)
        self._buffer = memoryview(bytearray(self._buffer_bytes()))
        self._outcome: Outcome | None = None
        self._refused = False
        self._started = 0.0
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._texts = FloodGuard(TEXT_BURST, TEXTS_PER_S)
        self._controls = FloodGuard(CONTROL_BURST, CONTROLS_PER_S)
        self._dice = Random()  # noqa: S311 - spreads messages over time, keeps no secret
        self._received_bytes = 0
        if plan.group is not None:
            plan.group.join(self)

    @property
    def payload_bytes(self) -> int:
        """Payload that went through so far."""
        return self._reader.payload_bytes

    @property
    def received_bytes(self) -> int:
        """TCP bytes that came in so far, request and frame headers included."""
        info = self._kernel.info()
        if info is not None and info.bytes_received is not None:
            self._received_bytes = info.bytes_received
        return self._received_bytes

    def begin(self) -> None:
        """Take the connection over. Must follow the 101 without an ``await`` between."""
        timings = self._plan.timings
        self._started = self._loop.time()
        self._transport.pause_reading()  # uvloop picks the way of reading when reading starts
        self._transport.set_protocol(self)
        self._transport.resume_reading()
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES, low=0)
        self._later("hard_stop", timings.hard_stop_s, self._hard_stop)
        self._later("end", timings.test_s, lambda: self.finish(Outcome.COMPLETED, "Done"))
        if self._speaks():
            self._later("report", timings.interval_s, self._report)

    def finish(self, outcome: Outcome, reason: str, code: int = frames.CLOSE_NORMAL) -> None:
        """End the test: last measurement, close frame, then the client's turn until the hard stop."""
        if self._outcome is not None:
            return
        self._outcome = outcome
        self._cancel("end", "report")
        if self._speaks():
            self._send_report()
        self._send(Opcode.CLOSE, frames.close_payload(code, reason))

    def abort(self) -> None:
        """Cut the connection now."""
        self._kernel.discard_on_close()
        self._transport.abort()

    def release(self) -> None:
        """Give back what a test holds that never began: its client had gone before the 101 reached it."""
        self._leave_group()
        self._kernel.close()

    # What the transport calls

    def get_buffer(self, sizehint: int) -> memoryview:
        """Give the one buffer, again and again."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what came."""
        if self._refused:
            return
        try:
            for frame in self._reader.feed(self._buffer[:nbytes]):
                self._receive(frame)
            self._check_received()
        except FrameError as error:
            self._refuse(error)

    def eof_received(self) -> bool:
        """Close as well: a half-open connection measures nothing."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Free everything, and let aiohttp's protocol know, which forgets the connection only then."""
        self._cancel(*list(self._timers))
        self._leave_group()
        self._kernel.close()
        if not self.ended.done():
            self.ended.set_result(self._outcome or Outcome.CONNECTION_LOST)
        self._previous.connection_lost(exc)

    def pause_writing(self) -> None:
        """Nothing to do where only measurements are sent: there are few, and the hard stop ends them."""

    def resume_writing(self) -> None:
        """See :meth:`pause_writing`."""

    def _leave_group(self) -> None:
        if self._plan.group is not None:
            self._plan.group.leave(self)

    # What the directions differ in

    def _buffer_bytes(self) -> int:
        return UPLOAD_BUFFER_BYTES

    def _check_received(self) -> None:
        """Raise :class:`FrameError` at what ndt7 does not allow."""
        if self._reader.frames > TINY_FRAMES + self._reader.payload_bytes // FRAME_BYTES:
            raise FrameError("far too many tiny frames", frames.CLOSE_POLICY)

    # Inner

    def _elapsed_s(self) -> float:
        return self._loop.time() - self._started

    def _later(self, name: str, delay_s: float, call: Callable[[], object]) -> None:
        self._timers[name] = self._loop.call_later(delay_s, call)

    def _cancel(self, *names: str) -> None:
        for name in names:
            timer = self._timers.pop(name, None)
            if timer is not None:
                timer.cancel()

    def _send(self, opcode: Opcode, payload: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(frames.message(opcode, payload))

    def _speaks(self) -> bool:
        """Whether this stream sends measurements. In an upload each costs an answer on the very line it is about."""
        group = self._plan.group
        return group is None or self._plan.direction is Direction.DOWNLOAD or group.is_first(self)

    def _send_report(self) -> None:
        elapsed_s, group = self._elapsed_s(), self._plan.group
        together = None if group is None or not group.is_first(self) else group.info(elapsed_s)
        message = report(self._plan.direction, self._plan.connection, self._kernel.info(), elapsed_s, together)
        self._send(Opcode.TEXT, message.to_json())

    def _report(self) -> None:
        self._send_report()
        self._send(Opcode.PING, str(round(self._elapsed_s() * 1e6)).encode())
        self._later("report", next_interval_s(self._dice, self._plan.timings.interval_s), self._report)

    def _receive(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            self._close_received()
        elif frame.opcode is Opcode.TEXT:
            # A client's own measurements are welcome and not needed.
            if self._texts.is_flooded_by_one_more(self._elapsed_s()):
                raise FrameError("more than ten texts a second", frames.CLOSE_POLICY)
        elif self._controls.is_flooded_by_one_more(self._elapsed_s()):
            raise FrameError("too many control frames", frames.CLOSE_POLICY)
        elif frame.opcode is Opcode.PING and self._outcome is None:
            self._send(Opcode.PONG, frame.payload)

    def _close_received(self) -> None:
        self.finish(Outcome.CLIENT_CLOSED, "Goodbye")
        self._refused = True  # nothing counts after a close frame
        self._transport.close()

    def _refuse(self, error: FrameError) -> None:
        self._refused = True
        if self._outcome is None:
            self._outcome = Outcome.PROTOCOL_ERROR
            self._cancel("end", "report")
            self._send(Opcode.CLOSE, frames.close_payload(error.close_code, str(error)))
        # Not closed at once: with unread data waiting, the kernel would reset the line and lose our close frame.
        self._later("linger", self._plan.timings.linger_s, self.abort)

    def _hard_stop(self) -> None:
        if self._outcome in (None, Outcome.COMPLETED, Outcome.CLIENT_CLOSED, Outcome.EARLY_EXIT):
            self._outcome = Outcome.HARD_STOP
        self.abort()


class Upload(Session):
    """The client sends, we count."""


class Download(Session):
    """We send random bytes as fast as the line takes them.

    A client that names its test has heard enough when it closes: what waits here is thrown away, so as not to fill its
    line any longer. Others get all of it and an answer to their close frame, as the WebSocket protocol asks.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        previous: asyncio.BaseProtocol,
        kernel: KernelSocket,
        plan: Plan,
        payload: memoryview,
    ) -> None:
        super().__init__(transport, previous, kernel, plan)
        assert len(payload) >= MAX_SENT_MESSAGE_BYTES
        self._payload = payload
        self._message_bytes = MIN_MESSAGE_BYTES
        self._sent_bytes = 0
        self._fitted_at_bytes = 0
        self._paused = False

    @property
    def payload_bytes(self) -> int:
        """Payload handed to the line so far, in whole messages: a transport that is gone tells no more."""
        return self._sent_bytes - self._message_bytes if self._paused else self._sent_bytes

    def begin(self) -> None:
        """Take the connection over and start to send."""
        super().begin()
        self._pump()

    def pause_writing(self) -> None:
        """The line is full."""
        self._paused = True

    def resume_writing(self) -> None:
        """The line is free again."""
        self._paused = False
        self._pump()

    def _buffer_bytes(self) -> int:
        return DOWNLOAD_BUFFER_BYTES

    def _close_received(self) -> None:
        if self._plan.group is None or self._outcome is not None:
            super()._close_received()
            return
        self._outcome = Outcome.CLIENT_CLOSED
        self._refused = True
        self.abort()

    def _check_received(self) -> None:
        if self._reader.payload_bytes:
            raise FrameError("binary messages flow the other way in a download", frames.CLOSE_UNSUPPORTED_DATA)
        super()._check_received()

    def _pump(self) -> None:
        for _ in range(MESSAGES_PER_TURN):
            if self._paused or self._outcome is not None or self._transport.is_closing():
                return
            if self._has_sent_enough():
                self.finish(Outcome.EARLY_EXIT, "early_exit reached")
                return
            self._send_message()
        self._loop.call_soon(self._pump)

    def _send_message(self) -> None:
        size = self._grow()
        # Not writelines(): asyncio's forgets to pause the protocol in Python 3.12.0 to 3.13.0 (CVE-2024-12254).
        self._transport.write(frames.header(Opcode.BINARY, size))
        self._transport.write(self._payload[:size])
        self._sent_bytes += size

    def _grow(self) -> int:
        """Return the size of the next message: as ndt7 says, as long as one leaves in a moment."""
        size = next_message_size(self._message_bytes, self._sent_bytes)
        if self._sent_bytes - self._fitted_at_bytes >= self._fitted_at_bytes:
            self._fitted_at_bytes = max(self._sent_bytes, 1)
            self._limit_waiting(self._bps())
        if size > self._message_bytes and size * 8 <= self._bps() * LONGEST_MESSAGE_S:
            self._message_bytes = size
        return self._message_bytes

    def _limit_waiting(self, bps: float) -> None:
        """Let no more wait here and in the kernel than leaves in a moment."""
        self._kernel.limit_unsent(bps)
        high = round(min(max(bps / 8 * LONGEST_MESSAGE_S, MIN_MESSAGE_BYTES), WRITE_HIGH_BYTES))
        self._transport.set_write_buffer_limits(high=high, low=0)

    def _bps(self) -> float:
        """Return the speed so far, or the present one where the kernel knows a higher: tests begin slowly."""
        info, elapsed_s = self._kernel.info(), self._elapsed_s()
        present = 0.0 if info is None else info.delivery_rate_bps or 0.0
        return max(present, self._sent_bytes * 8 / elapsed_s if elapsed_s > 0 else 0.0)

    def _has_sent_enough(self) -> bool:
        enough = self._plan.early_exit_bytes
        if enough is None or self._sent_bytes < enough:
            return False
        info = self._kernel.info()
        return info is not None and (info.bytes_acked or 0) >= enough
