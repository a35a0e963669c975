"""WebSocket frames (RFC 6455) for a flood: binary payload is counted where it lies, never copied or kept.

A general WebSocket library assembles each message, up to 16 MB of it, before anyone sees a byte. A speed test
wants the opposite: the exact number of payload bytes at every moment, in constant memory.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from linkbell_wire.ndt7 import MAX_RECEIVED_MESSAGE_BYTES, MAX_TEXT_BYTES

MAX_CONTROL_BYTES = 125
CLOSE_NORMAL = 1000
CLOSE_GOING_AWAY = 1001
CLOSE_PROTOCOL_ERROR = 1002
CLOSE_UNSUPPORTED_DATA = 1003
CLOSE_POLICY = 1008
CLOSE_TOO_BIG = 1009


class Opcode(IntEnum):
    """Frame types of RFC 6455, section 5.2."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class FrameError(Exception):
    """The peer broke the protocol. ``close_code`` is what to answer with."""

    def __init__(self, message: str, close_code: int = CLOSE_PROTOCOL_ERROR) -> None:
        super().__init__(message)
        self.close_code = close_code


@dataclass(frozen=True, slots=True)
class Frame:
    """A whole text or control message."""

    opcode: Opcode
    payload: bytes


def header(opcode: Opcode, length: int, mask: bytes | None = None) -> bytes:
    """Return the header of one unfragmented frame. A client must give a fresh random 4-byte ``mask``."""
    masked = 0x80 if mask is not None else 0
    first = 0x80 | opcode
    if length < 126:
        head = struct.pack("!BB", first, masked | length)
    elif length < 1 << 16:
        head = struct.pack("!BBH", first, masked | 126, length)
    else:
        head = struct.pack("!BBQ", first, masked | 127, length)
    return head + (mask or b"")


def apply_mask(payload: bytes, mask: bytes) -> bytes:
    """XOR ``payload`` with the repeated 4-byte ``mask``; the same call masks and unmasks."""
    length = len(payload)
    pattern = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(pattern, "big")).to_bytes(length, "big")


def message(opcode: Opcode, payload: bytes, mask: bytes | None = None) -> bytes:
    """Return one whole text or control frame."""
    if opcode >= Opcode.CLOSE and len(payload) > MAX_CONTROL_BYTES:
        raise ValueError("a control frame carries at most 125 bytes")
    body = payload if mask is None else apply_mask(payload, mask)
    return header(opcode, len(payload), mask) + body


def close_payload(code: int, reason: str = "") -> bytes:
    """Return the payload of a close frame."""
    return struct.pack("!H", code) + reason.encode()[: MAX_CONTROL_BYTES - 2]


def close_code(payload: bytes) -> int | None:
    """Return the code of a close frame's payload, ``None`` if the peer gave none."""
    return int.from_bytes(payload[:2], "big") if len(payload) >= 2 else None


class FrameReader:
    """Reads one direction of a connection: :meth:`feed` it what the socket gave, in any pieces.

    ``payload_bytes`` counts the binary payload seen so far, part-way through a frame included. Text and control
    messages come out whole. ``frames`` counts frame headers: a flood of tiny frames costs far more time than bytes,
    and only the caller knows how many are too many. ``masked`` says what the peer must do: a client masks, a server
    never does.
    """

    def __init__(self, *, masked: bool, max_message_bytes: int = MAX_RECEIVED_MESSAGE_BYTES) -> None:
        self.payload_bytes = 0
        self.frames = 0
        self._masked = masked
        self._max_message_bytes = max_message_bytes
        self._head = bytearray()
        self._remaining = 0
        self._opcode: Opcode | None = None
        self._mask = b""
        self._collected = bytearray()
        self._message_opcode: Opcode | None = None
        self._message_bytes = 0
        self._text = bytearray()
        self._finished = False

    def feed(self, data: memoryview) -> Iterator[Frame]:
        """Yield each text or control message that ``data`` completes. Raises :class:`FrameError`."""
        offset = 0
        end = len(data)
        while offset < end:
            if self._opcode is None:
                offset = self._read_header(data, offset)
                if self._opcode is None:
                    return
            take = min(self._remaining, end - offset)
            if self._opcode in (Opcode.BINARY, Opcode.CONTINUATION) and self._message_opcode is Opcode.BINARY:
                self.payload_bytes += take
            else:
                self._collected += data[offset : offset + take]
            offset += take
            self._remaining -= take
            if self._remaining == 0:
                frame = self._end_of_frame()
                if frame is not None:
                    yield frame

    def _read_header(self, data: memoryview, offset: int) -> int:
        """Take header bytes from ``data``; set ``_opcode`` once the header is whole. Return the new offset."""
        head = self._head
        while True:
            needed = self._header_length()
            missing = needed - len(head)
            if missing == 0:
                break
            piece = data[offset : offset + missing]
            if not piece:
                return offset
            head += piece
            offset += len(piece)
        self._begin_frame(bytes(head))
        head.clear()
        return offset

    def _header_length(self) -> int:
        if len(self._head) < 2:
            return 2
        length = self._head[1] & 0x7F
        extended = 8 if length == 127 else 2 if length == 126 else 0
        return 2 + extended + (4 if self._head[1] & 0x80 else 0)

    def _begin_frame(self, head: bytes) -> None:
        if head[0] & 0x70:
            raise FrameError("reserved bits are set: an extension nobody agreed on, compression perhaps")
        try:
            opcode = Opcode(head[0] & 0x0F)
        except ValueError:
            raise FrameError("unknown opcode") from None
        masked = bool(head[1] & 0x80)
        if masked != self._masked:
            raise FrameError("a client must mask its frames" if self._masked else "a server must not mask its frames")
        length = head[1] & 0x7F
        if length == 126:
            length = int.from_bytes(head[2:4], "big")
        elif length == 127:
            length = int.from_bytes(head[2:10], "big")
        self._mask = head[-4:] if masked else b""
        self._finished = bool(head[0] & 0x80)
        self._check(opcode, length)
        self.frames += 1
        self._opcode = opcode
        self._remaining = length
        self._collected.clear()

    def _check(self, opcode: Opcode, length: int) -> None:
        if opcode >= Opcode.CLOSE:
            if length > MAX_CONTROL_BYTES or not self._finished:
                raise FrameError("a control frame must be short and whole")
            return
        if opcode is Opcode.CONTINUATION:
            if self._message_opcode is None:
                raise FrameError("a continuation of nothing")
        else:
            if self._message_opcode is not None:
                raise FrameError("a new message inside another")
            self._message_opcode = opcode
            self._message_bytes = 0
            self._text.clear()
        self._message_bytes += length
        limit = MAX_TEXT_BYTES if self._message_opcode is Opcode.TEXT else self._max_message_bytes
        if self._message_bytes > limit:
            raise FrameError(f"a message of more than {limit} bytes", CLOSE_TOO_BIG)

    def _end_of_frame(self) -> Frame | None:
        opcode = self._opcode
        assert opcode is not None
        self._opcode = None
        payload = bytes(self._collected)
        if self._mask and payload:
            payload = apply_mask(payload, self._mask)
        if opcode >= Opcode.CLOSE:
            return Frame(opcode, payload)
        if self._message_opcode is Opcode.TEXT:
            self._text += payload
        if not self._finished:
            return None
        message_opcode, self._message_opcode = self._message_opcode, None
        return Frame(Opcode.TEXT, bytes(self._text)) if message_opcode is Opcode.TEXT else None
