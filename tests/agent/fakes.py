"""Stand-ins for what lies outside the agent: a clock told the time, a collector told what to say."""

import gzip
import json
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from linkbell_agent.clock import Moment
from linkbell_agent.collector_api import HttpReply
from linkbell_wire.records import EventRecord, PingRecord
from linkbell_wire.words import EventName, Layer, PingMethod

BOOT = "11111111-2222-3333-4444-555555555555"
START = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)


class ToldClock:
    """All clocks run together, and only when told to."""

    def __init__(self, wall: datetime = START, *, is_synced: bool | None = True) -> None:
        self.wall = wall
        self.elapsed_s = 0.0
        self.is_synced = is_synced

    @property
    def boot_id(self) -> str:
        return BOOT

    def now(self) -> Moment:
        return Moment(self.wall + timedelta(seconds=self.elapsed_s), 1000.0 + self.elapsed_s)

    def monotonic(self) -> float:
        return 50.0 + self.elapsed_s

    def synced(self) -> bool | None:
        return self.is_synced

    def advance(self, seconds: float) -> None:
        self.elapsed_s += seconds


Answer = HttpReply | Exception | Callable[[dict[str, Any]], HttpReply]


class ToldCollector:
    """Answers in the order it was told to, and keeps what it was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = deque(answers)
        self.requests: list[tuple[str, str, Mapping[str, str], Any]] = []

    async def ready(self) -> None:
        pass

    async def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None) -> HttpReply:
        content: Any = None if body is None else json.loads(body)
        self.requests.append((method, path, dict(headers), content))
        answer = self.answers.popleft()
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, HttpReply) else answer(content)

    def paths(self, ending: str) -> list[str]:
        """Return the paths asked for that end so."""
        return [path for _, path, _, _ in self.requests if path.endswith(ending)]


def reply(status: int, body: object = None, **headers: str) -> HttpReply:
    """Return a reply with a JSON body; header names have underscores for hyphens."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpReply(status, {name.replace("_", "-"): value for name, value in headers.items()}, content)


def settle_all(batch: dict[str, Any]) -> HttpReply:
    """Store every record of ``batch``."""
    return settled(stored=len(batch["records"]))


def settled(stored: int = 0, duplicate: int = 0, rejected: list[dict[str, Any]] | None = None) -> HttpReply:
    """Return the collector's 200."""
    body = {
        "stored": stored,
        "duplicate": duplicate,
        "rejected": rejected or [],
        "server_time": "2026-03-02T04:10:00Z",
        "config_etag": '"e1"',
    }
    return reply(200, body)


def ping_record(target: str = "gateway") -> PingRecord:
    """Return a ping that went well."""
    return PingRecord(
        seq=0,
        uplink="main",
        at=START,
        boot_id=BOOT,
        boottime_s=1000.0,
        target=target,
        layer=Layer.GATEWAY,
        host="192.0.2.1",
        method=PingMethod.ICMP,
        sent=1,
        received=1,
        rtt_min_s=0.001,
        rtt_mean_s=0.001,
        rtt_p95_s=0.001,
        rtt_max_s=0.001,
    )


def event_record(name: EventName = EventName.START) -> EventRecord:
    """Return an event."""
    return EventRecord(seq=0, uplink="main", at=START, boot_id=BOOT, boottime_s=1000.0, event=name)


def unzip(body: bytes) -> Any:
    """Return what a gzip body says."""
    return json.loads(gzip.decompress(body))


class BootingClock(ToldClock):
    """The clocks of a box that is booted and whose wall clock is set, when told to."""

    def __init__(self, boot_id: str, wall: datetime = START, *, is_synced: bool | None = True) -> None:
        super().__init__(wall, is_synced=is_synced)
        self._boot_id = boot_id
        self._booted_at_s = 0.0

    @property
    def boot_id(self) -> str:
        return self._boot_id

    def now(self) -> Moment:
        return Moment(super().now().wall, self.elapsed_s - self._booted_at_s)

    def step(self, offset: timedelta, *, synced: bool) -> None:
        """Set the wall clock ``offset`` ahead."""
        self.wall += offset
        self.is_synced = synced

    def boot(self, boot_id: str, wall: datetime, *, synced: bool = True) -> None:
        """Start anew, the wall clock showing ``wall``."""
        self._boot_id, self._booted_at_s = boot_id, self.elapsed_s
        self.step(wall - super().now().wall, synced=synced)
