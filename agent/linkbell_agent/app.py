"""Puts the agent together: the only module that names concrete classes."""

import asyncio
import contextlib
import logging
import os
import random
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from linkbell_agent.around import device_now, looking_of, surroundings_of, trouble_of, way_of
from linkbell_agent.clock import Clock, SystemClock
from linkbell_agent.collector_api import HttpCollectorApi
from linkbell_agent.configuration import ConfigurationKeeper, read_kept_configuration
from linkbell_agent.doorway import Doorway
from linkbell_agent.enrolment import Door, Enrolled, check_url, enrol
from linkbell_agent.files import StateError, prepare_folder
from linkbell_agent.first_hop import hops_towards
from linkbell_agent.folder_lock import hold, is_held
from linkbell_agent.identity import Identity, installation_id, read_identity
from linkbell_agent.layers.watch import LayerProbes
from linkbell_agent.life import Life
from linkbell_agent.link import CollectorLink, Connected
from linkbell_agent.measuring import Line, Probes
from linkbell_agent.memory import settle, share_one_arena
from linkbell_agent.net import Uplink
from linkbell_agent.page.facts import Facts
from linkbell_agent.page.gather import gather
from linkbell_agent.page.listen import read_listen
from linkbell_agent.page.server import PageServer, ServedAt
from linkbell_agent.permit import Permit
from linkbell_agent.plan import Plan, make_plan
from linkbell_agent.probes.base import CheckRequest, PingRequest, ProbeContext, SpeedRequest
from linkbell_agent.probes.dns import dns
from linkbell_agent.probes.gateway import gateway_probe
from linkbell_agent.probes.http import http
from linkbell_agent.probes.ping import ping
from linkbell_agent.probes.speed import speed
from linkbell_agent.recent.history import History
from linkbell_agent.recent.intake import Intake
from linkbell_agent.recent.keeping import HistoryKeeper, load_history
from linkbell_agent.retry import Backoff
from linkbell_agent.runner import Runner, RunnerOptions
from linkbell_agent.sections import OneOfUplinks, Settings
from linkbell_agent.sender import Sender
from linkbell_agent.slim import dataclass
from linkbell_agent.spool import IN_RAM, Limits, Spool
from linkbell_agent.spool_file import SpoolFile
from linkbell_wire.configuration import AgentConfiguration
from linkbell_wire.enrolment import EnrolRequest
from linkbell_wire.records import EventRecord, Record
from linkbell_wire.words import EventName, Layer

if TYPE_CHECKING:
    from linkbell_agent.doctor.findings import Case
    from linkbell_agent.language.speech import Speech

log = logging.getLogger(__name__)

SPOOL_FILE = "spool.db"
HISTORY_LIMIT_S = 0.8
"""The charts are a convenience: a stop does not wait for them longer."""


async def _check(request: CheckRequest, context: ProbeContext) -> Record:
    # Imported late: not every school has a floor to check, and a small box has no memory to spare.
    from linkbell_agent.probes.check import check

    return await check(request, context)


GATEWAY_PROBE = gateway_probe(ping)
LAYERS = LayerProbes(ping, gateway=GATEWAY_PROBE, dns=dns, http=http, hops=hops_towards)
PROBES = Probes(ping=ping, speed=speed, check=_check, layers=LAYERS)


@dataclass(frozen=True, slots=True)
class Agent:
    """A built agent and what has to be let go of when it ends."""

    runner: Runner
    link: CollectorLink
    history: HistoryKeeper
    lock: int


def build_context(settings: Settings, name: str | None = None) -> ProbeContext:
    """Return where probes of the uplink ``name`` (the first) run, for one-off commands as well."""
    way = way_of(settings, name)
    context = ProbeContext(Uplink(way.name, way.device, way.source), SystemClock())
    return context.bound(surroundings_of(settings, way, None).binding) if settings.has_several else context


def build_plan(
    settings: Settings,
    configuration: AgentConfiguration | None,
    identity: Identity | None,
    name: str | None = None,
) -> Plan:
    """Return what to measure now on the uplink ``name`` (the first).

    Routes and resolvers are read anew each time, they change under way.
    """
    way = way_of(settings, name)
    collector = None if identity is None else identity.collector
    return make_plan(settings, configuration, surroundings_of(settings, way, collector), way)


def _lines(settings: Settings, plan: Callable[[str], Plan], clock: Clock) -> list[Line]:
    """Return one for each uplink. What holds it to its way is found out for each round, not here."""

    def line(way: OneOfUplinks) -> Line:
        context = ProbeContext(Uplink(way.name, way.device, way.source), clock)
        return Line(context, lambda: plan(way.name), lambda: trouble_of(settings, way))

    return [line(way) for way in settings.ways]


def build(
    settings: Settings,
    *,
    speed_now: bool = False,
    on_record: Callable[[Record], None] | None = None,
    clock: Clock | None = None,
    in_ram: int = IN_RAM,
    probes: Probes = PROBES,
) -> Agent:
    """Build an agent; needs a running event loop. Raises :class:`~linkbell_agent.files.StateError`.

    ``clock`` stands for the box's own clocks, ``in_ram`` bounds what is kept when the disk takes nothing.
    """
    share_one_arena()
    prepare_folder(settings.state)
    lock = hold(settings.state)
    identity = read_identity(settings.state)
    names = [way.name for way in settings.ways]
    lines = _lines(settings, lambda name: _plan_of(settings, link, name), clock or SystemClock())
    context = lines[0].context
    life = Life(context.clock, settings.state)
    limits = Limits(settings.spool.max_records, settings.spool.flush_after_s, in_ram)
    loop = asyncio.get_running_loop()

    def tell(event: EventRecord) -> None:
        loop.call_soon_threadsafe(runner.keep, event)

    spool = Spool(lambda: _open_disk(settings, context, tell), uuid4(), context.clock, limits, life.redate)
    door = Doorway(
        context.clock,
        settings.state,
        lambda name: _plan_of(settings, link, name),
        lambda name: device_now(settings, name),
        names,
    )
    link = CollectorLink(settings.state, lambda known: _connect(settings, known, spool, context, door))
    link.refresh()
    history = load_history(settings.state, context.clock.boot_id)
    keeper = HistoryKeeper(history, settings.state)
    options = RunnerOptions(
        seed=_seed(settings.state, identity, context),
        state=settings.state,
        report_interval_s=settings.report.interval_s,
        speed_now=speed_now,
        on_record=on_record,
        life=life,
        open_door=door,
        default_route=looking_of(settings, lambda name: _plan_of(settings, link, name)),
        remember=Intake(history, names[1:]).add,
        beside=(keeper.save_for_ever, *_page(settings, history, lambda: _facts(settings, (link, spool), context))),
    )
    runner = Runner(probes, lines, (spool, link), options)
    return Agent(runner, link, keeper, lock)


def _page(
    settings: Settings, history: History, facts: Callable[[], Facts]
) -> tuple[Callable[[], Awaitable[None]], ...]:
    """Return what serves the page, if it is to be served."""
    if not settings.page.enabled:
        return ()
    host, port = read_listen(settings.page.listen)
    allow = tuple(ip_network(network) for network in settings.page.allow)
    return (PageServer(ServedAt(host, port, allow, settings.language), history, facts).serve_for_ever,)


def _facts(settings: Settings, keeping: tuple[CollectorLink, Spool], context: ProbeContext) -> Facts:
    link, spool = keeping
    present = link.present
    configuration = None if present is None else present.keeper.current
    identity = None if present is None else present.identity
    return gather(settings, configuration, identity, context.clock, waiting=spool.waiting)


def _seed(state: Path, identity: Identity | None, context: ProbeContext) -> str:
    """Return what this box's moments are drawn from: its own, and as lasting as can be had."""
    if identity is not None:
        return identity.agent
    try:
        return str(installation_id(state))
    except StateError:  # a full disk; it says so itself
        return context.clock.boot_id


def _plan_of(settings: Settings, link: CollectorLink, name: str) -> Plan:
    if link.present is None:
        return build_plan(settings, None, None, name)
    return build_plan(settings, link.present.keeper.current, link.present.identity, name)


def _open_disk(settings: Settings, context: ProbeContext, tell: Callable[[EventRecord], None]) -> SpoolFile:
    """Runs in the spool's thread, at the start and again whenever the disk could not be used before."""
    disk = SpoolFile(settings.state / SPOOL_FILE)
    if disk.set_aside is not None:
        log.error("the spool cannot be read and is set aside as %s: what was in it is not sent", disk.set_aside)
        details: dict[str, str | bool | int | float | None] = {
            "file": disk.set_aside.name,
            "records": disk.set_aside_records,
        }
        tell(EventRecord(**context.stamp(), event=EventName.SPOOL_SET_ASIDE, details=details))
    return disk


def _connect(settings: Settings, identity: Identity, spool: Spool, context: ProbeContext, door: Doorway) -> Connected:
    credential = identity.credential.get_secret_value()
    # A connection of its own for each: a configuration must not wait behind a long row of batches.
    reports, configurations = (HttpCollectorApi(identity.collector, certificate=identity.certificate) for _ in range(2))
    sender = Sender(
        spool,
        reports,
        credential,
        context.clock,
        Backoff(random.SystemRandom()),
        batch_records=settings.report.batch_records,
        max_share=settings.report.max_share,
        agent=identity.agent,
        heard=door.heard,
    )
    keeper = ConfigurationKeeper(configurations, credential, settings.state)
    return Connected(identity, sender, keeper, (reports, configurations))


async def run(agent: Agent) -> None:
    """Run until SIGTERM or SIGINT, then end within five seconds with everything kept."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.runner.stop)
    settle()
    try:
        await agent.runner.run()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        agent.link.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HISTORY_LIMIT_S):
                await agent.history.save()
        with contextlib.suppress(OSError):
            os.close(agent.lock)


async def enrol_with(
    settings: Settings, url: str, request: EnrolRequest, *, again: bool, fingerprint: bytes | None = None
) -> Enrolled:
    """Enrol this box; ``fingerprint`` is that of the collector's certificate, where the token has it.

    Raises :class:`~linkbell_agent.enrolment.EnrolmentError` or ``StateError``.
    """
    address = check_url(url)
    prepare_folder(settings.state)
    # Imported late: a running agent has no use for it.
    from linkbell_agent.vouching import vouched

    api = HttpCollectorApi(address)
    try:
        if fingerprint is None:
            return await enrol(Door(address, api), settings.state, request, again=again)
        certificate, is_known = await vouched(address, fingerprint, api)
        api.close()
        api = HttpCollectorApi(address, certificate=certificate)
        door = Door(address, api, None if is_known else certificate)
        return await enrol(door, settings.state, request, again=again)
    finally:
        api.close()


def build_case(settings: Settings, speech: "Speech") -> "Case":
    """Return what ``doctor`` looks at."""
    # Imported late: a running agent has no use for it.
    from linkbell_agent.doctor.findings import Case, Outside

    identity, problem, runs = None, None, None
    try:
        identity = read_identity(settings.state)
    except StateError as error:
        problem = str(error)
    with contextlib.suppress(StateError):
        runs = settings.state.is_dir() and is_held(settings.state)
    configuration = read_kept_configuration(settings.state)

    def new_api(url: str, timeout_s: float) -> HttpCollectorApi:
        certificate = identity.certificate if identity is not None and url == identity.collector else None
        return HttpCollectorApi(url, timeout_s=timeout_s, certificate=certificate)

    def case(way: OneOfUplinks, others: Sequence[Case] = ()) -> Case:
        context = build_context(settings, way.name)
        return Case(
            settings=settings,
            speech=speech,
            clock=context.clock,
            uplink=context.uplink,
            plan=build_plan(settings, configuration, identity, way.name),
            outside=Outside(GATEWAY_PROBE, new_api),
            identity=identity,
            identity_problem=problem,
            agent_runs=runs,
            way=way if settings.has_several else None,
            others=others,
        )

    first, *others = settings.ways
    return case(first, [case(way) for way in others])


async def ping_once(
    settings: Settings, request: PingRequest, permit: Permit | None = None, uplink: str | None = None
) -> Record:
    """Ping once on an uplink (the first), beside a running agent if there is one; kept to what ``permit`` allows."""
    probe = GATEWAY_PROBE if request.target.layer is Layer.GATEWAY else PROBES.ping
    return await probe(request, build_context(settings, uplink).within(permit))


async def speed_once(
    settings: Settings, request: SpeedRequest, permit: Permit | None = None, uplink: str | None = None
) -> Record:
    """Test the speed once, as :func:`ping_once` pings."""
    return await PROBES.speed(request, build_context(settings, uplink).within(permit))


async def ping_told(
    settings: Settings, request: PingRequest, permit: Permit | None = None, uplink: str | None = None
) -> tuple[Record, list[str]]:
    """Ping once, and return the whole story beside the record."""
    # Imported late: a running agent has no use for it.
    from linkbell_agent import net
    from linkbell_agent.probes.ping import PingNetwork
    from linkbell_agent.probes.story import Story, ToldTrain

    context = build_context(settings, uplink).within(permit)
    story = Story(context.clock)
    trains: list[ToldTrain] = []

    def new_train(timeout_s: float) -> ToldTrain:
        trains.append(ToldTrain(timeout_s, story))
        return trains[-1]

    network = PingNetwork(story.resolving(net.resolve), story.opening(socket.socket), new_train)

    async def told(request: PingRequest, context: ProbeContext) -> Record:
        return await ping(request, context, network)

    probe = gateway_probe(told) if request.target.layer is Layer.GATEWAY else told
    record = await probe(request, context)
    for train in trains:
        train.tell_outstanding()
    return record, story.lines


async def check_once(
    settings: Settings, request: CheckRequest, permit: Permit | None = None, uplink: str | None = None
) -> Record:
    """Check the floor once, as :func:`ping_once` pings."""
    return await _check(request, build_context(settings, uplink).within(permit))
