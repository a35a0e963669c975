"""No field of any model takes what it must not: tried on each, and looked up in the schema of each."""

import json
import math
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from linkbell_wire import fields
from linkbell_wire.fields import WireModel
from tests.wire.describing import MODELS, Schema, adapter, entries

DATA = Path(__file__).parents[1] / "data" / "protocol"
GOLDEN = [*(file for file in sorted(DATA.glob("*.json")) if "." not in file.stem), DATA / "BatchReply.rejected.json"]

Place = tuple[str | int, ...]

# --- by schema: a bound may not be forgotten


def unbounded(schema: Schema, definitions: Schema, place: str) -> Iterator[str]:
    """Yield the places in a schema that would take a value of any size."""
    if "$ref" in schema:
        return  # a model or a list of words, looked at by itself
    if "anyOf" in schema or "oneOf" in schema:
        for one in schema.get("anyOf") or schema["oneOf"]:
            yield from unbounded(one, definitions, place)
        return
    if "enum" in schema or "const" in schema or schema.get("type") in ("boolean", "null"):
        return
    yield from _unbounded_of_type(schema, definitions, place)


def _unbounded_of_type(schema: Schema, definitions: Schema, place: str) -> Iterator[str]:
    kind = schema.get("type")
    if kind == "string":
        if "maxLength" not in schema and schema.get("format") not in ("date-time", "uuid"):
            yield place
    elif kind in ("integer", "number"):
        if not ({"minimum", "exclusiveMinimum"} & schema.keys() and {"maximum", "exclusiveMaximum"} & schema.keys()):
            yield place
    elif kind == "array":
        if "maxItems" not in schema:
            yield place
        yield from unbounded(schema.get("items", {}), definitions, f"{place}[]")
    elif kind == "object" and "maxProperties" in schema:
        for one in entries(schema):
            yield from unbounded(one, definitions, f"{place}{{}}")
    else:
        yield place


def unbounded_fields(model: type[WireModel]) -> list[str]:
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    return [place for name, one in schema["properties"].items() for place in unbounded(one, definitions, name)]


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_field_has_bounds(name: str) -> None:
    assert unbounded_fields(MODELS[name]) == []


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_model_is_frozen_strict_and_finite(name: str) -> None:
    settings = MODELS[name].model_config
    assert (settings["frozen"], settings["strict"], settings["extra"], settings["allow_inf_nan"]) == (
        True,
        True,
        "ignore",
        False,
    )


def test_the_search_for_missing_bounds_finds_them() -> None:
    class Careless(WireModel):
        text: str
        whole: int
        real: float | None = None
        several: list[fields.Name]
        named: dict[str, fields.Count]
        anything: Any = None
        fine: fields.Name
        when: fields.Timestamp

    try:
        found = {place.rstrip("[]{}") for place in unbounded_fields(Careless)}
        assert found == {"text", "whole", "real", "several", "named", "anything"}
    finally:
        assert Careless.__name__ not in MODELS


def test_every_time_is_a_timestamp_with_its_bounds() -> None:
    found = set()
    for name, model in MODELS.items():
        for field, schema in model.model_json_schema()["properties"].items():
            if schema.get("format") == "date-time":
                with pytest.raises(ValidationError, match=r"1970 and 2199"):
                    model.__pydantic_validator__.validate_assignment(model.model_construct(), field, FAR)
                found.add(f"{name}.{field}")
    assert {"Record.at", "Clock.wall", "BatchReply.server_time"} <= found


# --- by trial: each value in each golden file replaced by what does not belong there

FAR = datetime(2200, 1, 1, tzinfo=UTC)

HOSTILE_TEXT: list[Any] = [
    "x" * 100_000,
    "nul\x00",
    "escape\x1b[31m",
    "line\u2028separator",
    "override\u202e",
    "c1\x85",
    "\x7f",
    12,
    True,
    [],
    {},
]
HOSTILE_TIME: list[Any] = [
    "",
    "yesterday",
    "2026-03-02T04:05:00",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "1969-12-31T23:59:59Z",
    "2200-01-01T00:00:00Z",
    "1970-01-01T00:00:00+00:01",
    1772424300,
    True,
    [],
]
HOSTILE_NUMBER: list[Any] = [math.nan, math.inf, -math.inf, -(10**30), 10**30, 10**400, 1e300, True, "1", [], {}, "NaN"]


def leaves(value: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield from leaves(one, (*place, key))
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from leaves(one, (*place, index))
    else:
        yield place, value


def replaced(document: Any, place: Place, value: Any) -> Any:
    copy = deepcopy(document)
    inner = copy
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    return copy


def is_refused(model: TypeAdapter[Any], text: str) -> bool:
    try:
        model.validate_json(text)
    except ValidationError:
        return True
    return False


def hostile_values(place: Place, value: Any) -> list[Any]:
    if "details" in place:
        return [one for one in [*HOSTILE_TEXT, *HOSTILE_NUMBER] if one not in (True, 12, "1", "NaN")]
    if isinstance(value, bool):
        return ["true", 1, 0, 1.0, "", [], {}]
    if isinstance(value, str) and value[4:5] == "-" and value.endswith("Z"):
        return HOSTILE_TIME
    if isinstance(value, str):
        return HOSTILE_TEXT
    if isinstance(value, int):
        return [*HOSTILE_NUMBER, float(value), value + 0.5, -1]
    return HOSTILE_NUMBER if isinstance(value, float) else []


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_nothing_hostile_is_taken_in_any_place(file: Path) -> None:
    model = adapter(file.stem.partition(".")[0])
    document = json.loads(file.read_bytes())
    for place, value in leaves(document):
        for hostile in hostile_values(place, value):
            assert is_refused(model, json.dumps(replaced(document, place, hostile))), f"{place}: {hostile!r} was taken"


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_no_number_written_in_json_is_infinite_or_none(file: Path, number: str) -> None:
    model = adapter(file.stem.partition(".")[0])
    document = json.loads(file.read_bytes())
    for place, value in leaves(document):
        if isinstance(value, int | float) and not isinstance(value, bool):
            text = json.dumps(replaced(document, place, "@@")).replace('"@@"', number)
            assert is_refused(model, text), place


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_a_lone_surrogate_is_taken_nowhere(file: Path) -> None:
    model = adapter(file.stem.partition(".")[0])
    document = json.loads(file.read_bytes())
    for place, value in leaves(document):
        if isinstance(value, str):
            assert is_refused(model, json.dumps(replaced(document, place, "\ud800"))), place
            with pytest.raises(ValidationError):
                model.validate_python(replaced(document, place, "\ud800"))


# --- the types themselves

NAME = TypeAdapter(fields.Name)
TEXT = TypeAdapter(fields.Text)
HOST = TypeAdapter(fields.Host)
URL = TypeAdapter(fields.Url)
TIME = TypeAdapter(fields.Timestamp)


@pytest.mark.parametrize("name", ["a", "0", "A.b:c_d-e", "x" * 64])
def test_names_that_are_taken(name: str) -> None:
    assert NAME.validate_python(name) == name


@pytest.mark.parametrize("name", ["", "-a", ".a", "a b", "a\n", "a\t", "я", "a/b", 'a"', "a{", "x" * 65])
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        NAME.validate_python(name)


@pytest.mark.parametrize("text", ["", "Қазақша, русский, English", "№ 1", "👩‍🏫", "x" * 256, "؟مرحبا"])
def test_text_is_taken_in_any_script(text: str) -> None:
    assert TEXT.validate_python(text) == text


@pytest.mark.parametrize("host", ["a", "192.0.2.1", "2001:db8::1", "fe80::1%eth0", "мектеп.қаз", "[::1]"])
def test_hosts_that_are_taken(host: str) -> None:
    assert HOST.validate_python(host) == host


@pytest.mark.parametrize("host", ["", " ", "a b", "a/b", "a?b", "a#b", "u@h", "a\x00", "a\u00a0b", "a\x9f", "h" * 254])
def test_hosts_that_are_refused(host: str) -> None:
    with pytest.raises(ValidationError):
        HOST.validate_python(host)


@pytest.mark.parametrize("url", ["", "ftp://a", "http://", "http:// a", "javascript:1", "ws://a\x00", "HTTP://a"])
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        URL.validate_python(url)


OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TIMES = st.datetimes(
    min_value=datetime(1970, 1, 2),  # noqa: DTZ001 - hypothesis wants its bounds naive
    max_value=datetime(2199, 12, 30),  # noqa: DTZ001
    timezones=OFFSETS,
)


@given(time=TIMES)
def test_any_time_is_read_back_as_it_was_taken(time: datetime) -> None:
    taken = TIME.validate_python(time)
    assert timedelta(0) <= time - taken < timedelta(milliseconds=1)
    assert TIME.validate_json(TIME.dump_json(taken)) == taken
    assert TIME.dump_json(TIME.validate_json(TIME.dump_json(taken))) == TIME.dump_json(taken)


@given(time=st.datetimes(timezones=OFFSETS))
def test_a_time_is_taken_if_and_only_if_its_year_in_utc_is_in_bounds(time: datetime) -> None:
    try:
        allowed = 1970 <= time.astimezone(UTC).year <= 2199
    except OverflowError:
        allowed = False
    try:
        TIME.validate_python(time)
        taken = True
    except ValidationError:
        taken = False
    assert taken == allowed


@given(time=st.datetimes())
def test_a_time_without_an_offset_is_never_taken(time: datetime) -> None:
    with pytest.raises(ValidationError):
        TIME.validate_python(time)


@given(text=st.text(max_size=300))
def test_text_is_taken_as_it_is_or_not_at_all(text: str) -> None:
    try:
        assert TEXT.validate_python(text) == text
    except ValidationError:
        assert len(text) > fields.MAX_TEXT_LENGTH or not text.isprintable()
