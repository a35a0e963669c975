"""May this request become an ndt7 test? Decided from its headers and query alone (RFC 6455, section 4)."""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from linkbell_wire.errors import ErrorCode, ErrorReply
from linkbell_wire.ndt7 import MAX_STREAMS, STREAMS_HEADER, SUBPROTOCOL, TEST_PARAMETER

MAX_QUERY_BYTES = 4096
EARLY_EXIT_VALUE = "250"
"""The only value ndt7 knows: end the download at 250 MB."""
EARLY_EXIT_BYTES = 250_000_000

_TEST = re.compile(r"[0-9a-f]{16,64}")
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_USE_A_CLIENT = "This URL is for measuring clients: linkbell-agent speed or check, ndt7-client or @m-lab/ndt7."


@dataclass(frozen=True, slots=True)
class Accepted:
    """What the 101 must answer, and what the client asked for."""

    headers: Mapping[str, str]
    early_exit_bytes: int | None = None
    test: str | None = None
    """The client's name for the test that this connection is one stream of."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why it is no test: an HTTP status, a reply for people and programs, headers that go with it."""

    status: int
    reply: ErrorReply
    headers: Mapping[str, str] = field(default_factory=dict)


def consider(headers: Mapping[str, str], query: str, *, download: bool) -> Accepted | Refused:
    """Decide on one request. ``headers`` must look names up without regard to case; ``query`` is as it came."""
    verdict = shake(headers, query, SUBPROTOCOL)
    if isinstance(verdict, Refused):
        return verdict
    parameters = parse_qsl(query, keep_blank_values=True)
    early_exit = [value for name, value in parameters if name == "early_exit"]
    if early_exit and (not download or early_exit != [EARLY_EXIT_VALUE]):
        return refused(f"early_exit is for downloads and may only be {EARLY_EXIT_VALUE}.")
    test = test_name(parameters)
    if isinstance(test, Refused):
        return test
    streams = {} if test is None else {STREAMS_HEADER: str(MAX_STREAMS)}
    return Accepted({**verdict.headers, **streams}, EARLY_EXIT_BYTES if early_exit else None, test)


def test_name(parameters: Iterable[tuple[str, str]]) -> str | Refused | None:
    """Return the client's name for its test, ``None`` where it gives none."""
    test = next((value for name, value in parameters if name == TEST_PARAMETER), None)
    if test is not None and not _TEST.fullmatch(test):
        return refused(f"{TEST_PARAMETER} must be 16 to 64 hexadecimal digits.")
    return test


def shake(headers: Mapping[str, str], query: str, subprotocol: str) -> Accepted | Refused:
    """Decide whether a request is a WebSocket handshake that offers ``subprotocol``; its query is only measured."""
    if not _has_token(headers.get("Connection"), "upgrade") or not _has_token(headers.get("Upgrade"), "websocket"):
        return refused("This is a WebSocket address and the request is no WebSocket handshake.")
    if headers.get("Sec-WebSocket-Version", "").strip() != "13":
        return refused("Only version 13 of the WebSocket protocol is spoken.", 426, {"Sec-WebSocket-Version": "13"})
    key = headers.get("Sec-WebSocket-Key", "").strip()
    if not _is_key(key):
        return refused("Sec-WebSocket-Key must be 16 bytes in base64.")
    if not _has_token(headers.get("Sec-WebSocket-Protocol"), subprotocol):
        return refused(f"The header Sec-WebSocket-Protocol must offer {subprotocol}.")
    if len(query) > MAX_QUERY_BYTES:
        return refused(f"The query is longer than {MAX_QUERY_BYTES} bytes.")
    # No Sec-WebSocket-Extensions in the answer: compression, where offered, is thereby declined.
    return Accepted(
        {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Accept": accept_key(key),
            "Sec-WebSocket-Protocol": subprotocol,
        }
    )


def accept_key(key: str) -> str:
    """Return Sec-WebSocket-Accept for a client's key (RFC 6455, section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()


def refused(message: str, status: int = 400, headers: Mapping[str, str] | None = None) -> Refused:
    """Say no, in a sentence for whoever made the request."""
    reply = ErrorReply(code=ErrorCode.INVALID_REQUEST, message=message, action=_USE_A_CLIENT)
    return Refused(status, reply, headers or {})


def _has_token(header: str | None, token: str) -> bool:
    return header is not None and token.lower() in (part.strip().lower() for part in header.split(","))


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False
