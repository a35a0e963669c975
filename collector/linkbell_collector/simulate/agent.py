"""One simulated agent: its box, its counters, what it measures and has to deliver. Pure but for random names."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import uuid4

from linkbell_collector.clock import from_us
from linkbell_collector.simulate import rare
from linkbell_collector.simulate.boot import Boot
from linkbell_collector.simulate.faults import CUT_OFF, FOREVER_US, MUTE, NOTHING, OFF, Active, Fault, Kind
from linkbell_collector.simulate.fleet import Site
from linkbell_collector.simulate.noise import unit
from linkbell_collector.simulate.records import at_text
from linkbell_collector.simulate.rounds import Span, World, compose, count, evidence_of, trouble_of
from linkbell_collector.simulate.spool import Entry, Spool
from linkbell_wire import PROTOCOL_VERSION, __version__
from linkbell_wire.words import EventName, VerdictState

VERSION = f"{__version__}-simulated"
FLUSH_US = 600_000_000
"""Simulated time after which an agent writes what waits to disk; a power cut takes what is newer."""

NO_BATTERY_SHARE = 0.2
"""Boxes without a clock battery: after a power cut their clock goes on from where it stopped, until it is set."""

CLOCK_SET_US = 90_000_000
_DAY_US = 86_400_000_000
_GZIP_WINDOW = 31

Detail = str | bool | int | float | None


@dataclass(slots=True)
class Identity:
    """Who the agent is to the collector. Empty until it is enrolled."""

    installation: str
    agent: str = ""
    credential: str = field(default="", repr=False)


@dataclass(slots=True)
class Tally:
    """What the agents of one process did, in records unless named otherwise."""

    made: int = 0
    stored: int = 0
    duplicate: int = 0
    rejected: int = 0
    dropped: int = 0
    power_lost: int = 0
    rounds: int = 0


class Outgoing(NamedTuple):
    """A batch under way."""

    entries: list[Entry]
    records: int
    fresh: bool


class SimulatedAgent:
    """Measures when told to, and hands out batches. Times are microseconds; ``wire_us`` is explained in ``boot``."""

    def __init__(self, site: Site, world: World, identity: Identity, tally: Tally) -> None:
        self.site = site
        self.identity = identity
        self.spool = Spool()
        self.rejected = 0
        self.config_etag: str | None = None
        self.boots = 0
        self.last_us: int | None = None
        self._world = world
        self._tally = tally
        self._active: Active = NOTHING._replace(until_us=-FOREVER_US)
        self._unchanged_until_us = 0
        self._boot_before: Boot | None = None
        self._boot: Boot | None = None
        self._stream = ""
        self._seq = 0
        self._verdict = VerdictState.OK
        self._suspected = VerdictState.OK
        self._off_because: Kind | None = None
        self._off_us = 0

    @property
    def on(self) -> bool:
        """Whether the box runs, as far as was noticed."""
        return self._boot is not None

    @property
    def boot(self) -> Boot:
        """The boot it runs in."""
        assert self._boot is not None
        return self._boot

    def active(self, now_us: int) -> Active:
        """Return what is wrong at a moment."""
        if not self._active.since_us <= now_us < self._active.until_us:
            self._active = self._world.book.at(self.site.index, now_us)
        return self._active

    def can_send(self, now_us: int) -> bool:
        """Tell whether the collector can be reached."""
        active = self.active(now_us)
        if not self.on or active.off or active.kinds & MUTE:
            return False
        return self.site.backup is not None or not active.kinds & CUT_OFF

    def start(self, now_us: int, wire_us: int, speed: float) -> None:
        """Have the box run: the first time it has been up for days, later it was switched on just now."""
        uptime_us = round((1 + 19 * unit(self.site.key, 70)) * _DAY_US / speed) if self.boots == 0 else 0
        self._boot = Boot(str(uuid4()), wire_us - uptime_us, speed)
        self._begin()
        self.last_us = now_us
        moment = self.boot.frame(wire_us)
        self._keep(Span(now_us, now_us, wire_us), [rare.event(0, moment, EventName.START, {})])

    def round(self, now_us: int, wire_us: int, *, write: bool = True) -> None:
        """Measure once, if the box is on; notice that it went off or came back meanwhile.

        Without ``write`` the records are only counted: for history, which is written when it is sent.
        """
        active = self.active(now_us)
        changed = now_us >= self._unchanged_until_us
        self._unchanged_until_us = active.until_us
        after_us = now_us if self.last_us is None else self.last_us
        self._tally.rounds += 1
        if changed and self.on:
            went_off = self._off_between(after_us, now_us)
            if went_off is not None:
                self._switch_off(went_off, now_us, wire_us)
        if active.off:
            self.last_us = now_us
            return
        extra = [] if self.on else self._switch_on(now_us, wire_us)
        span = Span(after_us, now_us, wire_us)
        extra += self._verdict_texts(span, self._seq + len(extra))
        if write:
            self._keep(span, extra, compose(self.site, span, self.boot, self._world, self._seq + len(extra)))
        else:
            self._keep(span, extra, count=len(extra) + count(self.site, span, active, self._world))
        self.last_us = now_us

    def stop(self, wire_us: int) -> None:
        """Stop in good order: say so, and have everything on disk."""
        if self.on and self.last_us is not None:
            text = rare.event(self._seq, self.boot.frame(wire_us), EventName.STOP, {})
            self._keep(Span(self.last_us, self.last_us, wire_us), [text])
        self.spool.all_to_disk()

    def take(self, max_records: int) -> Outgoing | None:
        """Return the next batch, if anything waits."""
        fresh = bool(self.spool.fresh)
        entries = self.spool.take(max_records)
        return Outgoing(entries, sum(entry.count for entry in entries), fresh) if entries else None

    def body(self, outgoing: Outgoing, wire_us: int) -> bytes:
        """Return a batch as it is sent, compressed, with the box's clocks as they are now."""
        boot = self.boot
        clock = boot.frame(wire_us)
        synced = "true" if clock.synced else "false"
        wall = at_text(clock.wall_us)
        texts = [text for entry in outgoing.entries for text in self._texts(entry)]
        body = (
            f'{{"protocol":{PROTOCOL_VERSION},"stream":"{outgoing.entries[0].stream}","clock":{{"boot_id":"{boot.id}",'
            f'"boottime_s":{clock.boottime_s},"wall":"{wall}","synced":{synced}}},"agent":{{"version":"{VERSION}",'
            f'"spooled":{self.spool.waiting - outgoing.records},"dropped":{self.spool.dropped},'
            f'"rejected":{self.rejected}}},"records":[{",".join(texts)}]}}'
        )
        packer = zlib.compressobj(1, zlib.DEFLATED, _GZIP_WINDOW)
        return packer.compress(body.encode()) + packer.flush()

    def settled(self, outgoing: Outgoing, stored: int, duplicate: int, rejected: int) -> None:
        """Forget what the collector has taken or refused for good."""
        self.spool.settle(outgoing.entries)
        self.rejected += rejected
        self._tally.stored += stored
        self._tally.duplicate += duplicate
        self._tally.rejected += rejected

    def failed(self, outgoing: Outgoing) -> None:
        """Keep what was not taken."""
        self.spool.put_back(outgoing.entries)

    def _texts(self, entry: Entry) -> list[str]:
        if entry.texts is not None:
            return entry.texts
        extra = list(entry.extra)
        if entry.count == len(extra):
            return extra
        texts = extra + compose(self.site, entry.span, entry.boot, self._world, entry.first_seq + len(extra))
        assert len(texts) == entry.count
        return texts

    def _keep(self, span: Span, extra: list[str], texts: list[str] | None = None, count: int | None = None) -> None:
        whole = extra + (texts or [])
        number = len(whole) if count is None else count
        self._tally.made += number
        entry = Entry(span, self.boot, self._stream, self._seq, number, tuple(extra), whole if count is None else None)
        self._tally.dropped += self.spool.add(entry)
        self._seq += number

    def _begin(self) -> None:
        """Start the agent's program: a new stream, numbered from 0."""
        self.boots += 1
        self._stream, self._seq = str(uuid4()), 0
        self._verdict = self._suspected = VerdictState.OK

    def _off_between(self, after_us: int, now_us: int) -> Fault | None:
        """Return the last reason why the box went off since then, were it only for a moment."""
        mine = self._world.book.of(self.site.index)
        found = [fault for fault in mine if fault.kind in OFF and fault.start_us <= now_us and fault.end_us > after_us]
        return found[-1] if found else None

    def _switch_off(self, fault: Fault, now_us: int, wire_us: int) -> None:
        self._off_because, self._off_us = fault.kind, fault.start_us
        if fault.kind is Kind.SWITCHED_OFF:
            self.stop(self._wire_of(fault.start_us, now_us, wire_us))
        else:
            kept_until_us = self._wire_of(fault.start_us - FLUSH_US, now_us, wire_us)
            self._tally.power_lost += self.spool.lose_since(kept_until_us)
        self._boot_before, self._boot = self._boot, None

    def _wire_of(self, moment_us: int, now_us: int, wire_us: int) -> int:
        assert self._boot is not None
        return wire_us - round((now_us - moment_us) / self._boot.speed)

    def _switch_on(self, now_us: int, wire_us: int) -> list[str]:
        before = self._boot_before
        assert before is not None
        mine = self._world.book.of(self.site.index)
        ended_us = max((fault.end_us for fault in mine if fault.kind in OFF and fault.end_us <= now_us), default=now_us)
        booted_us = wire_us - round((now_us - ended_us) / before.speed)
        gap_us = round((ended_us - self._off_us) / before.speed)
        cut = self._off_because is Kind.POWER_CUT
        forgetful = cut and unit(self.site.key, 71) < NO_BATTERY_SHARE
        self._boot = Boot(
            str(uuid4()),
            booted_us,
            before.speed,
            skew_us=-gap_us if forgetful else 0,
            synced_from_us=booted_us + round(CLOCK_SET_US / before.speed) if forgetful else 0,
        )
        self._begin()
        moment = self.boot.frame(wire_us)
        events: list[tuple[EventName, dict[str, Detail]]] = [
            (EventName.BOOT, {"previous_boot_id": before.id}),
            (EventName.START, {"unclean": True} if cut else {}),
        ]
        if cut:
            last_seen = from_us(before.wall_us(booted_us - gap_us)).isoformat(timespec="milliseconds")
            gap: dict[str, Detail] = {"last_seen": last_seen, "gap_s": None if forgetful else round(gap_us / 1e6, 1)}
            events.insert(1, (EventName.POWER_GAP, gap))
        return [rare.event(seq, moment, name, details) for seq, (name, details) in enumerate(events)]

    def _verdict_texts(self, span: Span, seq: int) -> list[str]:
        """Report a verdict that two rounds agree on, where it is another than before."""
        trouble = trouble_of(self.active(span.at_us))
        suspected, self._suspected = self._suspected, trouble.verdict
        if trouble.verdict is self._verdict or trouble.verdict is not suspected:
            return []
        before, self._verdict = self._verdict, trouble.verdict
        moment = self.boot.frame(span.wire_us)
        texts = [rare.verdict(seq, "main", moment, (trouble.verdict, before), evidence_of(trouble))]
        cut = VerdictState.ISP_DOWN in (before, trouble.verdict)
        if cut and self.site.backup is not None:
            away = trouble.verdict is VerdictState.ISP_DOWN
            ways: dict[str, Detail] = {"from": "main", "to": "backup"} if away else {"from": "backup", "to": "main"}
            texts.append(rare.event(seq + 1, moment, EventName.FAILOVER, ways))
        return texts

    def saved(self) -> dict[str, Any]:
        """Return what a later run needs to go on as this agent."""
        from linkbell_collector.simulate.saving import entry_to_json

        boots: dict[str, Boot] = {}
        return {
            "school": self.site.id,
            "installation": self.identity.installation,
            "agent": self.identity.agent,
            "credential": self.identity.credential,
            "rejected": self.rejected,
            "dropped": self.spool.dropped,
            "boots": self.boots,
            "last_us": self.last_us,
            "entries": [entry_to_json(entry, boots) for entry in (*self.spool.history, *self.spool.fresh)],
            "boot_of": {name: [b.booted_us, b.speed, b.skew_us, b.synced_from_us] for name, b in boots.items()},
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on as an agent of an earlier run."""
        from linkbell_collector.simulate.saving import entry_from_json

        boots = {name: Boot(name, *values) for name, values in saved["boot_of"].items()}
        self.identity = Identity(saved["installation"], saved["agent"], saved["credential"])
        self.rejected, self.boots, self.last_us = saved["rejected"], saved["boots"], saved["last_us"]
        self.spool.dropped = saved["dropped"]
        self.spool.history.extend(entry_from_json(item, boots) for item in saved["entries"])
        self.spool.waiting = sum(entry.count for entry in self.spool.history)
