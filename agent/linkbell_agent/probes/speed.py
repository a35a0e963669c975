"""The speed probe: the engine asked for against the first server that takes the test, download before upload.

ndt7 is here; the others have modules of their own.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from linkbell_agent.ndt7.client import Client, Outcome
from linkbell_agent.ndt7.endpoint import Endpoint, parse
from linkbell_agent.ndt7.plateau import Plateau
from linkbell_agent.ndt7.rules import Caps
from linkbell_agent.probes.base import ProbeContext, SpeedRequest
from linkbell_agent.slim import dataclass
from linkbell_agent.watch.watcher import Seen, Watcher
from linkbell_wire.failures import FailureCode
from linkbell_wire.records import SpeedRecord, SpeedResult
from linkbell_wire.words import Direction, Engine, ServerScope

STREAMS = 4
"""One connection seldom fills a lossy or a varying line, and takes long to fill a satellite's; more add little."""

LONGEST_WAIT_S = 15.0
"""Between download and upload another school may have taken our place; it has to give it back within this time."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What came of one server: the directions asked for, in order."""

    endpoint: Endpoint
    scope: ServerScope
    outcomes: dict[Direction, Outcome]

    @property
    def admitted(self) -> bool:
        return any(outcome.admitted for outcome in self.outcomes.values())


@dataclass(frozen=True, slots=True)
class _WatchedClient:
    """A client that is watched from beside while it measures."""

    client: Client
    watcher: Watcher

    async def measure(self, direction: Direction, endpoint: Endpoint, caps: Caps) -> Outcome:
        return await self.watcher.during(direction, self.client.measure(direction, endpoint, caps))


async def ndt7(request: SpeedRequest, context: ProbeContext) -> SpeedRecord:
    """Watch the idle line, measure, and return the record.

    Raises :class:`ValueError` if the request names no server, direction or address. A server that is busy, cannot be
    reached or is no ndt7 server passes the test on to the next. One that took the download keeps the upload, even if
    the download failed on the way.
    """
    directions = [
        direction
        for direction, wanted in ((Direction.DOWNLOAD, request.download), (Direction.UPLOAD, request.upload))
        if wanted
    ]
    servers = [(parse(server.url), server.scope) for server in request.servers]
    if not servers or not directions:
        raise ValueError("a speed test needs a server and a direction")
    rule = None if request.full else Plateau
    watcher = Watcher(context.uplink, context.clock.monotonic, idle_s=request.idle_s)
    client = _WatchedClient(Client(context.uplink, context.clock.monotonic, rule, STREAMS), watcher)
    caps = Caps(request.max_duration_s, request.max_bytes)
    for endpoint, scope in servers:
        await watcher.before(endpoint)
        attempt = _Attempt(endpoint, scope, await _try(client, endpoint, directions, caps))
        if attempt.admitted:
            break
    asked_s = attempt.outcomes[directions[0]].retry_after_s
    if asked_s is not None:
        request.on_busy(asked_s)
    return _record(attempt, watcher.seen(), request, context)


async def _try(
    client: _WatchedClient, endpoint: Endpoint, directions: list[Direction], caps: Caps
) -> dict[Direction, Outcome]:
    """Run the directions on one server. If it does not take the first, all of them have that failure."""
    first = await client.measure(directions[0], endpoint, caps)
    if not first.admitted:
        return dict.fromkeys(directions, first)
    outcomes = {directions[0]: first}
    for direction in directions[1:]:
        outcomes[direction] = await _measure_patiently(client, direction, endpoint, caps)
    return outcomes


async def _measure_patiently(client: _WatchedClient, direction: Direction, endpoint: Endpoint, caps: Caps) -> Outcome:
    """Run one direction; if the server is busy and says for how short a time, wait once and try once more."""
    outcome = await client.measure(direction, endpoint, caps)
    failure, wait_s = outcome.result.failure, outcome.retry_after_s
    if failure is None or failure.code is not FailureCode.SERVER_BUSY or wait_s is None or wait_s > LONGEST_WAIT_S:
        return outcome
    await asyncio.sleep(wait_s)
    return await client.measure(direction, endpoint, caps)


def _record(attempt: _Attempt, seen: Seen, request: SpeedRequest, context: ProbeContext) -> SpeedRecord:
    results = {direction: _dated(outcome, context) for direction, outcome in attempt.outcomes.items()}
    return SpeedRecord(
        **context.stamp(),
        engine=Engine.NDT7,
        server=attempt.endpoint.url,
        server_scope=attempt.scope,
        trigger=request.trigger,
        download=results.get(Direction.DOWNLOAD),
        upload=results.get(Direction.UPLOAD),
        **seen,
    )


def _dated(outcome: Outcome, context: ProbeContext) -> SpeedResult:
    """Say when the window ended on the clock that the collector dates records by."""
    if outcome.window is None:
        return outcome.result
    ago_s = context.clock.monotonic() - outcome.window[1]
    end_s = max(0.0, context.clock.now().boottime_s - ago_s)
    return outcome.result.model_copy(update={"window_end_boottime_s": round(end_s, 3)})


async def _ookla(request: SpeedRequest, context: ProbeContext) -> SpeedRecord:
    # Imported late: few boxes measure with it, and small ones have no memory to spare.
    from linkbell_agent.probes.ookla import ookla

    return await ookla(request, context)


ENGINES: Mapping[Engine, Callable[[SpeedRequest, ProbeContext], Awaitable[SpeedRecord]]] = {
    Engine.NDT7: ndt7,
    Engine.OOKLA: _ookla,
}
"""Every engine there is a word for."""


async def speed(request: SpeedRequest, context: ProbeContext) -> SpeedRecord:
    """Measure with the engine that ``request`` names. Raises :class:`ValueError` for requests that make no sense."""
    return await ENGINES[request.engine](request, context)
