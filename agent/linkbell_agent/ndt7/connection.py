"""A connected socket, plain or TLS, read and written without any buffer of its own.

asyncio's transports copy what they cannot send at once, and its TLS copies every byte twice more. A test needs to know
where each byte is and to stop at once, so it asks the socket itself and the loop only says when.
"""

import asyncio
import contextlib
import fcntl
import socket
import ssl
import struct
import termios
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from linkbell_agent.classify import NetworkFailure, network_failure
from linkbell_agent.ndt7.endpoint import Endpoint
from linkbell_agent.ndt7.upgrade import END_OF_HEAD, MAX_HEAD_BYTES, Upgrade, protocol_error
from linkbell_agent.net import Uplink, connect, plain_name
from linkbell_agent.slim import dataclass
from linkbell_agent.trust import shared_tls
from linkbell_wire import floor
from linkbell_wire.failures import FailureCode, Operation
from linkbell_wire.ndt7 import tcp_info

T = TypeVar("T")

UPGRADE_TIMEOUT_S = 7.0
"""For TLS, and again for the answer to the request: what M-Lab's own client allows."""

SPLIT_SLACK_S = 0.05
"""A busy server may take this long over its answer; more, and twice the handshake, and the path is taken for split."""

_SIOCOUTQNSD = 0x894B  # include/uapi/linux/sockios.h
_TCP_NOTSENT_LOWAT = 25  # include/uapi/linux/tcp.h; not in every build of Python
_SO_MAX_PACING_RATE = 47  # include/uapi/asm-generic/socket.h
_TCP_CONGESTION = getattr(socket, "TCP_CONGESTION", 13)


class Connection:
    """One TCP connection of the event loop it was made in. Closing it twice is harmless."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()

    def receive(self, into: memoryview) -> int | None:
        """Read what is there: how many bytes, 0 at the end, ``None`` if nothing has come. Raises ``OSError``."""
        try:
            return self._sock.recv_into(into)
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None

    def send(self, data: memoryview | bytes, *, more: bool = False) -> int:
        """Hand over what the kernel takes now: how many bytes, 0 if it is full. Raises ``OSError``.

        With ``more`` to follow at once, what fills no packet waits for it.
        """
        try:
            if more and not isinstance(self._sock, ssl.SSLSocket):
                return self._sock.send(data, socket.MSG_MORE)
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0

    def on_readable(self, call: Callable[[], None]) -> None:
        """Have ``call`` called while there is something to read."""
        self._loop.add_reader(self._sock.fileno(), call)

    def on_writable(self, call: Callable[[], None]) -> None:
        """Have ``call`` called while there is room to write."""
        self._loop.add_writer(self._sock.fileno(), call)

    def ignore(self, *, readable: bool = True, writable: bool = True) -> None:
        """Take those calls back."""
        if self._sock.fileno() < 0:
            return
        if readable:
            self._loop.remove_reader(self._sock.fileno())
        if writable:
            self._loop.remove_writer(self._sock.fileno())

    def info(self) -> tcp_info.TcpInfo | None:
        """Return the kernel's view of the connection, ``None`` if it has none."""
        try:
            return tcp_info.parse(self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, tcp_info.TCP_INFO_BYTES))
        except (OSError, ValueError):
            return None

    def queued_bytes(self) -> int:
        """Return how many bytes the kernel holds for the peer: not sent yet, or not acknowledged (SIOCOUTQ)."""
        try:
            return int(struct.unpack("i", fcntl.ioctl(self._sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0])
        except (OSError, ValueError):
            return 0

    def unsent_bytes(self) -> int:
        """Return how much of what was written the kernel has not sent yet (SIOCOUTQNSD); 0 if that is unknown."""
        try:
            return int(struct.unpack("i", fcntl.ioctl(self._sock.fileno(), _SIOCOUTQNSD, b"\0\0\0\0"))[0])
        except (OSError, ValueError):
            return 0

    def has_room(self, size_bytes: int, in_hand_bytes: float) -> bool:
        """Say whether ``size_bytes`` more would be sent soon: fewer than ``in_hand_bytes`` wait, with a window open."""
        unsent_bytes = self.unsent_bytes()
        if unsent_bytes >= in_hand_bytes:
            return False
        try:
            raw = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, tcp_info.ROOM_INFO_BYTES)
            room_bytes = tcp_info.room_segments(raw) * floor.FULL_PACKET_BYTES
        except (OSError, struct.error):
            return False
        return room_bytes >= min(unsent_bytes, size_bytes) + min(size_bytes, 2 * floor.FULL_PACKET_BYTES)

    def fill_packets(self, *, only_full: bool) -> None:
        """Let only full packets leave (TCP_CORK), so that packets can be counted; the rest waits for more, 0.2 s.

        On the loopback interface and its like packets are huge, and are not counted: nothing waits.
        """
        with contextlib.suppress(OSError):
            largest_bytes = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
            is_real = largest_bytes <= floor.LARGEST_PACKET_BYTES
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, int(only_full and is_real))

    def receive_buffer_bytes(self) -> int:
        """Return how much of what came the kernel may hold, in order or not (SO_RCVBUF); 0 if it is gone."""
        try:
            return self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        except OSError:
            return 0

    def limit_unsent(self, size: int) -> None:
        """Have the kernel hold no more than ``size`` unsent bytes, so that a stop is prompt; older ones hold more."""
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, size)

    def widen_window(self, size: int) -> None:
        """Let the server have ``size`` bytes under way, whatever is missing before them.

        The kernel widens the window by itself only as bytes are read, and behind a lost packet none can be. Asking for
        a low-water mark makes it keep room for that much (``tcp_set_rcvlowat()``), within ``net.ipv4.tcp_rmem``;
        unlike ``SO_RCVBUF`` that does not stop it from going further.
        """
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)

    def use_bbr(self) -> str | None:
        """Use BBR, as ndt7 recommends, if the kernel lets us. Returns the algorithm in use."""
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.IPPROTO_TCP, _TCP_CONGESTION, b"bbr")
        try:
            return self._sock.getsockopt(socket.IPPROTO_TCP, _TCP_CONGESTION, 16).rstrip(b"\0").decode("ascii")
        except (OSError, UnicodeDecodeError):
            return None

    def pace(self, rate_bps: float) -> None:
        """Have the kernel send no faster than this, packet by packet. Raises ``OSError`` where it cannot."""
        self._sock.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, struct.pack("=Q", round(rate_bps / 8)))

    def close(self) -> None:
        """Close, and throw away what has not been sent: nobody waits for it and the school pays for it."""
        if self._sock.fileno() < 0:
            return
        self.ignore()
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with contextlib.suppress(OSError):
            self._sock.close()

    async def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Shake hands. Raises ``OSError``, ``ssl.SSLError`` among them."""
        wrapped = context.wrap_socket(self._sock, server_hostname=plain_name(host), do_handshake_on_connect=False)
        self._sock = wrapped
        while True:
            try:
                wrapped.do_handshake()
            except ssl.SSLWantReadError:
                await self._wait(self.on_readable)
            except ssl.SSLWantWriteError:
                await self._wait(self.on_writable)
            else:
                return

    async def ask(self, upgrade: Upgrade) -> "Answer":
        """Send the request and check the answer."""
        request = upgrade.request()
        while request:
            sent = self.send(request)
            request = request[sent:]
            if not sent:
                await self._wait(self.on_writable)
        head, rest = await self._head()
        return Answer(upgrade.check(head), len(head) + len(END_OF_HEAD), rest)

    async def _head(self) -> tuple[bytes, bytes]:
        buffer = bytearray(MAX_HEAD_BYTES)
        filled = 0
        while filled < MAX_HEAD_BYTES:
            count = self.receive(memoryview(buffer)[filled:])
            if count is None:
                await self._wait(self.on_readable)
                continue
            if count == 0:
                raise NetworkFailure(Operation.UPGRADE, FailureCode.CONNECTION_CLOSED)
            filled += count
            end = buffer.find(END_OF_HEAD, max(0, filled - count - 3), filled)
            if end >= 0:
                return bytes(buffer[:end]), bytes(buffer[end + len(END_OF_HEAD) : filled])
            if not buffer.startswith(b"HTTP/"[:filled]):
                break
        raise protocol_error()

    async def _wait(self, register: Callable[[Callable[[], None]], None]) -> None:
        future: asyncio.Future[None] = self._loop.create_future()
        register(lambda: None if future.done() else future.set_result(None))
        try:
            await future
        finally:
            self.ignore()


@dataclass(frozen=True, slots=True)
class Answer:
    """How many streams the server offers, how long its answer was, and what came behind: the first of the frames."""

    streams_offered: int
    head_bytes: int
    first_bytes: bytes


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection on which a test has begun.

    ``rtt_idle_s`` is the TCP handshake's, ``round_trip_s`` the longer of it and the time the answer took: a box
    half-way may shake hands in the server's place, but it cannot answer for it. ``before`` is the kernel's view before
    the test was asked for, ``answer_bytes`` the length of the answer's head.
    """

    connection: Connection
    first_bytes: bytes
    rtt_idle_s: float | None
    round_trip_s: float = 0.0
    streams_offered: int = 1
    before: tcp_info.TcpInfo | None = None
    answer_bytes: int = 0

    @property
    def is_split(self) -> bool:
        """Whether the answer took so much longer than the handshake that another box must have shaken hands."""
        return self.rtt_idle_s is not None and self.round_trip_s > 2 * self.rtt_idle_s + SPLIT_SLACK_S


async def open_test(upgrade: Upgrade, uplink: Uplink) -> Opened:
    """Connect, shake hands and ask for a test. Raises :class:`NetworkFailure`; nothing is left open then."""
    endpoint = upgrade.endpoint
    sock, _ = await connect(endpoint.host, endpoint.port, uplink)
    connection = Connection(sock)
    try:
        info = connection.info()
        if endpoint.tls:
            await _limited(Operation.TLS_HANDSHAKE, _start_tls(connection, endpoint))
        before, asked_s = connection.info(), time.monotonic()
        answer = await _limited(Operation.UPGRADE, connection.ask(upgrade))
        answer_s = time.monotonic() - asked_s
    except BaseException:
        connection.close()
        raise
    rtt_s = None if info is None else info.min_rtt_s or info.rtt_s or None
    round_trip_s = max(rtt_s or 0.0, answer_s)
    return Opened(
        connection, answer.first_bytes, rtt_s, round_trip_s, answer.streams_offered, before, answer.head_bytes
    )


async def _start_tls(connection: Connection, endpoint: Endpoint) -> None:
    await connection.start_tls(shared_tls(), endpoint.host)


async def _limited(operation: Operation, step: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(UPGRADE_TIMEOUT_S):
            return await step
    except OSError as error:  # TimeoutError and ssl.SSLError are
        raise network_failure(operation, error) from error
