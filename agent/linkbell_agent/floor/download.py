"""The check downwards: the server sends, our kernel counts the packets."""

from collections.abc import Callable

from linkbell_agent.floor.exchange import FloorExchange, Limits
from linkbell_agent.floor.rule import Decision
from linkbell_agent.ndt7.connection import Connection
from linkbell_wire import floor
from linkbell_wire.failures import Operation

SURPLUS_BYTES = 1 << 16
"""Payload beyond the budget by this much is not what was asked for."""

LEAST_SHARE_BYTES = 50_000


class FloorDownload(FloorExchange):
    """Counts packets with payload where the kernel does, bytes in order where it does not."""

    operation = Operation.RECEIVE

    def __init__(self, connection: Connection, limits: Limits, monotonic: Callable[[], float]) -> None:
        super().__init__(connection, limits, monotonic)
        info = connection.info()
        self._packets_before = (info.data_segments_in or 0) if info is not None else 0
        self._received_before = (info.bytes_received or 0) if info is not None else 0
        self._payload_share = 0.0
        connection.widen_window(limits.budget_bytes)

    def _most_payload_bytes(self, limits: Limits) -> int:
        return limits.budget_bytes + SURPLUS_BYTES

    def _sample(self) -> None:
        now_s = self._elapsed_s()
        info = self._connection.info()
        if info is None or info.bytes_received is None:
            self._arrivals.add(now_s, None, self._channel.payload_bytes)
            return
        received = info.bytes_received - self._received_before
        packets = None if info.data_segments_in is None else info.data_segments_in - self._packets_before
        self._arrivals.add(now_s, packets, received, self._connection.receive_buffer_bytes())
        if received >= LEAST_SHARE_BYTES:
            # Bytes not read yet make it smaller for a moment: the largest seen is the true one.
            self._payload_share = max(self._payload_share, self._channel.payload_bytes / received)

    def _share(self) -> float:
        """Payload among the bytes TCP carries: the rest are frame headers, reports and TLS."""
        return min(1.0, self._payload_share or 1.0)

    def _decide(self, *, capped: bool) -> Decision:
        curve, unit_bytes = self._arrivals.best
        return self._rule.decide(curve, unit_bytes * 8 * self._share(), capped=capped, can_fail=self._line_is_full)

    def _arrived_bytes(self) -> float:
        return self._arrivals.total_bytes * self._share()

    def _cost_bytes(self) -> int:
        """Include what waits behind a lost packet; short packets counted whole must not exceed the budget."""
        waiting = min(round(self._arrived_bytes()), self._limits.budget_bytes)
        return max(self._channel.payload_bytes, waiting)

    def _take_report(self, report: floor.Report) -> None:
        sender = self._ending.sender
        if report.rtt_us:
            sender.rtts_s.append(report.rtt_us / 1e6)
        if report.min_rtt_us:
            sender.rtt_min_s = report.min_rtt_us / 1e6
        if report.bytes_sent and report.bytes_retransmitted is not None:
            sender.retransmit_ratio = min(1.0, report.bytes_retransmitted / report.bytes_sent)
        sender.rwnd_limited_s = (report.rwnd_limited_us or 0) / 1e6
        sender.starved_s = (report.starved_us or 0) / 1e6
        sender.congestion_control = report.congestion_control
