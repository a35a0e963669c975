"""Connections of the test process: bound to the uplink, and counted by the kernel, closed or not.

speedtest-cli counts what it has read and what it has handed to the kernel. A budget needs what went over the line.
"""

import contextlib
import fcntl
import socket
import ssl
import struct
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from http.client import HTTPException, RemoteDisconnected
from typing import Any
from urllib.error import HTTPError, URLError

CONNECT_TIMEOUT_S = 7.0
IO_TIMEOUT_S = 10.0
DRAIN_S = 1.5
"""More than a satellite's round trip: what is not acknowledged by then was lost on the way."""

NOTSENT_BYTES = 1 << 16
"""Unsent bytes the kernel may hold per connection: what lies there was handed over, and has not been measured."""

SETUP, DOWNLOAD, UPLOAD = "setup", "download", "upload"

_TCP_NOTSENT_LOWAT = 25  # include/uapi/linux/tcp.h; Python 3.11 has the name only on some builds
_ACKED_AND_RECEIVED = struct.Struct("=QQ")  # at 120 in struct tcp_info; a test holds this to linkbell_wire's reading
_NOTSENT = struct.Struct("=I")  # at 144

Trouble = dict[str, Any]
"""What went wrong: ``operation``, ``kind``, perhaps ``number`` and ``retry_after_s``. The agent makes a code of it."""


class Fault(OSError):  # noqa: N818 - caught by speedtest-cli as the error it stands for
    """An error, and what was being tried."""

    def __init__(self, operation: str, cause: Exception) -> None:
        super().__init__(operation)
        self.operation = operation
        self.cause = cause


class Ledger:
    """What one test has moved, phase by phase, what it may move, and what went wrong. For many threads."""

    def __init__(self, max_bytes: int | None) -> None:
        self._lock = threading.Lock()
        self._live: dict[socket.socket, str] = {}
        self._max_bytes = max_bytes
        self._moved = {SETUP: 0, DOWNLOAD: 0, UPLOAD: 0}
        self.phase = SETUP
        self.operation = "resolve"
        self.latest: Trouble | None = None
        self.last_moved_s = time.monotonic()
        self.begin(SETUP)

    def begin(self, phase: str) -> None:
        """Count for ``phase`` from now on; connections count for the phase they were opened in to their end."""
        self.phase = phase
        self.payload_bytes = 0
        self.undelivered_bytes = 0
        self.requests = 0
        self.troubles: list[Trouble] = []

    def opened(self, sock: socket.socket) -> None:
        """Watch a connection until :meth:`settle`."""
        with self._lock:
            self._live[sock] = self.phase

    def settle(self, sock: socket.socket) -> None:
        """Add up a connection that is about to be closed."""
        with self._lock:
            phase = self._live.pop(sock, None)
            if phase is not None:
                self._moved[phase] += _moved_bytes(sock)

    def moved(self) -> Mapping[str, int]:
        """Return the bytes that all connections have carried so far, both ways, by phase."""
        with self._lock:
            moved = dict(self._moved)
            for sock, phase in self._live.items():
                moved[phase] += _moved_bytes(sock)
        return moved

    def touch(self, payload_bytes: int = 0) -> None:
        """Note that something has moved just now."""
        with self._lock:
            self.last_moved_s = time.monotonic()
            self.payload_bytes += payload_bytes

    def reserve(self, wanted_bytes: int) -> int:
        """Return how many of ``wanted_bytes`` may be sent still, and count them as handed over."""
        with self._lock:
            left = wanted_bytes if self._max_bytes is None else self._max_bytes - self.payload_bytes
            granted = max(0, min(wanted_bytes, left))
            self.payload_bytes += granted
        return granted

    def is_spent(self) -> bool:
        """Say whether the byte cap is reached in this phase; what waits unread in the kernel has been paid for too."""
        if self._max_bytes is None:
            return False
        spent = self.moved()[DOWNLOAD] if self.phase == DOWNLOAD else self.payload_bytes
        return spent >= self._max_bytes

    def cut(self, sock: socket.socket) -> None:
        """Have the next close throw away what is still waiting to be sent, and note how much never arrived.

        At the end of the time what is waiting is left out; at the byte cap it is what was asked for, so let it arrive.
        """
        with contextlib.suppress(OSError):
            waiting = self._drained(sock) if self.phase == UPLOAD and self.is_spent() else _queued_bytes(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with self._lock:
                self.last_moved_s = time.monotonic()
                self.undelivered_bytes += waiting

    def _drained(self, sock: socket.socket) -> int:
        """Wait until all that was handed over has arrived, or none did for a while; return what has not."""
        waiting, since_s = _queued_bytes(sock), time.monotonic()
        while waiting and time.monotonic() - since_s < DRAIN_S:
            time.sleep(0.005)
            now_waiting = _queued_bytes(sock)
            if now_waiting < waiting:
                waiting, since_s = now_waiting, time.monotonic()
        return waiting

    def note(self, trouble: Trouble) -> None:
        """Remember that a request failed."""
        with self._lock:
            self.troubles.append(trouble)


def _moved_bytes(sock: socket.socket) -> int:
    try:
        raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256).ljust(256, b"\0")
        acked, received = _ACKED_AND_RECEIVED.unpack_from(raw, 120)
        (unsent,) = _NOTSENT.unpack_from(raw, 144)
        return int(acked + received + max(0, _queued_bytes(sock) - unsent))
    except OSError:
        return 0


def _queued_bytes(sock: socket.socket) -> int:
    """Return what was handed to the kernel and is not acknowledged yet (SIOCOUTQ, tcp(7))."""
    return int(struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0])


class _Counted(socket.socket):
    """Tells the ledger before the descriptor goes: ``close()`` is called long before that, while answers are read."""

    ledger: Ledger | None = None

    def recv_into(self, *arguments: Any, **options: Any) -> int:
        count = super().recv_into(*arguments, **options)
        _count_received(self.ledger, count)
        return count

    def _real_close(self, *arguments: Any) -> None:
        if self.ledger is not None and self.fileno() >= 0:
            self.ledger.settle(self)
        super()._real_close(*arguments)  # type: ignore[misc]


class _CountedTls(ssl.SSLSocket):
    """The same over TLS."""

    ledger: Ledger | None = None

    def recv_into(self, *arguments: Any, **options: Any) -> int:
        count = super().recv_into(*arguments, **options)
        _count_received(self.ledger, count)
        return count

    def _real_close(self, *arguments: Any) -> None:
        if self.ledger is not None and self.fileno() >= 0:
            self.ledger.settle(self)
        super()._real_close(*arguments)  # type: ignore[misc]


def _count_received(ledger: Ledger | None, count: int) -> None:
    if ledger is not None and count:
        ledger.touch(count if ledger.phase == DOWNLOAD else 0)


class Dialler:
    """Opens connections out of one uplink. Raises :class:`Fault` only; never falls back to another way out."""

    def __init__(
        self,
        ledger: Ledger,
        device: str | None,
        source: str | None,
        window_bytes: int | None = None,
        known: Sequence[str] = (),
    ) -> None:
        self._ledger = ledger
        self._device = device
        self._source = source
        self._window_bytes = window_bytes
        self._known = known
        """Addresses of the server, where its name was asked on the uplink already."""

    def open(self, host: str, port: int) -> socket.socket:
        """Return the first connection that succeeds, addresses tried in turn."""
        first: Fault | None = None
        for family, address in self._addresses(host, port)[:4]:
            try:
                return self._connect(family, address)
            except Fault as fault:
                first = first or fault
        raise first or Fault("bind", OSError(99, "no address of the uplink's family"))

    def wrap(self, sock: socket.socket, context: ssl.SSLContext, host: str) -> ssl.SSLSocket:
        """Return the connection with TLS on it."""
        self._ledger.operation = "tls_handshake"
        context.sslsocket_class = _CountedTls
        try:
            wrapped = context.wrap_socket(sock, server_hostname=host)
        except OSError as error:
            raise Fault("tls_handshake", error) from error
        assert isinstance(wrapped, _CountedTls)
        self._watch(wrapped)
        return wrapped

    def plain(self, sock: socket.socket) -> socket.socket:
        """Return the connection as it is."""
        assert isinstance(sock, _Counted)
        self._watch(sock)
        return sock

    def _watch(self, sock: "_Counted | _CountedTls") -> None:
        sock.ledger = self._ledger
        self._ledger.opened(sock)
        self._ledger.operation = "http_request"

    def _addresses(self, host: str, port: int) -> list[tuple[int, Any]]:
        self._ledger.operation = "resolve"
        try:
            found = [
                one
                for name in self._known or (host,)
                for one in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
            ]
        except (OSError, UnicodeError) as error:
            raise Fault("resolve", error) from error
        if self._source is not None:
            own = socket.AF_INET6 if ":" in self._source else socket.AF_INET
            found = [one for one in found if one[0] == own]
        return [(family, address) for family, _, _, _, address in found]

    def _connect(self, family: int, address: Any) -> socket.socket:
        self._ledger.operation = "connect"
        step = "connect"
        sock = None
        try:
            sock = _Counted(family, socket.SOCK_STREAM)
            step = "bind"
            if self._device is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self._device.encode() + b"\0")
            if self._source is not None:
                sock.bind((self._source, 0))
            step = "connect"
            self._tune(sock)
            sock.settimeout(CONNECT_TIMEOUT_S)
            sock.connect(address)
            sock.settimeout(IO_TIMEOUT_S)
        except OSError as error:
            if sock is not None:
                sock.close()
            raise Fault(step, error) from error
        return sock

    def _tune(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # the last piece of a form waits for no answer
            sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, NOTSENT_BYTES)
            if self._window_bytes is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._window_bytes)


def trouble_of(error: BaseException, operation: str) -> Trouble:
    """Describe an error in words the agent knows: its kind and number, never its text."""
    if isinstance(error, HTTPError):
        after = str(error.headers.get("Retry-After", "")) if error.headers else ""
        return {
            "operation": "http_request",
            "kind": "http",
            "number": error.code,
            "retry_after_s": int(after) if after.isascii() and after.isdecimal() and len(after) < 6 else None,
        }
    if isinstance(error, Fault):
        return trouble_of(error.cause, error.operation)
    inner = error.reason if isinstance(error, URLError) else error.args[0] if error.args else None
    if isinstance(inner, BaseException):  # speedtest-cli's own exceptions carry the cause in this way too
        return trouble_of(inner, operation)
    number = error.errno if isinstance(error, OSError) else None
    return {"operation": operation, "kind": _kind(error), "number": number}


def _kind(error: BaseException) -> str:
    kinds: list[tuple[type[BaseException] | tuple[type[BaseException], ...], str]] = [
        (MemoryError, "memory"),
        (socket.gaierror, "resolve"),
        (UnicodeError, "name"),
        (TimeoutError, "timeout"),
        (ssl.SSLCertVerificationError, "certificate"),
        ((ssl.SSLEOFError, ssl.SSLZeroReturnError, RemoteDisconnected), "closed"),
        (ssl.SSLError, "tls"),
        (OSError, "system"),
        (HTTPException, "garbage"),
    ]
    return next((kind for classes, kind in kinds if isinstance(error, classes)), "fault")
