"""A simulated agent keeps what was not taken, loses what a power cut takes, and starts anew as a box does."""

import gzip
import json
from typing import Any

import pytest

from linkbell_collector.ingest.batches import read_batch
from linkbell_collector.simulate.agent import FLUSH_US, Identity, Outgoing, SimulatedAgent, Tally
from linkbell_collector.simulate.faults import Fault, FaultBook, Kind
from linkbell_collector.simulate.fleet import FleetSpec, Site, build_fleet
from linkbell_collector.simulate.replies import Decision, Reply, Step, ceiling_s, decide
from linkbell_collector.simulate.rounds import World
from linkbell_collector.simulate.spool import FRESH_ROUNDS
from linkbell_wire import EventRecord, VerdictRecord
from tests.collector.support import NOON_US

MINUTE_US = 60_000_000
FLEET = build_fleet(FleetSpec(schools=60, regions=2, districts=4))
SITE = next(site for site in FLEET if site.backup is None)


def agent_of(*faults: Fault, site: Site = SITE) -> tuple[SimulatedAgent, Tally]:
    tally = Tally()
    agent = SimulatedAgent(site, World(FaultBook(faults)), Identity("8d9f6a34-5b0e-4f0e-8f3c-6c2f4b9f9a55"), tally)
    agent.start(NOON_US, NOON_US, 1.0)
    return agent, tally


def live(agent: SimulatedAgent, first: int, last: int) -> None:
    """Let minutes pass."""
    for minute in range(first, last + 1):
        agent.round(NOON_US + minute * MINUTE_US, NOON_US + minute * MINUTE_US)


def sent(agent: SimulatedAgent, outgoing: Outgoing, minute: int) -> dict[str, Any]:
    """Return the batch as the collector reads it: whole, or the test ends here."""
    body = gzip.decompress(agent.body(outgoing, NOON_US + minute * MINUTE_US))
    read = read_batch(body)
    assert read.rejected == []
    assert len(read.records) == outgoing.records
    document: dict[str, Any] = json.loads(body)
    return document


def deliver_all(agent: SimulatedAgent, minute: int) -> list[dict[str, Any]]:
    batches = []
    while (outgoing := agent.take(60)) is not None:
        batches.append(sent(agent, outgoing, minute))
        agent.settled(outgoing, outgoing.records, 0, 0)
    return batches


def fault(kind: Kind, first: float, last: float, **values: float) -> Fault:
    edges = (NOON_US + round(first * MINUTE_US), NOON_US + round(last * MINUTE_US))
    return Fault(kind, (SITE.index,), *edges, values=values)


def test_what_was_not_taken_is_sent_again_word_for_word_and_settled_once() -> None:
    agent, tally = agent_of()
    live(agent, 1, 3)
    outgoing = agent.take(1000)
    assert outgoing is not None
    first = sent(agent, outgoing, 3)
    agent.failed(outgoing)
    live(agent, 4, 12)  # by now it is history, and written anew
    batches = deliver_all(agent, 12)
    again = {record["seq"]: record for batch in batches for record in batch["records"]}
    assert all(again[record["seq"]] == record for record in first["records"])
    assert sorted(again) == list(range(tally.made))
    assert tally.stored == tally.made
    assert agent.spool.waiting == 0


def test_after_an_outage_the_newest_comes_first_and_every_batch_says_what_waits() -> None:
    agent, tally = agent_of(fault(Kind.LINE_DOWN, 1, 60))
    live(agent, 1, 60)
    assert not agent.can_send(NOON_US + 59 * MINUTE_US)
    assert agent.can_send(NOON_US + 60 * MINUTE_US)
    waiting = agent.spool.waiting
    batches = deliver_all(agent, 60)
    assert batches[0]["records"][-1]["seq"] == tally.made - 1
    assert batches[1]["records"][0]["seq"] == 0
    for batch in batches:
        waiting -= len(batch["records"])
        assert batch["agent"]["spooled"] == waiting
    assert waiting == 0


def test_a_power_cut_takes_what_was_not_on_disk_and_gives_a_new_boot_and_stream() -> None:
    agent, tally = agent_of(fault(Kind.LINE_DOWN, 0.5, 40), fault(Kind.POWER_CUT, 30, 35))
    live(agent, 1, 29)
    made_until = tally.made
    live(agent, 30, 41)
    assert 0 < tally.power_lost <= 10 * 9
    assert agent.spool.waiting == tally.made - tally.power_lost
    batches = deliver_all(agent, 41)
    streams = {batch["stream"] for batch in batches}
    assert len(streams) == 2
    boots = {record["boot_id"] for batch in batches for record in batch["records"]}
    assert len(boots) == 2
    old = [record for batch in batches for record in batch["records"] if record["boot_id"] != batch["clock"]["boot_id"]]
    assert len(old) == made_until - tally.power_lost
    newest = max(record["at"] for record in old)
    assert newest <= "2026-03-02T06:00:00.000Z"  # FLUSH_US before the cut at 06:10
    assert FLUSH_US == 10 * MINUTE_US
    events = [record["event"] for batch in batches for record in batch["records"] if record["kind"] == "event"]
    assert sorted(events) == ["boot", "power_gap", "start", "start"]


def test_a_cut_between_two_rounds_is_noticed() -> None:
    agent, _ = agent_of(fault(Kind.POWER_CUT, 2.2, 2.6))
    live(agent, 1, 2)
    before = agent.boot.id
    live(agent, 3, 3)
    assert agent.boot.id != before
    assert agent.boots == 2


def test_a_box_that_is_switched_off_says_stop_and_loses_nothing() -> None:
    agent, tally = agent_of(fault(Kind.SWITCHED_OFF, 5.5, 20))
    live(agent, 1, 22)
    batches = deliver_all(agent, 22)
    names = [record["event"] for batch in batches for record in batch["records"] if record["kind"] == "event"]
    assert sorted(names) == ["boot", "start", "start", "stop"]
    assert tally.power_lost == 0
    assert tally.stored == tally.made


def test_a_verdict_comes_in_the_second_round_of_a_fault_and_after_it() -> None:
    agent, _ = agent_of(fault(Kind.PLATFORM_DOWN, 2.5, 6.5))
    live(agent, 1, 10)
    outgoing = agent.take(1000)
    assert outgoing is not None
    records = read_batch(gzip.decompress(agent.body(outgoing, NOON_US + 10 * MINUTE_US))).records
    verdicts = [record for record in records if isinstance(record, VerdictRecord)]
    agent.settled(outgoing, outgoing.records, 0, 0)
    rest = agent.take(1000)
    assert rest is not None
    records = read_batch(gzip.decompress(agent.body(rest, NOON_US + 10 * MINUTE_US))).records
    verdicts = [*[record for record in records if isinstance(record, VerdictRecord)], *verdicts]
    assert [(verdict.previous, verdict.verdict) for verdict in verdicts] == [
        ("ok", "platform_down"),
        ("platform_down", "ok"),
    ]
    assert [(v.at.minute - 40) for v in verdicts] == [4, 8]


def test_a_school_with_a_backup_reports_over_it_and_says_so() -> None:
    site = next(site for site in FLEET if site.backup is not None)
    cut = Fault(Kind.LINE_DOWN, (site.index,), NOON_US + MINUTE_US, NOON_US + 10 * MINUTE_US)
    agent, _ = agent_of(cut, site=site)
    live(agent, 1, 4)
    assert agent.can_send(NOON_US + 4 * MINUTE_US)
    outgoing = agent.take(1000)
    assert outgoing is not None
    records = read_batch(gzip.decompress(agent.body(outgoing, NOON_US + 4 * MINUTE_US))).records
    events = [record for record in records if isinstance(record, EventRecord) and record.event == "failover"]
    assert [event.details for event in events] == [{"from": "main", "to": "backup"}]


def test_a_full_spool_drops_the_oldest_and_counts_it() -> None:
    agent, tally = agent_of(fault(Kind.LINE_DOWN, 1, 500))
    agent.spool.max_records = 300
    live(agent, 1, 100)
    assert agent.spool.waiting <= 300
    assert tally.dropped == agent.spool.dropped == tally.made - agent.spool.waiting
    assert len(agent.spool.fresh) <= FRESH_ROUNDS


def test_an_agent_goes_on_in_the_next_run_as_it_was() -> None:
    agent, tally = agent_of(fault(Kind.LINE_DOWN, 1, 500))
    agent.identity.agent, agent.identity.credential = "agent-1", "lbc_x"
    live(agent, 1, 30)
    agent.stop(NOON_US + 30 * MINUTE_US)
    saved = json.loads(json.dumps(agent.saved()))
    again = SimulatedAgent(SITE, World(FaultBook([fault(Kind.LINE_DOWN, 1, 31)])), Identity(""), Tally())
    again.restore(saved)
    assert again.spool.waiting == agent.spool.waiting == tally.made
    assert again.identity == agent.identity
    again.start(NOON_US + 60 * MINUTE_US, NOON_US + 60 * MINUTE_US, 1.0)
    records = [record for batch in deliver_all(again, 60) for record in batch["records"]]
    assert len(records) == tally.made + 1
    assert len({record["boot_id"] for record in records}) == 2


def settles(*, stored: int, duplicate: int) -> Reply:
    answer = {"stored": stored, "duplicate": duplicate, "rejected": [], "server_time": "2026-03-02T04:10:00Z"}
    return Reply(200, {}, json.dumps(answer).encode())


def refuses(status: int, code: str) -> Reply:
    headers = {"Retry-After": "7"} if status == 503 else {}
    return Reply(status, headers, json.dumps({"code": code, "message": "m", "action": "a"}).encode())


@pytest.mark.parametrize(
    ("reply", "step", "word"),
    [
        (settles(stored=1, duplicate=1), Step.SETTLED, "settled"),
        (settles(stored=1, duplicate=0), Step.BACK_OFF, "does_not_add_up"),
        (Reply(200, {}, b"<html>log in</html>"), Step.BACK_OFF, "not_a_collector"),
        (refuses(401, "credential_unknown"), Step.REFUSED, "credential_unknown"),
        (Reply(413, {}, b""), Step.HALVE, "http_413"),
        (refuses(503, "overloaded"), Step.WAIT, "overloaded"),
        (Reply(502, {}, b"bad gateway"), Step.BACK_OFF, "http_502"),
        (Reply(0, {}, b"", "timeout"), Step.BACK_OFF, "timeout"),
    ],
)
def test_replies_mean_what_the_protocol_says(reply: Reply, step: Step, word: str) -> None:
    decision = decide(reply, 2)
    assert (decision.step, decision.word) == (step, word)
    assert decision.wait_s == (7 if reply.status == 503 else 900 if reply.status == 401 else 0)
    assert isinstance(decision, Decision)


def test_waits_double_up_to_five_minutes() -> None:
    assert [ceiling_s(failures) for failures in (0, 1, 2, 7, 8, 99)] == [2, 4, 8, 256, 300, 300]
