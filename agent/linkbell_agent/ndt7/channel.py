"""Frames in, control frames out: what each connection of a measurement does, whichever way its payload flows."""

import contextlib
import math
import os
from typing import Protocol

from linkbell_agent.classify import NetworkFailure, network_failure
from linkbell_agent.ndt7.connection import Connection
from linkbell_agent.slim import dataclass
from linkbell_wire.failures import FailureCode, Operation
from linkbell_wire.ndt7 import frames
from linkbell_wire.ndt7.frames import Frame, FrameError, FrameReader, Opcode

READS_PER_TURN = 8
"""So many reads, then the rest of the agent has its turn."""

TINY_FRAMES = 1000
FRAME_BYTES = 256
"""A thousand frames may be of any size; from then on they must carry this much on average. ndt7's least is 1024."""

_GOOD_CLOSES = (frames.CLOSE_NORMAL, frames.CLOSE_GOING_AWAY, None)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a server may send; one that sends more is broken. ``payload_bytes`` is of binary messages."""

    texts: int
    payload_bytes: float = math.inf
    tiny_texts: bool = False
    """Whether texts, limited by themselves, are left out of the frames that must carry something."""


class Listener(Protocol):
    """Whom a channel reports to."""

    @property
    def is_in_message(self) -> bool:
        """Whether a message of our own is sent in part: no other frame may go before the rest of it."""

    def take_text(self, text: bytes) -> None:
        """Hear a text message. Raises :class:`FrameError` at what no server may say."""

    def has_read(self) -> None:
        """Hear that something came."""

    def has_ended(self) -> None:
        """Hear that the server closed the connection in good order."""

    def has_failed(self, failure: NetworkFailure) -> None:
        """Hear what went wrong."""


class Channel:
    """One connection as its listener sees it. ``begin()`` once; after ``leave()`` nothing more is heard of it."""

    def __init__(self, connection: Connection, allowance: Allowance, listener: Listener) -> None:
        self._connection = connection
        self._allowance = allowance
        self._listener = listener
        self._reader = FrameReader(masked=False)
        self._buffer = memoryview(b"")
        self._outbox = b""
        self._texts = 0
        self.text_bytes = 0
        """Of the texts that came so far."""
        self.is_gone = False

    @property
    def payload_bytes(self) -> int:
        """Binary payload that came so far, part-way through a frame included."""
        return self._reader.payload_bytes

    def begin(self, first_bytes: bytes, buffer: memoryview) -> None:
        """Start to read into ``buffer``, after ``first_bytes``, which came behind the answer to the request."""
        self._buffer = buffer
        self._feed(memoryview(first_bytes))
        if not self.is_gone:
            self._connection.on_readable(self._readable)

    def flush(self) -> bool:
        """Send a waiting control frame if one may go now. Returns whether none waits any more. Raises ``OSError``."""
        if self._outbox and not self._listener.is_in_message:
            self._outbox = self._outbox[self._connection.send(self._outbox) :]
        return not self._outbox

    def say_goodbye(self) -> None:
        """Send a close frame, as soon as it fits."""
        if not self.is_gone:
            payload = frames.close_payload(frames.CLOSE_NORMAL, "Done")
            self._outbox += frames.message(Opcode.CLOSE, payload, os.urandom(4))
            with contextlib.suppress(OSError):
                self.flush()

    def say(self, text: bytes) -> None:
        """Send a text, as soon as it fits. Raises ``OSError``."""
        self._outbox += frames.message(Opcode.TEXT, text, os.urandom(4))
        self.flush()

    def fail(self, failure: NetworkFailure) -> None:
        """Leave, and have the listener hear why."""
        self.leave()
        self._listener.has_failed(failure)

    def leave(self) -> None:
        """Hear nothing more."""
        self._connection.ignore()
        self.is_gone = True

    def _readable(self) -> None:
        try:
            for _ in range(READS_PER_TURN):
                count = self._connection.receive(self._buffer)
                if count is None:
                    return
                if count == 0:
                    self._end()
                    return
                self._feed(self._buffer[:count])
                self._listener.has_read()
                if self.is_gone:
                    return
        except OSError as error:
            self.fail(network_failure(Operation.RECEIVE, error))

    def _feed(self, data: memoryview) -> None:
        try:
            for frame in self._reader.feed(data):
                self._receive(frame)
            self._check()
        except FrameError as error:
            large = error.close_code == frames.CLOSE_TOO_BIG
            code = FailureCode.MESSAGE_TOO_LARGE if large else FailureCode.PROTOCOL_ERROR
            self.fail(NetworkFailure(Operation.RECEIVE, code))

    def _check(self) -> None:
        reader, allowance = self._reader, self._allowance
        if reader.payload_bytes > allowance.payload_bytes:
            raise FrameError("more payload than was asked for")
        counted = reader.frames - self._texts if allowance.tiny_texts else reader.frames
        if counted > TINY_FRAMES + reader.payload_bytes // FRAME_BYTES:
            raise FrameError("far too many tiny frames")

    def _receive(self, frame: Frame) -> None:
        if frame.opcode is Opcode.TEXT:
            self._texts += 1
            if self._texts > self._allowance.texts:
                raise FrameError("far too many texts")
            self.text_bytes += len(frame.payload)
            self._listener.take_text(frame.payload)
        elif frame.opcode is Opcode.PING:
            # One answer waits at most: RFC 6455 asks only for the latest ping to be answered.
            self._outbox = self._outbox or frames.message(Opcode.PONG, frame.payload, os.urandom(4))
            with contextlib.suppress(OSError):  # who reads next, or writes, hears of it
                self.flush()
        elif frame.opcode is Opcode.CLOSE:
            if frames.close_code(frame.payload) not in _GOOD_CLOSES:
                raise FrameError("the server refused to go on")
            self._end()

    def _end(self) -> None:
        self.leave()
        self._listener.has_ended()
