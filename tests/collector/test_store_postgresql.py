"""What only the PostgreSQL store has to do: partitions, a server that stops, one collector at a time, secrets."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from linkbell_collector.errors import CollectorError, RefusedError
from linkbell_collector.store import postgresql_connection, schema
from linkbell_collector.store import postgresql_partitions as partitions
from linkbell_collector.store.postgresql_partitions import HOURLY, RECORDS
from linkbell_collector.values import DatabaseUrl
from linkbell_wire import ErrorCode
from tests.collector.postgres import PASSWORD, PostgresServer, fetch
from tests.collector.process import run_command
from tests.collector.stores import Place, dated, delivery, new_agent
from tests.collector.support import DAY_US, NOON_US, FakeClock, ping, running


@pytest.fixture
def url(postgres_server: PostgresServer) -> DatabaseUrl:
    """Return an empty database."""
    return postgres_server.new_database()


@pytest.fixture
def postgres_place(url: DatabaseUrl, tmp_path: Path) -> Place:
    """Return a place in that database."""
    return Place(tmp_path / "data", url)


@pytest.fixture
def stoppable(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """Return the server, and start it again if the test has left it stopped."""
    yield postgres_server
    postgres_server.stop()
    postgres_server.start()


async def test_the_migrations_make_exactly_the_tables_that_the_code_knows(
    postgres_place: Place, clock: FakeClock
) -> None:
    async with postgres_place.opened(clock):
        assert postgres_place.url is not None
        engine = postgresql_connection.make_engine(postgres_place.url)

        def differences(connection: sa.Connection) -> list[object]:
            context = MigrationContext.configure(
                connection,
                opts={"include_object": lambda thing, name, kind, *_: kind != "table" or not name[-8:].isdigit()},
            )
            return list(compare_metadata(context, schema.metadata))

        async with engine.connect() as connection:
            found = await connection.run_sync(differences)
        await engine.dispose()
    # PostgreSQL's records have no number of their own, being partitioned.
    assert [(difference[0], difference[3].name) for difference in found] == [("add_column", "id")]  # type: ignore[index]


async def test_partitions_are_made_ahead_and_where_late_hours_fall(postgres_place: Place, clock: FakeClock) -> None:
    async with postgres_place.opened(clock) as store:
        agent = await new_agent(store)
        names = {name for (name,) in postgres_place.fetch("SELECT relname FROM pg_class WHERE relkind = 'r'")}
        assert {"records_20260302", "records_20260303", "records_20260304"} <= names
        await store.settle(delivery(agent, [dated(ping(0), NOON_US - 60 * DAY_US)], received_us=NOON_US + 9 * DAY_US))
    found = postgres_place.fetch("SELECT tableoid::regclass::text, count(*) FROM records GROUP BY 1")
    assert found == [("records_20260311", 1)]
    ((hourly, start_us),) = postgres_place.fetch("SELECT tableoid::regclass::text, start_us FROM hourly")
    assert hourly == HOURLY.name(HOURLY.start_of(start_us))
    # Charts of days, and the newest of a series, need the index in each partition.
    indexed = "SELECT count(*) FROM pg_indexes WHERE tablename LIKE 'records_2%' AND indexdef LIKE '%(series, at_us)'"
    assert postgres_place.fetch(indexed) == [(4,)]


async def test_old_partitions_are_dropped_one_by_one_also_those_a_killed_collector_left_half_dropped(
    url: DatabaseUrl, postgres_place: Place, clock: FakeClock
) -> None:
    async with postgres_place.opened(clock):
        pass
    async with postgresql_connection.opened(url) as connection:
        await partitions.make(connection, RECORDS, [NOON_US - number * DAY_US for number in range(10, 14)])
        await connection.execute("ALTER TABLE records DETACH PARTITION records_20260218")
        oldest_us = NOON_US - 11 * DAY_US
        dropped = [await partitions.drop_one_before(connection, RECORDS, oldest_us) for _ in range(4)]
    assert dropped == ["records_20260217", "records_20260218", None, None]


async def test_dropping_a_partition_holds_up_neither_readers_nor_ingest(
    url: DatabaseUrl, postgres_place: Place, clock: FakeClock
) -> None:
    async with postgres_place.opened(clock) as store:
        agent = await new_agent(store)
        async with postgresql_connection.opened(url) as reader, postgresql_connection.opened(url) as pruner:
            await partitions.make(pruner, RECORDS, [NOON_US - 50 * DAY_US])
            async with reader.transaction():
                await reader.fetch("SELECT count(*) FROM records")
                drop = asyncio.create_task(partitions.drop_one_before(pruner, RECORDS, NOON_US - 40 * DAY_US))
                await asyncio.sleep(0.2)
                assert not drop.done()  # it waits for the reader ...
                async with asyncio.timeout(2):  # ... and nobody waits for it
                    await store.settle(delivery(agent, [dated(ping(0))]))
            assert await drop == "records_20260111"


async def test_a_server_that_stops_is_said_so_and_all_goes_on_by_itself_when_it_is_back(
    tmp_path: Path, clock: FakeClock, url: DatabaseUrl, stoppable: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path, clock, database=url.secret) as site:
        agent = await site.agent()
        assert (await agent.send([ping(0)])).status == 200
        await asyncio.to_thread(stoppable.stop, signal.SIGQUIT)
        for _ in range(2):
            reply = await agent.send([ping(1), ping(2)])
            assert (reply.status, reply.json["code"]) == (503, "storage_failed")
            assert "cannot be reached" in reply.json["message"]
            assert 0 < int(reply.headers["Retry-After"]) <= 10
        assert (await site.get("/readyz")).status == 503
        assert (await site.get("/healthz")).status == 200
        await asyncio.to_thread(stoppable.start)
        clock.advance(10)
        reply = await agent.send([ping(0), ping(1), ping(2)])
        assert (reply.status, reply.json["stored"], reply.json["duplicate"]) == (200, 2, 1)
        async with asyncio.timeout(20):
            while (await site.get("/readyz")).status != 200:
                await asyncio.sleep(0.1)
                clock.advance(10)
    assert fetch(url, "SELECT count(*) FROM records") == [(3,)]
    everything = " ".join(record.getMessage() for record in caplog.records)
    assert "records cannot be written" in everything
    assert PASSWORD not in everything


async def test_the_connection_of_the_writer_alone_may_break(tmp_path: Path, clock: FakeClock, url: DatabaseUrl) -> None:
    async with running(tmp_path, clock, database=url.secret) as site:
        agent = await site.agent()
        await agent.send([ping(0)])
        ended = fetch(url, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
        assert ended == [(True,)]
        statuses = [(await agent.send([ping(1)])).status for _ in range(2)]
        assert statuses in ([503, 200], [200, 200])
    assert fetch(url, "SELECT count(*) FROM records") == [(2,)]


async def test_a_second_collector_on_the_same_database_is_refused(
    tmp_path: Path, clock: FakeClock, url: DatabaseUrl
) -> None:
    async with running(tmp_path / "one", clock, database=url.secret) as site:
        with pytest.raises(RefusedError, match="another collector already serves") as refused:
            async with running(tmp_path / "two", clock, database=url.secret):
                pass
        assert PASSWORD not in refused.value.message
        assert (await site.get("/readyz")).status == 200


async def test_an_operator_beside_the_collector_is_noticed_within_two_seconds(
    tmp_path: Path, clock: FakeClock, url: DatabaseUrl
) -> None:
    async with running(tmp_path, clock, database=url.secret) as site:
        agent = await site.agent()
        async with site.changed():
            await site.store.revoke_agent(agent.id)
        assert (await agent.send([ping(0)])).status == 403


async def test_live_state_is_rebuilt_from_the_database(tmp_path: Path, clock: FakeClock, url: DatabaseUrl) -> None:
    async with running(tmp_path, clock, database=url.secret) as site:
        await (await site.agent()).send([ping(0)])
        before = await site.metrics()
    async with running(tmp_path, clock, database=url.secret) as site:
        assert await site.metrics() == before
    assert "linkbell_ping_rtt_seconds{" in before


WRONG = {
    "password": ("postgresql://linkbell:wrong@127.0.0.1:{port}/postgres", "wrong user or password"),
    "database": ("postgresql://linkbell:{password}@127.0.0.1:{port}/nowhere", "there is no database"),
    "port": ("postgresql://linkbell:{password}@127.0.0.1:1/postgres", "cannot be used"),
}


@pytest.mark.parametrize(("address", "said"), WRONG.values(), ids=WRONG.keys())
def test_a_database_that_cannot_be_had_is_refused_in_words_without_its_password(
    tmp_path: Path, postgres_server: PostgresServer, address: str, said: str
) -> None:
    quoted = postgres_server.url("x").secret.split(":")[2].partition("@")[0]
    full = address.format(port=postgres_server.port, password=quoted)
    done = run_command("serve", "--data", tmp_path, "--listen", "127.0.0.1:0", "--database", full)
    assert done.returncode == 1
    assert said in done.stderr
    assert "what to do" in done.stderr
    assert "Traceback" not in done.stderr
    assert "wrong@" not in done.stderr
    assert quoted not in done.stderr


def test_settings_show_the_address_without_its_password(postgres_server: PostgresServer) -> None:
    url = postgres_server.url("linkbell")
    shown = run_command("check-config", "--database", url.secret, "--json").stdout
    assert f"postgresql://linkbell@127.0.0.1:{postgres_server.port}/linkbell" in shown
    assert url.secret not in shown
    assert str(url) in repr(url)


@pytest.mark.parametrize("text", ["mysql://u:hunter2@h/d", "hunter2", "postgresql://u:hunter2@h:port/d"])
def test_an_address_that_is_none_is_refused_without_repeating_it(text: str) -> None:
    done = run_command("check-config", "--database", text)
    assert done.returncode == 2
    assert "is not an address such as postgresql://" in done.stderr
    assert "hunter2" not in done.stderr


async def test_a_database_of_a_newer_version_is_refused(postgres_place: Place, clock: FakeClock) -> None:
    async with postgres_place.opened(clock):
        pass
    postgres_place.fetch("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(RefusedError, match="newer version"):
        async with postgres_place.opened(clock):
            pass


async def test_too_many_requests_at_once_are_refused(postgres_place: Place, clock: FakeClock) -> None:
    async with postgres_place.opened(clock) as store:
        agent = await new_agent(store)
        results = await asyncio.gather(*(store.revoke_agent(agent.id) for _ in range(300)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, CollectorError)]
    assert len(refused) == 300 - 256
    assert {error.code for error in refused} == {ErrorCode.OVERLOADED}
