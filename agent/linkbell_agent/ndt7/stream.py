"""One connection of a test: bytes one way, measurements the other. It reads and writes; its owner decides."""

import contextlib
import os
from dataclasses import dataclass
from typing import Protocol

from pydantic import ValidationError

from linkbell_agent.classify import NetworkFailure, network_failure
from linkbell_agent.ndt7.connection import Opened
from linkbell_wire.failures import FailureCode, Operation
from linkbell_wire.ndt7 import frames
from linkbell_wire.ndt7.frames import Frame, FrameError, FrameReader, Opcode
from linkbell_wire.ndt7.measurement import GroupInfo, Measurement, TcpInfoMessage
from linkbell_wire.ndt7.tcp_info import TcpInfo

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
    """What the server said, and when it arrived: seconds since the end of the first handshake."""

    arrived_s: float
    tcp: TcpInfoMessage
    group: GroupInfo | None = None
    stream: int = 0


class Owner(Protocol):
    """Whom a stream reports to."""

    buffer: memoryview
    """To read into."""
    payload: memoryview
    """Random bytes, to send in an upload."""

    @property
    def is_decided(self) -> bool:
        """Whether the test is over but for the goodbye."""

    def elapsed_s(self) -> float:
        """Return the seconds since the end of the first handshake."""

    def grant(self, size: int) -> int:
        """Return how many of ``size`` more bytes an upload may put on the line."""

    def has_read(self) -> None:
        """Hear that something came."""

    def has_ended(self) -> None:
        """Hear that the server closed a stream, or all of them are cut."""

    def has_failed(self, failure: NetworkFailure) -> None:
        """Hear what went wrong."""


class Stream:
    """What both directions share. ``begin()`` once; after ``leave()`` nothing more is heard of it."""

    operation: Operation

    def __init__(self, opened: Opened, owner: Owner) -> None:
        self._opened = opened
        self._connection = opened.connection
        self._owner = owner
        self._reader = FrameReader(masked=False)
        self._outbox = b""
        self._texts = 0
        self.payload_share = 0.0
        """Payload among the bytes that TCP carries: the rest are frame headers and TLS. 0 until something came."""
        self.claims: list[Claim] = []
        self.rtts_s: list[float] = []
        self.fresh_rtt_s: float | None = None
        """The kernel's smoothed round trip, if something was carried between the latest two looks."""
        self.info: TcpInfo | None = self._connection.info()
        """The kernel's latest view."""
        self.congestion_control: str | None = None
        self.is_gone = False

    # What the directions differ in

    def delivered_bytes(self) -> int:
        """Return the payload bytes that the receiver has, in order and without holes."""
        raise NotImplementedError

    def cost_bytes(self) -> int:
        """Return the payload bytes that were put on the line, arrived or not."""
        raise NotImplementedError

    def carried_bytes(self) -> int:
        """Return the bytes, as TCP counts them, that have arrived at the receiver by the last :meth:`look`.

        Payload waits behind every lost packet until that is sent again, a round trip and more. Here what waits is
        counted as it comes, so this is what the line carries.
        """
        raise NotImplementedError

    def could_wait_bytes(self) -> int:
        """Return how many bytes may have arrived, at most, besides those that were delivered."""
        return 0

    def _in_order_bytes(self) -> int:
        """Return the bytes, as TCP counts them, that the receiver has without holes by the last :meth:`look`."""
        raise NotImplementedError

    def _count(self, info: TcpInfo) -> None:
        """Take in a new view of the kernel's."""
        raise NotImplementedError

    def _check(self) -> None:
        """Raise :class:`FrameError` at what ndt7 does not allow the server."""
        if self._reader.frames > TINY_FRAMES + self._reader.payload_bytes // FRAME_BYTES:
            raise FrameError("far too many tiny frames")

    # What the owner calls

    @property
    def is_held_down(self) -> bool:
        """Whether loss keeps this stream from filling the line, so that more of them would."""
        return False

    def begin(self) -> None:
        """Start to read."""
        self._feed(memoryview(self._opened.first_bytes))
        if not self.is_gone:
            self._connection.on_readable(self._readable)

    def look(self) -> None:
        """Ask the kernel anew, and send a control frame that had no room before. Raises ``OSError``."""
        self._flush_outbox()
        self.info = self._connection.info()
        if self.info is not None:
            self.rtts_s.append(self.info.rtt_s)
            carried = self.carried_bytes()
            self._count(self.info)
            self.fresh_rtt_s = self.info.rtt_s if self.carried_bytes() > carried else None
            in_order = self._in_order_bytes()
            if in_order > 0:  # at its highest nothing waits to be read
                self.payload_share = max(self.payload_share, min(1.0, self.delivered_bytes() / in_order))

    def say_goodbye(self) -> None:
        """Send a close frame, as soon as it fits."""
        if not self.is_gone:
            self._outbox += frames.message(
                Opcode.CLOSE, frames.close_payload(frames.CLOSE_NORMAL, "Done"), os.urandom(4)
            )
            with contextlib.suppress(OSError):
                self._flush_outbox()

    def close(self) -> None:
        """Cut the connection."""
        self._leave()
        self._connection.close()

    # Reading

    def _readable(self) -> None:
        try:
            for _ in range(READS_PER_TURN):
                count = self._connection.receive(self._owner.buffer)
                if count is None:
                    return
                if count == 0:
                    self._end()
                    return
                self._feed(self._owner.buffer[:count])
                self._owner.has_read()
                if self.is_gone:
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
            self._end()

    def _take_claim(self, text: bytes) -> None:
        try:
            measurement = Measurement.model_validate_json(text)
        except ValidationError:
            return  # ndt7 lets a client ignore them all
        if measurement.tcp is not None and not self._owner.is_decided:
            self.claims.append(Claim(self._owner.elapsed_s(), measurement.tcp, measurement.group, id(self)))

    def _flush_outbox(self) -> None:
        """Send a waiting control frame; what does not fit now goes with the next look."""
        if self._outbox:
            self._outbox = self._outbox[self._connection.send(self._outbox) :]

    # Ending

    def _end(self) -> None:
        self._leave()
        self._owner.has_ended()

    def _fail(self, failure: NetworkFailure) -> None:
        self._leave()
        self._owner.has_failed(failure)

    def _leave(self) -> None:
        self._connection.ignore()
        self.is_gone = True
