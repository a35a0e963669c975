"""The check upwards: our kernel paces, the server says what arrived, and our own kernel keeps it honest."""

import os
from collections.abc import Callable

from linkbell_agent.classify import network_failure
from linkbell_agent.floor.curve import Arrivals
from linkbell_agent.floor.exchange import FloorExchange, Limits
from linkbell_agent.floor.rule import GO_ON, Decision, FloorRule, State
from linkbell_agent.ndt7.connection import Connection
from linkbell_wire import floor
from linkbell_wire.failures import Operation
from linkbell_wire.ndt7 import frames
from linkbell_wire.ndt7.frames import FrameError, Opcode
from linkbell_wire.ndt7.tcp_info import TcpInfo

CLAIM_SURPLUS = 1.05
"""A server that says more arrived than our kernel saw acknowledged, by more than this, is not believed."""

LATEST_CLAIM_S = 1.0
"""A server that was not heard of for this long, and two round trips, is done without."""

LATE_S = 0.08
"""What the kernel holds is sent in a quarter of this time."""

_ROOM = 14


class FloorUpload(FloorExchange):
    """Random bytes, taken for already masked, within the budget. The rule runs on both sides' counts of packets."""

    operation = Operation.SEND

    def __init__(self, connection: Connection, limits: Limits, monotonic: Callable[[], float]) -> None:
        super().__init__(connection, limits, monotonic)
        self._their_rule = FloorRule(limits.floor_bps, limits.rtt_s)
        self._theirs = Arrivals()
        self._first_report: floor.Report | None = None
        self._heard_s = 0.0
        self._own: TcpInfo | None = connection.info()
        self._delivered_before = (self._own.delivered_segments or 0) if self._own is not None else 0
        self._acked_before = (self._own.bytes_acked or 0) if self._own is not None else 0
        self._sent_before = (self._own.bytes_sent or 0) if self._own is not None else 0
        size = floor.message_bytes(limits.floor_bps)
        self._view = memoryview(bytearray(_ROOM) + os.urandom(size))
        self._message_bytes = size
        self._piece = self._view[:0]
        self._begun_bytes = 0
        self._looked_s = 0.0

    def _begin(self, first_bytes: bytes) -> None:
        self._ending.sender.congestion_control = self._connection.use_bbr()
        self._connection.limit_unsent(2 * self._message_bytes)
        try:
            self._connection.pace(floor.pace_bps(self._limits.floor_bps))
        except OSError as error:  # unpaced it would be a flood
            raise network_failure(Operation.SEND, error) from error
        super()._begin(first_bytes)
        if not self._gone.done():
            self._connection.on_writable(self._writable)

    def _check(self) -> None:
        if self._reader.payload_bytes:
            raise FrameError("binary messages flow the other way in an upload")
        super()._check()

    def _sample(self) -> None:
        now_s = self._elapsed_s()
        info = self._connection.info()
        if info is None:
            return
        self._own = info
        sender = self._ending.sender
        sender.rtts_s.append(info.rtt_s)
        sender.rtt_min_s, sender.retransmit_ratio = info.min_rtt_s, info.retransmit_ratio
        sender.rwnd_limited_s = info.rwnd_limited_s or 0.0
        # After the answer nothing more is sent, and that is no lack of anything.
        is_sending = not self._decided.done() and self._begun_bytes < self._limits.budget_bytes
        # Looks are as late as writing is: a box that was busy all that time sent nothing in the end.
        has_nothing = info.unsent_bytes == 0 or now_s - self._looked_s > LATE_S
        if has_nothing and is_sending:
            sender.starved_s += now_s - self._looked_s
        self._looked_s = now_s
        delivered = None if info.delivered_segments is None else info.delivered_segments - self._delivered_before
        self._arrivals.add(now_s, delivered, (info.bytes_acked or 0) - self._acked_before)

    def _payload_share(self) -> float:
        """Payload among the bytes TCP carries: the rest are frame headers and TLS."""
        handed = self._handed_bytes()
        sent = self._own.bytes_sent if self._own is not None else None
        unsent = self._own.unsent_bytes if self._own is not None else None
        again = self._own.bytes_retransmitted if self._own is not None else None
        if not handed or not sent:
            return 1.0
        carried = sent - self._sent_before - (again or 0) + (unsent or 0)
        return min(1.0, handed / carried) if carried > 0 else 1.0

    # What the server says

    def _take_report(self, report: floor.Report) -> None:
        if report.segments is None or report.received_bytes is None:
            return
        self._heard_s = self._elapsed_s()
        first = self._first_report = self._first_report or report
        segments = report.segments - (first.segments or 0)
        received = report.received_bytes - (first.received_bytes or 0)
        if segments < 0 or received < 0 or received > self._begun_bytes * CLAIM_SURPLUS + self._message_bytes:
            raise FrameError("more has arrived, the server says, than was sent")
        self._theirs.add(report.elapsed_us / 1e6, segments, received)

    def _decide(self, *, capped: bool) -> Decision:
        """Go by the receiver's count if there is one that can be true; else by what was acknowledged."""
        mine = self._own_decision(capped=True)
        silent_s = self._elapsed_s() - self._heard_s
        if self._first_report is None or silent_s > max(LATEST_CLAIM_S, 2 * self._limits.rtt_s):
            return self._own_decision(capped=capped)
        if mine.bps is None:  # nothing of our own yet to hold it against
            return mine if capped else GO_ON
        curve, unit_bytes = self._theirs.best
        theirs = self._their_rule.decide(
            curve, unit_bytes * 8 * self._payload_share(), capped=capped, can_fail=self._line_is_full
        )
        if _exceeds(theirs, mine):
            return self._own_decision(capped=capped)
        return theirs

    def _own_decision(self, *, capped: bool) -> Decision:
        curve, unit_bytes = self._arrivals.best
        unit_bits = unit_bytes * 8 * self._payload_share()
        return self._rule.decide(curve, unit_bits, capped=capped, can_fail=self._line_is_full)

    def _arrived_bytes(self) -> float:
        return self._arrivals.total_bytes * self._payload_share()

    def _is_spent(self, elapsed_s: float) -> bool:
        claimed = self._theirs.total_bytes * self._payload_share()
        return claimed >= 0.99 * self._limits.budget_bytes or super()._is_spent(elapsed_s)

    # Writing

    def _cost_bytes(self) -> int:
        """Leave out what the kernel never sent: it is thrown away when the connection is closed."""
        info = self._connection.info()
        return max(0, self._handed_bytes() - ((info.unsent_bytes or 0) if info is not None else 0))

    def _handed_bytes(self) -> int:
        return max(0, self._begun_bytes - len(self._piece))

    def _flush_outbox(self) -> None:
        """Control frames go between messages, never inside one."""
        if not self._piece:
            super()._flush_outbox()

    def _writable(self) -> None:
        """Send one message at most: the kernel keeps to its limit of what is unsent only when it is asked again."""
        try:
            if self._piece or self._next_message():
                self._piece = self._piece[self._connection.send(self._piece) :]
                return
            self._flush_outbox()
            if not self._outbox:
                self._connection.ignore(readable=False)
        except OSError as error:
            self._fail(network_failure(Operation.SEND, error))

    def _next_message(self) -> bool:
        size = min(self._message_bytes, self._limits.budget_bytes - self._begun_bytes)
        if size <= 0 or self._decided.done() or self._outbox:
            return False
        head = frames.header(Opcode.BINARY, size, os.urandom(4))
        start = _ROOM - len(head)
        self._view[start:_ROOM] = head
        self._piece = self._view[start : _ROOM + size]
        self._begun_bytes += size
        return True


def _exceeds(theirs: Decision, own: Decision) -> bool:
    if theirs.bps is None or own.bps is None or theirs.state is State.GO_ON:
        return False
    return theirs.bps > CLAIM_SURPLUS * own.bps
