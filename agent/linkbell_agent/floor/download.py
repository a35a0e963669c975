"""The check downwards: the server sends, our kernel counts the packets."""

from collections.abc import Callable, Sequence

from linkbell_agent.classify import NetworkFailure
from linkbell_agent.floor.curve import countable
from linkbell_agent.floor.exchange import FloorExchange, Limits, total
from linkbell_agent.floor.rule import Decision
from linkbell_agent.ndt7.connection import Connection, Opened
from linkbell_wire import floor
from linkbell_wire.failures import FailureCode, Operation
from linkbell_wire.ndt7.tcp_info import TcpInfo

SURPLUS_BYTES = 1 << 16
"""Payload beyond the budget by this much is not what was asked for."""

LEAST_SHARE_BYTES = 50_000

SHARE_OF_STREAMS = 4
"""While others are held up, one of several connections may have this many times its part under way."""


class FloorDownload(FloorExchange):
    """Counts packets with payload where the kernel does, bytes in order where it does not."""

    operation = Operation.RECEIVE

    def __init__(
        self,
        connection: Connection,
        limits: Limits,
        monotonic: Callable[[], float],
        others: Sequence[Opened] = (),
    ) -> None:
        super().__init__(connection, limits, monotonic, others)
        self._infos: list[TcpInfo | None] = [one.info() for one in self._connections]
        self._packets_before, self._received_before = self._counted()
        self._payload_share = 0.0
        for one in self._connections:
            one.widen_window(limits.budget_bytes // max(1, len(self._connections) // SHARE_OF_STREAMS))

    def _begin(self, first_bytes: bytes) -> None:
        super()._begin(first_bytes)
        if self._limits.waits_for_begin and not self._channel.is_gone:
            self._channel.say(floor.BEGIN)

    def _most_payload_bytes(self, limits: Limits) -> int:
        return floor.budget_bytes(limits.floor_bps) + SURPLUS_BYTES

    def _counted(self) -> tuple[int | None, int | None]:
        """Return packets and bytes in order by the latest views of the kernel, ``None`` where they are no measure."""
        return (
            total(None if info is None else countable(info, info.data_segments_in) for info in self._infos),
            total(None if info is None else info.bytes_received for info in self._infos),
        )

    def _sample(self) -> None:
        now_s, self._infos = self._views(self._infos)
        packets, received = self._counted()
        payload_bytes = self._payload_bytes()
        if payload_bytes > self._most_payload_bytes(self._limits):  # each of several kept to it
            self._channel.fail(NetworkFailure(self.operation, FailureCode.PROTOCOL_ERROR))
        if received is None:
            self._arrivals.add(now_s, None, payload_bytes)
            return
        received -= self._received_before or 0
        packets = None if packets is None else packets - (self._packets_before or 0)
        could_wait_bytes = sum(one.receive_buffer_bytes() for one in self._connections)
        self._arrivals.add(now_s, packets, received, could_wait_bytes)
        if received >= LEAST_SHARE_BYTES:
            # Bytes not read yet make it smaller for a moment: the largest seen is the true one.
            self._payload_share = max(self._payload_share, payload_bytes / received)

    def _payload_bytes(self) -> int:
        return sum(channel.payload_bytes for channel in self._channels)

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
        return max(self._payload_bytes(), waiting)

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
