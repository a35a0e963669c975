"""The fault matrix, one cell a school: make the fault under a running agent, time the verdict, heal, look at the truth.

An agent has its defaults here, a round a minute and ten packets a target: what is timed is what schools get.
"""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from linkbell_collector.domain import TimeQuality
from tests.agent.layers import faults
from tests.agent.layers.faults import Fault
from tests.agent.layers.world import COLLECTOR, PLATFORM, World
from tests.end_to_end.ledger import HeldRecord, broken_promises
from tests.end_to_end.school_world import Region, RunningAgent, School, is_verdict
from tests.linkbed import bed
from tests.linkbed.lines import Line, steady

MARK_S = 90.0
"""From the fault to its verdict."""

PATIENCE_S = 150.0
TIME_ERROR_S = 1.5
"""By how much the collector's time of a verdict may be off what was seen here, printing and reading included."""

FIRST_ERROR_S = 5.0
"""Of the first one: with nothing to compare it with, a batch that was slow in coming cannot be told."""

ROUND_END_S = 2.0
"""Pings of a round end together, what else it asks before them."""

LINE = Line("8/2 Mbit/s, 30 ms", steady(8, delay_s=0.015, queue_s=0.2), steady(2, delay_s=0.015, queue_s=0.3))
BAD_LINE = Line(
    "8/2 Mbit/s, 30 ms, a third lost",
    steady(8, delay_s=0.015, queue_s=0.2, loss=0.2),
    steady(2, delay_s=0.015, queue_s=0.3, loss=0.2),
    seed=7,
)

QUIET = ("speed.enabled=false", "check.enabled=false")
"""A test takes the line for itself, and makes its round wait: a cell of its own."""


class LineGoesBad:
    """The line between router and provider begins to lose packets."""

    __name__ = "line_goes_bad"

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()

    def __call__(self, world: World, *, on: bool) -> None:
        """Lay a bad line beside the good one and lead everything over it, or lead everything back."""
        place = world.place
        hop, routes = f"{place.hop}/32", (place.network, f"{place.router_outside}/32")
        if on:
            log = world.manners.with_name(f"bad-line-{place.number}.log")
            self._stack.enter_context(bed.emulator(BAD_LINE, (world.router, world.provider), log))
            for side in (world.router, world.provider):
                side.run("ip", "link", "set", bed.DEVICE, "up")
            world.router.run("ip", "route", "replace", hop, "dev", bed.DEVICE, "metric", "0")
            world.router.run("ip", "route", "replace", "default", "dev", bed.DEVICE)
            for route in routes:
                world.provider.run("ip", "route", "replace", route, "dev", bed.DEVICE)
        else:
            world.router.run("ip", "route", "replace", hop, "dev", "wan0", "src", place.router_outside)
            world.router.run("ip", "route", "replace", "default", "via", place.hop, "dev", "wan0")
            world.provider.run("ip", "route", "replace", f"{place.router_outside}/32", "dev", "school0")
            world.provider.run("ip", "route", "replace", place.network, "via", place.router_outside)
            self._stack.close()


class CollectorKilled:
    """The collector's process is killed, and later started again on what it had on disk."""

    __name__ = "collector_killed"

    def __init__(self, region: Region) -> None:
        self._collector = region.collector

    def __call__(self, world: World, *, on: bool) -> None:
        if on:
            self._collector.kill()
        else:
            self._collector.start()


@dataclass(frozen=True)
class Cell:
    """One fault and the verdict it is to have. ``during_test`` makes it in the middle of a speed test."""

    name: str
    fault: Fault
    verdict: str
    line: Line | None = None
    during_test: bool = False

    @property
    def is_harmless(self) -> bool:
        return self.verdict == "ok"


@dataclass
class Outcome:
    """What came of a cell. ``wrong`` says in sentences what was not as promised."""

    name: str
    expected: str
    found_s: float | None = None
    over_s: float | None = None
    verdicts: list[str] = field(default_factory=list)
    records: int = 0
    wrong: list[str] = field(default_factory=list)


def cells() -> list[Cell]:
    """Return all cells that can stand beside each other before one collector."""
    return [
        Cell("line loses a third", LineGoesBad(), "degraded", LINE),  # first: its end takes longest
        Cell("gateway dead", faults.dead_gateway, "lan_down"),
        Cell("box unplugged", faults.unplugged_box, "lan_down"),
        Cell("gateway that ignores pings", faults.gateway_ignores_pings, "ok"),
        Cell("line cut", faults.line_cut, "isp_down", LINE),
        Cell("line cut during a speed test", faults.line_cut, "isp_down", LINE, during_test=True),
        Cell("provider dead beyond its first hop", faults.provider_cut_beyond_the_first_hop, "isp_down"),
        Cell("name server gone", faults.resolver_gone, "dns_fault"),
        Cell("name server silent", faults.resolver("silent"), "dns_fault"),
        Cell("name server says SERVFAIL", faults.resolver("fail"), "dns_fault"),
        Cell("name server lies", faults.resolver("lie"), "dns_fault"),
        Cell("login page", faults.captive_portal, "captive_portal"),
        Cell("international part cut", faults.abroad_cut, "international_down"),
        Cell("one platform gone", faults.server_gone(PLATFORM), "platform_down"),
        Cell("collector not reached", faults.server_gone(COLLECTOR), "collector_unreachable"),
    ]


def killed_collector(region: Region) -> Cell:
    """Return the cell that needs a collector for itself."""
    return Cell("collector killed", CollectorKilled(region), "collector_unreachable")


def run_cell(region: Region, number: int, cell: Cell, pause_s: float | None = 0.0) -> Outcome:
    """Go through ``cell`` at the place ``number``.

    ``pause_s`` lie between the first verdict and the fault; None makes the fault right after the next round, when the
    one that will notice it is farthest.
    """
    outcome = Outcome(cell.name, cell.verdict)
    settings = ("check.enabled=false",) if cell.during_test else QUIET
    with region.school(number, cell.line, settings) as school:
        with school.agent() as agent:
            try:
                _live_through(cell, school, agent, outcome, pause_s)
                _wait_until_told(school)
            finally:
                outcome.verdicts = [record["verdict"] for _, record in agent.since(0, "verdict")]
        outcome.records = len(school.said)
        expected = ["ok"] if cell.is_harmless else ["ok", cell.verdict, "ok"]
        if outcome.verdicts != expected:
            outcome.wrong.append(f"the verdicts were {outcome.verdicts} and not {expected}")
        held = school.held()
        outcome.wrong += broken_promises(school.said, held)
        if held.lost or held.dropped:
            outcome.wrong.append(f"{held.lost} records are counted as lost and {held.dropped} as dropped")
        outcome.wrong += _untrue(held.of_kind("verdict"), agent.since(0, "verdict"))
    return outcome


def _live_through(cell: Cell, school: School, agent: RunningAgent, outcome: Outcome, pause_s: float | None) -> None:
    if agent.wait_for(is_verdict("ok"), PATIENCE_S) is None:
        outcome.wrong.append("the line was never found to be well")
        return
    if cell.during_test:
        # The first test of an installation begins two seconds after the start, and has the line for some seconds.
        _wait_for_traffic(school)
    elif pause_s is None:
        agent.wait_for(_is_far_ping, PATIENCE_S, time.monotonic() + 1)
        time.sleep(ROUND_END_S)
    else:
        time.sleep(pause_s)
    began_s = time.monotonic()
    cell.fault(school.world, on=True)
    try:
        if cell.is_harmless:
            _see_two_rounds(agent, began_s, outcome)
        else:
            found_at_s = agent.wait_for(is_verdict(cell.verdict), PATIENCE_S, began_s)
            outcome.found_s = None if found_at_s is None else found_at_s - began_s
    finally:
        healed_s = time.monotonic()
        cell.fault(school.world, on=False)
    if outcome.found_s is not None:
        over_at_s = agent.wait_for(is_verdict("ok"), PATIENCE_S, healed_s)
        outcome.over_s = None if over_at_s is None else over_at_s - healed_s


def _is_far_ping(record: dict[str, Any]) -> bool:
    return bool(record["kind"] == "ping" and record["layer"] == "international")


def _wait_for_traffic(school: School) -> None:
    """Return once a download is under way at the box's port."""
    until_s = time.monotonic() + 40
    while time.monotonic() < until_s:
        before = _received(school.world)
        time.sleep(0.5)
        if _received(school.world) - before > 200_000:
            return
    raise AssertionError("no speed test began")


def _received(world: World) -> int:
    return int(world.box.run("cat", "/sys/class/net/eth0/statistics/rx_bytes"))


def _see_two_rounds(agent: RunningAgent, from_s: float, outcome: Outcome) -> None:
    """Wait for two rounds in which the gateway ignored the pings and answered ARP."""
    for _ in range(2):
        seen_s = agent.wait_for(_is_ignored_ping, PATIENCE_S, from_s)
        if seen_s is None:
            outcome.wrong.append("no round saw that the gateway ignores pings and answers ARP")
            return
        from_s = seen_s + 1


def _is_ignored_ping(record: dict[str, Any]) -> bool:
    is_ping = record["kind"] == "ping" and record["layer"] == "gateway"
    return bool(is_ping and record["received"] == 0 and record["neighbour"] == "answers")


def _wait_until_told(school: School, timeout_s: float = 60.0) -> None:
    """Return once the collector has all there is, or time is up."""
    until_s = time.monotonic() + timeout_s
    while time.monotonic() < until_s and len(school.held().records) < len(school.said):
        time.sleep(1.0)


def _untrue(held: Sequence[HeldRecord], seen: Sequence[tuple[float, dict[str, Any]]]) -> list[str]:
    """Compare the collector's verdicts, in the order of its times, with those seen here when they were made."""
    since_1970_s = time.time() - time.monotonic()
    wrong = []
    told = [(one.body["verdict"], one.body.get("previous")) for one in held]
    if told != [(record["verdict"], record["previous"]) for _, record in seen]:
        wrong.append(f"the collector's timeline is {told}")
    for one, (at_s, record) in zip(held, seen, strict=False):
        most_s = FIRST_ERROR_S if one is held[0] else TIME_ERROR_S
        if abs(one.at_s - (at_s + since_1970_s)) > most_s or one.clock is not TimeQuality.REDATED:
            wrong.append(
                f"{record['verdict']} is dated {one.at_s - at_s - since_1970_s:+.2f} s wrong ({one.clock.name})"
            )
        blames_a_layer = record["verdict"] not in ("ok", "degraded")
        if blames_a_layer and all(evidence["up"] for evidence in one.body["evidence"]):
            wrong.append(f"{record['verdict']} comes without a reason")
    return wrong
