"""What the collector's tests share: a clock that stands still, records, and an agent that talks to a real collector."""

import asyncio
import gzip
import io
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp

from linkbell_collector import app, settings
from linkbell_collector.clock import from_us
from linkbell_collector.domain import Token
from linkbell_collector.secret import digest, new_id, new_token
from linkbell_collector.store.interface import Store

NOON_US = 1_772_430_000_000_000
"""2026-03-02 05:40 UTC, when the tests take place."""

DAY_US = 86_400_000_000


class FakeClock:
    """A clock that moves only when told to. A real class, used as the product uses its own."""

    def __init__(self, now_us: int = NOON_US) -> None:
        self.wall_us = now_us
        self.seconds = 1000.0

    def now_us(self) -> int:
        """Return the time it was set to."""
        return self.wall_us

    def monotonic_s(self) -> float:
        """Return the seconds it was set to."""
        return self.seconds

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.wall_us += round(seconds * 1e6)
        self.seconds += seconds


def iso(moment_us: int) -> str:
    """Return a time as the wire has it."""
    return from_us(moment_us).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ping(seq: int, **changes: Any) -> dict[str, Any]:
    """Return a ping in which one of ten packets was lost, measured one second before the batch is sent."""
    return (
        _record(seq, "ping")
        | {
            "target": "isp-dns",
            "layer": "dns",
            "host": "192.0.2.53",
            "method": "icmp",
            "sent": 10,
            "received": 9,
            "rtt_min_s": 0.021,
            "rtt_mean_s": 0.024,
            "rtt_p95_s": 0.031,
            "rtt_max_s": 0.04,
            "jitter_s": 0.003,
            "failures": {"timeout": 1},
        }
        | changes
    )


def lost_ping(seq: int, **changes: Any) -> dict[str, Any]:
    """Return a ping without a single reply."""
    nothing = {"received": 0, "rtt_min_s": None, "rtt_mean_s": None, "rtt_p95_s": None, "rtt_max_s": None}
    return ping(seq, **nothing, jitter_s=None, failures={"timeout": 10}, **changes)


def speed(seq: int, down_bps: float | None = 40e6, up_bps: float | None = 8e6, **changes: Any) -> dict[str, Any]:
    """Return a speed test; a direction of ``None`` failed."""
    return (
        _record(seq, "speed")
        | {
            "engine": "ndt7",
            "server": "ws://measure.example:8471",
            "trigger": "slot",
            "download": _direction(down_bps),
            "upload": _direction(up_bps),
        }
        | changes
    )


def check(seq: int, *, passed: bool | None = True, **changes: Any) -> dict[str, Any]:
    """Return a floor check; ``None`` did not find out."""
    result = {"passed": passed, "bps": 9e6} if passed is not None else {"failure": _TIMEOUT}
    return (
        _record(seq, "check")
        | {
            "server": "ws://measure.example:8471",
            "trigger": "slot",
            "floor_bps": 8e6,
            "bytes": 5_000_000,
            "duration_s": 3.0,
        }
        | result
        | changes
    )


def dns(seq: int, **changes: Any) -> dict[str, Any]:
    """Return an answered look-up."""
    return _record(seq, "dns") | {"target": "isp-dns", "name": "example.org", "duration_s": 0.018} | changes


def http(seq: int, **changes: Any) -> dict[str, Any]:
    """Return a fetch that succeeded."""
    fetch = {"target": "lms", "layer": "platform", "url": "https://lms.example/", "status": 200, "duration_s": 0.2}
    return _record(seq, "http") | fetch | changes


def event(seq: int, **changes: Any) -> dict[str, Any]:
    """Return the event that the agent started."""
    return _record(seq, "event") | {"event": "start"} | changes


def data_use(
    seq: int, used_bytes: object = 250_000_000, budget_bytes: object = 10**9, **changes: Any
) -> dict[str, Any]:
    """Return the event that says how the month's data stands."""
    details = {"month": "2026-03-01", "used_bytes": used_bytes, "budget_bytes": budget_bytes, "ping_bytes": 7}
    return event(seq, event="data_use", details=details) | changes


_TIMEOUT = {"operation": "connect", "code": "timeout"}


def _direction(bps: float | None) -> dict[str, Any]:
    if bps is None:
        return {"bytes": 0, "duration_s": 1.0, "failure": _TIMEOUT}
    return {"bps": bps, "bytes": 10_000_000, "duration_s": 5.0, "stop": "stable", "rtt_loaded_s": 0.08}


def _record(seq: int, kind: str) -> dict[str, Any]:
    record = {"seq": seq, "kind": kind, "uplink": "main", "boot_id": "boot-2", "boottime_s": 4999.0}
    return {**record, "at": iso(NOON_US - 1_000_000)}


def batch(records: list[Any], **changes: Any) -> dict[str, Any]:
    """Return a batch of boot ``boot-2``, 5000 s after its start, from an agent without anything waiting."""
    return {
        "protocol": 1,
        "stream": str(uuid4()),
        "clock": {"boot_id": "boot-2", "boottime_s": 5000.0, "wall": iso(NOON_US), "synced": True},
        "agent": {"version": "0.1.0", "spooled": 0, "dropped": 0},
        "records": records,
    } | changes


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.text)


@dataclass
class TestAgent:
    """An enrolled agent: one credential, one stream, sequence numbers that go up."""

    __test__ = False

    site: "Site"
    id: str
    credential: str
    stream: UUID = field(default_factory=uuid4)

    async def send(self, records: list[Any], **changes: Any) -> Reply:
        """Deliver a batch."""
        body = batch(records, **({"stream": str(self.stream)} | changes))
        return await self.post(gzip.compress(json.dumps(body).encode()), {"Content-Encoding": "gzip"})

    async def post(self, body: bytes, headers: dict[str, str] | None = None) -> Reply:
        """Deliver raw bytes."""
        sent = {"Authorization": f"Bearer {self.credential}", "Content-Type": "application/json"} | (headers or {})
        return await self.site.request("POST", "/api/v1/records", data=io.BytesIO(body), headers=sent)


class Site:
    """A real collector on a free port, its store seen from beside it (as an operator's command sees it), a client."""

    def __init__(self, application: app.Application, store: Store, session: aiohttp.ClientSession) -> None:
        self.application = application
        self.store = store
        self.session = session

    @property
    def url(self) -> str:
        """Where the collector listens."""
        return self.application.url

    async def request(self, method: str, path: str, **arguments: Any) -> Reply:
        """Send a request and read the whole answer."""
        async with self.session.request(method, self.url + path, **arguments) as response:
            return Reply(response.status, response.headers, await response.text())

    async def get(self, path: str, **arguments: Any) -> Reply:
        """GET ``path``."""
        return await self.request("GET", path, **arguments)

    async def token(self, school: str | None = "s-1", **changes: Any) -> str:
        """Make a join token, valid for a day from the tests' noon."""
        secret = new_token()
        values = {"uses": 1, "used": 0, "expires_us": NOON_US + DAY_US, "created_us": NOON_US, "region": None}
        await self.store.add_token(Token(new_id("token"), school=school, **(values | changes)), digest(secret))
        return secret

    async def enrol(self, token: str, **fields: Any) -> Reply:
        """Ask for a credential."""
        return await self.request("POST", "/api/v1/enrol", json={"token": token, **fields})

    async def agent(self, school: str = "s-1") -> TestAgent:
        """Return an enrolled agent of ``school``."""
        reply = await self.enrol(await self.token(school))
        assert reply.status == 201, reply.text
        return TestAgent(self, reply.json["agent"], reply.json["credential"])

    @asynccontextmanager
    async def changed(self) -> AsyncIterator[None]:
        """Write beside the collector inside; on leaving, it has taken notice (it looks once a second)."""
        before = self.application.registry.generation
        yield
        async with asyncio.timeout(2):
            await self.application.registry.newer_than(before)

    async def metrics(self) -> str:
        """Return ``/metrics/schools``."""
        return (await self.get("/metrics/schools")).text


@asynccontextmanager
async def running(folder: Path, clock: FakeClock, **changes: Any) -> AsyncIterator[Site]:
    """Run a collector on ``folder``."""
    values = {"data": str(folder), "listen": "127.0.0.1:0"} | changes
    chosen = settings.build(None, {}, values).settings
    application = app.build(chosen, clock=clock)
    await application.start()
    try:
        store = await app.open_store(chosen, clock)
        try:
            async with aiohttp.ClientSession() as session:
                yield Site(application, store, session)
        finally:
            await store.close()
    finally:
        await application.stop()
