"""Upload: we send, our kernel hears what arrived; the server's own numbers keep that honest."""

import os

from linkbell_agent.classify import network_failure
from linkbell_agent.ndt7.channel import Allowance
from linkbell_agent.ndt7.connection import Opened
from linkbell_agent.ndt7.stream import MAX_TEXTS, Owner, Stream
from linkbell_wire.failures import Operation
from linkbell_wire.ndt7 import MIN_MESSAGE_BYTES, frames, next_message_size
from linkbell_wire.ndt7.frames import Opcode
from linkbell_wire.ndt7.tcp_info import TcpInfo

MAX_MESSAGE_BYTES = 1 << 18
LONGEST_MESSAGE_S = 0.02
"""Messages grow as ndt7 says, but never to take longer than this at the speed so far: a close frame can only follow a
whole message, and on a slow line the school would wait and pay for the rest of it."""

SENDS_PER_TURN = 8


def grow(size: int, sent_bytes: int, elapsed_s: float) -> int:
    """Return the size of the next message, given the last one's and what was sent in how many seconds."""
    grown = next_message_size(size, sent_bytes)
    quick = grown * elapsed_s <= sent_bytes * LONGEST_MESSAGE_S
    return grown if quick and grown <= MAX_MESSAGE_BYTES else size


class Upload(Stream):
    """Random bytes, taken for already masked: any bytes are some payload under some mask, and no time goes into XOR.

    All streams of a test send from one block, again and again: a small box has no memory for one each.
    """

    operation = Operation.SEND
    allowance = Allowance(texts=MAX_TEXTS, payload_bytes=0)

    def __init__(self, opened: Opened, owner: Owner) -> None:
        super().__init__(opened, owner)
        self._message_bytes = MIN_MESSAGE_BYTES
        self._begun_bytes = 0
        self._head = b""
        self._left_bytes = 0
        """Of the message that is being sent: what of its header, and how much of its payload, is still to go."""
        self._acked = 0
        self._acked_before = (self.info.bytes_acked or 0) if self.info is not None else 0
        self._sent_before = (self.info.bytes_sent or 0) if self.info is not None else 0
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

    @property
    def is_held_down(self) -> bool:
        """Any other than BBR takes each loss for a full line, and slows down."""
        lost = self.info is not None and bool(self.info.bytes_retransmitted)
        return lost and self.congestion_control != "bbr"

    def cost_bytes(self) -> int:
        """Leave out what the kernel never sent: it is thrown away when the connection is closed."""
        info = self._connection.info() or self.info
        return max(0, self._handed_bytes() - ((info.unsent_bytes or 0) if info is not None else 0))

    def _in_order_bytes(self) -> int:
        return self._acked

    def _count(self, info: TcpInfo) -> None:
        """What came twice was carried twice, though it was no use.

        It is the server that says so: nothing arrived that was not sent, and nothing twice that was not sent again.
        """
        self._count_acked(info)
        again = info.bytes_retransmitted or 0
        ahead = info.sacked_segments * info.send_mss_bytes
        if info.bytes_sent is not None:
            ahead = min(ahead, max(0, info.bytes_sent - self._sent_before - again - self._acked))
        self._carried_bytes = self._acked + ahead + min(info.duplicate_segments * info.send_mss_bytes, again)

    def _count_acked(self, info: TcpInfo | None) -> None:
        if info is not None and info.bytes_acked is not None:
            self._acked = info.bytes_acked - self._acked_before

    def _handed_share(self) -> float:
        carried = self._acked + self._connection.queued_bytes()
        return min(1.0, self._handed_bytes() / carried) if carried else 1.0

    def _handed_bytes(self) -> int:
        return self._begun_bytes - self._left_bytes

    # Writing

    @property
    def is_in_message(self) -> bool:
        return bool(self._head or self._left_bytes)

    def _writable(self) -> None:
        try:
            for _ in range(SENDS_PER_TURN):
                if not self._send_piece():
                    return
        except OSError as error:
            self._channel.fail(network_failure(Operation.SEND, error))

    def _send_piece(self) -> bool:
        """Send what the kernel takes of one block. Returns ``False`` if it takes no more, or nothing is left."""
        if not self.is_in_message and not (self._channel.flush() and self._next_message()):
            return False
        if self._head:
            self._head = self._head[self._connection.send(self._head, more=True) :]
            if self._head:
                return False
        sent = self._connection.send(self._owner.payload[: self._left_bytes])
        self._left_bytes -= sent
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
        self._head = frames.header(Opcode.BINARY, size, os.urandom(4))
        self._left_bytes = size
        self._begun_bytes += size
        return True
