"""At the door of a test: budget first, then courtesy, then a reservation that no power cut undoes. With real files."""

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from linkbell_agent.budget.cost import check_cost, speed_cost, spent_bytes
from linkbell_agent.budget.decide import Kind
from linkbell_agent.budget.ledger import charge
from linkbell_agent.budget.ledger_file import LEDGER_FILE, LedgerFile
from linkbell_agent.budget.policy import Policy
from linkbell_agent.courtesy.rule import Manners, Rates
from linkbell_agent.gatekeeper import BOTH, Ask, Go, Look, Refused
from linkbell_wire.records import EventRecord
from linkbell_wire.words import EventName, SkipReason
from tests.agent.budget.world import BEGIN, CHECK, SPEED, WorldClock, check_record, gatekeeper, speed_record

MB = 1_000_000
RESERVED = speed_cost(20 * MB, 2, 20e6, None).worst_bytes
RICH = Policy(10_000 * MB, checks_per_day=4, check_bytes=check_cost(8e6).worst_bytes, ping_bytes_per_day=1 * MB)
QUIET, LOUD = Rates(0.0, 0.0), Rates(5e6, 0.0)


def used(state: Path, kind: str = "speed", uplink: str = "main") -> int:
    return LedgerFile(state).read()[uplink].used.get(kind, 0)


def looks(clock: WorldClock, seen: Iterable[Rates], log: list[float]) -> Look:
    """Look and see what is told, the last for ever."""
    told = list(seen)

    async def look(seconds: float) -> Rates:
        clock.now_s += seconds
        log.append(clock.now_s)
        return told.pop(0) if len(told) > 1 else told[0]

    return look


async def test_the_most_a_test_can_cost_is_on_disk_before_it_runs_and_the_rest_comes_back(tmp_path: Path) -> None:
    clock = WorldClock()
    gate = gatekeeper(tmp_path, clock, RICH)
    go = await gate.admit(SPEED, "main")
    assert isinstance(go, Go)
    assert (go.max_bytes, go.forced) == (20 * MB, False)
    assert used(tmp_path) == RESERVED
    record = speed_record(clock, 5 * MB, 1 * MB)
    assert await gate.settle(go, record) == record
    assert used(tmp_path) == spent_bytes(record) > 6 * MB


async def test_a_test_cut_off_by_the_power_has_cost_all_it_could(tmp_path: Path) -> None:
    clock = WorldClock()
    assert isinstance(await gatekeeper(tmp_path, clock, RICH).admit(SPEED, "main"), Go)
    clock.reboot()
    usage = await gatekeeper(tmp_path, clock, RICH).usage("main")
    assert usage.used_bytes == {"speed": RESERVED}


async def test_uplinks_do_not_share_a_budget(tmp_path: Path) -> None:
    gate = gatekeeper(tmp_path, WorldClock(), replace(RICH, bytes_per_month=300 * MB))
    answers = [await gate.admit(SPEED, uplink) for uplink in ("main", "main", "main", "backup")]
    assert [isinstance(answer, Go) for answer in answers] == [True, False, False, True]


async def test_a_refusal_says_what_a_skip_says_and_what_may_run_instead(tmp_path: Path) -> None:
    gate = gatekeeper(tmp_path, WorldClock(), replace(RICH, bytes_per_month=300 * MB))
    await gate.admit(SPEED, "main")
    refused = await gate.admit(SPEED, "main")
    assert isinstance(refused, Refused)
    assert (refused.skipped, refused.reason, refused.instead) == ("speed", SkipReason.BUDGET, Kind.CHECK)
    assert refused.value is not None
    assert refused.limit is not None
    assert refused.value > refused.limit > 0
    go = await gate.admit(CHECK, "main")
    assert isinstance(go, Go)
    assert used(tmp_path, "check") == RICH.check_bytes
    record = check_record(WorldClock(), 700_000)
    await gate.settle(go, record)
    assert used(tmp_path, "check") == spent_bytes(record)


async def test_a_cap_shrinks_where_tests_are_known_to_need_less(tmp_path: Path) -> None:
    clock = WorldClock()
    gate = gatekeeper(tmp_path, clock, replace(RICH, bytes_per_month=300 * MB, checks_per_day=0))
    caps = []
    for _ in range(3):
        go = await gate.admit(replace(SPEED, max_bytes=50 * MB), "main")
        assert isinstance(go, Go)
        caps.append(go.max_bytes)
        await gate.settle(go, speed_record(clock, 3 * MB, 1 * MB))
        clock.now_s += 20 * 86_400 / 3
    assert caps == [50 * MB // 4, 50 * MB, 50 * MB]  # what nobody knows yet is reckoned with at its worst
    seen = LedgerFile(tmp_path).read()["main"].seen
    LedgerFile(tmp_path).update("main", seen, RICH.calendar, lambda ledger: charge(ledger, "other", 190 * MB))
    go = await gate.admit(replace(SPEED, max_bytes=50 * MB), "main")
    assert isinstance(go, Go)
    assert go.max_bytes == 25 * MB


async def test_without_a_budget_bytes_are_counted_and_nothing_is_refused(tmp_path: Path) -> None:
    clock = WorldClock()
    gate = gatekeeper(tmp_path, clock, Policy())
    for _ in range(3):
        go = await gate.admit(Ask(Kind.SPEED, BOTH, None), "main")
        assert isinstance(go, Go)
        assert go.max_bytes is None
        await gate.settle(go, speed_record(clock, 900 * MB, 900 * MB))
    usage = await gate.usage("main")
    assert usage.budget_bytes is None
    assert usage.used_bytes["speed"] > 5400 * MB


async def test_a_disk_that_takes_nothing_stops_tests_on_a_budget_and_not_pings(tmp_path: Path) -> None:
    nowhere = tmp_path / "gone"
    gate = gatekeeper(nowhere, WorldClock(), RICH)
    refused = await gate.admit(SPEED, "main")
    assert refused == Refused("speed", SkipReason.BUDGET, None, None, None)
    assert await gate.draw("main", 1000)
    assert isinstance(await gatekeeper(nowhere, WorldClock(), Policy()).admit(SPEED, "main"), Go)


# --- pings


async def test_pings_are_reserved_ahead_and_written_once_an_hour(tmp_path: Path) -> None:
    clock = WorldClock()
    gate = gatekeeper(tmp_path, clock, replace(RICH, ping_bytes_per_day=1440 * 4000.0))
    writes = 0
    identity = None
    for done in range(1, 1441):
        assert await gate.draw("main", 4000)
        assert used(tmp_path, "ping") >= done * 4000
        status = (tmp_path / LEDGER_FILE).stat()
        writes += (status.st_ino, status.st_mtime_ns) != identity
        identity = (status.st_ino, status.st_mtime_ns)
        clock.now_s += 60
    assert writes <= 30
    assert used(tmp_path, "ping") <= 1440 * 4000 + 60 * 4000
    await gate.close()
    assert used(tmp_path, "ping") == 1440 * 4000


async def test_a_box_that_loses_its_power_every_ten_minutes_pays_little_more_than_it_pings(tmp_path: Path) -> None:
    clock, sent = WorldClock(), 0
    for _ in range(50):
        gate = gatekeeper(tmp_path, clock, replace(RICH, ping_bytes_per_day=1440 * 4000.0))
        for _ in range(10):
            assert await gate.draw("main", 4000)
            sent += 4000
            clock.now_s += 60
        clock.reboot()
    assert sent <= used(tmp_path, "ping") <= 2 * sent


async def test_pings_of_a_new_month_are_not_paid_by_the_old_one(tmp_path: Path) -> None:
    clock = WorldClock(datetime(2026, 1, 31, 23, 58, tzinfo=UTC))
    gate = gatekeeper(tmp_path, clock, RICH)
    assert await gate.draw("main", 4000)
    clock.now_s += 300
    assert await gate.draw("main", 4000)
    months = LedgerFile(tmp_path).read()["main"].months
    assert months["2026-01"]["ping"] >= 4000
    assert months["2026-02"]["ping"] >= 4000


async def test_pings_stop_only_when_everything_is_spent(tmp_path: Path) -> None:
    clock = WorldClock()
    gate = gatekeeper(tmp_path, clock, Policy(10 * MB, ping_bytes_per_day=100_000))
    assert not await gate.draw("main", 9_900_000)
    assert await gate.draw("main", 9_700_000)
    assert await gate.draw("main", 100_000)
    assert not await gate.draw("main", 100_000)


# --- time


async def test_the_collectors_clock_counts_where_the_boxs_own_is_not_synchronised(tmp_path: Path) -> None:
    clock = WorldClock()
    clock.is_synced, clock.error = False, timedelta(days=-20_000)
    gate = gatekeeper(tmp_path, clock, RICH)
    await gate.admit(SPEED, "main")
    assert (await gate.usage("main")).month == "1971-03"
    gate.heard(BEGIN + timedelta(days=70))
    clock.now_s += 3600
    usage = await gate.usage("main")
    assert (usage.month, sum(usage.used_bytes.values())) == ("2026-03", RESERVED)


async def test_no_test_begins_in_the_last_minutes_of_a_month(tmp_path: Path) -> None:
    clock = WorldClock(datetime(2026, 1, 31, 23, 57, tzinfo=UTC))
    gate = gatekeeper(tmp_path, clock, RICH)
    refused = await gate.admit(SPEED, "main")
    assert isinstance(refused, Refused)
    assert refused.instead is Kind.PING
    clock.now_s += 240
    assert isinstance(await gate.admit(SPEED, "main"), Go)


async def test_how_the_month_stands_makes_an_event(tmp_path: Path) -> None:
    clock = WorldClock()
    gate = gatekeeper(tmp_path, clock, RICH)
    go = await gate.admit(SPEED, "main")
    assert isinstance(go, Go)
    clock.now_s += 15.5 * 86_400
    await gate.settle(go, speed_record(clock, 5 * MB, 1 * MB))
    usage = await gate.usage("main")
    assert usage.projected_bytes == pytest.approx(2 * usage.used_bytes["speed"], rel=0.001)
    event = EventRecord(
        seq=0,
        uplink="main",
        at=BEGIN,
        boot_id="a",
        boottime_s=0.0,
        event=EventName.DATA_USE,
        details=usage.details(),
    )
    assert json.loads(event.model_dump_json())["details"]["month"] == "2026-01"


# --- courtesy


async def test_a_test_waits_until_others_are_done(tmp_path: Path) -> None:
    clock, log = WorldClock(), list[float]()
    gate = gatekeeper(tmp_path, clock, RICH, looks(clock, [LOUD, LOUD, QUIET], log), Manners())
    go = await gate.admit(SPEED, "main")
    assert isinstance(go, Go)
    assert (log, go.forced, go.others) == ([2.0, 4.0, 6.0], False, QUIET)


async def test_after_half_a_minute_it_is_skipped_without_a_reservation_and_after_three_skips_it_runs_marked(
    tmp_path: Path,
) -> None:
    clock, log = WorldClock(), list[float]()
    outcomes = []
    for _ in range(5):  # a restart in between each of them
        gate = gatekeeper(tmp_path, clock, RICH, looks(clock, [LOUD], log), Manners())
        outcomes.append(await gate.admit(SPEED, "main"))
    skipped = Refused("speed", SkipReason.BUSY, 5e6, 2e6)
    assert outcomes[:3] == [skipped] * 3
    assert log[14] == 30.0
    forced = outcomes[3]
    assert isinstance(forced, Go)
    assert (forced.forced, forced.others) == (True, LOUD)
    assert outcomes[4] == skipped
    assert used(tmp_path) == RESERVED
    marked = await gate.settle(forced, speed_record(clock, 5 * MB, 1 * MB))
    assert marked.forced is True


async def test_full_tests_and_checks_are_skipped_apart(tmp_path: Path) -> None:
    clock, log = WorldClock(), list[float]()
    gate = gatekeeper(tmp_path, clock, RICH, looks(clock, [LOUD], log), Manners(skips=1))
    answers = [await gate.admit(ask, "main") for ask in (SPEED, CHECK, CHECK, SPEED)]
    assert [isinstance(answer, Go) for answer in answers] == [False, False, True, True]


async def test_courtesy_can_be_switched_off_and_an_unseen_line_is_no_busy_one(tmp_path: Path) -> None:
    clock, log = WorldClock(), list[float]()
    off = gatekeeper(tmp_path, clock, RICH, looks(clock, [LOUD], log), Manners(enabled=False))
    assert isinstance(await off.admit(SPEED, "main"), Go)
    assert log == []
    blind = gatekeeper(tmp_path, clock, RICH, looks(clock, [Rates()], log), Manners())
    assert isinstance(await blind.admit(CHECK, "main"), Go)


async def test_nobody_waits_for_a_test_that_the_budget_forbids(tmp_path: Path) -> None:
    clock, log = WorldClock(), list[float]()
    poor = Policy(10 * MB)
    gate = gatekeeper(tmp_path, clock, poor, looks(clock, [LOUD], log), Manners())
    refused = await gate.admit(SPEED, "main")
    assert isinstance(refused, Refused)
    assert refused.reason is SkipReason.BUDGET
    assert log == []
