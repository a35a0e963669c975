"""The HTTP request that becomes a test, and what its answer means (RFC 6455, section 4). Text in, decision out."""

import base64
import hashlib
import os
from dataclasses import field, replace
from urllib.parse import urlencode

from linkbell_agent.classify import NetworkFailure
from linkbell_agent.ndt7.endpoint import Endpoint
from linkbell_agent.slim import dataclass
from linkbell_wire.failures import FailureCode, Operation
from linkbell_wire.ndt7 import DOWNLOAD_PATH, MAX_STREAMS, STREAMS_HEADER, SUBPROTOCOL, TEST_PARAMETER, UPLOAD_PATH
from linkbell_wire.version import __version__
from linkbell_wire.words import Direction

MAX_HEAD_BYTES = 1 << 14
"""Status line and headers of an answer; one that is longer is no answer of a measurement server."""

END_OF_HEAD = b"\r\n\r\n"
MAX_RETRY_AFTER_S = 86_400

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_PATHS = {Direction.DOWNLOAD: DOWNLOAD_PATH, Direction.UPLOAD: UPLOAD_PATH}
_CLIENT = urlencode({"client_name": "linkbell-agent", "client_version": __version__})


class ServerBusy(NetworkFailure):
    """The server has no place for a test now. ``retry_after_s`` is when it may have one, if it said."""

    def __init__(self, retry_after_s: float | None) -> None:
        super().__init__(Operation.UPGRADE, FailureCode.SERVER_BUSY)
        self.retry_after_s = retry_after_s


def _fresh_key() -> str:
    return base64.b64encode(os.urandom(16)).decode()


@dataclass(frozen=True, slots=True)
class Upgrade:
    """One attempt: a fresh key, the request that carries it and the answer it asks for.

    ``test`` names the test that the connection is a stream of: a server that knows of it gives all of them one place.
    ``target`` (path and query) and ``subprotocol`` are ndt7's unless another protocol is to be spoken.
    """

    endpoint: Endpoint
    direction: Direction
    key: str = field(default_factory=_fresh_key)
    test: str = field(default_factory=lambda: os.urandom(16).hex())
    target: str | None = None
    subprotocol: str = SUBPROTOCOL
    most_streams: int = MAX_STREAMS

    def another(self) -> "Upgrade":
        """Return the attempt for one more stream of the same test."""
        return replace(self, key=_fresh_key())

    def request(self) -> bytes:
        """Return the whole request."""
        target = self.target or f"{_PATHS[self.direction]}?{_CLIENT}&{TEST_PARAMETER}={self.test}"
        return (
            f"GET {target} HTTP/1.1\r\n"
            f"Host: {self.endpoint.authority}\r\n"
            f"User-Agent: linkbell-agent/{__version__}\r\n"
            "Connection: Upgrade\r\n"
            "Upgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {self.key}\r\n"
            f"Sec-WebSocket-Protocol: {self.subprotocol}\r\n"
            "\r\n"
        ).encode("ascii")

    def check(self, head: bytes) -> int:
        """Return how many streams the server offers, by its answer's ``head`` (up to its empty line).

        Raises :class:`NetworkFailure` if that is not the answer asked for.
        """
        status, headers = _parse(head)
        if status == 503:
            raise ServerBusy(_retry_after(headers.get("retry-after")))
        if 300 <= status < 400:
            raise NetworkFailure(Operation.UPGRADE, FailureCode.REDIRECTED)
        if status != 101:
            raise NetworkFailure(Operation.UPGRADE, FailureCode.HTTP_STATUS)
        agreed = (
            headers.get("upgrade", "").lower() == "websocket"
            and "upgrade" in headers.get("connection", "").lower()
            and headers.get("sec-websocket-accept") == self._accept()
            and headers.get("sec-websocket-protocol") == self.subprotocol
            and "sec-websocket-extensions" not in headers
        )
        if not agreed:
            raise protocol_error()
        return min(_streams(headers.get(STREAMS_HEADER.lower())), self.most_streams)

    def _accept(self) -> str:
        digest = hashlib.sha1(self.key.encode() + _GUID, usedforsecurity=False).digest()
        return base64.b64encode(digest).decode()


def protocol_error() -> NetworkFailure:
    """Return the failure for an answer that is not HTTP, or not the one that was asked for."""
    return NetworkFailure(Operation.UPGRADE, FailureCode.PROTOCOL_ERROR)


def _parse(head: bytes) -> tuple[int, dict[str, str]]:
    lines = head.decode("latin-1").split("\r\n")
    version, _, rest = lines[0].partition(" ")
    status = rest[:3]
    if not version.startswith("HTTP/1.") or not (status.isascii() and status.isdecimal() and len(status) == 3):
        raise protocol_error()
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if line and not colon:
            raise protocol_error()
        headers[name.strip().lower()] = value.strip()
    return int(status), headers


def _streams(value: str | None) -> int:
    """Read how many streams a test may have; one, where the server says nothing of it."""
    if value is None or not (value.isascii() and value.isdecimal() and len(value) < 3):
        return 1
    return max(1, int(value))


def _retry_after(value: str | None) -> float | None:
    """Read the number of seconds; the form with a date needs a clock that schools' boxes may not have."""
    if value is None or not (value.isascii() and value.isdecimal() and len(value) < 10):
        return None
    return float(min(int(value), MAX_RETRY_AFTER_S))
