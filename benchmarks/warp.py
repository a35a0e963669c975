"""The agent itself, with nothing to wait for: ``python -m benchmarks.warp 168 run --state DIR ...``.

It is built by the same ``build()`` and has the settings, sockets, threads and files of ``linkbell-agent run``; only its
clocks are others. Whenever it waits for nothing but the time, the clocks are set forward to the moment it waits for.
While anything is under way that takes real time, they run as always: a connection that is open, a call in a thread, a
page being drawn, a speed test or a floor check. So round trips, speeds and time limits are what they are in real life;
a reply to a ping comes within a millisecond on this machine, which is waited for each time. Only waiting is left out.
What a line of many milliseconds does to the agent is therefore not seen here.

``hour N`` is printed at each simulated hour, ``end`` when all have passed; then time is real, until SIGTERM.
"""

import argparse
import asyncio
import contextlib
import os
import selectors
import socket
import stat
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from linkbell_agent.cli import build_parser, load_settings
from linkbell_agent.lean import do_without_plugins
from linkbell_agent.threads import under_way

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

    from linkbell_agent.clock import Moment
    from linkbell_agent.probes.base import CheckRequest, ProbeContext, SpeedRequest
    from linkbell_wire.records import Record

REPLY_S = 0.001
"""A host on this machine answers a ping within it."""

LOOK_S = 0.02
"""How often it is looked whether what takes real time is over."""

CHILD = "waitpid"
"""What asyncio calls a thread that lives as long as a child process."""

SO_ACCEPTCONN, SO_PROTOCOL = 30, 38  # asm-generic/socket.h


class Warp:
    """How far the clocks are set forward."""

    def __init__(self) -> None:
        self.ahead_s = 0.0
        self._holds = 0

    def time(self) -> float:
        """Return what replaces ``time.monotonic()``."""
        return time.monotonic() + self.ahead_s

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let time be real meanwhile."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1

    def is_held(self) -> bool:
        """Say whether something takes real time; sockets are the selector's affair."""
        return self._holds > 0 or under_way() > 0 or _has_child()


def _has_child() -> bool:
    return any(one.name.startswith(CHILD) for one in threading.enumerate())


class WarpSelector(selectors.EpollSelector):
    """Skips what is waited for in vain."""

    def __init__(self, warp: Warp) -> None:
        super().__init__()
        self._warp = warp
        self._in_use: set[int] = set()

    def register(self, fileobj: "FileDescriptorLike", events: int, data: object = None) -> selectors.SelectorKey:
        key = super().register(fileobj, events, data)
        if takes_real_time(key.fd):
            self._in_use.add(key.fd)
        return key

    def unregister(self, fileobj: "FileDescriptorLike") -> selectors.SelectorKey:
        key = super().unregister(fileobj)
        self._in_use.discard(key.fd)
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None or self._in_use or self._warp.is_held():
            return super().select(LOOK_S if timeout is None else min(timeout, LOOK_S))
        ready = super().select(min(timeout, REPLY_S))
        if not ready:
            self._warp.ahead_s += max(0.0, timeout - REPLY_S)
        return ready


def takes_real_time(descriptor: int) -> bool:
    """Say whether what comes over ``descriptor`` takes time: other processes and streams do, pings do not."""
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        return True  # a pipe of a child process
    with socket.socket(fileno=os.dup(descriptor)) as sock:
        if sock.family == socket.AF_UNIX:
            return False  # how threads wake the loop
        if sock.getsockopt(socket.SOL_SOCKET, SO_ACCEPTCONN):
            return False
        protocol = sock.getsockopt(socket.SOL_SOCKET, SO_PROTOCOL)
        return protocol not in (socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6)


class WarpLoop(asyncio.SelectorEventLoop):
    """A loop of that time."""

    def __init__(self, warp: Warp) -> None:
        super().__init__(WarpSelector(warp))
        self._warp = warp

    def time(self) -> float:
        """Return the simulated time."""
        return self._warp.time()


class WarpClock:
    """All clocks of the box, ``began`` when it was made."""

    def __init__(self, warp: Warp, began: datetime) -> None:
        from linkbell_agent.clock import SystemClock

        self._warp = warp
        self._boot_id = SystemClock().boot_id
        self._began, self._began_s = began, warp.time()

    @property
    def boot_id(self) -> str:
        """This boot."""
        return self._boot_id

    def now(self) -> "Moment":
        """Return the simulated moment."""
        from linkbell_agent.clock import Moment

        passed = timedelta(seconds=self._warp.time() - self._began_s)
        return Moment(self._began + passed, time.clock_gettime(time.CLOCK_BOOTTIME) + self._warp.ahead_s)

    def monotonic(self) -> float:
        """Return the simulated seconds."""
        return self._warp.time()

    def synced(self) -> bool | None:
        """As on a box with NTP."""
        return True


def began(hours: float) -> datetime:
    """Return the last Monday, eight o'clock UTC, when school begins, that is long enough ago."""
    latest = datetime.now(UTC) - timedelta(hours=hours)
    monday = latest - timedelta(days=latest.weekday())
    moment = monday.replace(hour=8, minute=0, second=0, microsecond=0)
    return moment if moment <= latest else moment - timedelta(days=7)


async def run(arguments: argparse.Namespace, hours: float, warp: Warp) -> None:
    """Run an agent through so many simulated hours, and on in real time until it is told to stop."""
    from linkbell_agent import app

    async def speed(request: "SpeedRequest", context: "ProbeContext") -> "Record":
        with warp.held():
            return await app.PROBES.speed(request, context)

    async def check(request: "CheckRequest", context: "ProbeContext") -> "Record":
        assert app.PROBES.check is not None
        with warp.held():
            return await app.PROBES.check(request, context)

    async def count_hours() -> None:
        due_s = warp.time()
        for hour in range(1, round(hours) + 1):
            due_s += 3600
            await asyncio.sleep(due_s - warp.time())
            print(f"hour {hour}", flush=True)
        with warp.held():
            print("end", flush=True)
            await asyncio.Event().wait()

    settings = load_settings(arguments).settings
    clock = WarpClock(warp, began(hours))
    agent = app.build(settings, clock=clock, probes=replace(app.PROBES, speed=speed, check=check))
    counting = asyncio.create_task(count_hours())
    await app.run(agent)
    counting.cancel()


def main() -> int:
    """Run what the command line says: hours, and what ``linkbell-agent`` is given.

    As little as can be beside the agent itself: its memory is what is measured.
    """
    do_without_plugins()
    hours, warp = float(sys.argv[1]), Warp()
    arguments = build_parser().parse_args(sys.argv[2:])
    with asyncio.Runner(loop_factory=lambda: WarpLoop(warp)) as runner:
        runner.run(run(arguments, hours, warp))
    return 0


if __name__ == "__main__":
    sys.exit(main())
