"""Killed twenty times in the middle of a steady flow: what was acknowledged is there, once. On both databases."""

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import uuid4

import aiohttp
import pytest

from tests.collector.process import ServeProcess, run_json
from tests.collector.stores import Place
from tests.collector.support import batch, ping

AGENTS = 50
KILLS = 20
BATCH = 5
ACKNOWLEDGED_PER_LIFE = 40
"""Batches that must have been acknowledged before the next kill: a steady flow, without a clock."""

KILL_LATER_S = 0.0007
"""Each kill comes so much later than the one before: some of them between commit and reply."""


@dataclass
class Sender:
    """An agent that retries as agents do: the same batch until it is settled."""

    credential: str
    stream: str = field(default_factory=lambda: str(uuid4()))
    acknowledged: set[int] = field(default_factory=set)
    duplicates: int = 0

    async def run(self, where: "Where", done: asyncio.Event) -> None:
        """Send until ``done``, then finish what was begun."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
            for first in itertools.count(0, BATCH):
                if done.is_set():
                    return
                body = batch([ping(first + index) for index in range(BATCH)], stream=self.stream)
                while not await self._settled(session, where, body):
                    await where.wait_up()
                self.acknowledged.update(range(first, first + BATCH))
                where.acknowledged()

    async def _settled(self, session: aiohttp.ClientSession, where: "Where", body: dict[str, object]) -> bool:
        headers = {"Authorization": f"Bearer {self.credential}"}
        life = where.life
        try:
            async with session.post(f"{where.url}/api/v1/records", json=body, headers=headers) as response:
                reply = await response.json()
        except (aiohttp.ClientError, OSError, TimeoutError):
            await where.wait_other_than(life)
            return False
        assert response.status == 200, reply
        self.duplicates += reply["duplicate"]
        return bool(reply["stored"] + reply["duplicate"] == BATCH)


class Where:
    """Which life of the collector is the current one, and how much it has acknowledged."""

    def __init__(self) -> None:
        self.url = ""
        self.life = 0
        self.count = 0
        self.enough = asyncio.Event()
        self._changed = asyncio.Condition()

    def acknowledged(self) -> None:
        """Count a batch."""
        self.count += 1
        if self.count >= ACKNOWLEDGED_PER_LIFE:
            self.enough.set()

    async def begin(self, url: str) -> None:
        """A new life."""
        async with self._changed:
            self.url, self.life, self.count = url, self.life + 1, 0
            self.enough.clear()
            self._changed.notify_all()

    async def wait_other_than(self, life: int) -> None:
        """Wait for the next life; whoever found the connection broken learns of the kill here."""
        await self._until(lambda: self.life != life)

    async def wait_up(self) -> None:
        """Wait until there is somewhere to send."""
        await self._until(lambda: bool(self.url))

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with self._changed:
            await self._changed.wait_for(condition)


async def _enrol(url: str, token: str) -> list[Sender]:
    async with aiohttp.ClientSession() as session:
        senders = []
        for _ in range(AGENTS):
            async with session.post(f"{url}/api/v1/enrol", json={"token": token}) as response:
                senders.append(Sender((await response.json())["credential"]))
        return senders


@pytest.mark.timeout(120)
async def test_every_acknowledged_record_survives_twenty_kills_exactly_once(place: Place) -> None:
    token = run_json("tokens", "create", "--school", "s-1", "--uses", str(AGENTS), *place.flags)["token"]
    process = await asyncio.to_thread(ServeProcess, place.folder, flags=place.flags)
    where, done = Where(), asyncio.Event()
    senders = await _enrol(process.url, token)
    await where.begin(process.url)
    async with asyncio.TaskGroup() as tasks:
        for sender in senders:
            tasks.create_task(sender.run(where, done))
        for number in range(KILLS):
            await where.enough.wait()
            await asyncio.sleep(number * KILL_LATER_S)
            await asyncio.to_thread(process.kill)
            process = await asyncio.to_thread(ServeProcess, place.folder, flags=place.flags)
            await where.begin(process.url)
        done.set()
    assert (await asyncio.to_thread(process.stop))[0] == 0
    _compare(place, senders)


def _compare(place: Place, senders: list[Sender]) -> None:
    kept: dict[str, list[int]] = {}
    query = "SELECT streams.stream, seq FROM records JOIN streams ON streams.id = records.stream ORDER BY seq"
    for stream, seq in place.fetch(query):
        kept.setdefault(stream, []).append(seq)
    for sender in senders:
        assert kept[sender.stream] == sorted(sender.acknowledged)
    assert place.fetch("SELECT sum(missing) FROM agents") == [(0,)]
    ((records,),) = place.fetch("SELECT count(*) FROM records")
    for table in ("hourly", "daily"):
        assert place.fetch(f"SELECT sum(count), sum(received) FROM {table}") == [(records, 9 * records)]
    assert sum(len(sender.acknowledged) for sender in senders) >= KILLS * ACKNOWLEDGED_PER_LIFE * BATCH
    # Batches that were on disk when the reply was lost: the case this is about did happen.
    assert sum(sender.duplicates for sender in senders) > 0
