"""Download: the server sends, we count what reaches us."""

import math

from linkbell_agent.ndt7.connection import Opened
from linkbell_agent.ndt7.stream import Owner, Stream
from linkbell_wire.failures import Operation
from linkbell_wire.ndt7.tcp_info import TcpInfo

SEGMENTS_TO_TRUST = 2
SHORT_SEGMENTS = 3
SHORT_SHARE = 0.01
"""Nothing is missing if the last two segments and more came in order, and all that came since nothing was missing is
there in bytes, but for a few short ones. Order alone says little: while a long gap is being filled, all is in order."""


class Download(Stream):
    """Payload is counted as it arrives, byte by byte, however large the messages are."""

    operation = Operation.RECEIVE

    def __init__(self, opened: Opened, owner: Owner) -> None:
        super().__init__(opened, owner)
        self._carried_bytes = 0
        self._whole: TcpInfo | None = opened.before
        """The last view in which nothing was missing, and so bytes were exact."""
        self._latest = opened.before
        self._could_wait_bytes = 0

    def delivered_bytes(self) -> int:
        return self._channel.payload_bytes

    def cost_bytes(self) -> int:
        return max(self._channel.payload_bytes, round(self._carried_bytes * self.payload_share))

    def carried_bytes(self) -> int:
        return self._carried_bytes

    def could_wait_bytes(self) -> int:
        """Return the largest receive buffer there was: an offered window is never taken back."""
        self._could_wait_bytes = max(self._could_wait_bytes, self._connection.receive_buffer_bytes())
        return self._could_wait_bytes

    def _in_order_bytes(self) -> int:
        if self.info is None or self._opened.before is None:
            return 0
        return (self.info.bytes_received or 0) - (self._opened.before.bytes_received or 0)

    def _read_bytes(self) -> int:
        return self._channel.payload_bytes + self._channel.text_bytes + self._opened.answer_bytes

    def _count(self, info: TcpInfo) -> None:
        before, latest, self._latest = self._opened.before, self._latest, info
        if before is None or latest is None or self._whole is None:
            return
        in_order, waiting = _since(self._whole, info)
        if _is_in_order(latest, info) and waiting - in_order <= _short_bytes(self._whole, info):
            self._whole, in_order, waiting = info, 0, 0
        # A segment may be tiny and is taken for full, so a server could send many of those and seem fast. What waits
        # came out of order, and no more can wait than the kernel has room for.
        if waiting > in_order:
            waiting = round(
                min(waiting, in_order + min(_out_of_order_bytes(self._whole, info), self.could_wait_bytes()))
            )
        self._carried_bytes = (self._whole.bytes_received or 0) - (before.bytes_received or 0) + max(in_order, waiting)


def _segments(then: TcpInfo, now: TcpInfo) -> int:
    return (now.data_segments_in or 0) - (then.data_segments_in or 0)


def _since(whole: TcpInfo, info: TcpInfo) -> tuple[int, int]:
    """Return the bytes that came in order since, and those of all segments that came, taken for full."""
    in_order = (info.bytes_received or 0) - (whole.bytes_received or 0)
    return in_order, _segments(whole, info) * info.receive_mss_bytes


def _out_of_order_bytes(whole: TcpInfo, info: TcpInfo) -> float:
    """Return the bytes of all segments that came out of order since, taken for full. Old kernels do not tell."""
    if info.out_of_order_segments_in is None:
        return math.inf
    return (info.out_of_order_segments_in - (whole.out_of_order_segments_in or 0)) * info.receive_mss_bytes


def _is_in_order(latest: TcpInfo, info: TcpInfo) -> bool:
    """Whether what came since ``latest`` came in order. Old kernels do not tell: then it is so."""
    if info.out_of_order_segments_in is None or info.data_segments_in is None:
        return True
    in_order = info.out_of_order_segments_in == latest.out_of_order_segments_in
    return in_order and _segments(latest, info) >= SEGMENTS_TO_TRUST


def _short_bytes(whole: TcpInfo, info: TcpInfo) -> float:
    return max(SHORT_SEGMENTS, SHORT_SHARE * _segments(whole, info)) * info.receive_mss_bytes
