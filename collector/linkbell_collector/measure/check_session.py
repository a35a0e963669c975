"""One floor check on one connection: a paced exchange within a budget of bytes, and frequent reports of how it goes.

A check is an ndt7-like session that cannot become a flood: the kernel paces what is sent, the budget ends it, and the
client leaves as soon as it is sure.
"""

import asyncio
import time
from dataclasses import dataclass, replace

from linkbell_collector.measure.check_group import CheckGroup
from linkbell_collector.measure.kernel import NOTSENT_S, KernelSocket
from linkbell_collector.measure.metrics import Outcome
from linkbell_collector.measure.session import DOWNLOAD_BUFFER_BYTES, Plan, Session
from linkbell_collector.measure.settings import Timings
from linkbell_wire import floor
from linkbell_wire.ndt7 import frames
from linkbell_wire.ndt7.frames import Frame, FrameError, Opcode
from linkbell_wire.ndt7.measurement import ConnectionInfo
from linkbell_wire.words import Direction

SURPLUS = 1.1
"""A client that sends this much more than the budget is no client of ours."""

CHECK_BUFFER_BYTES = 1 << 16

STREAM_BUFFER_BYTES = 1 << 14
"""For each further connection of a check: together they are as fast as one."""

LEAST_UNSENT_BYTES = 1 << 12
"""Nearly three packets: with fewer at hand the kernel would send some that are not full, and packets are counted."""

SHARE_OF_STREAMS = 4
"""While others are held up, one of several connections may have this many times its part of a check under way."""

UNSENT_S = 0.02
"""So much of the pace may wait in this process, besides what waits in the kernel: reports wait behind it."""

LATE_S = 2 * (UNSENT_S + NOTSENT_S)
"""What waits in this process and in the kernel is sent in half of this time."""

DOWNLOAD_REPORT_BYTES, DOWNLOAD_REPORT_SHARE = 280, 0.02
"""Reports go the payload's way in a download, at the payload's pace: no more than this part of it is theirs."""

UPLOAD_REPORT_BYTES, UPLOAD_REPORT_SHARE = 150, 0.1
"""In an upload they go the other way, each a packet of its own: no more than this part of the pace, for slow lines."""


@dataclass(frozen=True, slots=True)
class CheckPlan:
    """What one check is to do."""

    direction: Direction
    timings: Timings
    floor_bps: float
    group: CheckGroup | None = None
    """The other connections of the same check, where the client said that there may be any."""

    def session_plan(self) -> Plan:
        """Return the plan of the session underneath, by the clock of checks."""
        timings = replace(
            self.timings,
            test_s=self.timings.check_s,
            hard_stop_s=self.timings.check_hard_stop_s,
            interval_s=self.timings.check_interval_s,
        )
        return Plan(self.direction, timings, ConnectionInfo(client="", server="", uuid=""))


class CheckSession(Session):
    """What both directions share: the report, which is a check's own, and when it is sent."""

    def __init__(
        self, transport: asyncio.Transport, previous: asyncio.BaseProtocol, kernel: KernelSocket, plan: CheckPlan
    ) -> None:
        self._group = plan.group
        self._began_s = time.monotonic()
        super().__init__(transport, previous, kernel, plan.session_plan())
        self._floor_bps = plan.floor_bps
        self._budget_bytes = floor.budget_bytes(plan.floor_bps)
        if self._group is not None:
            self._group.join(self)

    @property
    def kernel(self) -> KernelSocket:
        """What the kernel knows of this connection."""
        return self._kernel

    def write_load(self, size: int) -> None:
        """Send a message of ``size`` bytes, its header included."""
        raise NotImplementedError

    def begin(self) -> None:
        """Take the connection over."""
        self._began_s = time.monotonic()
        super().begin()

    def _elapsed_s(self) -> float:
        """Look at the clock itself: the loop's is as old as this turn of it, and what has arrived is not."""
        return time.monotonic() - self._began_s

    def _speaks(self) -> bool:
        return self._group is None or self._group.is_first(self)

    def _leave_group(self) -> None:
        if self._group is not None:
            self._group.leave(self)

    def _buffer_bytes(self) -> int:
        return CHECK_BUFFER_BYTES if self._group is None or self._group.joined == 0 else STREAM_BUFFER_BYTES

    def _report(self) -> None:
        if self._has_news():
            self._send_report()
        self._later("report", self._report_interval_s(), self._report)

    def _send_report(self) -> None:
        self._send(Opcode.TEXT, self._state().to_json())

    def _report_interval_s(self) -> float:
        down = self._plan.direction is Direction.DOWNLOAD
        size = DOWNLOAD_REPORT_BYTES if down else UPLOAD_REPORT_BYTES
        share = DOWNLOAD_REPORT_SHARE if down else UPLOAD_REPORT_SHARE
        return max(self._plan.timings.interval_s, size * 8 / (share * floor.pace_bps(self._floor_bps)))

    def _has_news(self) -> bool:
        return True

    def _state(self) -> floor.Report:
        raise NotImplementedError


class CheckUpload(CheckSession):
    """The client sends, paced by its own kernel; we say what has arrived."""

    def begin(self) -> None:
        """Take the connection over. The whole budget may be under way: a window is not to be what is measured."""
        share = 1 if self._group is None else max(1, self._group.joined // SHARE_OF_STREAMS)
        self._kernel.widen_window(self._budget_bytes // share)
        super().begin()

    def _check_received(self) -> None:
        payload_bytes = self._reader.payload_bytes if self._group is None else self._group.payload_bytes
        if payload_bytes > self._budget_bytes * SURPLUS:
            raise FrameError("more than the budget of this check", frames.CLOSE_POLICY)
        super()._check_received()

    def _has_news(self) -> bool:
        return self._group is None or self._group.received()[0] > 0

    def _state(self) -> floor.Report:
        if self._group is not None:
            segments, received = self._group.received()
            elapsed_us = round(self._elapsed_s() * 1e6)
            return floor.Report(elapsed_us=elapsed_us, segments=segments, received_bytes=received)
        info = self._kernel.info()
        return floor.Report(
            elapsed_us=round(self._elapsed_s() * 1e6),
            segments=None if info is None else info.data_segments_in,
            received_bytes=None if info is None else info.bytes_received,
        )


class CheckDownload(CheckSession):
    """We send random bytes at the check's pace, until the budget is spent or the client has seen enough."""

    def __init__(
        self,
        transport: asyncio.Transport,
        previous: asyncio.BaseProtocol,
        kernel: KernelSocket,
        plan: CheckPlan,
        payload: memoryview,
    ) -> None:
        super().__init__(transport, previous, kernel, plan)
        self._payload = payload[: max(floor.message_bytes(plan.floor_bps), floor.piece_bytes(plan.floor_bps, 1))]
        self._message_bytes = floor.message_bytes(plan.floor_bps)
        self._sent_bytes = 0
        self._paused = False
        self._starved_s = 0.0
        self._looked_s = 0.0
        self._leaving_bytes = 1
        self._congestion_control = kernel.congestion_control()

    @property
    def payload_bytes(self) -> int:
        """Payload handed to the line so far."""
        return self._sent_bytes

    def begin(self) -> None:
        """Take the connection over and start to send. Without pacing nothing is sent: it would be a flood.

        Where there may be more connections, the client says when all are there.
        """
        super().begin()
        if self._group is None:
            self._begin_alone()

    def _begin_alone(self) -> None:
        pace_bps = floor.pace_bps(self._floor_bps)
        try:
            self._kernel.pace(pace_bps)
        except OSError:
            self._budget_bytes = 0
        self._kernel.limit_unsent(pace_bps, LEAST_UNSENT_BYTES)
        # The kernel does not pace the first ten packets: they would leave with what one message left over.
        self._leaving_bytes = self._kernel.fill_packets(only_full=True)
        self._transport.set_write_buffer_limits(high=round(pace_bps / 8 * UNSENT_S), low=0)
        self._pump()

    def pause_writing(self) -> None:
        """The kernel has enough to send."""
        self._paused = True

    def resume_writing(self) -> None:
        """The kernel can take more."""
        self._paused = False
        if self._group is None:
            self._pump()

    def write_load(self, size: int) -> None:
        """Send a message of ``size`` bytes, its header included."""
        if self._outcome is not None or self._transport.is_closing():
            return
        payload_bytes = max(0, size - len(frames.header(Opcode.BINARY, size)))
        self._transport.write(frames.header(Opcode.BINARY, payload_bytes))
        self._transport.write(self._payload[:payload_bytes])
        self._sent_bytes += payload_bytes

    def _buffer_bytes(self) -> int:
        return DOWNLOAD_BUFFER_BYTES

    def _check_received(self) -> None:
        if self._reader.payload_bytes:
            raise FrameError("binary messages flow the other way in a download", frames.CLOSE_UNSUPPORTED_DATA)
        super()._check_received()

    def _receive(self, frame: Frame) -> None:
        super()._receive(frame)
        is_begin = frame.opcode is Opcode.TEXT and frame.payload == floor.BEGIN
        if is_begin and self._group is not None and self._group.is_first(self):
            if self._group.joined > 1:
                self._group.begin()
            else:
                self._leave_group()
                self._group = None
                self._begin_alone()

    def _close_received(self) -> None:
        """The client knows: what has not been sent stays unsent, and the school does not pay for it."""
        self._outcome = self._outcome or Outcome.CLIENT_CLOSED
        self._refused = True
        self.abort()
        if self._group is not None and self._group.is_first(self):
            self._group.end()

    def _pump(self) -> None:
        self._cancel("pump")
        while not (self._paused or self._outcome is not None or self._transport.is_closing()):
            size = min(self._message_bytes, self._budget_bytes - self._sent_bytes)
            if size <= 0:
                self._kernel.fill_packets(only_full=False)
                return
            if self._kernel_has_enough():
                self._later("pump", UNSENT_S / 2, self._pump)
                return
            self._transport.write(frames.header(Opcode.BINARY, size))
            self._transport.write(self._payload[:size])
            self._sent_bytes += size

    def _kernel_has_enough(self) -> bool:
        """Look ourselves: the kernel keeps to its limit only between bundles, and one may be seconds of a low floor."""
        info = self._kernel.info()
        unsent_bytes = 0 if info is None else info.unsent_bytes or 0
        return unsent_bytes >= max(LEAST_UNSENT_BYTES, floor.pace_bps(self._floor_bps) / 8 * NOTSENT_S)

    def _has_news(self) -> bool:
        """Once the budget is spent, reports would be packets by themselves, and be counted as the line's."""
        if self._group is not None:
            return self._group.has_begun and not self._group.is_spent
        return self._sent_bytes < self._budget_bytes

    def _state(self) -> floor.Report:
        if self._group is not None:
            return self._group.sent(round(self._elapsed_s() * 1e6), self._congestion_control)
        info = self._kernel.info()
        now_s = self._elapsed_s()
        # A busy server looks as late as it writes.
        is_late = now_s - self._looked_s > LATE_S + self._report_interval_s()
        has_nothing = info is not None and info.unsent_bytes is not None and info.unsent_bytes < self._leaving_bytes
        if (has_nothing or is_late) and self._sent_bytes < self._budget_bytes:
            self._starved_s += now_s - self._looked_s
        self._looked_s = now_s
        if info is None:
            return floor.Report(elapsed_us=round(now_s * 1e6))
        return floor.Report(
            elapsed_us=round(now_s * 1e6),
            rtt_us=round(info.rtt_s * 1e6),
            min_rtt_us=None if info.min_rtt_s is None else round(info.min_rtt_s * 1e6),
            bytes_sent=info.bytes_sent,
            bytes_retransmitted=info.bytes_retransmitted,
            rwnd_limited_us=None if info.rwnd_limited_s is None else round(info.rwnd_limited_s * 1e6),
            starved_us=round(self._starved_s * 1e6),
            congestion_control=self._congestion_control,
        )
