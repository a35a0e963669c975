"""A file as a table, whatever it is: titles, and rows with the lines they begin at. Pure."""

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

from linkbell_collector.errors import UsageError
from linkbell_collector.importing.text import delimiter_of

WGS_84 = ("CRS84", "EPSG::4326", "EPSG:4326", "/4326")
_FEATURES = re.compile(r'"features"\s*:\s*\[')
_BETWEEN = re.compile(r"[\s,]*")
CELL_LIMIT = 1_000_000


class Row(NamedTuple):
    """Cells in the order of the titles, the line the row begins at, and what is wrong with it as a whole."""

    line: int
    cells: Sequence[str]
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """``kind`` says in words what the file is."""

    titles: Sequence[str]
    rows: Sequence[Row]
    kind: str


def read_table(text: str, *, delimiter: str | None = None) -> Table:
    """Read CSV, or GeoJSON where the text is JSON. Raises :class:`UsageError` if it is neither."""
    return _geojson(text) if text.lstrip()[:1] in ("{", "[") else _csv(text, delimiter)


def _csv(text: str, delimiter: str | None) -> Table:
    found, text = delimiter_of(text)
    delimiter = delimiter or found
    csv.field_size_limit(CELL_LIMIT)
    # Line breaks as they stand: the reader counts lines by them.
    reader = csv.reader(_lines(text), delimiter=delimiter, strict=True)
    rows: list[Row] = []
    line = 1
    try:
        titles: Sequence[str] = ()
        for cells in reader:
            if any(cell.strip() for cell in cells):
                if not titles:
                    titles = cells
                else:
                    rows.append(_row(line, cells, len(titles)))
            line = reader.line_num + 1
    except csv.Error as error:
        raise UsageError(
            f"line {line}: this is not CSV from here on: {error}; is a quotation mark left open?"
        ) from error
    if not titles:
        raise UsageError("the file is empty: the first line must name the columns")
    shown = {"\t": "tabs"}.get(delimiter, f"{delimiter!r}")
    return Table(titles, rows, f"CSV, parted by {shown}")


def _lines(text: str) -> Iterator[str]:
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        yield text[start:end]
        start = end


def _row(line: int, cells: Sequence[str], width: int) -> Row:
    if len(cells) > width and any(cell.strip() for cell in cells[width:]):
        return Row(
            line, cells, f"has {len(cells)} cells for {width} columns: is a cell with a separator not in quotes?"
        )
    return Row(line, cells if len(cells) == width else [*cells, *[""] * (width - len(cells))][:width])


def _geojson(text: str) -> Table:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise UsageError(f"this is not JSON: {error}") from error
    features = document.get("features") if isinstance(document, dict) else None
    if not isinstance(features, list) or document.get("type") != "FeatureCollection":
        raise UsageError("this is JSON, but not a GeoJSON FeatureCollection")
    _require_wgs_84(document.get("crs"))
    flat = [_properties(feature) for feature in features]
    titles = list(dict.fromkeys(chain.from_iterable(cells for cells, _ in flat)))
    lines = _lines_of(text, len(features)) or range(1, len(features) + 1)
    rows = [
        Row(line, [cells.get(title, "") for title in titles], problem)
        for line, (cells, problem) in zip(lines, flat, strict=True)
    ]
    return Table(titles, rows, "GeoJSON")


def _require_wgs_84(crs: object) -> None:
    """Refuse coordinates of another kind (RFC 7946 has only one; older files may name theirs)."""
    name = str(crs.get("properties", {}).get("name", "")) if isinstance(crs, Mapping) else ""
    if name and not name.endswith(WGS_84):
        raise UsageError(f"the coordinates are in {name}: export the file in WGS 84 (EPSG:4326)")


def _properties(feature: Any) -> tuple[dict[str, str], str | None]:
    """Return a feature as cells by title, and what is wrong with it."""
    if not isinstance(feature, dict):
        return {}, "is not a feature"
    properties = feature.get("properties") or {}
    cells = {str(name): _cell(value) for name, value in properties.items()} if isinstance(properties, dict) else {}
    if "id" in feature:
        cells.setdefault("id", _cell(feature["id"]))
    geometry = feature.get("geometry")
    if geometry is None:
        return cells, None
    if not isinstance(geometry, dict) or geometry.get("type") != "Point":
        kind = geometry.get("type") if isinstance(geometry, dict) else geometry
        return cells, f"its geometry is {kind}: only points are read"
    place = geometry.get("coordinates")
    if not isinstance(place, list) or len(place) < 2:
        return cells, "its point has no two coordinates"
    return {**cells, "longitude": _cell(place[0]), "latitude": _cell(place[1])}, None


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(map(_cell, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _lines_of(text: str, count: int) -> list[int]:
    """Return the line each feature begins at; empty if the array of features is not found where it seems to be."""
    found = _FEATURES.search(text)
    lines: list[int] = []
    if found is None:
        return lines
    decoder, place, line, counted = json.JSONDecoder(), found.end(), 1, 0
    try:
        while len(lines) < count:
            between = _BETWEEN.match(text, place)
            place = place if between is None else between.end()
            line += text.count("\n", counted, place)
            counted = place
            lines.append(line)
            _, place = decoder.raw_decode(text, place)
    except ValueError:
        return []
    return lines
