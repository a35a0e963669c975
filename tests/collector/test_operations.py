"""Health: what ``/readyz`` costs."""

import asyncio
import sqlite3
from contextlib import closing

from linkbell_collector.http.operations import HEARTBEAT_S
from linkbell_collector.store.sqlite_connection import DATABASE_NAME
from tests.collector.support import FakeClock, Site


def beat_us(site: Site) -> int:
    """Return when the heartbeat was last written."""
    with closing(sqlite3.connect(site.application.data_folder / DATABASE_NAME)) as connection:
        return int(connection.execute("SELECT at_us FROM heartbeat").fetchone()[0])


async def test_readiness_is_found_out_by_one_write_in_some_seconds_however_many_ask(
    site: Site, clock: FakeClock
) -> None:
    replies = await asyncio.gather(*(site.get("/readyz") for _ in range(20)))
    assert {reply.status for reply in replies} == {200}
    first_us = beat_us(site)
    clock.advance(HEARTBEAT_S - 1)
    assert (await site.get("/readyz")).status == 200
    assert beat_us(site) == first_us
    clock.advance(1)
    assert (await site.get("/readyz")).status == 200
    assert beat_us(site) == clock.now_us()
