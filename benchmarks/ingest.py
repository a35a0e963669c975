"""How many records a second does the collector make durable? ``python -m benchmarks.ingest [--database postgresql]``.

A real collector process on this machine; simulated agents in another process send gzip batches over keep-alive
connections, and their sum is then counted in the database. Marks: 45 000 records/s in batches of 60 on SQLite, 40 000
on PostgreSQL (a server of the benchmark's own, with its defaults), 5 000 requests/s of one record.

Measured in the same run, as what cannot be passed: the disk's fsync rate, and how fast the bare driver puts the same
rows into the same tables, without HTTP, validation, what is settled, or sums, in transactions of as many records as the
simulated agents have on their way at once.
"""

import argparse
import asyncio
import gzip
import json
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from tests.collector.postgres import PostgresServer
from tests.collector.stores import Place

from linkbell_collector.store import postgresql_connection, postgresql_partitions, sqlite_connection
from linkbell_collector.store.book import RECORD_COLUMNS
from linkbell_collector.store.migrations import migrate
from linkbell_collector.store.sqlite_connection import Database
from linkbell_collector.values import DatabaseUrl

RECORDS_MARKS = {"sqlite": 45_000, "postgresql": 40_000}
RECORDS_MARK = max(RECORDS_MARKS.values())
REQUESTS_MARK = 5_000
BATCH = 60
BARE_GROUP = 16 * BATCH


@dataclass(frozen=True)
class Load:
    """One run: who sends what for how long."""

    agents: int
    batch: int
    seconds: float


def record(seq: int, boottime_s: float) -> dict[str, object]:
    """Return one ping as an agent sends it."""
    return {
        "seq": seq,
        "kind": "ping",
        "uplink": "main",
        "at": "2026-03-02T04:05:00Z",
        "boot_id": "benchmark",
        "boottime_s": boottime_s,
        "target": f"target-{seq % 6}",
        "layer": "isp",
        "host": "192.0.2.53",
        "method": "icmp",
        "socket": "datagram",
        "sent": 10,
        "received": 9,
        "rtt_min_s": 0.0214 + seq % 97 * 1e-5,
        "rtt_mean_s": 0.0324,
        "rtt_p95_s": 0.0381,
        "rtt_max_s": 0.0405,
        "jitter_s": 0.0031,
        "failures": {"timeout": 1},
    }


def body(stream: str, first_seq: int, count: int) -> bytes:
    """Return one gzip batch."""
    batch = {
        "protocol": 1,
        "stream": stream,
        "clock": {"boot_id": "benchmark", "boottime_s": 1e6, "wall": "2026-03-02T04:10:00.120Z", "synced": True},
        "agent": {"version": "0.1.0", "spooled": 0, "dropped": 0},
        "records": [record(first_seq + index, 1e6 - count + index) for index in range(count)],
    }
    return gzip.compress(json.dumps(batch, separators=(",", ":")).encode(), compresslevel=1)


async def _agent(session: aiohttp.ClientSession, url: str, credential: str, bodies: list[bytes], until: float) -> int:
    headers = {
        "Authorization": f"Bearer {credential}",
        "Content-Type": "application/json",
        "Content-Encoding": "gzip",
    }
    sent = 0
    while sent < len(bodies) and time.monotonic() < until:
        async with session.post(f"{url}/api/v1/records", data=bodies[sent], headers=headers) as response:
            await response.read()
            if response.status != 200:
                raise SystemExit(f"the collector answered {response.status}")
        sent += 1
    return sent


def drive(url: str, credentials: list[str], load: Load, results: "multiprocessing.Queue[tuple[int, float]]") -> None:
    """Send, in a process of its own; put (batches settled, seconds) into ``results``. Bodies are made beforehand."""
    # Enough for twice the mark: making and packing bodies must not be what is measured.
    each = int(2.5 * load.seconds * (RECORDS_MARK if load.batch > 1 else REQUESTS_MARK) / load.batch / load.agents) + 1
    bodies = []
    for _ in credentials:
        stream = str(uuid.uuid4())
        bodies.append([body(stream, index * load.batch, load.batch) for index in range(each)])

    async def main() -> tuple[int, float]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            began = time.monotonic()
            until = began + load.seconds
            pairs = zip(credentials, bodies, strict=True)
            counts = await asyncio.gather(*(_agent(session, url, name, mine, until) for name, mine in pairs))
            return sum(counts), time.monotonic() - began

    results.put(asyncio.run(main()))


def fsyncs_per_second(folder: Path, seconds: float) -> float:
    """Return how often the disk under ``folder`` makes a 4 KiB append durable."""
    descriptor = os.open(folder / "fsync", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    count, began = 0, time.monotonic()
    while time.monotonic() - began < seconds:
        os.write(descriptor, bytes(4096))
        os.fdatasync(descriptor)
        count += 1
    os.close(descriptor)
    return count / (time.monotonic() - began)


def bare_rows(first: int, count: int) -> list[tuple[object, ...]]:
    """Return rows as the collector stores them."""
    now_us = time.time_ns() // 1000
    bodies = (json.dumps(record(seq, 1e6), separators=(",", ":")) for seq in range(first, first + count))
    return [(1, first + at, at % 96 + 1, now_us + at, now_us, 0, body) for at, body in enumerate(bodies)]


def bare_sqlite(folder: Path, seconds: float) -> float:
    """Return how many records a second sqlite3 makes durable by itself, in a database of the collector's layout."""
    database = Database(folder / "bare.sqlite3")
    sqlite_connection.prepare(database, migrate)
    groups = [bare_rows(number * BARE_GROUP, BARE_GROUP) for number in range(50)]
    statement = f"INSERT INTO records ({', '.join(RECORD_COLUMNS)}) VALUES (?, ?, ?, ?, ?, ?, ?)"
    with closing(sqlite_connection.open_connection(database)) as connection:
        count, began = 0, time.monotonic()
        while time.monotonic() - began < seconds:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(statement, groups[count // BARE_GROUP % len(groups)])
            connection.execute("COMMIT")
            count += BARE_GROUP
        return count / (time.monotonic() - began)


async def bare_postgresql(url: DatabaseUrl, seconds: float) -> float:
    """Return how many records a second asyncpg makes durable by itself, in a database of the collector's layout."""
    engine = postgresql_connection.make_engine(url)
    await postgresql_connection.prepare(url, engine, migrate)
    await engine.dispose()
    groups = [bare_rows(number * BARE_GROUP, BARE_GROUP) for number in range(50)]
    async with postgresql_connection.opened(url) as connection:
        await postgresql_partitions.make(connection, postgresql_partitions.RECORDS, [time.time_ns() // 1000])
        count, began = 0, time.monotonic()
        while time.monotonic() - began < seconds:
            rows = groups[count // BARE_GROUP % len(groups)]
            await connection.copy_records_to_table("records", records=rows, columns=RECORD_COLUMNS)
            count += BARE_GROUP
        return count / (time.monotonic() - began)


class Collector:
    """A real ``linkbell-collector serve`` on a fresh folder or database."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._command = [sys.executable, "-m", "linkbell_collector.cli"]
        self._process = subprocess.Popen(
            [*self._command, "serve", *place.flags, "--listen", "127.0.0.1:0", "--log-level", "warning"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().split()[-1]

    def credentials(self, count: int) -> list[str]:
        """Enrol ``count`` agents of as many schools."""
        command = [*self._command, "tokens", "create", "--region", "bench", "--uses", str(count), "--json"]
        made = subprocess.run([*command, *self.place.flags], check=True, capture_output=True, text=True)
        token = json.loads(made.stdout)["token"]

        async def enrol() -> list[str]:
            found = []
            async with aiohttp.ClientSession() as session:
                for index in range(count):
                    asked = {"token": token, "school": f"school-{index}"}
                    async with session.post(f"{self.url}/api/v1/enrol", json=asked) as response:
                        reply = await response.json()
                        found.append(reply["credential"])
            return found

        credentials = asyncio.run(enrol())
        approve = [*self._command, "agents", "approve", "--school", "school-0", *self.place.flags]
        subprocess.run(approve, check=True, capture_output=True)
        self._approve_all()
        return credentials

    def _approve_all(self) -> None:
        for statement in (
            "UPDATE schools SET approved = 1",
            "UPDATE agents SET state = 'active'",
            "UPDATE changes SET count = count + 1",
        ):
            self.place.fetch(statement)
        time.sleep(2.5)  # the collector looks for changes of others once a second

    def stored(self) -> int:
        """Count the records in the database."""
        ((count,),) = self.place.fetch("SELECT count(*) FROM records")
        return int(count)

    def cpu_s(self) -> float:
        """Return the processor time used so far."""
        parts = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """Stop it and wait."""
        self._process.send_signal(signal.SIGTERM)
        if self._process.wait(timeout=30) != 0:
            raise SystemExit("the collector did not stop cleanly")


def measure(collector: Collector, credentials: list[str], load: Load) -> float:
    """Return records per second durable in one run, counted in the database."""
    before = collector.stored()
    cpu_before_s = collector.cpu_s()
    results: multiprocessing.Queue[tuple[int, float]] = multiprocessing.Queue()
    sender = multiprocessing.Process(target=drive, args=(collector.url, credentials[: load.agents], load, results))
    sender.start()
    batches, seconds = results.get()
    sender.join()
    stored = collector.stored() - before
    if stored != batches * load.batch:
        raise SystemExit(f"{batches * load.batch} records were acknowledged, {stored} are in the database")
    cpu = (collector.cpu_s() - cpu_before_s) / seconds
    print(f"    {stored / seconds:9.0f} records/s   {batches / seconds:6.0f} requests/s   collector {cpu:.2f} cores")
    return stored / seconds


def report(title: str, rates: list[float], mark: float, unit: str) -> None:
    """Print the median, the spread and the ratio to the mark."""
    median = statistics.median(rates)
    print(f"{title}: {median:,.0f} {unit} (from {min(rates):,.0f} to {max(rates):,.0f} in {len(rates)} runs), ", end="")
    print(f"mark {mark:,.0f}, ratio {median / mark:.2f}")


def run(kind: str, place: Place, *, short: bool) -> None:
    """Measure one kind of database."""
    runs, seconds = (1, 1.0) if short else (5, 4.0)
    bare_s = 0.5 if short else 3.0
    if place.url is None:
        bare = bare_sqlite(place.folder / "bare", bare_s)
    else:
        bare = asyncio.run(bare_postgresql(DatabaseUrl(place.url.secret), bare_s))
        for table in ("records", "hourly"):
            place.fetch(f"TRUNCATE {table}")
    print(f"limit: the bare driver of {kind} makes {bare:,.0f} records durable a second, {BARE_GROUP} to a transaction")
    collector = Collector(place)
    try:
        credentials = collector.credentials(64)
        print(f"batches of {BATCH}, gzip, 16 agents with keep-alive:")
        rates = [measure(collector, credentials, Load(16, BATCH, seconds)) for _ in range(runs)]
        print("one record a request, gzip, 64 agents with keep-alive:")
        singles = [measure(collector, credentials, Load(64, 1, seconds)) for _ in range(runs)]
    finally:
        collector.stop()
    report(f"{kind}, ingest", rates, RECORDS_MARKS[kind], "records/s durable")
    print(f"{kind}, share of the bare driver: {statistics.median(rates) / bare:.2f}")
    report(f"{kind}, single", singles, REQUESTS_MARK, "requests/s durable")


def main() -> int:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="one short run of each, under ten seconds")
    parser.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="sqlite", help="default sqlite")
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="linkbell-bench-") as folder:
        fsyncs = fsyncs_per_second(Path(folder), 0.5 if parsed.short else 2)
        print(f"limit: the disk makes {fsyncs:,.0f} appends of 4 KiB durable a second (one commit needs one)")
        if parsed.database in ("sqlite", "both"):
            run("sqlite", Place(Path(folder), None), short=parsed.short)
        if parsed.database in ("postgresql", "both"):
            server = PostgresServer()
            try:
                run("postgresql", Place(Path(folder) / "postgresql", server.new_database()), short=parsed.short)
            finally:
                server.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
