"""Rows to what they say of their schools, each row by itself. Pure."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from linkbell_collector.importing import places
from linkbell_collector.importing.columns import Layout, Use, clean
from linkbell_collector.importing.table import Row
from linkbell_collector.profile import NO_WISHES, ProfileError, Wishes, read_profile, wishes_of

NULL_ISLAND = (0.0, 0.0)
_LOST = re.compile(r"\?\w")
EVERY = 1000
"""Rows from one report of progress to the next."""


@dataclass(frozen=True, slots=True)
class Remark:
    """Something about a row: why it is not taken, or what of it is not."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Draft:
    """What a row says of a school. ``values`` are fields of :class:`School`, ``wishes`` what agents are told."""

    line: int
    id: str
    values: Mapping[str, Any]
    wishes: Wishes = NO_WISHES

    @property
    def place(self) -> places.Place | None:
        """Latitude and longitude, if the row has them."""
        return (self.values["latitude"], self.values["longitude"]) if "latitude" in self.values else None


@dataclass(slots=True)
class Drafts:
    """All rows that can be used, and what is to be said of the others."""

    usable: list[Draft] = field(default_factory=list)
    errors: list[Remark] = field(default_factory=list)
    notes: list[Remark] = field(default_factory=list)
    repeated: int = 0


def read_drafts(rows: Sequence[Row], layout: Layout, progress: Callable[[int], None]) -> Drafts:
    """Read all rows; an id that comes twice counts the first time."""
    drafts = Drafts()
    seen: dict[str, Draft] = {}
    for number, row in enumerate(rows):
        if number % EVERY == 0:
            progress(number)
        try:
            draft = _read(row, layout, drafts.notes)
        except ValueError as error:
            drafts.errors.append(Remark(row.line, str(error)))
            continue
        first = seen.setdefault(draft.id, draft)
        if first is draft:
            drafts.usable.append(draft)
        elif (first.values, first.wishes) == (draft.values, draft.wishes):
            drafts.repeated += 1
        else:
            drafts.errors.append(
                Remark(row.line, f"school {draft.id} is on line {first.line} already, with other values")
            )
    _leave_out_swapped(drafts)
    return drafts


def _read(row: Row, layout: Layout, notes: list[Remark]) -> Draft:
    if row.problem is not None:
        raise ValueError(row.problem)
    id_text = clean(row.cells[layout.id.place])
    if not id_text:
        raise ValueError(f"{layout.id.name} is empty: the school has no id")
    found = dict(_values(row, layout))
    _check_place(found, row, notes)
    _check_letters(found, row, notes)
    values = {name: value for name, value in found.items() if "." not in name}
    told = tuple((name, tuple(held) if isinstance(held, list) else held) for name, held in found.items() if "." in name)
    return Draft(row.line, _named(layout.id, id_text), values, _wishes(told) if told else NO_WISHES)


def _values(row: Row, layout: Layout) -> Iterator[tuple[str, object]]:
    filled: set[str] = set()
    for use in layout.uses:
        text = clean(row.cells[use.place])
        if text and use.column.field not in filled:
            value = _named(use, text)
            if value is not None:
                filled.add(use.column.field)
                yield use.column.field, value


def _named(use: Use, text: str) -> Any:
    try:
        return use.column.read(text)
    except ValueError as error:
        raise ValueError(f"{use.name}: {error}") from error


def _check_place(values: dict[str, Any], row: Row, notes: list[Remark]) -> None:
    """Refuse half a place and one that cannot be; a place of zeros is none."""
    given = [name for name in ("latitude", "longitude") if name in values]
    if len(given) == 1:
        raise ValueError(f"there is a {given[0]} without the other coordinate")
    if not given:
        return
    place = (values["latitude"], values["longitude"])
    if place == NULL_ISLAND:
        del values["latitude"], values["longitude"]
        notes.append(Remark(row.line, "0, 0 is the place of no school and is left out"))
    elif (problem := places.problem_of(place)) is not None:
        raise ValueError(problem)


def _check_letters(values: Mapping[str, Any], row: Row, notes: list[Remark]) -> None:
    """Say where letters were lost before: a spreadsheet that saves as Windows-1251 writes ``?`` for Ә, Ғ, Қ, Ң, Ү."""
    for name in ("name", "region", "district"):
        text = values.get(name, "")
        if "?" in text and _LOST.search(text):
            why = "letters were lost when the file was saved, save it as UTF-8"
            notes.append(Remark(row.line, f"{name} {text!r} has question marks within words: {why}"))
            return


@lru_cache(1024)
def _wishes(told: tuple[tuple[str, Any], ...]) -> Wishes:
    """Read what agents are to be told; many schools of a file have the same."""
    content: dict[str, dict[str, Any]] = {}
    for path, value in told:
        section, _, name = path.partition(".")
        content.setdefault(section, {})[name] = list(value) if isinstance(value, tuple) else value
    try:
        return wishes_of(read_profile(content))
    except ProfileError as error:
        raise ValueError(str(error)) from error


def _leave_out_swapped(drafts: Drafts) -> None:
    found = [draft.place for draft in drafts.usable if draft.place is not None]
    area = places.area_of(found)
    if area is None:
        return
    kept = []
    for draft in drafts.usable:
        if draft.place is None or not area.has_swapped(draft.place):
            kept.append(draft)
            continue
        latitude, longitude = draft.place
        swapped = f"{longitude:g}, {latitude:g} is not: have the two changed places?"
        drafts.errors.append(Remark(draft.line, f"{latitude:g}, {longitude:g} is far from all others; {swapped}"))
    drafts.usable = kept
    drafts.errors.sort(key=lambda remark: remark.line)
