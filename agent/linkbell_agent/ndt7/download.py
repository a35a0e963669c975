"""Download: the server sends, we count what reaches us."""

from linkbell_agent.ndt7.connection import Opened
from linkbell_agent.ndt7.stream import Owner, Stream
from linkbell_wire.failures import Operation
from linkbell_wire.ndt7.tcp_info import TcpInfo

SEGMENTS_TO_TRUST = 2
"""So many segments, all in order, between two looks, and nothing is missing before them."""


class Download(Stream):
    """Payload is counted as it arrives, byte by byte, however large the messages are."""

    operation = Operation.RECEIVE

    def __init__(self, opened: Opened, owner: Owner) -> None:
        super().__init__(opened, owner)
        self._carried_bytes = 0
        self._whole: TcpInfo | None = opened.before
        """The last view in which nothing was missing, and so bytes were exact."""
        self._latest = opened.before

    def delivered_bytes(self) -> int:
        return self._reader.payload_bytes

    def cost_bytes(self) -> int:
        return max(self._reader.payload_bytes, round(self._carried_bytes * self.payload_share))

    def carried_bytes(self) -> int:
        return self._carried_bytes

    def _count(self, info: TcpInfo) -> None:
        before, latest, self._latest = self._opened.before, self._latest, info
        if before is None or latest is None or self._whole is None:
            return
        if _is_whole(info, latest):
            self._whole = info
        since = self._whole
        waiting = ((info.data_segments_in or 0) - (since.data_segments_in or 0)) * info.receive_mss_bytes
        in_order = (info.bytes_received or 0) - (since.bytes_received or 0)
        start = (before.bytes_received or 0) + self._opened.answer_bytes
        self._carried_bytes = (since.bytes_received or 0) - start + max(in_order, waiting)


def _is_whole(info: TcpInfo, latest: TcpInfo) -> bool:
    """Whether nothing is missing: what came since ``latest`` came in order. Old kernels do not tell: then it is so."""
    if info.out_of_order_segments_in is None or info.data_segments_in is None:
        return True
    in_order = info.out_of_order_segments_in == latest.out_of_order_segments_in
    return in_order and info.data_segments_in - (latest.data_segments_in or 0) >= SEGMENTS_TO_TRUST
