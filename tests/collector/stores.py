"""What the tests of the stores share: a place for a store of either kind, and deliveries without a network."""

import json
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from linkbell_collector import app, settings
from linkbell_collector.clock import Clock
from linkbell_collector.domain import Agent, AgentReport, DatedRecord, Delivery, TimeQuality, Token
from linkbell_collector.secret import digest, new_id, new_token
from linkbell_collector.settings import Settings
from linkbell_collector.store.interface import Store
from linkbell_collector.store.sqlite_connection import DATABASE_NAME
from linkbell_collector.values import DatabaseUrl
from linkbell_wire import AnyRecord, Rejection
from linkbell_wire.enrolment import EnrolRequest
from linkbell_wire.records import RECORD_ADAPTER
from tests.collector import postgres
from tests.collector.support import DAY_US, NOON_US


class Place:
    """Where a store is kept: a folder with SQLite, or a database of the tests' PostgreSQL server."""

    def __init__(self, folder: Path, url: DatabaseUrl | None) -> None:
        self.folder = folder
        self.url = url

    @property
    def flags(self) -> list[str]:
        """The flags of commands."""
        return ["--data", str(self.folder), *([] if self.url is None else ["--database", self.url.secret])]

    def settings(self, **changes: Any) -> Settings:
        """Return settings with this place."""
        database = {} if self.url is None else {"database": self.url.secret}
        return settings.build(
            None, {}, {"data": str(self.folder), "listen": "127.0.0.1:0", **database} | changes
        ).settings

    @asynccontextmanager
    async def opened(self, clock: Clock, *, serving: bool = True, **changes: Any) -> AsyncIterator[Store]:
        """Open the store."""
        store: Store = await app.open_store(self.settings(**changes), clock)
        try:
            if serving:
                await store.claim()
            yield store
        finally:
            await store.close()

    def fetch(self, statement: str) -> list[tuple[Any, ...]]:
        """Return what a statement finds, read beside the store."""
        if self.url is not None:
            return postgres.fetch(self.url, statement)
        with closing(sqlite3.connect(self.folder / DATABASE_NAME)) as connection:
            found = connection.execute(statement).fetchall()
            connection.commit()
            return found


async def new_agent(
    store: Store, school: str = "s-1", now_us: int = NOON_US, *, simulated: bool | None = None
) -> Agent:
    """Return a new active agent of ``school``."""
    secret = new_token()
    token = Token(new_id("token"), school, None, uses=1, used=0, expires_us=now_us + DAY_US, created_us=now_us)
    await store.add_token(token, digest(secret))
    return (await store.enrol(EnrolRequest(token=secret, simulated=simulated), digest(new_token()), now_us)).agent


def record(values: dict[str, Any]) -> AnyRecord:
    """Return a record as it comes from the wire."""
    read: AnyRecord = RECORD_ADAPTER.validate_json(json.dumps(values))
    return read


def dated(values: dict[str, Any], at_us: int = NOON_US, quality: TimeQuality = TimeQuality.REDATED) -> DatedRecord:
    """Return a record with its time."""
    return DatedRecord(record(values), at_us, quality)


def delivery(
    agent: Agent,
    records: Sequence[DatedRecord],
    stream: UUID | None = None,
    *,
    received_us: int = NOON_US,
    refused: Sequence[int] = (),
    zone: str = "UTC",
    **report: int,
) -> Delivery:
    """Return a batch as ingest hands it to a store."""
    counts = {"spooled": 0, "dropped": 0, "rejected": 0} | report
    told = AgentReport("0.1.0", counts["spooled"], counts["dropped"], counts["rejected"], 0.0, received_us)
    refusals = [Rejection(seq=seq, code="invalid", detail="no") for seq in refused]
    return Delivery(agent.key, stream or uuid4(), records, refusals, told, zone)
