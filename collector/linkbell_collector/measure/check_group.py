"""The connections of one floor check: one pace and one budget for all of them, and one report.

By satellite a single connection spends most of a check on coming up to speed, and a packet lost meanwhile costs it a
round trip more. Side by side the connections' first flights fill the line, and a loss holds up one of them.
"""

import asyncio
import statistics
import time
from collections.abc import Iterable
from typing import Protocol

from linkbell_collector.measure.kernel import KernelSocket
from linkbell_wire import floor
from linkbell_wire.ndt7.tcp_info import TcpInfo
from linkbell_wire.shared_pace import SharedPace

AT_ONCE_S, LOOKS = 0.004, 4
"""Looks at several connections that took longer are repeated."""


class Member(Protocol):
    """One connection."""

    @property
    def kernel(self) -> KernelSocket:
        """What the kernel knows of it."""

    @property
    def payload_bytes(self) -> int:
        """Payload that went through so far."""

    def write_load(self, size: int) -> None:
        """Send a message of ``size`` bytes, its header included."""

    def abort(self) -> None:
        """Cut it."""


class CheckGroup:
    """The connections of one check in the order they came. The first speaks for all, and with it all end."""

    def __init__(self, floor_bps: float) -> None:
        self._floor_bps = floor_bps
        self._loop = asyncio.get_running_loop()
        self._members: list[Member] = []
        self._first: Member | None = None
        self._before: dict[Member, TcpInfo | None] = {}
        self._latest: dict[Member, TcpInfo] = {}
        self._pace: SharedPace | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._turn = 0
        self._piece_bytes = 0
        self._given_bytes = 0
        self._again_bytes = 0

    @property
    def joined(self) -> int:
        """How many connections there ever were."""
        return len(self._before)

    @property
    def payload_bytes(self) -> int:
        """Payload of all connections so far, of those that are gone as well."""
        return sum(member.payload_bytes for member in self._before)

    @property
    def is_spent(self) -> bool:
        """Whether all that a download may send is sent."""
        return self._pace is not None and self._pace.is_spent

    @property
    def has_begun(self) -> bool:
        """Whether a download sends."""
        return self._pace is not None

    @property
    def late_s(self) -> float:
        """For how long this process was too busy to send."""
        return 0.0 if self._pace is None else self._pace.late_s

    def join(self, member: Member) -> None:
        """Take one more connection in. What it has received so far is its request."""
        self._first = self._first or member
        self._members.append(member)
        self._before[member] = member.kernel.info()

    def leave(self, member: Member) -> None:
        """Let a connection go, for good. Doing so twice is harmless."""
        if member in self._members:
            self._look(member)
            self._members.remove(member)

    def is_first(self, member: Member) -> bool:
        """Whether ``member`` is the one that speaks."""
        return self._first is member

    def end(self) -> None:
        """Cut what is left: the check is over."""
        if self._timer is not None:
            self._timer.cancel()
        for member in list(self._members):
            member.abort()

    # Sending

    def begin(self) -> None:
        """Send at the pace, until the budget is spent. Without pacing nothing is sent: it would be a flood."""
        if self._pace is not None:
            return
        streams = len(self._members)
        pace_bps = floor.pace_bps(self._floor_bps)
        self._piece_bytes = floor.piece_bytes(self._floor_bps, streams)
        self._pace = SharedPace(pace_bps, floor.budget_bytes(self._floor_bps, streams), time.monotonic())
        try:
            self._set_pace(floor.FIRST_BOOST)
        except OSError:
            return
        for member in self._members:
            member.kernel.fill_packets(only_full=True)
        self._pump()

    def _pump(self) -> None:
        """Give what the pace allows to whichever connections can send."""
        pace = self._pace
        assert pace is not None
        pace.accrue(time.monotonic())
        if not pace.leads and self._given_bytes >= self._first_flights_bytes():
            pace.lead()
        in_hand_bytes = self._piece_bytes + pace.lead_bytes / max(1, len(self._members))
        refused = 0
        while refused < len(self._members):
            member = self._members[self._turn % len(self._members)]
            if not member.kernel.has_room(self._piece_bytes, in_hand_bytes):
                refused += 1
            else:
                size = pace.take(self._piece_bytes)
                if not size:
                    break
                member.write_load(size)
                self._given_bytes += size
                refused = 0
            self._turn += 1
        if pace.leads:
            self._set_pace(pace.boost(self._piece_bytes))
        if pace.is_spent:
            for member in self._members:
                member.kernel.fill_packets(only_full=False)
        else:
            self._timer = self._loop.call_later(floor.TURN_S, self._pump)

    def _first_flights_bytes(self) -> float:
        return floor.NEARLY * floor.FIRST_FLIGHT_BYTES * len(self._members)

    def _set_pace(self, boost: float) -> None:
        for member in self._members:
            member.kernel.pace(floor.stream_pace_bps(self._floor_bps, len(self._members), boost))

    # Looking

    def received(self) -> tuple[int, int]:
        """Return the segments and the bytes in order that all connections received since they joined."""
        self._look_at_all()
        segments = received = 0
        for member, info in self._latest.items():
            before = self._before[member]
            segments += (info.data_segments_in or 0) - ((before and before.data_segments_in) or 0)
            received += (info.bytes_received or 0) - ((before and before.bytes_received) or 0)
        return segments, received

    def sent(self, elapsed_us: int, congestion_control: str | None) -> floor.Report:
        """Return what all connections sent, and the median of their round trips."""
        self._look_at_all()
        infos = list(self._latest.values())
        again_bytes = _total(info.bytes_retransmitted for info in infos)
        if self._pace is not None:
            self._pace.charge(again_bytes - self._again_bytes)
        self._again_bytes = again_bytes
        least = [info.min_rtt_s for info in infos if info.min_rtt_s is not None]
        limited_s = statistics.fmean(info.rwnd_limited_s or 0.0 for info in infos) if infos else 0.0
        return floor.Report(
            elapsed_us=elapsed_us,
            rtt_us=round(statistics.median(info.rtt_s for info in infos) * 1e6) if infos else None,
            min_rtt_us=round(min(least) * 1e6) if least else None,
            bytes_sent=_total(info.bytes_sent for info in infos),
            bytes_retransmitted=again_bytes,
            rwnd_limited_us=round(limited_s * 1e6),
            starved_us=round(self.late_s * 1e6),
            congestion_control=congestion_control,
        )

    def _look_at_all(self) -> None:
        """Look again if another program came between two looks: then they are of no one moment."""
        for _ in range(LOOKS):
            began_s = time.monotonic()
            for member in self._members:
                self._look(member)
            if time.monotonic() - began_s < AT_ONCE_S:
                return

    def _look(self, member: Member) -> None:
        info = member.kernel.info()
        if info is not None:
            self._latest[member] = info


def _total(counts: Iterable[int | None]) -> int:
    return sum(count or 0 for count in counts)
