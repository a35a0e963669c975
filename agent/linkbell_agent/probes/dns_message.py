"""DNS messages (RFC 1035): a question for one name, and what an answer to it says. Pure."""

import ipaddress
import struct
from typing import Literal

from linkbell_agent.slim import dataclass

MAX_NAME_BYTES = 255
MAX_RECORDS = 200

NOERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5

RecordType = Literal["A", "AAAA"]
TYPES: dict[RecordType, int] = {"A": 1, "AAAA": 28}

_IN, _OPT = 1, 41
_RESPONSE, _TRUNCATED, _RECURSE = 0x8000, 0x0200, 0x0100
_HEADER = struct.Struct("!HHHHHH")
_QUESTION = struct.Struct("!HH")
_RECORD = struct.Struct("!HHIH")
_POINTER = 0xC0

UDP_PAYLOAD_BYTES = 1232
"""What an answer may take without being cut up on the way (DNS flag day 2020), said in an OPT record (RFC 6891)."""


class MessageError(ValueError):
    """The bytes are no DNS message, or the name no name."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a name server said: its code, whether it was cut off, and the addresses of the kind asked for."""

    rcode: int
    truncated: bool
    addresses: tuple[str, ...]


def encode_name(name: str) -> bytes:
    """Return a host name as the wire has it. Raises :class:`MessageError`."""
    try:
        # The codec for other scripts costs a megabyte of tables: plain names do without it.
        ascii_name = name.encode("ascii") if name.isascii() else name.encode("idna")
    except UnicodeError as error:
        raise MessageError("no host name") from error
    labels = ascii_name.removesuffix(b".").split(b".")
    if any(not 0 < len(label) < 64 for label in labels):
        raise MessageError("a label is empty or longer than 63 bytes")
    encoded = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    if len(encoded) > MAX_NAME_BYTES:
        raise MessageError("a name is longer than 255 bytes")
    return encoded


def question(identifier: int, name: str, record_type: RecordType) -> bytes:
    """Return a query that asks the server to find the answer by itself. Raises :class:`MessageError`."""
    header = _HEADER.pack(identifier, _RECURSE, 1, 0, 0, 1)
    opt = b"\0" + _RECORD.pack(_OPT, UDP_PAYLOAD_BYTES, 0, 0)
    return header + encode_name(name) + _QUESTION.pack(TYPES[record_type], _IN) + opt


def is_answer_to(message: bytes, identifier: int, name: str, record_type: RecordType) -> bool:
    """Say whether a message answers this question: its number, its name in any case, its type.

    A refusal may leave the question out.
    """
    if len(message) < _HEADER.size:
        return False
    number, flags, questions, *_ = _HEADER.unpack_from(message)
    if number != identifier or not flags & _RESPONSE or questions > 1:
        return False
    if questions == 0:
        return bool(flags & 0x0F != NOERROR)
    asked = encode_name(name) + _QUESTION.pack(TYPES[record_type], _IN)
    given = message[_HEADER.size : _HEADER.size + len(asked)]
    return given.lower() == asked.lower()


def read(message: bytes, record_type: RecordType) -> Answer:
    """Read an answer. Raises :class:`MessageError`, and nothing else, for any bytes whatever."""
    try:
        return _read(message, TYPES[record_type])
    except (struct.error, IndexError) as error:
        raise MessageError("the message ends too soon") from error


def _read(message: bytes, wanted: int) -> Answer:
    _, flags, questions, answers, *_ = _HEADER.unpack_from(message)
    rcode, truncated = flags & 0x0F, bool(flags & _TRUNCATED)
    if truncated:
        return Answer(rcode, True, ())
    if questions + answers > MAX_RECORDS:
        raise MessageError("more records than any honest answer has")
    offset = _HEADER.size
    for _ in range(questions):
        offset = _after_name(message, offset) + _QUESTION.size
    addresses = []
    for _ in range(answers):
        offset = _after_name(message, offset)
        kind, class_, _, length = _RECORD.unpack_from(message, offset)
        offset += _RECORD.size
        data = message[offset : offset + length]
        if len(data) != length:
            raise MessageError("a record ends too soon")
        if (kind, class_) == (wanted, _IN):
            addresses.append(_address(data, wanted))
        offset += length
    return Answer(rcode, False, tuple(addresses))


def _after_name(message: bytes, offset: int) -> int:
    """Return where the name at ``offset`` ends. Where it points to does not matter here, so no loop can be laid."""
    while True:
        length = message[offset]
        if length & _POINTER == _POINTER:
            return offset + 2
        if length & _POINTER:
            raise MessageError("a label of no known kind")
        offset += 1 + length
        if length == 0:
            return offset


def _address(data: bytes, kind: int) -> str:
    if len(data) != (4 if kind == TYPES["A"] else 16):
        raise MessageError("an address of the wrong size")
    return str(ipaddress.ip_address(data))
