"""The check upwards: our kernel paces, the server says what arrived, and our own kernel keeps it honest."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence

from linkbell_agent import averages
from linkbell_agent.classify import network_failure
from linkbell_agent.floor.curve import Arrivals, countable
from linkbell_agent.floor.exchange import FloorExchange, Limits, total
from linkbell_agent.floor.rule import GO_ON, Decision, FloorRule, State
from linkbell_agent.ndt7.connection import Connection, Opened
from linkbell_agent.slim import dataclass
from linkbell_wire import floor
from linkbell_wire.failures import Operation
from linkbell_wire.ndt7 import frames
from linkbell_wire.ndt7.frames import FrameError, Opcode
from linkbell_wire.ndt7.tcp_info import TcpInfo
from linkbell_wire.shared_pace import SharedPace

CLAIM_SURPLUS = 1.05
"""A server that says more arrived than our kernel saw acknowledged, by more than this, is not believed."""

LATEST_CLAIM_S = 1.0
"""A server that was not heard of for this long, and two round trips, is done without."""

LATE_S = 0.08
"""What the kernel holds is sent in a quarter of this time."""

MASKED_HEADER_BYTES = 8
"""Of a message from 126 to 65 535 bytes; larger ones have six more."""


class FloorUpload(FloorExchange):
    """Random bytes, taken for already masked, within the budget. The rule runs on both sides' counts of packets."""

    operation = Operation.SEND

    def __init__(
        self,
        connection: Connection,
        limits: Limits,
        monotonic: Callable[[], float],
        others: Sequence[Opened] = (),
    ) -> None:
        super().__init__(connection, limits, monotonic, others)
        self._their_rule = FloorRule(limits.floor_bps, limits.rtt_s)
        self._theirs = Arrivals()
        self._first_report: floor.Report | None = None
        self._heard_s = 0.0
        self._infos: list[TcpInfo | None] = [one.info() for one in self._connections]
        self._before = self._counts = self._counted()
        streams = len(self._connections)
        self._message_bytes = floor.message_bytes(limits.floor_bps)
        self._piece_bytes = floor.piece_bytes(limits.floor_bps, streams)
        self._load = os.urandom(max(self._message_bytes, self._piece_bytes))
        self._pieces = [memoryview(b"")] * streams
        self._begun_bytes = 0
        self._looked_s = 0.0
        self._pace: SharedPace | None = None
        self._turner: asyncio.TimerHandle | None = None
        self._turn = 0

    def _begin(self, first_bytes: bytes) -> None:
        streams = len(self._connections)
        try:
            for one in self._connections:
                self._ending.sender.congestion_control = one.use_bbr()
            self._set_pace(floor.FIRST_BOOST)
        except OSError as error:  # unpaced it would be a flood
            raise network_failure(Operation.SEND, error) from error
        super()._begin(first_bytes)
        if streams > 1:
            self._begin_together()
        elif not self._channel.is_gone:
            self._connection.limit_unsent(2 * self._message_bytes)
            self._connection.on_writable(self._writable)

    def _counted(self) -> "_Counts":
        infos = self._infos
        return _Counts(
            delivered=total(None if info is None else countable(info, info.delivered_segments) for info in infos),
            acked=total(None if info is None else info.bytes_acked for info in infos) or 0,
            sent=total(None if info is None else info.bytes_sent for info in infos) or 0,
            again=total(None if info is None else info.bytes_retransmitted for info in infos) or 0,
            unsent=total(None if info is None else info.unsent_bytes for info in infos) or 0,
        )

    def _most_payload_bytes(self, limits: Limits) -> int:
        return 0

    def _sample(self) -> None:
        now_s, self._infos = self._views(self._infos)
        infos = [info for info in self._infos if info is not None]
        if not infos:
            return
        counts, sender = self._counted(), self._ending.sender
        sender.rtts_s.append(averages.median(info.rtt_s for info in infos))
        sender.rtt_min_s = min((info.min_rtt_s for info in infos if info.min_rtt_s is not None), default=None)
        sender.retransmit_ratio = min(1.0, counts.again / counts.sent) if counts.sent else None
        sender.rwnd_limited_s = averages.mean(info.rwnd_limited_s or 0.0 for info in infos)
        self._note_starving(now_s, infos)
        delivered, before = counts.delivered, self._before
        if self._pace is not None:
            self._pace.charge(counts.again - self._counts.again)
        self._counts = counts
        self._arrivals.add(
            now_s,
            None if delivered is None else delivered - (before.delivered or 0),
            counts.acked - before.acked,
        )

    def _note_starving(self, now_s: float, infos: Sequence[TcpInfo]) -> None:
        """Count the time in which this box had nothing to send."""
        sender = self._ending.sender
        if self._pace is not None:
            sender.starved_s = self._pace.late_s
            return
        # After the answer nothing more is sent, and that is no lack of anything.
        is_sending = not self._decided.done() and self._begun_bytes < self._limits.budget_bytes
        # Looks are as late as writing is: a box that was busy all that time sent nothing in the end.
        has_nothing = infos[0].unsent_bytes == 0 or now_s - self._looked_s > LATE_S
        if has_nothing and is_sending:
            sender.starved_s += now_s - self._looked_s
        self._looked_s = now_s

    def _payload_share(self) -> float:
        """Payload among the bytes TCP carries: the rest are frame headers and TLS."""
        handed, counts = self._handed_bytes(), self._counts
        carried = counts.sent - self._before.sent - counts.again + counts.unsent
        return min(1.0, handed / carried) if handed and counts.sent and carried > 0 else 1.0

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
        own = self._infos[0]
        self._theirs.add(report.elapsed_us / 1e6, segments if own is None else countable(own, segments), received)

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
        return max(0, self._handed_bytes() - sum(one.unsent_bytes() for one in self._connections))

    def _handed_bytes(self) -> int:
        return max(0, self._begun_bytes - sum(len(piece) for piece in self._pieces))

    @property
    def is_in_message(self) -> bool:
        return bool(self._pieces[0])

    def _writable(self) -> None:
        """Send one message at most: the kernel keeps to its limit of what is unsent only when it is asked again."""
        try:
            if not self._pieces[0] and not self._channel.flush():
                return
            size = min(self._message_bytes, self._limits.budget_bytes - self._begun_bytes)
            if self._pieces[0] or (size > 0 and not self._decided.done()):
                self._write(0, size)
            else:
                self._connection.ignore(readable=False)
        except OSError as error:
            self._channel.fail(network_failure(Operation.SEND, error))

    def _write(self, number: int, size: int) -> None:
        """Send what is left of a connection's message, or begin one with ``size`` bytes of payload."""
        if not self._pieces[number]:
            head = frames.header(Opcode.BINARY, size, os.urandom(4))
            self._pieces[number] = memoryview(head + self._load[:size])
            self._begun_bytes += size
        piece = self._pieces[number]
        self._pieces[number] = piece[self._connections[number].send(piece) :]

    # Several connections

    def _begin_together(self) -> None:
        pace_bps = floor.pace_bps(self._limits.floor_bps)
        self._pace = SharedPace(pace_bps, self._limits.budget_bytes, self._elapsed_s())
        for one in self._connections:
            one.fill_packets(only_full=True)
        self._take_turns()

    def _take_turns(self) -> None:
        """Give what the pace allows to whichever connections can send."""
        if self._pace is None:
            return
        if self._decided.done():
            self._let_goodbye_pass()
            return
        pace, streams, waiting = self._pace, len(self._connections), 0
        pace.accrue(self._elapsed_s())
        if not pace.leads and self._begun_bytes >= floor.NEARLY * floor.FIRST_FLIGHT_BYTES * streams:
            pace.lead()
        in_hand_bytes = self._piece_bytes + pace.lead_bytes / streams
        while waiting < streams:
            number = self._turn % streams
            if not self._can_send(number, in_hand_bytes):
                waiting += 1
            elif size := pace.take(self._piece_bytes):
                self._send(number, size)
                waiting = 0
            else:
                break
            self._turn += 1
        if pace.leads:
            with contextlib.suppress(OSError):  # who writes next hears of it
                self._set_pace(pace.boost(self._piece_bytes))
        if pace.is_spent:
            for one in self._connections:
                one.fill_packets(only_full=False)
        self._turner = self._loop.call_later(floor.TURN_S, self._take_turns)

    def _set_pace(self, boost: float) -> None:
        each_bps = floor.stream_pace_bps(self._limits.floor_bps, len(self._connections), boost)
        for one in self._connections:
            one.pace(each_bps)

    def _let_goodbye_pass(self) -> None:
        if self._channel.is_gone:
            return
        if self._pieces[0]:
            self._send(0, 0)
            self._turner = self._loop.call_later(floor.TURN_S, self._take_turns)
        self._connection.fill_packets(only_full=False)

    def _can_send(self, number: int, in_hand_bytes: float) -> bool:
        if self._channels[number].is_gone:
            return False
        if self._pieces[number]:
            self._send(number, 0)
        return not self._pieces[number] and self._connections[number].has_room(self._piece_bytes, in_hand_bytes)

    def _send(self, number: int, size: int) -> None:
        """Send a message of ``size`` bytes, header included, or the rest of one."""
        try:
            self._write(number, max(1, size - MASKED_HEADER_BYTES))
        except OSError as error:
            self._channels[number].fail(network_failure(Operation.SEND, error))


@dataclass(frozen=True, slots=True)
class _Counts:
    """What the kernel counted on all connections together."""

    delivered: int | None
    acked: int
    sent: int
    again: int
    unsent: int


def _exceeds(theirs: Decision, own: Decision) -> bool:
    if theirs.bps is None or own.bps is None or theirs.state is State.GO_ON:
        return False
    return theirs.bps > CLAIM_SURPLUS * own.bps
