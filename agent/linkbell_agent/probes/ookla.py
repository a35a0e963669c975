"""The ``ookla`` engine of the speed probe: speedtest-cli in a process of its own.

Our own measurement servers answer it, and Ookla's public ones are used where ``PUBLIC`` is named as the server: never
by default, for they learn and publish each school's address.
"""

import uuid
from dataclasses import replace
from urllib.parse import urlsplit

from linkbell_agent.classify import NetworkFailure
from linkbell_agent.ndt7.endpoint import parse
from linkbell_agent.net import Uplink, resolve_on, usable_addresses
from linkbell_agent.ookla.process import PROGRAM, Job, Program, run
from linkbell_agent.ookla.reports import Finding
from linkbell_agent.probes.base import ProbeContext, SpeedRequest
from linkbell_wire.configuration import SpeedServer
from linkbell_wire.failures import Operation
from linkbell_wire.records import SpeedRecord, SpeedResult
from linkbell_wire.words import Direction, Engine

PUBLIC = "https://www.speedtest.net"
"""Stands for whichever of Ookla's servers is nearest."""


async def ookla(request: SpeedRequest, context: ProbeContext, program: Program = PROGRAM) -> SpeedRecord:
    """Measure and return the record. Raises :class:`ValueError` if the request names no server, direction or address.

    A server that is busy, cannot be reached or does not answer as it should passes the test on to the next.
    ``program`` is what runs the test.
    """
    wanted = ((Direction.DOWNLOAD, request.download), (Direction.UPLOAD, request.upload))
    directions = tuple(direction for direction, asked in wanted if asked)
    servers = [(server, _url(server)) for server in request.servers]
    if not servers or not directions:
        raise ValueError("a speed test needs a server and a direction")
    for used in servers:
        try:
            addresses = await _addresses(used[1], context.uplink)
        except NetworkFailure as refused:
            finding = Finding(failures={"setup": refused.failure})
            continue
        job = replace(_job(used[1], directions, request, context), addresses=addresses)
        finding = await run(job, context.clock.monotonic, program)
        broken = any(failure.operation is Operation.RUN for failure in finding.failures.values())
        if finding.admitted or broken:
            break
    return _record(finding, directions, used, request, context)


async def _addresses(url: str, uplink: Uplink) -> tuple[str, ...]:
    """Return where the test process is to connect to; nothing where it may ask the system itself.

    Raises :class:`NetworkFailure` for a server this box may not talk to; the test process asks nobody.
    """
    if url == PUBLIC or (uplink.permit is None and uplink.resolvers is None):
        return ()
    host = urlsplit(url).hostname or ""
    usable = usable_addresses(await resolve_on(host, uplink), uplink, host)
    return () if uplink.resolvers is None else tuple(address.host for address in usable)


def _url(server: SpeedServer) -> str:
    endpoint = parse(server.url)
    return f"{'https' if endpoint.tls else 'http'}://{endpoint.authority}"


def _job(url: str, directions: tuple[Direction, ...], request: SpeedRequest, context: ProbeContext) -> Job:
    own = url != PUBLIC
    return Job(
        server=url if own else None,
        test=uuid.uuid4().hex if own else None,
        directions=directions,
        max_duration_s=request.max_duration_s,
        max_bytes=request.max_bytes,
        device=context.uplink.device,
        source=context.uplink.source,
    )


def _record(
    finding: Finding,
    directions: tuple[Direction, ...],
    used: tuple[SpeedServer, str],
    request: SpeedRequest,
    context: ProbeContext,
) -> SpeedRecord:
    results = {direction: _result(finding, direction, first=direction is directions[0]) for direction in directions}
    return SpeedRecord(
        **context.stamp(),
        engine=Engine.OOKLA,
        server=_named(finding, used[1]),
        server_scope=used[0].scope,
        trigger=request.trigger,
        download=results.get(Direction.DOWNLOAD),
        upload=results.get(Direction.UPLOAD),
        rtt_idle_s=finding.rtt_idle_s,
    )


def _named(finding: Finding, url: str) -> str:
    """Return which server it was: of the public ones the one chosen, if it came to that and can be named."""
    if url != PUBLIC or finding.server is None:
        return url
    try:
        return _url(SpeedServer(url="{0.scheme}://{0.netloc}".format(urlsplit(finding.server))))
    except ValueError:
        return url


def _result(finding: Finding, direction: Direction, *, first: bool) -> SpeedResult:
    """The first direction pays for finding the server."""
    cost_bytes = finding.moved.get(direction.value, 0) + (finding.moved.get("setup", 0) if first else 0)
    numbers = finding.results.get(direction)
    if numbers is None:
        return SpeedResult(bytes=cost_bytes, duration_s=0.0, failure=finding.failure_of(direction))
    return SpeedResult(
        bps=numbers.bps,
        bytes=cost_bytes,
        duration_s=numbers.duration_s,
        streams=numbers.streams,
        stop=numbers.stop,
    )
