"""What the measurement server asks of the kernel about one connection (Linux)."""

import contextlib
import fcntl
import os
import socket
import struct
from typing import Protocol

from linkbell_wire import floor
from linkbell_wire.ndt7 import tcp_info

BBR = b"bbr"
NOTSENT_BYTES = 1 << 18
LEAST_NOTSENT_BYTES = 1 << 14
NOTSENT_S = 0.05
"""Unsent bytes the kernel may hold per connection: so much of the line's time. What waits there delays the
measurements behind it, and a slow line would still be busy with it when the test is over."""

_SIOCOUTQNSD = 0x894B  # include/uapi/linux/sockios.h
_TCP_NOTSENT_LOWAT = 25  # include/uapi/linux/tcp.h; Python 3.11 has the name only on some builds
_SO_MAX_PACING_RATE = 47  # include/uapi/asm-generic/socket.h
_TCP_CONGESTION = getattr(socket, "TCP_CONGESTION", 13)


class HasFileno(Protocol):
    """The socket inside an asyncio transport."""

    def fileno(self) -> int:
        """Return the descriptor."""


class KernelSocket:
    """A second handle on a transport's socket.

    uvloop's own socket object does not offer every option; a duplicate of the descriptor is the same socket.
    """

    def __init__(self, transport_socket: HasFileno) -> None:
        self._sock = socket.socket(fileno=os.dup(transport_socket.fileno()))

    def tune(self, *, bbr: bool) -> None:
        """Keep the unsent backlog small, and use BBR if ``bbr``; an old kernel's refusal only costs precision."""
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, NOTSENT_BYTES)
        if bbr:
            with contextlib.suppress(OSError):
                self._sock.setsockopt(socket.IPPROTO_TCP, _TCP_CONGESTION, BBR)

    def limit_unsent(self, bps: float, least_bytes: int = LEAST_NOTSENT_BYTES) -> None:
        """Fit the unsent backlog to a speed in bits per second, but let it be ``least_bytes``."""
        size = round(min(max(bps / 8 * NOTSENT_S, least_bytes), NOTSENT_BYTES))
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, size)

    def info(self) -> tcp_info.TcpInfo | None:
        """Return the kernel's view of the connection, ``None`` if it is gone."""
        try:
            return tcp_info.parse(self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, tcp_info.TCP_INFO_BYTES))
        except (OSError, ValueError):
            return None

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

    def fill_packets(self, *, only_full: bool) -> int:
        """Let only full packets leave (TCP_CORK), so that packets can be counted; the rest waits for more, 0.2 s.

        On the loopback interface and its like packets are huge, and are not counted: nothing waits. Return how many
        bytes it takes for anything to leave.
        """
        try:
            full_bytes = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
            waits = only_full and full_bytes <= floor.LARGEST_PACKET_BYTES
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, int(waits))
        except OSError:
            return 1
        return full_bytes if waits else 1

    def widen_window(self, size_bytes: int) -> None:
        """Let the peer have this much under way, whatever is missing before it.

        The kernel widens the window by itself only as bytes are read, and behind a lost packet none can be. Asking for
        a low-water mark makes it keep room for that much (``tcp_set_rcvlowat()``), within ``net.ipv4.tcp_rmem``;
        unlike ``SO_RCVBUF`` that does not stop it from going further.
        """
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size_bytes)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)

    def pace(self, rate_bps: float) -> None:
        """Have the kernel send no faster than this, packet by packet. Raises ``OSError`` where it cannot."""
        self._sock.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, struct.pack("=Q", round(rate_bps / 8)))

    def congestion_control(self) -> str | None:
        """Return the algorithm in use, ``None`` if the connection is gone."""
        try:
            return self._sock.getsockopt(socket.IPPROTO_TCP, _TCP_CONGESTION, 16).rstrip(b"\0").decode("ascii")
        except (OSError, UnicodeDecodeError):
            return None

    def discard_on_close(self) -> None:
        """Make the close throw away what a peer has not fetched, so that it costs no kernel memory afterwards."""
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def close(self) -> None:
        """Give the second handle back."""
        self._sock.close()


def bbr_is_available() -> bool:
    """Say whether this process may use BBR (tcp_bbr loaded, and allowed to those without CAP_NET_ADMIN)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.setsockopt(socket.IPPROTO_TCP, _TCP_CONGESTION, BBR)
        except OSError:
            return False
    return True
