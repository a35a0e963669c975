"""Rounds that wait, as JSON and back. Pure."""

from collections.abc import Mapping, MutableMapping
from typing import Any

from linkbell_collector.simulate.boot import Boot
from linkbell_collector.simulate.rounds import Span
from linkbell_collector.simulate.spool import Entry


def entry_to_json(entry: Entry, boots: MutableMapping[str, Boot]) -> list[Any]:
    """Return a round that waits; its boot is put into ``boots``."""
    boots[entry.boot.id] = entry.boot
    return [*entry.span, entry.boot.id, entry.stream, entry.first_seq, entry.count, list(entry.extra)]


def entry_from_json(saved: list[Any], boots: Mapping[str, Boot]) -> Entry:
    """Return the round again."""
    after_us, at_us, wire_us, boot, stream, first_seq, count, extra = saved
    return Entry(Span(after_us, at_us, wire_us), boots[boot], stream, first_seq, count, tuple(extra))
