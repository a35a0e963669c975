"""Upload: we send, the receiver's numbers count; our own kernel's acknowledgements keep them honest."""

import os
from collections.abc import Callable

from linkbell_agent.classify import network_failure
from linkbell_agent.ndt7.connection import Connection
from linkbell_agent.ndt7.exchange import Exchange
from linkbell_agent.ndt7.rules import Caps
from linkbell_wire.failures import Operation
from linkbell_wire.ndt7 import MIN_MESSAGE_BYTES, frames, next_message_size
from linkbell_wire.ndt7.frames import FrameError, Opcode

READ_BUFFER_BYTES = 1 << 14
MAX_MESSAGE_BYTES = 1 << 18
LONGEST_MESSAGE_S = 0.02
"""Messages grow as ndt7 says, but never to take longer than this at the speed so far: a close frame can only follow a
whole message, and on a slow line the school would wait and pay for the rest of it."""

SENDS_PER_TURN = 8
LAST_TICK_S = 0.002
_ROOM = 14
"""The longest header of a frame; it stands right before the block so that both leave in one call."""


def grow(size: int, sent_bytes: int, elapsed_s: float) -> int:
    """Return the size of the next message, given the last one's and what was sent in how many seconds."""
    grown = next_message_size(size, sent_bytes)
    quick = grown * elapsed_s <= sent_bytes * LONGEST_MESSAGE_S
    return grown if quick and grown <= MAX_MESSAGE_BYTES else size


class Upload(Exchange):
    """Random bytes, taken for already masked: any bytes are some payload under some mask, and no time goes into XOR."""

    goodbye_s = 0.5
    """The rest of the last message, and the close frame behind it, get this long to leave and be answered."""

    operation = Operation.SEND

    def __init__(self, connection: Connection, caps: Caps, monotonic: Callable[[], float]) -> None:
        super().__init__(connection, caps, monotonic, READ_BUFFER_BYTES)
        self._block = bytearray(_ROOM) + os.urandom(MAX_MESSAGE_BYTES)
        self._view = memoryview(self._block)
        self._message_bytes = MIN_MESSAGE_BYTES
        self._begun_bytes = 0
        self._piece = self._view[:0]
        self._ending.congestion_control = connection.use_bbr()
        info = connection.info()
        self._acked_before = (info.bytes_acked or 0) if info is not None else 0
        self._acked = 0

    def _begin(self, first_bytes: bytes) -> None:
        super()._begin(first_bytes)
        if not self._gone.done():
            self._connection.on_writable(self._writable)

    def _delivered_bytes(self) -> int:
        """Ask the kernel anew: an old number with a new time would be a wrong speed."""
        info = self._connection.info()
        if info is not None and info.bytes_acked is not None:
            self._acked = info.bytes_acked - self._acked_before
            carried = self._acked + self._connection.queued_bytes()
            self._ending.payload_share = min(1.0, self._handed_bytes() / carried) if carried else 1.0
        return min(round(self._acked * self._ending.payload_share), self._handed_bytes())

    def _cost_bytes(self) -> int:
        """Leave out what the kernel never sent: it is thrown away when the connection is closed."""
        info = self._connection.info()
        return max(0, self._handed_bytes() - ((info.unsent_bytes or 0) if info is not None else 0))

    def _handed_bytes(self) -> int:
        return max(0, self._begun_bytes - len(self._piece))

    def _check(self) -> None:
        if self._reader.payload_bytes:
            raise FrameError("binary messages flow the other way in an upload")
        super()._check()

    def _on_tick(self) -> None:
        info = self._connection.info()
        if info is not None:
            self._ending.own_rtts_s.append(info.rtt_s)

    # Writing

    def _flush_outbox(self) -> None:
        """Control frames go between messages, never inside one."""
        if not self._piece:
            super()._flush_outbox()

    def _stop_writing(self) -> None:
        """Wait for the last bytes to arrive, looking often: on a fast line a long tick would be counted as slowness."""
        self._connection.ignore(readable=False)
        self._tick_s = LAST_TICK_S
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = self._loop.call_later(LAST_TICK_S, self._tick)

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
        size = grow(self._message_bytes, self._begun_bytes, self._elapsed_s())
        if size != self._message_bytes or not self._begun_bytes:
            self._connection.limit_unsent(size)  # small on a slow line, where it would take long to leave
        self._message_bytes = size
        if self._caps.max_bytes is not None:
            size = min(size, self._caps.max_bytes - self._begun_bytes)
        if size <= 0 or self._decided.done():
            self._stop_writing()
            return False
        head = frames.header(Opcode.BINARY, size, os.urandom(4))
        start = _ROOM - len(head)
        self._view[start:_ROOM] = head
        self._piece = self._view[start : _ROOM + size]
        self._begun_bytes += size
        return True
