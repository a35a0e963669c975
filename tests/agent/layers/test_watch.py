"""The watch: what it asks in a round, what it makes of it, and when the next round comes."""

from dataclasses import replace
from typing import Any

import pytest

from linkbell_agent.first_hop import Hop
from linkbell_agent.layers.watch import LIE_CHECK_ROUNDS, LayerProbes, LayerWatch, resolvers
from linkbell_agent.net import Uplink
from linkbell_agent.permit import Permit, permit
from linkbell_agent.plan import LayerPlan, Plan
from linkbell_agent.probes.base import PingRequest, ProbeContext
from linkbell_agent.probes.dns import DnsRequest
from linkbell_agent.probes.http import HttpRequest
from linkbell_wire.configuration import PlatformConfiguration, TargetConfiguration
from linkbell_wire.failures import FailureCode
from linkbell_wire.records import HttpRecord, PingRecord, Record, VerdictRecord
from linkbell_wire.words import Layer, NeighbourState, VerdictState
from tests.agent.fakes import ToldClock
from tests.agent.layers.records import dns, http, ping

GATEWAY = TargetConfiguration(name="gateway", layer=Layer.GATEWAY, host="192.168.1.1")
FAR = TargetConfiguration(name="international", layer=Layer.INTERNATIONAL, host="1.1.1.1")
LAYERS = LayerPlan(
    gateway="192.168.1.1",
    resolvers=("192.168.1.1", "198.51.100.53"),
    local_resolvers=frozenset({"192.168.1.1"}),
    given=("8.8.8.8",),
    names=("example.kz",),
    platforms=(PlatformConfiguration(name="platform", url="https://platform.example/"),),
    collector="https://collector.example/base/",
    portal_url="http://check.example/generate_204",
    discovers_isp=True,
)
PLAN = Plan((GATEWAY, FAR), 60, 10, False, 3, 10, None, False, (), layers=LAYERS, permit=Permit())


class Network:
    """A network in which what is named fails, by target or layer."""

    def __init__(self, clock: ToldClock) -> None:
        self.failing: set[str] = set()
        self.hops: list[Hop] = [Hop(1, "192.168.1.1"), Hop(2, "100.64.0.1"), Hop(3, "203.0.113.1")]
        self.deaf: set[str] = set()
        self.lost = 0
        self.pinged: list[PingRequest] = []
        self.asked: list[DnsRequest] = []
        self.fetched: list[HttpRequest] = []
        self.permits: set[Permit | None] = set()
        self.looked = 0
        self.clock = clock

    async def ping(self, request: PingRequest, context: ProbeContext) -> Record:
        self.pinged.append(request)
        layer, host = request.target.layer, request.target.host
        down = layer.value in self.failing or host in self.deaf
        lost = 10 if down else self.lost if layer is Layer.INTERNATIONAL else 0
        return ping(layer, lost=lost, target=request.target.name, host=host, address=host)

    async def gateway(self, request: PingRequest, context: ProbeContext) -> Record:
        record = await self.ping(request, context)
        assert isinstance(record, PingRecord)
        silent = not record.received
        return record.model_copy(update={"neighbour": NeighbourState.SILENT if silent else None})

    async def dns(self, request: DnsRequest, context: ProbeContext) -> Record:
        self.asked.append(request)
        self.permits.add(context.uplink.permit)
        down = "dns" in self.failing or request.target in self.failing
        return dns(FailureCode.DNS_TIMEOUT if down else None, request.resolver, request.target)

    async def http(self, request: HttpRequest, context: ProbeContext) -> Record:
        self.fetched.append(request)
        down = request.layer.value in self.failing
        code = FailureCode.TIMEOUT if down else None
        return http(request.layer, code, target=request.target, url=request.url)

    async def find_hops(self, destination: str, uplink: Uplink) -> list[Hop]:
        self.looked += 1
        assert destination == "1.1.1.1"
        return self.hops

    def probes(self) -> LayerProbes:
        return LayerProbes(self.ping, self.gateway, self.dns, self.http, self.find_hops)


class Bench:
    """A watch, its network and clock, and what it kept."""

    def __init__(self) -> None:
        self.clock = ToldClock()
        self.network = Network(self.clock)
        self.kept: list[Record] = []
        self.watch = LayerWatch(self.network.probes(), ProbeContext(Uplink(), self.clock), self.kept.append)

    async def rounds(self, count: int = 1, plan: Plan = PLAN, **more: Any) -> VerdictState | None:
        for _ in range(count):
            await self.watch.round(replace(plan, **more))
            self.clock.advance(12)
        return self.watch.verdict.state

    @property
    def verdicts(self) -> list[VerdictRecord]:
        return [record for record in self.kept if isinstance(record, VerdictRecord)]


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_a_round_asks_every_layer_once(bench: Bench) -> None:
    await bench.rounds(2)
    network = bench.network
    assert [(request.target.name, request.count) for request in network.pinged[-3:]] == [
        ("gateway", 10),
        ("international", 10),
        ("isp", 10),
    ]
    second = [request for request in network.asked if request.exists][4:]
    assert [(request.target, request.resolver) for request in second] == [
        ("resolver.1", "192.168.1.1"),
        ("resolver.2", "198.51.100.53"),
        ("given.1", "8.8.8.8"),
        ("system", None),
    ]
    assert [(request.target, request.url) for request in network.fetched[-3:]] == [
        ("platform", "https://platform.example/"),
        ("collector", "https://collector.example/base/healthz"),
        ("portal-check", "http://check.example/generate_204"),
    ]


async def test_what_is_kept_is_every_record_and_each_change_of_the_verdict(bench: Bench) -> None:
    assert await bench.rounds() is VerdictState.OK
    bench.network.failing = {"isp", "dns", "international", "platform", "collector"}
    assert await bench.rounds() is VerdictState.OK
    assert await bench.rounds(3) is VerdictState.ISP_DOWN
    bench.network.failing = set()
    assert await bench.rounds(2) is VerdictState.OK
    assert [(one.previous, one.verdict) for one in bench.verdicts] == [
        (None, VerdictState.OK),
        (VerdictState.OK, VerdictState.ISP_DOWN),
        (VerdictState.ISP_DOWN, VerdictState.OK),
    ]
    shown = bench.verdicts[1].evidence
    assert [one.layer for one in shown] == sorted((one.layer for one in shown), key=list(Layer).index)
    assert {one.target for one in shown if one.up} == {"gateway"}


async def test_of_what_goes_on_going_well_one_in_five_minutes_is_kept_and_every_failure(bench: Bench) -> None:
    def fetches() -> int:
        return sum(isinstance(one, HttpRecord) and one.target == "platform" for one in bench.kept)

    await bench.rounds(24)
    assert fetches() == 1
    await bench.rounds(2)
    assert fetches() == 2
    bench.network.failing = {"platform"}
    await bench.rounds(3)
    assert fetches() == 5
    bench.network.failing = set()
    await bench.rounds(3)
    assert fetches() == 6
    assert sum(isinstance(one, PingRecord) and one.target == "gateway" for one in bench.kept) == 32


@pytest.mark.parametrize(
    ("failing", "verdict"),
    [
        ({"gateway", "isp", "dns", "international", "platform", "collector"}, VerdictState.LAN_DOWN),
        ({"dns"}, VerdictState.DNS_FAULT),
        ({"resolver.1"}, VerdictState.OK),
        ({"given.1"}, VerdictState.OK),
        ({"system"}, VerdictState.OK),
        ({"international"}, VerdictState.INTERNATIONAL_DOWN),
        ({"platform"}, VerdictState.PLATFORM_DOWN),
        ({"collector"}, VerdictState.COLLECTOR_UNREACHABLE),
        ({"gateway"}, VerdictState.OK),
        ({"isp"}, VerdictState.OK),
    ],
)
async def test_each_fault_has_its_verdict(bench: Bench, failing: set[str], verdict: VerdictState) -> None:
    await bench.rounds(2)
    bench.network.failing = failing
    assert await bench.rounds(2) is verdict


async def test_loss_over_several_rounds_is_a_degraded_line(bench: Bench) -> None:
    await bench.rounds()
    bench.network.lost = 2
    assert await bench.rounds(2) is VerdictState.OK
    assert bench.watch.looks_wrong
    assert await bench.rounds(3) is VerdictState.DEGRADED
    bench.network.lost = 0
    assert await bench.rounds(8) is VerdictState.OK


async def test_the_next_round_comes_soon_while_something_looks_wrong_and_only_then(bench: Bench) -> None:
    assert bench.watch.wait_s(40) == 40
    await bench.rounds()
    assert bench.watch.wait_s(48) == 48
    bench.network.failing = {"international"}
    await bench.watch.round(PLAN)
    assert bench.watch.wait_s(60) == 12
    bench.clock.advance(4)
    assert bench.watch.wait_s(56) == 8
    assert bench.watch.wait_s(3) == 3
    bench.clock.advance(20)
    assert bench.watch.wait_s(36) == 0
    await bench.rounds()
    assert bench.watch.verdict.state is VerdictState.INTERNATIONAL_DOWN
    assert bench.watch.wait_s(48) == 48  # settled: its end is seen within a minute, and two rounds then come soon


async def test_a_test_lets_rounds_go_first_until_the_line_is_known(bench: Bench) -> None:
    assert bench.watch.look_first_in_s() is None  # the first test of a box has somebody waiting for it
    await bench.watch.round(PLAN)
    assert bench.watch.look_first_in_s() is None
    bench.clock.advance(30)
    assert bench.watch.look_first_in_s() == 0
    bench.network.failing = {"international", "dns", "platform", "collector"}
    await bench.watch.round(PLAN)
    bench.clock.advance(4)
    assert bench.watch.look_first_in_s() == 8
    bench.clock.advance(8)
    assert bench.watch.look_first_in_s() == 0
    await bench.watch.round(PLAN)
    assert bench.watch.verdict.state is VerdictState.ISP_DOWN
    assert bench.watch.look_first_in_s() is None


async def test_a_line_that_stays_degraded_is_not_looked_at_closer_for_ever(bench: Bench) -> None:
    bench.network.lost = 3
    await bench.rounds(6)
    assert bench.watch.verdict.state is VerdictState.DEGRADED
    assert bench.watch.looks_wrong
    bench.clock.advance(600)
    assert not bench.watch.looks_wrong


async def test_the_first_hop_is_the_nearest_that_answers_pings(bench: Bench) -> None:
    bench.network.deaf = {"100.64.0.1"}
    await bench.rounds(2)
    assert [request.target.host for request in bench.network.pinged if request.count == 10][-1] == "203.0.113.1"
    assert bench.network.looked == 1


async def test_a_hop_that_moved_is_looked_for_again_and_one_behind_a_cut_is_kept(bench: Bench) -> None:
    await bench.rounds(2)
    bench.network.failing = {"isp", "international", "platform", "collector", "dns"}
    await bench.rounds(5)
    assert bench.network.looked == 1
    bench.network.failing = {"isp"}
    await bench.rounds(5)
    assert bench.network.looked == 2
    bench.network.failing = set()
    await bench.rounds(1, layers=replace(LAYERS, gateway="192.168.1.254"))
    assert bench.network.looked == 3


async def test_where_no_hop_answers_it_is_looked_for_once_a_minute(bench: Bench) -> None:
    bench.network.hops = []
    await bench.rounds(10)
    assert bench.network.looked == 2


@pytest.mark.parametrize("host", ["10.0.0.9", "not.an.address", "2001:db8::1"])
async def test_no_packets_go_after_a_hop_towards_an_address_that_is_not_allowed(bench: Bench, host: str) -> None:
    target = TargetConfiguration(name="x", layer=Layer.INTERNATIONAL, host=host)
    bench.network.failing = {"international"}
    await bench.rounds(2, targets=(GATEWAY, target))
    assert bench.network.looked == 0


async def test_what_the_plan_permits_is_what_probes_are_held_to(bench: Bench) -> None:
    await bench.rounds(2)
    assert bench.network.permits == {Permit(), permit([], ["100.64.0.1"], [])}
    bench.network.permits.clear()
    await bench.rounds(1, permit=None)
    assert bench.network.permits == {None}


async def test_name_servers_are_asked_for_what_does_not_exist_once_an_hour(bench: Bench) -> None:
    await bench.rounds(LIE_CHECK_ROUNDS)
    lies = [request for request in bench.network.asked if not request.exists]
    assert [request.name for request in lies] == ["linkbell-check.invalid"] * 4


async def test_a_box_without_a_gateway_says_so_and_it_is_the_schools_fault(bench: Bench) -> None:
    bench.network.failing = {"isp", "international", "dns", "platform", "collector"}
    assert await bench.rounds(2, targets=(FAR,)) is VerdictState.LAN_DOWN
    assert any(isinstance(one, PingRecord) and one.host == "default-route" for one in bench.kept)


async def test_a_line_that_begins_at_the_box_has_no_router_to_blame(bench: Bench) -> None:
    """Such as a modem's: without an answer from beyond, it is the provider's."""
    bench.network.failing = {"isp", "international", "dns", "platform", "collector"}
    layers = replace(PLAN.layers, gateway=None, is_direct=True)
    assert await bench.rounds(2, targets=(FAR,), layers=layers) is VerdictState.ISP_DOWN
    assert not any(isinstance(one, PingRecord) and one.layer is Layer.GATEWAY for one in bench.kept)


@pytest.mark.parametrize("carries", [True, False, None])
async def test_a_verdict_says_whether_the_default_route_leaves_by_its_uplink(carries: bool | None) -> None:
    clock, kept = ToldClock(), list[Record]()
    network = Network(clock)
    context = ProbeContext(Uplink("4g"), clock)
    watch = LayerWatch(LayerProbes(network.ping), context, kept.append, lambda: carries)
    await watch.round(PLAN)
    (verdict,) = [record for record in kept if isinstance(record, VerdictRecord)]
    assert (verdict.uplink, verdict.carries) == ("4g", carries)


async def test_pings_alone_make_a_verdict_too() -> None:
    clock = ToldClock()
    network = Network(clock)
    kept: list[Record] = []
    watch = LayerWatch(LayerProbes(network.ping), ProbeContext(Uplink(), clock), kept.append)
    await watch.round(PLAN)
    assert watch.verdict.state is VerdictState.OK
    assert len(kept) == 3


def test_a_box_whose_name_servers_are_not_known_relies_on_the_systems() -> None:
    assert resolvers(LayerPlan(names=("a",))) == [("system", None)]


async def test_the_systems_resolver_decides_where_no_other_is_known(bench: Bench) -> None:
    await bench.rounds()
    bench.network.failing = {"system"}
    assert await bench.rounds(2, layers=replace(LAYERS, resolvers=())) is VerdictState.DNS_FAULT
