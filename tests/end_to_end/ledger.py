"""The oracle: what an agent said it recorded against what the collector holds of it. Pure, but for :func:`held_by`."""

import json
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from linkbell_collector.domain import TimeQuality
from linkbell_collector.loss import Account, records_lost

Body = dict[str, Any]
Key = tuple[object, ...]


@dataclass(frozen=True)
class HeldRecord:
    """One record as it lies in the collector's store. Times are seconds since 1970."""

    stream: str
    seq: int
    at_s: float
    received_s: float
    clock: TimeQuality
    body: Body


@dataclass(frozen=True)
class Held:
    """What the collector knows of one agent: its records in the order of their time, and its losses."""

    records: tuple[HeldRecord, ...]
    gaps: int
    """Numbers that were handed out and never came."""
    dropped: int
    """What the agent says it gave up."""
    lost: int
    """What nobody explains: ``linkbell_agent_records_lost``."""
    waiting: int = 0
    """What waited at the agent when it last reported."""

    def of_kind(self, kind: str) -> list[HeldRecord]:
        return [record for record in self.records if record.body["kind"] == kind]

    def events(self, name: str) -> list[HeldRecord]:
        return [record for record in self.of_kind("event") if record.body["event"] == name]


def held_by(data: Path, agent: str) -> Held:
    """Read the collector's database as it is at this moment."""
    with closing(sqlite3.connect(data / "collector.sqlite3")) as database:
        rows = database.execute(
            "SELECT streams.stream, seq, at_us, received_us, clock, body FROM records"
            " JOIN streams ON streams.id = records.stream JOIN agents ON agents.key = streams.agent"
            " WHERE agents.id = ? ORDER BY at_us",
            (agent,),
        ).fetchall()
        account = database.execute(
            "SELECT missing, refused, dropped_before + coalesce(dropped, 0), rejected_before + coalesce(rejected, 0),"
            " coalesce(spooled, 0) FROM agents WHERE id = ?",
            (agent,),
        ).fetchone()
    records = tuple(
        HeldRecord(stream, seq, at_us / 1e6, received_us / 1e6, TimeQuality(clock), json.loads(body))
        for stream, seq, at_us, received_us, clock, body in rows
    )
    numbers = Account(*account[:4])
    return Held(records, numbers.missing, numbers.dropped, records_lost(numbers, spooled=account[4]), account[4])


def known(value: Any) -> Any:
    """Return a record without what is absent: printed it is ``null``, sent it is left out."""
    if isinstance(value, dict):
        return {name: known(one) for name, one in value.items() if one is not None}
    return [known(one) for one in value] if isinstance(value, list) else value


def key(body: Body) -> Key:
    """Return what no two records of one box share, the number's stream apart, which is not printed."""
    what = body.get("target"), body.get("name"), body.get("url"), body.get("event"), body.get("verdict")
    return (body["kind"], body["boot_id"], body["boottime_s"], body["seq"], *what)


def missing(said: Sequence[Body], held: Held) -> list[Body]:
    """Return what was recorded and is not at the collector."""
    there = {key(record.body) for record in held.records}
    return [body for body in said if key(body) not in there]


def broken_promises(said: Sequence[Body], held: Held, *, explained: int = 0) -> list[str]:
    """Say in a sentence each what is lost, doubled, invented or changed; ``explained`` losses are expected."""
    there, recorded = Counter(key(record.body) for record in held.records), {key(body): known(body) for body in said}
    doubled = sum(count - 1 for count in there.values())
    numbers = Counter((record.stream, record.seq) for record in held.records)
    invented = [one for one in there if one not in recorded]
    changed = [
        record.body
        for record in held.records
        if key(record.body) in recorded and _as_recorded(record.body) != _as_recorded(recorded[key(record.body)])
    ]
    gone = missing(said, held)
    promises = [
        (len(recorded) == len(said), "two records that were said are the same"),
        (not doubled, f"{doubled} records are there twice"),
        (max(numbers.values(), default=1) == 1, "a number was given twice"),
        (not invented, f"{len(invented)} records are there that were never made, such as {invented[:1]}"),
        (not changed, f"{len(changed)} records were changed on the way, such as {changed[:1]}"),
        (len(gone) == explained, f"{len(gone)} records are gone and {explained} are explained; such as {gone[:2]}"),
    ]
    return [sentence for holds, sentence in promises if not holds]


def _as_recorded(body: Body) -> Body:
    """Leave out what is put right on the way: the time of a boot that learned it later."""
    whole: Body = known(body)
    return {name: value for name, value in whole.items() if name not in ("at", "clock")}
