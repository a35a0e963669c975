"""The HTTP face of the measurement server: who may start a test, and the few pages beside it."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass

from aiohttp import hdrs, web
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from linkbell_collector.measure.address import subscriber
from linkbell_collector.measure.admission import AddressBusyError, NoSlotError, RateBudget, Slots
from linkbell_collector.measure.check_group import CheckGroup
from linkbell_collector.measure.check_request import AcceptedCheck, consider_check
from linkbell_collector.measure.check_session import CheckDownload, CheckPlan, CheckSession, CheckUpload
from linkbell_collector.measure.group import Group, Groups
from linkbell_collector.measure.handshake import Accepted, Refused, consider
from linkbell_collector.measure.kernel import KernelSocket
from linkbell_collector.measure.metrics import Count, Metrics, Outcome, PlaceEnd, Refusal, Tally, refusal
from linkbell_collector.measure.page import INDEX
from linkbell_collector.measure.places import Places
from linkbell_collector.measure.session import Download, Plan, Session, Upload
from linkbell_collector.measure.settings import MeasureSettings
from linkbell_collector.measure.speedtest import MAX_UPLOAD_BYTES, Speedtest, Supplies
from linkbell_wire import floor
from linkbell_wire.errors import ErrorCode, ErrorReply
from linkbell_wire.ndt7 import DOWNLOAD_PATH, UPLOAD_PATH, frames
from linkbell_wire.ndt7.measurement import ConnectionInfo
from linkbell_wire.words import Direction

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Line:
    """What all tests of one server share: their slots, their counters, the bytes they send."""

    slots: Slots
    check_budget: RateBudget
    metrics: Metrics
    payload: memoryview
    bbr: bool


class Web:
    """Handlers of all routes, and the tests under way."""

    def __init__(self, settings: MeasureSettings, line: Line) -> None:
        self._settings = settings
        self._line = line
        self._sessions: set[Session] = set()
        self._groups = Groups()
        self._check_groups: dict[Hashable, CheckGroup] = {}
        self._stopping = False
        self._places = Places(line.slots, line.metrics, settings.places)
        self._speedtest = Speedtest(Supplies(self._places, line.metrics, line.payload, line.bbr, self._no_place))

    def application(self) -> web.Application:
        """Return the aiohttp application."""
        application = web.Application(client_max_size=1024, middlewares=[_refusals_as_json])
        application.add_routes(
            [
                web.get(DOWNLOAD_PATH, self._download, allow_head=False),
                web.get(UPLOAD_PATH, self._upload, allow_head=False),
                web.get(floor.DOWNLOAD_PATH, self._check_download, allow_head=False),
                web.get(floor.UPLOAD_PATH, self._check_upload, allow_head=False),
                web.get("/healthz", self._healthz),
                web.get("/metrics", self._metrics),
                web.get("/", self._index),
                *self._speedtest.routes(),
            ]
        )
        return application

    async def stop(self, drain_s: float) -> None:
        """Refuse new tests, give those under way ``drain_s`` to finish, then close them as going away."""
        self._stopping = True
        self._speedtest.refuse()
        await asyncio.gather(self._all_ended(drain_s), self._places.wait_until_quiet(drain_s))
        self._places.end_all(PlaceEnd.SHUTDOWN)
        for session in list(self._sessions):
            session.finish(Outcome.SHUTDOWN, "The server is stopping", frames.CLOSE_GOING_AWAY)
        await self._all_ended(self._settings.timings.linger_s)
        for session in list(self._sessions):
            session.abort()
        await self._all_ended(self._settings.timings.linger_s)

    async def _all_ended(self, timeout_s: float) -> None:
        if self._sessions:
            await asyncio.wait([session.ended for session in self._sessions], timeout=timeout_s)

    async def _download(self, request: web.Request) -> web.StreamResponse:
        return await self._test(request, Direction.DOWNLOAD)

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        return await self._test(request, Direction.UPLOAD)

    async def _test(self, request: web.Request, direction: Direction) -> web.StreamResponse:
        query = request.raw_path.partition("?")[2]
        verdict = consider(request.headers, query, download=direction is Direction.DOWNLOAD)
        if isinstance(verdict, Refused):
            return _no(self._line.metrics.tests, verdict)
        if self._stopping:
            return self._no_more(self._line.metrics.tests)
        # With the address: nobody may join another's test by its name.
        test = None if verdict.test is None else (request.remote, direction, verdict.test)
        try:
            with self._line.slots.hold(test, address=_address(request)):
                return await self._run(request, direction, verdict, test)
        except NoSlotError as error:
            self._line.metrics.tests.refused.labels(refusal(error)).inc()
            return self._no_place(error)

    def _no_place(self, error: NoSlotError | None) -> web.Response:
        if error is None:
            return self._stopped()
        if isinstance(error, AddressBusyError):
            most = self._settings.tests_per_address
            return _busy(
                f"{most} tests from your address are under way, and one may have no more.", error.retry_after_s
            )
        return _busy(
            f"All {self._settings.max_tests} places for tests are taken; one more test would spoil them all.",
            error.retry_after_s,
        )

    async def _run(
        self, request: web.Request, direction: Direction, accepted: Accepted, test: Hashable | None
    ) -> web.StreamResponse:
        group = None if test is None else self._groups.enter(test)
        try:
            return await self._run_stream(request, direction, accepted, group)
        finally:
            if test is not None:
                self._groups.leave(test)

    async def _run_stream(
        self, request: web.Request, direction: Direction, accepted: Accepted, group: Group | None
    ) -> web.StreamResponse:
        transport, kernel = self._take(request)
        plan = Plan(direction, self._settings.timings, _connection_info(transport), accepted.early_exit_bytes, group)
        previous = transport.get_protocol()
        session: Session
        if direction is Direction.DOWNLOAD:
            session = Download(transport, previous, kernel, plan, self._line.payload)
        else:
            session = Upload(transport, previous, kernel, plan)
        is_test = group is None or group.is_first(session)  # its other streams are no tests of their own
        return await self._serve(request, accepted, session, self._line.metrics.tests.of(direction, int(is_test)))

    async def _check_download(self, request: web.Request) -> web.StreamResponse:
        return await self._check(request, Direction.DOWNLOAD)

    async def _check_upload(self, request: web.Request) -> web.StreamResponse:
        return await self._check(request, Direction.UPLOAD)

    async def _check(self, request: web.Request, direction: Direction) -> web.StreamResponse:
        checks = self._line.metrics.checks
        verdict = consider_check(request.headers, request.raw_path.partition("?")[2], self._settings.max_check_bps)
        if isinstance(verdict, Refused):
            return _no(checks, verdict)
        if self._stopping:
            return self._no_more(checks)
        # With the address: nobody may join another's check by its name.
        test = None if verdict.test is None else (request.remote, direction, verdict.floor_bps, verdict.test)
        group = self._check_groups.get(test)
        try:
            if group is None:
                return await self._begin_check(request, direction, verdict, test)
            if group.joined >= floor.MAX_STREAMS or group.has_begun:
                raise NoSlotError(1)
            return await self._run_check(request, direction, verdict, group)
        except NoSlotError as error:
            checks.refused.labels(refusal(error)).inc()
            whose = "one address may have" if isinstance(error, AddressBusyError) else "this server's line is to carry"
            return _busy(f"As many floor checks as {whose} are under way.", error.retry_after_s)

    async def _begin_check(
        self, request: web.Request, direction: Direction, accepted: AcceptedCheck, test: Hashable | None
    ) -> web.StreamResponse:
        """Run a check, or the first connection of one: the others come and go with it."""
        with self._line.check_budget.hold(floor.pace_bps(accepted.floor_bps), address=_address(request)):
            if test is None:
                return await self._run_check(request, direction, accepted, None)
            group = self._check_groups[test] = CheckGroup(accepted.floor_bps)
            try:
                return await self._run_check(request, direction, accepted, group)
            finally:
                del self._check_groups[test]
                group.end()

    async def _run_check(
        self, request: web.Request, direction: Direction, accepted: AcceptedCheck, group: CheckGroup | None
    ) -> web.StreamResponse:
        transport, kernel = self._take(request)
        plan = CheckPlan(direction, self._settings.timings, accepted.floor_bps, group)
        previous = transport.get_protocol()
        session: CheckSession
        if direction is Direction.DOWNLOAD:
            session = CheckDownload(transport, previous, kernel, plan, self._line.payload)
        else:
            session = CheckUpload(transport, previous, kernel, plan)
        is_check = group is None or group.is_first(session)  # its other connections are no checks of their own
        return await self._serve(request, accepted, session, self._line.metrics.checks.of(direction, int(is_check)))

    def _take(self, request: web.Request) -> tuple[asyncio.Transport, KernelSocket]:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client left before its test began")
        kernel = KernelSocket(transport.get_extra_info("socket"))
        kernel.tune(bbr=self._line.bbr)
        return transport, kernel

    async def _serve(
        self, request: web.Request, accepted: Accepted, session: Session, count: Count
    ) -> web.StreamResponse:
        """Answer 101 and run ``session`` to its end."""
        response = web.StreamResponse(status=101, headers=accepted.headers)
        response.force_close()
        self._sessions.add(session)
        count.begin()
        try:
            writer = await response.prepare(request)
            if writer is not None:
                writer.send_headers()
            session.begin()
            outcome = await session.ended
        except BaseException:
            session.release()
            raise
        finally:
            count.end()
            self._sessions.discard(session)
        count.ended(outcome, session.payload_bytes)
        return response

    def _no_more(self, tally: Tally) -> web.Response:
        tally.refused.labels(Refusal.SHUTDOWN).inc()
        return self._stopped()

    def _stopped(self) -> web.Response:
        return _busy("The measurement server is stopping.", round(self._settings.drain_s) + 1)

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _metrics(self, _request: web.Request) -> web.Response:
        body = generate_latest(self._line.metrics.registry)
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: CONTENT_TYPE_LATEST})

    async def _index(self, _request: web.Request) -> web.Response:
        free = self._settings.max_tests - self._line.slots.taken
        return web.Response(text=INDEX.format(free=free, most=self._settings.max_tests), content_type="text/html")


def _no(tally: Tally, verdict: Refused) -> web.Response:
    tally.refused.labels(Refusal.INVALID_REQUEST).inc()
    return reply(verdict.status, verdict.reply, verdict.headers)


def reply(status: int, body: ErrorReply, headers: Mapping[str, str] | None = None) -> web.Response:
    """Say no: the code for programs, the sentence for people, what to do next."""
    text = body.model_dump_json(exclude_none=True)
    return web.Response(status=status, text=text, headers=headers, content_type="application/json")


def _busy(message: str, retry_after_s: int) -> web.Response:
    body = ErrorReply(code=ErrorCode.BUSY, message=message, action=f"Try again in {retry_after_s} seconds.")
    return reply(503, body, {hdrs.RETRY_AFTER: str(retry_after_s)})


def _address(request: web.Request) -> str:
    return subscriber(request.remote or "")


def _connection_info(transport: asyncio.Transport) -> ConnectionInfo:
    return ConnectionInfo(
        client=_endpoint(transport.get_extra_info("peername")),
        server=_endpoint(transport.get_extra_info("sockname")),
        uuid=str(uuid.uuid4()),
    )


def _endpoint(name: tuple[str, int] | None) -> str:
    if not name:
        return ""
    host, port = name[0], name[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@web.middleware
async def _refusals_as_json(request: web.Request, handler: _Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed as error:
        allowed = error.headers[hdrs.ALLOW]
        body = ErrorReply(
            code=ErrorCode.METHOD_NOT_ALLOWED, message=f"This address answers {allowed.replace(',', ' and ')} only."
        )
        return reply(405, body, {hdrs.ALLOW: allowed})
    except web.HTTPNotFound:
        body = ErrorReply(code=ErrorCode.NOT_FOUND, message="Nothing is here.", action="The page at / says what is.")
        return reply(404, body)
    except web.HTTPRequestEntityTooLarge:
        body = ErrorReply(code=ErrorCode.BODY_TOO_LARGE, message=f"An upload is {MAX_UPLOAD_BYTES} bytes at most.")
        response = reply(413, body)
        response.force_close()
        return response
