"""Upload: we send, our kernel hears what arrived; the server's own numbers keep that honest."""

import os

from linkbell_agent.classify import network_failure
from linkbell_agent.ndt7.connection import Opened
from linkbell_agent.ndt7.stream import Owner, Stream
from linkbell_wire.failures import Operation
from linkbell_wire.ndt7 import MIN_MESSAGE_BYTES, frames, next_message_size
from linkbell_wire.ndt7.frames import FrameError, Opcode
from linkbell_wire.ndt7.tcp_info import TcpInfo

MAX_MESSAGE_BYTES = 1 << 18
LONGEST_MESSAGE_S = 0.02
"""Messages grow as ndt7 says, but never to take longer than this at the speed so far: a close frame can only follow a
whole message, and on a slow line the school would wait and pay for the rest of it."""

SENDS_PER_TURN = 8
_ROOM = 14
"""The longest header of a frame; it stands right before the block so that both leave in one call."""


def grow(size: int, sent_bytes: int, elapsed_s: float) -> int:
    """Return the size of the next message, given the last one's and what was sent in how many seconds."""
    grown = next_message_size(size, sent_bytes)
    quick = grown * elapsed_s <= sent_bytes * LONGEST_MESSAGE_S
    return grown if quick and grown <= MAX_MESSAGE_BYTES else size


class Upload(Stream):
    """Random bytes, taken for already masked: any bytes are some payload under some mask, and no time goes into XOR."""

    operation = Operation.SEND

    def __init__(self, opened: Opened, owner: Owner) -> None:
        super().__init__(opened, owner)
        self._block = bytearray(_ROOM) + os.urandom(MIN_MESSAGE_BYTES)
        self._view = memoryview(self._block)
        self._message_bytes = MIN_MESSAGE_BYTES
        self._begun_bytes = 0
        self._piece = self._view[:0]
        self._acked = 0
        self._acked_before = (self.info.bytes_acked or 0) if self.info is not None else 0
        self._carried_bytes = 0
        self.congestion_control = self._connection.use_bbr()

    def begin(self) -> None:
        super().begin()
        if not self.is_gone:
            self._connection.on_writable(self._writable)

    def delivered_bytes(self) -> int:
        """Ask the kernel anew: an old number with a new time would be a wrong speed."""
        self._count_acked(self._connection.info())
        return min(round(self._acked * self._handed_share()), self._handed_bytes())

    def carried_bytes(self) -> int:
        return self._carried_bytes

    def cost_bytes(self) -> int:
        """Leave out what the kernel never sent: it is thrown away when the connection is closed."""
        info = self._connection.info() or self.info
        return max(0, self._handed_bytes() - ((info.unsent_bytes or 0) if info is not None else 0))

    def _count(self, info: TcpInfo) -> None:
        """What came twice was carried twice, though it was no use."""
        self._count_acked(info)
        self._carried_bytes = self._acked + (info.sacked_segments + info.duplicate_segments) * info.send_mss_bytes

    def _count_acked(self, info: TcpInfo | None) -> None:
        if info is not None and info.bytes_acked is not None:
            self._acked = info.bytes_acked - self._acked_before

    def _handed_share(self) -> float:
        carried = self._acked + self._connection.queued_bytes()
        return min(1.0, self._handed_bytes() / carried) if carried else 1.0

    def _handed_bytes(self) -> int:
        return max(0, self._begun_bytes - len(self._piece))

    def _check(self) -> None:
        if self._reader.payload_bytes:
            raise FrameError("binary messages flow the other way in an upload")
        super()._check()

    # Writing

    def _flush_outbox(self) -> None:
        """Control frames go between messages, never inside one."""
        if not self._piece:
            super()._flush_outbox()

    def _writable(self) -> None:
        try:
            for _ in range(SENDS_PER_TURN):
                if not self._send_piece():
                    return
        except OSError as error:
            self._fail(network_failure(Operation.SEND, error))

    def _send_piece(self) -> bool:
        """Send what the kernel takes. Returns ``False`` if it takes no more, or nothing is left to send."""
        if not self._piece:
            self._flush_outbox()
            if self._outbox or not self._next_message():
                return False
        sent = self._connection.send(self._piece)
        self._piece = self._piece[sent:]
        return sent > 0

    def _next_message(self) -> bool:
        size = grow(self._message_bytes, self._begun_bytes, self._owner.elapsed_s())
        if size != self._message_bytes or not self._begun_bytes:
            self._connection.limit_unsent(size)  # small on a slow line, where it would take long to leave
        self._message_bytes = size
        size = 0 if self._owner.is_decided else self._owner.grant(size)
        if size <= 0:
            self._connection.ignore(readable=False)
            return False
        if _ROOM + size > len(self._block):
            self._block = bytearray(_ROOM) + os.urandom(size)
            self._view = memoryview(self._block)
        head = frames.header(Opcode.BINARY, size, os.urandom(4))
        start = _ROOM - len(head)
        self._view[start:_ROOM] = head
        self._piece = self._view[start : _ROOM + size]
        self._begun_bytes += size
        return True
