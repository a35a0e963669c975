"""A preview in words and as JSON."""

from collections.abc import Iterator, Sequence
from typing import Any

from linkbell_collector.importing.compare import Change, Field
from linkbell_collector.importing.drafts import Remark
from linkbell_collector.importing.service import Preview

SHOWN_ERRORS = 50


def lines_of(preview: Preview, show: int) -> Iterator[str]:
    """Yield the lines of a preview, with ``show`` examples of what is new and what is changed."""
    found = preview.comparison
    layout = preview.layout
    yield f"{preview.kind}, {preview.encoding}: {preview.rows} rows"
    yield f"the id is in {layout.id.name}; used as well: {_listed([use.name for use in layout.uses])}"
    if layout.unused:
        yield f"not used: {_listed(layout.unused)}"
    yield ""
    yield from _counts(preview)
    yield from _examples("new", found.new, show)
    yield from _examples("changed", found.changed, show)
    yield from _remarks("notes", found.notes, show)
    yield from _remarks("errors, these rows are not taken", found.errors, max(show, SHOWN_ERRORS))


def _counts(preview: Preview) -> Iterator[str]:
    found = preview.comparison
    for count, what in (
        (len(found.new), "new"),
        (len(found.changed), "changed"),
        (found.unchanged, "unchanged"),
        (found.repeated, "repeated in the file, word for word"),
        (len(found.errors), "with errors"),
        (found.zones, "get the time zone of their coordinates"),
        (found.elsewhere, "known and not in the file; nothing happens to them"),
    ):
        yield f"{count:8}  {what}"


def _examples(title: str, changes: Sequence[Change], show: int) -> Iterator[str]:
    if not changes or not show:
        return
    yield ""
    yield f"{title}{_first_of(show, changes)}:"
    for change in changes[:show]:
        yield f"  line {change.line}: {change.school.id}: {'; '.join(_field(field, change) for field in change.fields)}"


def _remarks(title: str, remarks: Sequence[Remark], show: int) -> Iterator[str]:
    if not remarks or not show:
        return
    yield ""
    yield f"{title}{_first_of(show, remarks)}:"
    yield from (f"  line {remark.line}: {remark.text}" for remark in remarks[:show])


def _first_of(show: int, listed: Sequence[object]) -> str:
    return f", the first {show} of {len(listed)}" if len(listed) > show else ""


def _field(field: Field, change: Change) -> str:
    after = _shown(field.after)
    return f"{field.name} {after}" if change.before is None else f"{field.name}: {_shown(field.before)} → {after}"


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:g}" if isinstance(value, float) and abs(value) >= 1000 else str(value)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "nothing"


def as_json(preview: Preview) -> dict[str, Any]:
    """Return all of a preview: every change, note and error."""
    found = preview.comparison
    return {
        "kind": preview.kind,
        "encoding": preview.encoding,
        "rows": preview.rows,
        "id_column": preview.layout.id.name,
        "used_columns": [use.name for use in preview.layout.uses],
        "unused_columns": list(preview.layout.unused),
        "new": [_change(change) for change in found.new],
        "changed": [_change(change) for change in found.changed],
        "unchanged": found.unchanged,
        "repeated": found.repeated,
        "elsewhere": found.elsewhere,
        "zones_of_coordinates": found.zones,
        "notes": [{"line": remark.line, "text": remark.text} for remark in found.notes],
        "errors": [{"line": remark.line, "text": remark.text} for remark in found.errors],
    }


def _change(change: Change) -> dict[str, Any]:
    fields = {field.name: {"before": field.before, "after": field.after} for field in change.fields}
    return {"line": change.line, "id": change.school.id, "fields": fields}
