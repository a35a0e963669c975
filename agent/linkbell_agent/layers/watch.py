"""Rounds over all layers of one uplink, and the verdict they come to. Doing only: others decide."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from linkbell_agent.first_hop import Hop, candidates
from linkbell_agent.layers.hop import FirstHop
from linkbell_agent.layers.judge import Known, evidence, judge
from linkbell_agent.layers.quality import Quality
from linkbell_agent.layers.states import LayerStates
from linkbell_agent.layers.verdict import Verdict, decide
from linkbell_agent.net import Uplink
from linkbell_agent.permit import permit
from linkbell_agent.plan import LayerPlan, Plan
from linkbell_agent.probes.base import PingRequest, Probe, ProbeContext
from linkbell_agent.probes.dns import DnsRequest
from linkbell_agent.probes.gateway import no_gateway
from linkbell_agent.probes.http import HttpRequest, Sessions
from linkbell_agent.probes.pages import Expectation
from linkbell_agent.slim import dataclass
from linkbell_wire.configuration import TargetConfiguration
from linkbell_wire.records import NO_SUCH_NAME, DnsRecord, HttpRecord, PingRecord, Record, VerdictRecord
from linkbell_wire.words import Layer, VerdictState

COLLECTOR, ISP, PORTAL, RESOLVER, SYSTEM = "collector", "isp", "portal-check", "resolver", "system"
"""Targets of the agent's own."""

COLLECTOR_PAGE = Expectation(200, b'"status"')
PORTAL_PAGE = Expectation(204)

PAGE_BYTES = 8192
"""Enough to judge a page by; a platform's front page of megabytes, every minute, would be the school's money."""

MAX_SESSIONS = 16
MAX_REMEMBERED = 128

WELL_EVERY_S = 290.0
"""Of look-ups and fetches that go well one in five minutes is kept, the first after a failure always."""

LIE_CHECK_ROUNDS = 60
"""A name server that invents answers does so always: once an hour is often enough to ask."""

CLOSER_LOOK_S = 600.0
"""A line that stays degraded is not looked at more often for ever: every look is paid for."""


@dataclass(frozen=True, slots=True)
class LayerProbes:
    """What a watch probes with. What is None is not probed."""

    ping: Probe[PingRequest]
    gateway: Probe[PingRequest] | None = None
    dns: Probe[DnsRequest] | None = None
    http: Probe[HttpRequest] | None = None
    hops: Callable[[str, Uplink], Awaitable[list[Hop]]] | None = None


class LayerWatch:
    """Watches one uplink. ``verdict`` is the one in force, ``states`` what the last round saw."""

    def __init__(
        self,
        probes: LayerProbes,
        context: ProbeContext,
        keep: Callable[[Record], None],
        carries: Callable[[], bool | None] = lambda: None,
    ) -> None:
        self._carries = carries
        self._probes = probes
        self._context = context
        self._keep = keep
        self._hop = FirstHop()
        self._quality = Quality()
        self._sessions: Sessions = {}
        self._well_at_s: dict[tuple[str, str], float] = {}
        self._answering: frozenset[str] = frozenset()
        self._destination: str | None = None
        self._rounds = 0
        self._started_s: float | None = None
        self._quick_interval_s = 12.0
        self.verdict = Verdict()
        self.states = LayerStates()

    @property
    def looks_wrong(self) -> bool:
        """Whether the next round should come soon: rounds disagree, or quality is about to change or just did."""
        if not self.verdict.is_settled:
            return True
        elapsed_s = self._context.clock.now().boottime_s - self.verdict.since_s
        if self.verdict.state is VerdictState.DEGRADED:
            return elapsed_s < CLOSER_LOOK_S
        return self.verdict.state is VerdictState.OK and self._quality.is_suspicious

    def wait_s(self, due_in_s: float) -> float:
        """Return for how long to wait for the next round, where the plan says in ``due_in_s``."""
        if self._started_s is None or not self.looks_wrong:
            return max(0.0, due_in_s)
        since_s = self._context.clock.monotonic() - self._started_s
        return max(0.0, min(due_in_s, self._quick_interval_s - since_s))

    def look_first_in_s(self) -> float | None:
        """Return when to do a round before a test, which holds the line for long; None if there is no need.

        Without it a fault just before a test would be found only after it had failed. The first test of a box is not
        held up: somebody waits for it.
        """
        if self._started_s is None or self.verdict.state is None:
            return None
        since_s = self._context.clock.monotonic() - self._started_s
        if self.verdict.is_settled and since_s < self._quick_interval_s:
            return None
        return 0.0 if self.verdict.is_settled else max(0.0, self._quick_interval_s - since_s)

    async def round(self, plan: Plan) -> None:
        """Probe everything once, at the same time, and come to a verdict. What is news goes to ``keep``."""
        self._started_s = self._context.clock.monotonic()
        self._quick_interval_s = plan.layers.quick_interval_s
        context = self._guarded(plan)
        records: list[Record] = []
        async with asyncio.TaskGroup() as tasks:
            for probing in (
                *self._pings(plan, context),
                *self._look_ups(plan.layers, context),
                *self._pages(plan.layers, context),
            ):
                tasks.create_task(self._take(probing, records))
            if plan.layers.discovers_isp and self._probes.hops is not None:
                tasks.create_task(self._look_for_hop(plan, context))
        self._rounds += 1
        self._conclude(plan, records)

    def _guarded(self, plan: Plan) -> ProbeContext:
        """Return where probes run: kept to what the plan permits, and the first hop found without anybody's help."""
        context = self._context.bound(plan.binding)
        if plan.permit is None:
            return context
        own = permit([], [self._hop.address], []).networks
        return context.within(replace(plan.permit, networks=(*plan.permit.networks, *own)))

    async def _take(self, probing: Awaitable[Record], records: list[Record]) -> None:
        record = await probing
        records.append(record)
        if self._is_news(record):
            self._keep(record)

    def _is_news(self, record: Record) -> bool:
        """Say whether a record is worth the bytes: of look-ups and fetches that go on going well, some are enough."""
        if not isinstance(record, DnsRecord | HttpRecord):
            return True
        what = (record.target, record.name if isinstance(record, DnsRecord) else record.url)
        now_s = self._context.clock.monotonic()
        if record.failure is not None:
            self._well_at_s.pop(what, None)
            return True
        if now_s - self._well_at_s.get(what, -WELL_EVERY_S) < WELL_EVERY_S:
            return False
        if len(self._well_at_s) > MAX_REMEMBERED:  # configurations have come and gone
            self._well_at_s.clear()
        self._well_at_s[what] = now_s
        return True

    def _pings(self, plan: Plan, context: ProbeContext) -> list[Awaitable[Record]]:
        targets = list(plan.targets)
        if self._hop.address is not None and plan.layers.discovers_isp and self._hop.gateway == plan.layers.gateway:
            targets.append(TargetConfiguration(name=ISP, layer=Layer.ISP, host=self._hop.address))
        probings: list[Awaitable[Record]] = []
        if not plan.layers.is_direct and not any(target.layer is Layer.GATEWAY for target in targets):
            probings.append(_said(no_gateway(context)))
        for target in targets:
            ping = self._probes.ping if target.layer is not Layer.GATEWAY else self._probes.gateway or self._probes.ping
            probings.append(ping(PingRequest(target, count=plan.ping_count), context))
        return probings

    def _look_ups(self, layers: LayerPlan, context: ProbeContext) -> list[Awaitable[Record]]:
        dns = self._probes.dns
        if dns is None or not layers.names:
            return []
        requests = [
            DnsRequest(target, name, server, expected=layers.expected)
            for target, server in resolvers(layers)
            for name in layers.names
        ]
        if self._rounds % LIE_CHECK_ROUNDS == 0:
            requests += [
                DnsRequest(f"{target}-lie", NO_SUCH_NAME, server, exists=False) for target, server in resolvers(layers)
            ]
        return [dns(request, context) for request in requests]

    def _pages(self, layers: LayerPlan, context: ProbeContext) -> list[Awaitable[Record]]:
        http = self._probes.http
        if http is None:
            return []
        if len(self._sessions) > MAX_SESSIONS:  # platforms have come and gone
            self._sessions.clear()
        wanted = [(platform.name, Layer.PLATFORM, platform.url, None) for platform in layers.platforms]
        requests = [HttpRequest(*one, max_body_bytes=PAGE_BYTES, sessions=self._sessions) for one in wanted]
        if layers.collector is not None:
            url = f"{layers.collector.rstrip('/')}/healthz"
            requests.append(HttpRequest(COLLECTOR, Layer.COLLECTOR, url, COLLECTOR_PAGE, sessions=self._sessions))
        if layers.portal_url is not None:
            page = HttpRequest(PORTAL, Layer.INTERNATIONAL, layers.portal_url, PORTAL_PAGE, max_body_bytes=PAGE_BYTES)
            requests.append(page)
        return [http(request, context) for request in requests]

    async def _look_for_hop(self, plan: Plan, context: ProbeContext) -> None:
        """Find the provider's first hop for the rounds to come."""
        now_s = self._context.clock.monotonic()
        destination = self._destination or next(iter(_literals(plan.targets)), None)
        if destination is None or not self._hop.is_due(plan.layers.gateway, now_s):
            return
        if context.uplink.permit is not None and not context.uplink.permit.allows(destination):
            return
        assert self._probes.hops is not None
        hops = await self._probes.hops(destination, context.uplink)
        possible = candidates(hops, plan.layers.gateway, destination)
        answers = await asyncio.gather(*(self._answers(address, plan, context) for address in possible))
        found = next((address for address, answered in zip(possible, answers, strict=True) if answered), None)
        self._hop.found(found, now_s)

    async def _answers(self, address: str, plan: Plan, context: ProbeContext) -> bool:
        target = TargetConfiguration(name=ISP, layer=Layer.ISP, host=address)
        unguarded = replace(context, uplink=replace(context.uplink, permit=None))
        record = await self._probes.ping(PingRequest(target, count=2, spacing_s=0.1, timeout_s=1.0), unguarded)
        return isinstance(record, PingRecord) and record.received > 0

    def _conclude(self, plan: Plan, records: Sequence[Record]) -> None:
        pings = [record for record in records if isinstance(record, PingRecord)]
        self._remember(pings)
        degraded = self._quality.add(pings)
        self.states, found = judge(records, self._known(plan.layers), degraded=degraded)
        if plan.layers.discovers_isp and self._hop.address is not None and any(one.layer is Layer.ISP for one in pings):
            beyond = any(health.answers for health in self.states.far)
            self._hop.heard(answered=self.states.isp.answers, beyond_answers=beyond)
        before = self.verdict.state
        self.verdict = decide(self.states, self.verdict, self._context.clock.now().boottime_s)
        if self.verdict.state is not None and self.verdict.state is not before:
            shown = evidence(found)
            record = VerdictRecord(
                **self._context.stamp(),
                verdict=self.verdict.state,
                previous=before,
                carries=self._carries(),
                evidence=shown,
            )
            self._keep(record)

    def _remember(self, pings: Sequence[PingRecord]) -> None:
        """Note gateways that answer pings, and an address far out, on the way to which the first hop lies."""
        gateways = [ping for ping in pings if ping.layer is Layer.GATEWAY]
        silent = {ping.host for ping in gateways if not ping.received}
        answering = {ping.host for ping in gateways if ping.received}
        self._answering = frozenset((self._answering & silent) | answering)
        far = (ping.address for ping in pings if ping.layer in (Layer.INTERNATIONAL, Layer.DOMESTIC) and ping.received)
        self._destination = next((one for one in far if one and ":" not in one), self._destination)

    def _known(self, layers: LayerPlan) -> Known:
        asked = [target for target, _ in resolvers(layers)]
        deciding = RESOLVER if layers.resolvers else SYSTEM
        aside = {target for target in asked if target.partition(".")[0] != deciding}
        return Known(
            answering=self._answering,
            aside=aside | {f"{target}-lie" for target in asked},
            portal_checks={PORTAL} | ({COLLECTOR} if (layers.collector or "").startswith("http:") else set()),
            local=layers.local_resolvers,
        )


def resolvers(layers: LayerPlan) -> list[tuple[str, str | None]]:
    """Return the name servers to ask, each as the target of its records and its address; None is the system's."""
    own = [(f"{RESOLVER}.{number}", server) for number, server in enumerate(layers.resolvers, 1)]
    given = [(f"given.{number}", server) for number, server in enumerate(layers.given, 1)]
    return [*own, *given, *([(SYSTEM, None)] if layers.asks_system else [])]


async def _said(record: Record) -> Record:
    return record


def _literals(targets: Sequence[TargetConfiguration]) -> list[str]:
    """Return the IPv4 addresses among the far targets, the farthest first."""
    far = [target for layer in (Layer.INTERNATIONAL, Layer.DOMESTIC) for target in targets if target.layer is layer]
    return [target.host for target in far if target.host.replace(".", "").isdecimal()]
