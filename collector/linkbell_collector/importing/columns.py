"""Which columns of a file mean what, by Giga's names and plain ones, and how their cells are read. Pure."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pydantic import TypeAdapter, ValidationError

from linkbell_collector import values, zones
from linkbell_wire import fields, quantities

REMEMBERED = 4096

GIGAS_RATE_LIMIT = 10_000
"""Giga's tables have Mbit/s in some places and bit/s in others: no school line has so many Mbit/s, or so few bit/s."""

EMPTY = frozenset({"", "-", "–", "—", "n/a", "na", "nan", "none", "null", "unknown", "нет данных"})
"""What stands in cells of which nothing is known; compared without regard to case."""

_NAME: TypeAdapter[str] = TypeAdapter(fields.Name)
_TEXT: TypeAdapter[str] = TypeAdapter(fields.Text)
LONGEST_EMPTY = max(map(len, EMPTY))
_UNSEEN = re.compile(r"[\u200b\ufeff]+")
_PARTS = re.compile(r"[,;\s]+")
_DECIMAL = re.compile(r"[+-]?\d+(?:[.,]\d+)?")


def clean(cell: str) -> str:
    """Return a cell with its blanks in order; empty if it only says that nothing is known."""
    text = " ".join(cell.split())
    if not text.isascii():
        text = _UNSEEN.sub("", text).strip()
    return "" if len(text) <= LONGEST_EMPTY and text.lower() in EMPTY else text


def read_id(text: str) -> str:
    """Read the id of a school. Raises ``ValueError``, as all of these do."""
    try:
        return _NAME.validate_python(text)
    except ValidationError as error:
        raise ValueError(
            f"{text!r} cannot be an id: letters without accents, digits and _ . : - without spaces, at most 64; take "
            "another column with --id"
        ) from error


def read_text(text: str) -> str:
    """Read a name."""
    try:
        return _TEXT.validate_python(text)
    except ValidationError as error:
        raise ValueError(f"{text[:40]!r} is longer than 256 characters, or holds some that cannot be seen") from error


def read_degrees(text: str) -> float:
    """Read degrees, with a decimal point or comma."""
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"{text!r} is not a number of degrees such as 43.2389")
    return float(text.replace(",", "."))


def read_rate(text: str) -> float:
    """Read bits per second; a number without a unit must be one of bits."""
    rate_bps = quantities.read_rate(text)
    if rate_bps < GIGAS_RATE_LIMIT and text.replace(".", "").replace(",", "").isdigit():
        raise ValueError(f"{text!r} does not say of what: write {text}M for Mbit/s")
    return rate_bps


def read_mbps(text: str) -> float:
    """Read megabits per second."""
    return quantities.read_rate(f"{text}M" if text[-1:].isdigit() else text)


def read_gigas_rate(text: str) -> float | None:
    """Read a rate as Giga's tables have it: Mbit/s, or bit/s where it is a large number; 0 is nothing known."""
    if not _DECIMAL.fullmatch(text):
        return quantities.read_rate(text)
    number = float(text.replace(",", "."))
    if number == 0:
        return None
    return read_mbps(text) if number < GIGAS_RATE_LIMIT else quantities.read_rate(text)


def read_zone(text: str) -> str:
    """Read a time zone."""
    problem = zones.problem_of(text)
    if problem is not None:
        raise ValueError(problem)
    return text


def read_list(text: str) -> list[str]:
    """Read days, parted by commas, semicolons or blanks."""
    return [part for part in _PARTS.split(text) if part]


def read_whole(text: str) -> int:
    """Read a whole number."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


@dataclass(frozen=True, slots=True)
class Column:
    """A field of a school, or of its profile (``calendar.hours``), and the columns it is read from, best first."""

    field: str
    names: tuple[str, ...]
    read: Callable[[str], object]


def _often(field: str, names: tuple[str, ...], read: Callable[[str], object]) -> Column:
    """Return a column in which few different cells are repeated in many rows."""
    return Column(field, names, lru_cache(REMEMBERED)(read))


def _rates(field: str, plain: str, giga: str) -> tuple[Column, ...]:
    return (
        _often(field, (plain,), read_rate),
        _often(field, (f"{plain}_bps",), quantities.read_rate),
        _often(field, (f"{plain}_mbps",), read_mbps),
        _often(field, (giga,), read_gigas_rate),
    )


ID_NAMES = ("id", "school_id", "school_id_govt", "school_id_giga", "giga_id_school")
ID = "id"

COLUMNS = (
    Column("giga_id", ("giga_id", "school_id_giga", "giga_id_school"), read_text),
    Column("name", ("name", "school_name"), read_text),
    _often("region", ("region", "admin1"), read_text),
    _often("district", ("district", "admin2"), read_text),
    _often("country", ("country", "country_code"), values.country_code),
    _often("provider", ("provider", "isp", "operator"), read_text),
    _often("technology", ("technology", "connectivity_type", "connectivity_type_govt"), read_text),
    Column("latitude", ("latitude", "lat"), read_degrees),
    Column("longitude", ("longitude", "lon", "lng", "long"), read_degrees),
    _often("timezone", ("timezone", "time_zone", "tz"), read_zone),
    *_rates("download_floor_bps", "download_floor", "download_speed_benchmark"),
    *_rates("upload_floor_bps", "upload_floor", "upload_speed_benchmark"),
    *_rates("contract_download_bps", "contract_download", "download_speed_contracted"),
    *_rates("contract_upload_bps", "contract_upload", "upload_speed_contracted"),
    Column("calendar.weekdays", ("weekdays",), str),
    Column("calendar.hours", ("hours", "opening_hours"), str),
    Column("calendar.holidays", ("holidays",), read_list),
    Column("calendar.terms", ("terms",), read_list),
    Column("budget.profile", ("budget_profile",), str.lower),
    Column("budget.bytes_per_month", ("budget", "budget_bytes_per_month"), quantities.read_size),
    Column("budget.billing_day", ("billing_day",), read_whole),
)


@dataclass(frozen=True, slots=True)
class Use:
    """A column of the file that is used, by its place and its name there."""

    place: int
    name: str
    column: Column


@dataclass(frozen=True, slots=True)
class Layout:
    """What the columns of a file are. Several may give one field: the first that is not empty counts."""

    id: Use
    uses: tuple[Use, ...]
    unused: tuple[str, ...]


@lru_cache(64)
def plain_name(title: str) -> str:
    """Return a column's title as it is compared: ``School ID (govt)`` is ``school_id_govt``."""
    return re.sub(r"[^\w]+", "_", title.strip().lower()).strip("_")


def layout_of(titles: Sequence[str], id_column: str | None = None) -> Layout:
    """Say what the columns mean. Raises ``ValueError`` if none holds the id, or one is there twice."""
    names = [plain_name(title) for title in titles]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise ValueError(f"the column {twice[0]} is there twice")
    wanted = ID_NAMES if id_column is None else (plain_name(id_column),)
    found = next((name for name in wanted if name in names), None)
    if found is None:
        raise ValueError(
            f"no column holds the id of the school ({', '.join(wanted)}); there are: {', '.join(filter(None, names))}. "
            "Name it with --id"
        )
    uses = [Use(names.index(name), name, column) for column in COLUMNS for name in column.names if name in names]
    used = {found, *(use.name for use in uses)}
    unused = tuple(title.strip() for title, name in zip(titles, names, strict=True) if name and name not in used)
    return Layout(Use(names.index(found), found, Column(ID, ID_NAMES, read_id)), tuple(uses), unused)
