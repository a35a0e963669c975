"""Thirty days without a line, then a drain. ``python -m benchmarks.outage [--days 30] [--rtt 0.05] [--short]``.

The spool is filled by its own code under a simulated clock, a minute at a time: pings of four targets, three speed
tests and a hundred checks a day, an event now and then. Then it is emptied into a real collector, ``--rtt`` seconds
being added to each request. Printed are the batch in which the present arrives, how long the history takes, what the
agent's memory and the disk had to bear, and whether every record is at the collector once or counted as dropped.
"""

import argparse
import asyncio
import contextlib
import json
import random
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from tools.run_local import Local, listening_url, output, tool

from linkbell_agent.clock import Moment
from linkbell_agent.collector_api import HttpCollectorApi, HttpReply
from linkbell_agent.retry import Backoff
from linkbell_agent.sections import Settings
from linkbell_agent.sender import Sender
from linkbell_agent.spool import Limits, Spool
from linkbell_agent.spool_file import SpoolFile
from linkbell_wire.records import CheckRecord, EventRecord, PingRecord, Record, SpeedRecord, SpeedResult
from linkbell_wire.words import Engine as SpeedEngine
from linkbell_wire.words import EventName, Layer, PingMethod, Stop, Trigger

DAYS = 30.0
SHORT_DAYS = 0.5
BOOT = "0b8e6f2a-8c1d-4d57-9c55-6f1f3c1f2f10"
TARGETS = (Layer.GATEWAY, Layer.DNS, Layer.INTERNATIONAL, Layer.COLLECTOR)
CHECK_EVERY_MIN, SPEED_EVERY_MIN, EVENT_EVERY_MIN = 15, 480, 360


class SimulatedClock:
    """A clock that runs as fast as it is told, and ends at the present."""

    def __init__(self, outage_s: float) -> None:
        self._began = datetime.now(UTC) - timedelta(seconds=outage_s)
        self.elapsed_s = 0.0
        self.is_real = False
        self._real_since_s = 0.0

    @property
    def boot_id(self) -> str:
        """One boot all the time."""
        return BOOT

    def now(self) -> Moment:
        """Return the simulated moment."""
        return Moment(self._began + timedelta(seconds=self.monotonic()), self.monotonic())

    def monotonic(self) -> float:
        """Return the seconds since the outage began."""
        return self.elapsed_s + (time.monotonic() - self._real_since_s if self.is_real else 0.0)

    def synced(self) -> bool | None:
        """No line, no NTP."""
        return False

    def become_real(self) -> None:
        """From now on time passes by itself."""
        self.is_real, self._real_since_s = True, time.monotonic()


@dataclass
class Watched:
    """The collector's HTTP side with a line of ``rtt_s`` before it, and a note of what passed."""

    api: HttpCollectorApi
    rtt_s: float
    live_from_s: float
    requests: int = 0
    body_bytes: int = 0
    busy_s: float = 0.0
    first_live: int | None = None
    last_present: float = field(default=0.0)

    async def ready(self) -> None:
        """Pass on."""
        await self.api.ready()

    async def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None) -> HttpReply:
        """Pass on, later."""
        began = time.monotonic()
        await asyncio.sleep(self.rtt_s)
        reply = await self.api.request(method, path, headers, body)
        self.requests += 1
        self.busy_s += time.monotonic() - began
        self.body_bytes += len(body or b"")
        if self.first_live is None and body is not None:
            boottimes = [record["boottime_s"] for record in json.loads(body)["records"]]
            if max(boottimes) >= self.live_from_s:
                self.first_live = self.requests
        return reply


def minute(number: int, clock: SimulatedClock) -> list[Record]:
    """Return what an agent without a line finds out in one minute."""
    moment = clock.now()
    stamp = {"seq": 0, "uplink": "main", "at": moment.wall, "boot_id": BOOT, "boottime_s": moment.boottime_s}
    found: list[Record] = [
        PingRecord.model_validate(
            stamp
            | {"target": layer.value, "layer": layer, "host": "192.0.2.1", "method": PingMethod.ICMP}
            | {"sent": 10, "received": 0, "failures": {"network_unreachable": 10}},
            strict=False,
        )
        for layer in TARGETS
    ]
    if number % CHECK_EVERY_MIN == 0:
        failed = {"failure": {"operation": "connect", "code": "network_unreachable"}, "bytes": 0, "duration_s": 0.1}
        check = {"server": "ws://192.0.2.7:8471", "trigger": Trigger.SLOT, "floor_bps": 8e6}
        found.append(CheckRecord.model_validate(stamp | check | failed, strict=False))
    if number % SPEED_EVERY_MIN == 0:
        result = SpeedResult(bps=8e6, bytes=10_000_000, duration_s=4.0, stop=Stop.STABLE)
        speed = {"engine": SpeedEngine.NDT7, "server": "ws://192.0.2.7:8471", "trigger": Trigger.SLOT}
        found.append(SpeedRecord.model_validate(stamp | speed | {"download": result}))
    if number % EVENT_EVERY_MIN == 0:
        found.append(EventRecord.model_validate(stamp | {"event": EventName.FAILOVER}))
    return found


async def fill(spool: Spool, clock: SimulatedClock, minutes: int, every: int) -> int:
    """Live through the outage, a round ``every`` so many minutes; return how many records were made.

    The last minutes are still in memory.
    """
    made = 0
    for number in range(0, minutes, every):
        for record in minute(number, clock):
            spool.append(record)
            made += 1
        clock.elapsed_s += 60.0 * every
        await spool.flush_if_due()
    return made


async def drain(sender: Sender, spool: Spool) -> float:
    """Send as the agent does until nothing waits; return the seconds it took."""
    began = time.monotonic()
    while spool.waiting:
        wait_s = await sender.send_waiting()
        await asyncio.sleep(wait_s or 0.0)
    return time.monotonic() - began


async def enrol(local: Local, url: str, folder: Path) -> str:
    """Return a credential of a new agent."""
    data = str(folder / "collector")
    token = json.loads(await output(*tool("collector"), "tokens", "create", "--data", data, "--school", "s", "--json"))
    enrolling = (*tool("agent"), "enrol", url, "--token", "-", "--state", str(local.data / "state"))
    await output(*enrolling, given=token["token"])
    identity = json.loads((local.data / "state" / "identity.json").read_bytes())
    return str(identity["credential"])


async def measure(folder: Path, days: float, rtt_s: float, every: int = 1, records: int | None = None) -> list[str]:
    """Fill, drain, print. Returns what is wrong."""
    defaults = Settings()
    clock = SimulatedClock(days * 86_400)
    limits = Limits(records=records or defaults.spool.max_records, flush_after_s=defaults.spool.flush_after_s)
    spool = Spool(lambda: SpoolFile(folder / "spool.db"), uuid4(), clock, limits)
    await spool.open()
    minutes = round(days * 1440)
    began = time.monotonic()
    made = await fill(spool, clock, minutes, every)
    filled_s, before_mb = time.monotonic() - began, _resident_mb()
    spool_mb = (folder / "spool.db").stat().st_size / 1e6
    print(
        f"{days:g} days without a line: {made} records made, {spool.waiting} wait, {spool.counter('dropped')} dropped "
        f"by worth; {spool_mb:.0f} MB on disk; filled in {filled_s:.0f} s",
        flush=True,
    )
    local = Local(folder, 0, 0)
    try:
        serve = (*tool("collector"), "serve", "--listen", "127.0.0.1:0", "--data", str(folder / "collector"))
        url = listening_url(await (await local.start("collector", *serve)).first_line())
        api = HttpCollectorApi(url)
        watched = Watched(api, rtt_s, live_from_s=clock.elapsed_s - max(600, 90 * every))
        sender = Sender(
            spool,
            watched,
            await enrol(local, url, folder),
            clock,
            Backoff(random.Random(1)),
            batch_records=defaults.report.batch_records,
            max_share=defaults.report.max_share,
        )
        clock.become_real()
        written_before = _written_bytes()
        took_s = await drain(sender, spool)
        written_mb = (_written_bytes() - written_before) / 1e6
        dropped = spool.counter("dropped")
        await spool.close()
        api.close()
    finally:
        await local.take_down()
    print(
        f"drained in {took_s:.0f} s at {rtt_s * 1e3:.0f} ms a request: {watched.requests} batches, "
        f"{watched.body_bytes / 1e6:.0f} MB of JSON, {watched.busy_s / took_s:.2f} of the time on the line; "
        f"the present came in batch {watched.first_live}; {written_mb:.0f} MB written to disk; "
        f"memory rose by {_resident_mb() - before_mb:.1f} MB"
    )
    return _faults(folder, made, dropped, watched)


def _faults(folder: Path, made: int, dropped: int, watched: Watched) -> list[str]:
    with contextlib.closing(sqlite3.connect(folder / "collector" / "collector.sqlite3")) as connection:
        kept, missing, told = connection.execute(
            "SELECT (SELECT count(*) FROM records), missing, dropped FROM agents"
        ).fetchone()
    promises = [
        (kept + dropped == made, f"{made} records were made; {kept} are at the collector and {dropped} were dropped"),
        (missing == told == dropped, f"the collector misses {missing}, was told of {told}, and {dropped} were dropped"),
        (watched.first_live in (1, 2), f"the present came in batch {watched.first_live}"),
    ]
    return [sentence for holds, sentence in promises if not holds]


def _resident_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def _written_bytes() -> int:
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes:"))


def main(argv: Sequence[str] | None = None) -> int:
    """Run, and say what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=float, default=DAYS, help=f"length of the outage ({DAYS:g})")
    parser.add_argument("--rtt", type=float, default=0.05, help="seconds added to each request (0.05)")
    parser.add_argument("--minutes", type=int, default=1, help="from one round of pings to the next (1)")
    parser.add_argument("--records", type=int, help="most records the spool keeps (as an agent's default)")
    parser.add_argument("--short", action="store_true", help=f"{SHORT_DAYS:g} days, and a short line")
    arguments = parser.parse_args(argv)
    days, rtt_s = (SHORT_DAYS, 0.005) if arguments.short else (arguments.days, arguments.rtt)
    with tempfile.TemporaryDirectory(prefix="linkbell-outage-") as folder:
        faults = asyncio.run(measure(Path(folder), days, rtt_s, arguments.minutes, arguments.records))
    for fault in faults:
        print(f"FAULT: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
