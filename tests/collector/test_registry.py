"""The registry goes on: damaged records, a store that fails for a moment, a defect; nothing ends the watch."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest

from linkbell_collector import redate
from linkbell_collector.app import open_store
from linkbell_collector.domain import AgentReport, Delivery, Directory, LiveRecord, School, SchoolEdits, Token, Wanted
from linkbell_collector.errors import CollectorError
from linkbell_collector.ingest.batches import read_batch
from linkbell_collector.live import LiveState
from linkbell_collector.profile import read_profile
from linkbell_collector.registry import SCHOOLS_AT_ONCE, Registry
from linkbell_collector.resolution import Defaults
from linkbell_collector.secret import digest, new_token
from linkbell_collector.settings import Settings
from linkbell_collector.store.groups import WriterLimits
from linkbell_collector.store.interface import Store
from linkbell_collector.store.sqlite import SqliteStore
from linkbell_collector.store.sqlite_connection import DATABASE_NAME, Database
from linkbell_wire import ErrorCode
from linkbell_wire.enrolment import EnrolRequest
from tests.collector.support import DAY_US, NOON_US, FakeClock, Site, batch, ping, running

DAMAGES = {
    "not a record": "body = '{}'",
    "not JSON": "body = 'rubbish'",
    "not text": "body = CAST(X'ff00fe' AS TEXT)",
    "a time quality nobody knows": "clock = 9",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
async def test_an_unreadable_record_is_left_out_and_counted_and_all_else_goes_on(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    async with running(tmp_path, clock) as site:
        agent = await site.agent()
        await agent.send([ping(0, target="a"), ping(1, target="b")])
    _execute(tmp_path, f"UPDATE records SET {damage} WHERE seq = 0")
    async with running(tmp_path, clock) as site:
        agent.site = site
        text = await site.metrics()
        assert 'target="b"' in text
        assert 'target="a"' not in text
        assert "linkbell_collector_unreadable_records 1.0\n" in (await site.get("/metrics")).text
        assert len([record for record in caplog.records if "cannot be read" in record.message]) == 1
        async with site.changed():
            await site.store.revoke_agent(agent.id)
        assert (await agent.send([ping(2)])).status == 403
        assert (await site.get("/readyz")).status == 200


async def test_while_changes_cannot_be_followed_it_is_not_ready_and_then_it_is_again(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    registry, folder = site.application.registry, site.application.data_folder
    _execute(folder, "ALTER TABLE agents RENAME TO elsewhere")
    for _ in range(3):
        await registry.follow()
    ready = await site.get("/readyz")
    assert (ready.status, "database failed" in ready.json["reason"]) == (503, True)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    _execute(folder, "ALTER TABLE elsewhere RENAME TO agents")
    await registry.follow()
    assert (await site.get("/readyz")).status == 200


class MoodyStore(SqliteStore):
    """A real store whose ``latest`` fails as often as it is told to, after the first piece."""

    failures: Sequence[Exception] = ()

    async def latest(self, agents: Collection[int], wanted: Wanted) -> AsyncIterator[Sequence[LiveRecord]]:
        """Yield what there is, or fail in the middle."""
        async for piece in super().latest(agents, wanted):
            yield piece[:1] if self.failures else piece
            if self.failures:
                failure, *self.failures = self.failures
                raise failure


FAILURES = {
    "the storage": CollectorError(ErrorCode.STORAGE_FAILED, "the disk hiccuped"),
    "a defect": ZeroDivisionError("a defect"),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES.keys())
async def test_a_rebuild_that_failed_is_done_again_until_live_state_is_complete(
    tmp_path: Path, clock: FakeClock, failure: Exception
) -> None:
    store = await MoodyStore.open(Database(tmp_path / DATABASE_NAME), WriterLimits(1000, 1000), clock)
    assert isinstance(store, MoodyStore)
    live = LiveState()
    registry = Registry(store, live, clock, Defaults(), keep_s=900)
    await registry.load()
    beside = await open_store(Settings(data=tmp_path), clock)
    await _deliver_as_new_agent(beside)
    store.failures = [failure, failure]
    for _ in range(2):
        await registry.follow()
        assert registry.trouble is not None
        assert live.series_count < 3
    await registry.follow()
    assert registry.trouble is None
    assert live.series_count == 3
    await beside.close()
    await store.close()


async def _deliver_as_new_agent(store: Store) -> None:
    secret = new_token()
    token = Token("t", "s-1", None, uses=1, used=0, expires_us=NOON_US + DAY_US, created_us=NOON_US)
    await store.add_token(token, digest(secret))
    enrolled = await store.enrol(EnrolRequest(token=secret), digest("credential"), NOON_US)
    body = batch([ping(seq, target=f"target-{seq}") for seq in range(3)])
    read = read_batch(json.dumps(body).encode())
    report = AgentReport("1", spooled=0, dropped=0, rejected=0, clock_offset_s=0.0, received_us=NOON_US)
    dated = list(
        redate.date_records(read.records, read.head.clock, redate.see_boot(None, read.head.clock, NOON_US).booted_us)
    )
    await store.settle(Delivery(enrolled.agent.key, uuid4(), dated, [], report))


def _execute(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / DATABASE_NAME, isolation_level=None)) as connection:
        connection.execute(statement)


async def test_only_schools_of_which_something_has_changed_are_made_anew(site: Site) -> None:
    registry = site.application.registry
    async with site.changed():
        schools = [
            School(f"s-{number}", region="Almaty" if number else "Abai") for number in range(SCHOOLS_AT_ONCE + 2)
        ]
        await site.store.edit_schools(SchoolEdits(schools), NOON_US, lambda done: None)
    one, other = registry.school("s-0"), registry.school("s-1")
    assert one is not None
    async with site.changed():
        await site.store.update_school(School("s-1", region="Almaty", provider="KT"))
    assert registry.school("s-0") is one
    changed = registry.school("s-1")
    assert changed is not None
    assert changed is not other
    assert changed.provider == "KT"
    async with site.changed():
        await site.store.set_region("Almaty", read_profile({"timezone": "Asia/Almaty"}))
    after = registry.school("s-1")
    assert after is not None
    assert (after.timezone, after.provider, after.download_floor_bps) == ("Asia/Almaty", "KT", 8e6)
    assert len(registry.directory.schools) == SCHOOLS_AT_ONCE + 2


class CountingStore(SqliteStore):
    """A real store that counts how often its directory is read."""

    reads = 0

    async def directory(self) -> Directory:
        """Return all schools and agents."""
        self.reads += 1
        return await super().directory()


async def test_those_who_ask_for_a_new_reading_together_share_one_that_began_after_they_asked(
    tmp_path: Path, clock: FakeClock
) -> None:
    store = await CountingStore.open(Database(tmp_path / DATABASE_NAME), WriterLimits(1000, 1000), clock)
    assert isinstance(store, CountingStore)
    registry = Registry(store, LiveState(), clock, Defaults(), keep_s=900)
    await registry.load()
    first = asyncio.create_task(registry.refresh())
    await asyncio.sleep(0)
    await store.add_school(School("s-1"), NOON_US)
    await asyncio.gather(*(registry.refresh() for _ in range(50)))
    await first
    assert store.reads <= 4  # at the start, the one under way, that of the first to ask, and one for all others
    assert "s-1" in registry.directory.schools
    await store.close()
