"""Importing schools, for whoever asks: :func:`prepare` says what would change, :func:`take_over` does it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from linkbell_collector import zones
from linkbell_collector.domain import Directory
from linkbell_collector.errors import UsageError
from linkbell_collector.importing.columns import Layout, layout_of
from linkbell_collector.importing.compare import Comparison, compare
from linkbell_collector.importing.drafts import read_drafts
from linkbell_collector.importing.table import Table, read_table
from linkbell_collector.importing.text import decode
from linkbell_collector.store.interface import Store

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is. May be called in another thread."""

MOST_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Options:
    """How a file is to be read; what is ``None`` is found out."""

    encoding: str | None = None
    delimiter: str | None = None
    id_column: str | None = None
    look_up_zones: bool = True


@dataclass(frozen=True, slots=True)
class Preview:
    """What a file holds, and what it would change."""

    kind: str
    encoding: str
    rows: int
    layout: Layout
    comparison: Comparison


async def prepare(known: Directory, content: bytes, options: Options, progress: Progress) -> Preview:
    """Read a file and compare it with what a store's :meth:`directory` holds; nothing is changed.

    Raises ``UsageError`` for a file that cannot be read at all; rows that cannot are in the preview.
    """
    if len(content) > MOST_BYTES:
        raise UsageError(f"the file is larger than {MOST_BYTES >> 20} MB: split it")
    return await asyncio.to_thread(_preview, known, content, options, progress)


async def take_over(store: Store, preview: Preview, now_us: int, progress: Progress) -> None:
    """Do what ``preview`` says, all of it or nothing. Raises ``RefusedError`` if the schools have changed since."""
    edits = preview.comparison.edits()
    total = len(edits.added) + len(edits.changed)
    await store.edit_schools(edits, now_us, lambda done: progress("writing", done, total))


def _preview(directory: Directory, content: bytes, options: Options, progress: Progress) -> Preview:
    decoded = decode(content, options.encoding)
    progress("reading", 0, 0)
    table = read_table(decoded.text, delimiter=options.delimiter)
    layout = _layout(table, options.id_column)
    total = len(table.rows)
    drafts = read_drafts(table.rows, layout, lambda done: progress("reading", done, total))
    zone_of = zones.zone_at if options.look_up_zones else None
    comparison = compare(drafts, directory.schools, zone_of, lambda done: progress("comparing", done, total))
    return Preview(table.kind, decoded.encoding, total, layout, comparison)


def _layout(table: Table, id_column: str | None) -> Layout:
    try:
        return layout_of(table.titles, id_column)
    except ValueError as error:
        raise UsageError(str(error)) from error
