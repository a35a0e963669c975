"""What a file would change: new schools, changed ones with their fields, and those it leaves as they are. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from linkbell_collector.domain import School, SchoolEdits
from linkbell_collector.importing.drafts import EVERY, Draft, Drafts, Remark
from linkbell_collector.importing.places import Place
from linkbell_collector.profile import NO_WISHES, flat, merge

ZoneOf = Callable[[Place], str | None]
SEA = "Etc/"
"""Zones of the open sea begin so."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field with its value before and after; ``None`` is not known."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one school. Of a new one ``before`` is ``None``."""

    line: int
    school: School
    before: School | None

    @property
    def fields(self) -> list[Field]:
        """What changes, field by field."""
        return _differences(self.before or School(self.school.id), self.school)


@dataclass(frozen=True, slots=True)
class Comparison:
    """All of it. ``elsewhere`` schools are known and not in the file; nothing happens to them."""

    new: Sequence[Change]
    changed: Sequence[Change]
    unchanged: int
    repeated: int
    elsewhere: int
    errors: Sequence[Remark]
    notes: Sequence[Remark]
    zones: int
    """Schools that get their time zone from their coordinates."""

    def edits(self) -> SchoolEdits:
        """Return what a store is to do."""
        changed = [
            (change.school, frozenset(_column(field.name) for field in change.fields)) for change in self.changed
        ]
        return SchoolEdits([change.school for change in self.new], changed)


def compare(
    drafts: Drafts, known: Mapping[str, School], zone_of: ZoneOf | None, progress: Callable[[int], None]
) -> Comparison:
    """Compare. A school without a time zone gets that of its coordinates, if ``zone_of`` says one."""
    new: list[Change] = []
    changed: list[Change] = []
    notes = list(drafts.notes)
    zones = unchanged = 0
    for number, draft in enumerate(drafts.usable):
        if number % EVERY == 0:
            progress(number)
        before = known.get(draft.id)
        values = dict(draft.values)
        place = None if "timezone" in values or (before and before.timezone) else _place(draft, before)
        if place is not None and zone_of is not None:
            values["timezone"], note = _zone(place, zone_of)
            zones += note is None
            notes += [Remark(draft.line, note)] if note else []
        school = _apply(draft, values, before)
        if before is None:
            new.append(Change(draft.line, school, None))
        elif school != before:
            changed.append(Change(draft.line, school, before))
        else:
            unchanged += 1
    named = {draft.id for draft in drafts.usable}
    return Comparison(
        new=new,
        changed=changed,
        unchanged=unchanged,
        repeated=drafts.repeated,
        elsewhere=sum(school_id not in named for school_id in known),
        errors=drafts.errors,
        notes=sorted(notes, key=lambda remark: remark.line),
        zones=zones,
    )


def _apply(draft: Draft, values: Mapping[str, Any], before: School | None) -> School:
    if before is None:
        return School(draft.id, **values, wishes=draft.wishes)
    if draft.wishes is NO_WISHES:
        return replace(before, **values)
    return replace(before, **values, wishes=merge(draft.wishes, before.wishes))


def _place(draft: Draft, before: School | None) -> Place | None:
    if draft.place is not None or before is None or before.latitude is None or before.longitude is None:
        return draft.place
    return before.latitude, before.longitude


def _zone(place: Place, zone_of: ZoneOf) -> tuple[str | None, str | None]:
    """Return the zone of a place, or what is to be said where there is none."""
    zone = zone_of(place)
    if zone is None:
        return None, f"no time zone is known at {place[0]:g}, {place[1]:g}"
    if zone.startswith(SEA):
        return None, f"{place[0]:g}, {place[1]:g} lies in the sea, and gives no time zone: are the coordinates right?"
    return zone, None


_PLAIN = tuple(name for name in School.__dataclass_fields__ if name not in ("id", "wishes"))


def _differences(before: School, after: School) -> list[Field]:
    fields = [
        Field(name, old, new) for name in _PLAIN if (old := getattr(before, name)) != (new := getattr(after, name))
    ]
    if before.wishes is not after.wishes and before.wishes != after.wishes:
        old_told, new_told = (dict(flat(school.wishes)) for school in (before, after))
        names = dict.fromkeys([*old_told, *new_told])
        told = (Field(name, old_told.get(name), new_told.get(name)) for name in names)
        fields += [field for field in told if field.before != field.after]
    return fields


def _column(field: str) -> str:
    return field if field in _PLAIN else "wishes"
