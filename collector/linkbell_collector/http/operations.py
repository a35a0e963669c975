"""What machines and operators look at: health, the collector's metrics, the schools' metrics."""

import asyncio
import logging
import zlib
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from linkbell_collector import exposition
from linkbell_collector.clock import Clock
from linkbell_collector.errors import CollectorError
from linkbell_collector.lifetimes import Horizon, Lifetimes
from linkbell_collector.live import LiveState, Snapshot
from linkbell_collector.registry import Registry
from linkbell_collector.store.interface import Store
from linkbell_collector.telemetry import Telemetry

TROUBLE_S = 60.0
"""A commit that failed so recently makes the collector not ready; then agents are let in again to try."""

HEARTBEAT_S = 5.0
"""What a write of the heartbeat has shown holds for so long: each is a commit, and anybody may ask for one."""

_GZIP_WINDOW = 31
_GZIP_LEVEL = 1


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Observed:
    """What the operational endpoints look at."""

    clock: Clock
    store: Store
    registry: Registry
    live: LiveState
    lifetimes: Lifetimes
    telemetry: Telemetry


class Trouble:
    """Remembers the last failed commit until one succeeds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._error: CollectorError | None = None
        self._since_s = 0.0

    def commit(self, error: CollectorError | None) -> None:
        """Take the outcome of a group commit, and log it where it differs from the one before."""
        if error is not None and (self._error is None or self._error.code is not error.code):
            log.error("records cannot be written: %s; %s", error.message, error.action)
        elif error is None and self._error is not None:
            log.info("records are written again")
        self._error, self._since_s = error, self._clock.monotonic_s()

    def now(self) -> CollectorError | None:
        """Return the failure, if there was one lately."""
        lately = self._clock.monotonic_s() - self._since_s < TROUBLE_S
        return self._error if lately else None


class Heartbeat:
    """Finds out whether anything can be written, and remembers the answer for a while."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._lock = asyncio.Lock()
        self._found: CollectorError | None = None
        self._until_s = float("-inf")

    async def failure(self) -> CollectorError | None:
        """Return why nothing can be written, ``None`` if something can. Who asks together waits for one write."""
        async with self._lock:
            if self._clock.monotonic_s() >= self._until_s:
                self._found = await self._write()
                self._until_s = self._clock.monotonic_s() + HEARTBEAT_S
            return self._found

    async def _write(self) -> CollectorError | None:
        try:
            await self._store.check_writable(self._clock.now_us())
        except CollectorError as error:
            return error
        return None


class Operations:
    """``/healthz``, ``/generate_204``, ``/readyz``, ``/metrics`` and ``/metrics/schools``."""

    def __init__(self, observed: Observed, trouble: Trouble) -> None:
        self._observed = observed
        self._trouble = trouble
        self._heartbeat = Heartbeat(observed.store, observed.clock)

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/healthz", self.healthz),
            web.get("/generate_204", self.generate_204),
            web.get("/readyz", self.readyz),
            web.get("/metrics", self.metrics),
            web.get("/metrics/schools", self.school_metrics),
        ]

    async def healthz(self, request: web.Request) -> web.Response:
        """The process answers."""
        return web.json_response({"status": "ok"})

    async def generate_204(self, request: web.Request) -> web.Response:
        """Nothing, which nothing on the way can be mistaken for: agents ask for it to find login pages."""
        return web.Response(status=204, headers={"Cache-Control": "no-store"})

    async def readyz(self, request: web.Request) -> web.Response:
        """Records can be kept, and live state is complete; otherwise 503 and why."""
        reason = await self._not_ready()
        if reason is not None:
            return web.json_response({"status": "not_ready", "reason": reason}, status=503)
        return web.json_response({"status": "ready"})

    async def metrics(self, request: web.Request) -> web.Response:
        """The collector's own health: a few hundred lines, rendered in a thread."""
        text = await asyncio.to_thread(generate_latest, self._observed.telemetry.registry)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def school_metrics(self, request: web.Request) -> web.Response:
        """All schools, one snapshot, rendered (and compressed if asked for) in a thread."""
        snapshot = self._observed.live.snapshot()
        horizon = self._observed.lifetimes.at(self._observed.clock.now_us())
        compress = "gzip" in request.headers.get("Accept-Encoding", "")
        body = await asyncio.to_thread(_render, snapshot, horizon, compress=compress)
        headers = {"Content-Type": exposition.CONTENT_TYPE, "Vary": "Accept-Encoding"}
        if compress:
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=body, headers=headers)

    async def _not_ready(self) -> str | None:
        if not self._observed.registry.rebuilt:
            return "live state is being rebuilt from the database"
        if self._observed.registry.trouble is not None:
            return self._observed.registry.trouble
        failure = await self._heartbeat.failure() or self._trouble.now()
        return None if failure is None else failure.message


def _render(snapshot: Snapshot, horizon: Horizon, *, compress: bool) -> bytes:
    pieces = (piece.encode() for piece in exposition.render(snapshot, horizon))
    if not compress:
        return b"".join(pieces)
    packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    return b"".join([*(packer.compress(piece) for piece in pieces), packer.flush()])
