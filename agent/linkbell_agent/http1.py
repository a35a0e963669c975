"""HTTP/1.1 (RFC 9112) over one kept-alive connection, blocking: no more of it than a collector needs of its agent.

The standard library's client parses headers with its parsers of electronic mail: 1 MB that stays (measured), of the 45
an agent may use.
"""

import contextlib
import socket
import ssl
import struct
from collections.abc import Callable
from typing import cast

from linkbell_agent.classify import NetworkFailure
from linkbell_agent.net import plain_name
from linkbell_agent.probes.pages import END_OF_HEAD, MAX_HEAD_BYTES, Head, parse_head
from linkbell_agent.slim import dataclass
from linkbell_wire.failures import FailureCode, Operation

RECEIVE_BYTES = 16_384
MAX_CHUNK_LINE_BYTES = 4096
LINE_END = b"\r\n"


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom to connect to, how long one step may take in seconds, and TLS if it is to be used."""

    host: str
    port: int
    timeout_s: float
    tls: Callable[[], ssl.SSLContext] | None = None


class Connection:
    """Connects when opened, at the first exchange, and whenever the peer did not want to keep the last connection."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._incoming: _Incoming | None = None
        self._sock: socket.socket | None = None
        self._closed = False

    def exchange(self, request: bytes, max_body_bytes: int) -> tuple[Head, bytes]:
        """Send a whole request and return head and body of its answer.

        Raises ``OSError``, and :class:`NetworkFailure` for what is not HTTP, breaks off, or is too large.
        """
        incoming = self._incoming or self._connect()
        incoming.sock.sendall(request)
        raw, head = incoming.head()
        body, whole = incoming.body(head, max_body_bytes)
        if not (whole and raw.startswith(b"HTTP/1.1") and "close" not in head.headers.get("connection", "").lower()):
            self._let_go()
        return head, body

    @property
    def peer_certificate(self) -> bytes | None:
        """The certificate (DER) that the peer has shown, trusted or not; ``None`` without TLS."""
        return self._sock.getpeercert(binary_form=True) if isinstance(self._sock, ssl.SSLSocket) else None

    def open(self) -> None:
        """Connect, if there is no connection. Raises as :meth:`exchange` does."""
        if self._incoming is None:
            self._connect()

    def _connect(self) -> "_Incoming":
        peer = self._peer
        name = plain_name(peer.host)
        sock = socket.create_connection(cast("tuple[str, int]", (name, peer.port)), peer.timeout_s)
        # A request is one piece: nothing is won by waiting for more.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        if peer.tls is not None:
            secure = peer.tls().wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)
            self._sock = sock = secure  # known before the handshake, so that it can be ended from outside
            secure.do_handshake()
        if self._closed:  # meanwhile, by another thread
            self._let_go()
            raise NetworkFailure(Operation.HTTP_REQUEST, FailureCode.CONNECTION_CLOSED)
        self._incoming = _Incoming(sock)
        return self._incoming

    def _let_go(self) -> None:
        sock, self._sock, self._incoming = self._sock, None, None
        if sock is not None:
            sock.close()

    def forget_unsent(self) -> None:
        """Have the kernel drop at the end what has not arrived: it would go on sending it for minutes.

        A batch says by its clock when it was sent; the next try says it anew.
        """
        sock = self._sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def close(self) -> None:
        """Close for good, from any thread. An exchange under way fails."""
        self._closed = True
        sock = self._sock
        if sock is not None:
            # close() alone would leave a thread that reads from it blocked until its time-out.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._let_go()


class _Incoming:
    """What comes from the peer, and what of it has not been asked for yet."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._rest = b""

    def head(self) -> tuple[bytes, Head]:
        """Return the head of the final answer, raw and read; interim ones (1xx) are passed over."""
        while True:
            raw = self._until(END_OF_HEAD, MAX_HEAD_BYTES)
            head = parse_head(raw)
            if head is None or head.status == 101:
                raise _failure(FailureCode.PROTOCOL_ERROR)
            if head.status >= 200:
                return raw, head

    def body(self, head: Head, limit: int) -> tuple[bytes, bool]:
        """Return the body, and whether it ended before the connection did (RFC 9112, section 6.3)."""
        if head.status in (204, 304):
            return b"", True
        coding = head.headers.get("transfer-encoding", "").lower()
        if coding:
            return (self._chunks(limit), True) if coding.endswith("chunked") else (self._all(limit), False)
        length = head.headers.get("content-length")
        if length is None:
            return self._all(limit), False
        return self._exactly(_number(length, 10), limit), True

    def _chunks(self, limit: int) -> bytes:
        body = b""
        while size := _number(self._until(LINE_END, MAX_CHUNK_LINE_BYTES).partition(b";")[0].decode("latin-1"), 16):
            body += self._exactly(size, limit - len(body))
            if self._exactly(2, 2) != LINE_END:
                raise _failure(FailureCode.PROTOCOL_ERROR)
        while self._until(LINE_END, MAX_HEAD_BYTES):  # trailers
            pass
        return body

    def _until(self, mark: bytes, limit: int) -> bytes:
        while mark not in self._rest:
            if len(self._rest) > limit:
                raise _failure(FailureCode.PROTOCOL_ERROR)
            self._more()
        found, _, self._rest = self._rest.partition(mark)
        if len(found) > limit:
            raise _failure(FailureCode.PROTOCOL_ERROR)
        return found

    def _exactly(self, count: int, limit: int) -> bytes:
        if count > limit:
            raise _failure(FailureCode.MESSAGE_TOO_LARGE)
        while len(self._rest) < count:
            self._more()
        found, self._rest = self._rest[:count], self._rest[count:]
        return found

    def _all(self, limit: int) -> bytes:
        while len(self._rest) <= limit:
            received = self.sock.recv(RECEIVE_BYTES)
            if not received:
                return self._rest
            self._rest += received
        raise _failure(FailureCode.MESSAGE_TOO_LARGE)

    def _more(self) -> None:
        received = self.sock.recv(RECEIVE_BYTES)
        if not received:
            raise _failure(FailureCode.CONNECTION_CLOSED)
        self._rest += received


def _number(text: str, base: int) -> int:
    text = text.strip()
    # int() alone would take signs, underscores and digits of other scripts.
    if not (text.isascii() and text.isalnum() and len(text) <= 16):
        raise _failure(FailureCode.PROTOCOL_ERROR)
    try:
        return int(text, base)
    except ValueError as error:
        raise _failure(FailureCode.PROTOCOL_ERROR) from error


def _failure(code: FailureCode) -> NetworkFailure:
    return NetworkFailure(Operation.HTTP_REQUEST, code)
