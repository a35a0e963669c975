"""The few addresses that speedtest-cli asks of a server: latency, pictures of ten sizes, and a form to fill with bytes.

Written from what speedtest-cli 2.1.3 sends, see ``docs/measurement.md``. Content is random, so that nothing on the way
can make it smaller; what is uploaded is counted where it arrives and kept nowhere.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import hdrs, web

from linkbell_collector.measure.admission import NoSlotError
from linkbell_collector.measure.kernel import KernelSocket
from linkbell_collector.measure.metrics import Metrics, Refusal, refusal
from linkbell_collector.measure.places import Places, Visitor
from linkbell_wire.words import Direction

PREFIX = "/speedtest"
TEST_HEADER = "X-Linkbell-Test"
"""Agents name their test, so that two schools behind one address do not share a place."""

LATENCY_BODY = "test=test"
MAX_NAME = 64
MAX_UPLOAD_BYTES = 1 << 24
"""speedtest-cli's largest is 7 340 032 bytes."""

CHUNK_BYTES = 1 << 16
IMAGE_BYTES = {
    350: 245_388,
    500: 505_544,
    750: 1_118_012,
    1000: 1_986_284,
    1500: 4_468_241,
    2000: 7_907_740,
    2500: 12_407_926,
    3000: 17_816_816,
    3500: 24_262_167,
    4000: 31_625_365,
}
"""How large the pictures of n x n points are on public servers."""

Busy = Callable[[NoSlotError | None], web.Response]
"""Makes the 503: for want of a place, or because the server is stopping (``None``)."""


@dataclass(frozen=True, slots=True)
class Supplies:
    """What the handlers work with: places, counters, random bytes to send, whether there is BBR, how to refuse."""

    places: Places
    metrics: Metrics
    payload: memoryview
    bbr: bool
    busy: Busy


class Speedtest:
    """Handlers of the addresses under ``/speedtest``."""

    def __init__(self, supplies: Supplies) -> None:
        self._supplies = supplies
        self._stopping = False

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get(f"{PREFIX}/latency.txt", self._admitted(self._latency), allow_head=False),
            web.get(PREFIX + r"/random{width:\d{3,4}}x{height:\d{3,4}}.jpg", self._image, allow_head=False),
            web.get(f"{PREFIX}/upload.php", self._admitted(self._hello), allow_head=False),
            web.post(f"{PREFIX}/upload.php", self._upload),
        ]

    def refuse(self) -> None:
        """Let no new request in."""
        self._stopping = True

    def _admitted(
        self, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def admit(request: web.Request) -> web.StreamResponse:
            transport = request.transport
            if transport is None:
                raise ConnectionResetError("the client left before it was answered")
            if self._stopping:
                return self._refused(Refusal.SHUTDOWN, self._supplies.busy(None))
            try:
                with self._supplies.places.visit(_visitor(request, transport), transport):
                    return await handler(request)
            except NoSlotError as error:
                return self._refused(refusal(error), self._supplies.busy(error))

        return admit

    def _refused(self, reason: Refusal, response: web.Response) -> web.Response:
        self._supplies.metrics.tests.refused.labels(reason).inc()
        response.force_close()
        return response

    async def _latency(self, _request: web.Request) -> web.Response:
        return web.Response(text=LATENCY_BODY)

    async def _hello(self, _request: web.Request) -> web.Response:
        """Answer as upload.php does to whoever asks whether this is a server: a size, of nothing."""
        return web.Response(text="size=0")

    async def _image(self, request: web.Request) -> web.StreamResponse:
        size = IMAGE_BYTES.get(int(request.match_info["width"]))
        if size is None or request.match_info["width"] != request.match_info["height"]:
            raise web.HTTPNotFound
        return await self._admitted(lambda one: self._send(one, size))(request)

    async def _send(self, request: web.Request, size: int) -> web.StreamResponse:
        response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: "image/jpeg", hdrs.CACHE_CONTROL: "no-store"})
        response.content_length = size
        self._tune(request)
        sent = 0
        counted = self._supplies.metrics.places_payload_bytes.labels(Direction.DOWNLOAD)
        with contextlib.suppress(ConnectionError):  # it has what it wanted, or was cut
            await response.prepare(request)
            while sent < size:
                piece = self._piece(sent, size)
                await response.write(piece)
                sent += len(piece)
                counted.inc(len(piece))
            await response.write_eof()
        return response

    def _piece(self, sent: int, size: int) -> memoryview:
        payload = self._supplies.payload
        start = sent % (len(payload) - CHUNK_BYTES)
        return payload[start : start + min(CHUNK_BYTES, size - sent)]

    def _tune(self, request: web.Request) -> None:
        transport = request.transport
        if transport is not None:
            kernel = KernelSocket(transport.get_extra_info("socket"))
            with contextlib.closing(kernel):
                kernel.tune(bbr=self._supplies.bbr)

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        if (request.content_length or 0) > MAX_UPLOAD_BYTES:
            self._supplies.metrics.tests.refused.labels(Refusal.INVALID_REQUEST).inc()
            raise web.HTTPRequestEntityTooLarge(MAX_UPLOAD_BYTES, request.content_length or 0)
        return await self._admitted(self._swallow)(request)

    async def _swallow(self, request: web.Request) -> web.StreamResponse:
        counted = self._supplies.metrics.places_payload_bytes.labels(Direction.UPLOAD)
        received = 0
        with contextlib.suppress(ConnectionError, web.RequestPayloadError):  # it has left: nobody reads the answer
            async for chunk in request.content.iter_any():
                received += len(chunk)
                counted.inc(len(chunk))
                if received > MAX_UPLOAD_BYTES:  # it gave no length, or a wrong one
                    raise web.HTTPRequestEntityTooLarge(MAX_UPLOAD_BYTES, received)
        return web.Response(text=f"size={received}")


def _visitor(request: web.Request, transport: asyncio.Transport) -> Visitor:
    peer = transport.get_extra_info("peername")
    return Visitor(str(peer[0]) if peer else "", request.headers.get(TEST_HEADER, "")[:MAX_NAME])
