"""Files as spreadsheets and maps write them: encodings, separators, numbers, places, and what is wrong with a row."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkbell_collector.errors import UsageError
from linkbell_collector.importing import places
from linkbell_collector.importing.columns import clean, layout_of
from linkbell_collector.importing.drafts import Drafts, read_drafts
from linkbell_collector.importing.table import read_table
from linkbell_collector.importing.text import decode
from linkbell_collector.profile import as_json

RUSSIAN = "id;название;name\n1;x;Школа-гимназия №5, Щучинск\n"
KAZAKH = "id;name\n1;Қызылорда қаласы, №5 мектеп, Ңң\n"


def drafts_of(text: str, **options: Any) -> Drafts:
    table = read_table(text, delimiter=options.get("delimiter"))
    return read_drafts(table.rows, layout_of(table.titles, options.get("id")), lambda done: None)


def errors_of(text: str) -> list[tuple[int, str]]:
    return [(remark.line, remark.text) for remark in drafts_of(text).errors]


ENCODINGS = {
    "utf-8": (RUSSIAN, "utf-8", "utf-8"),
    "utf-8 with a mark": (KAZAKH, "utf-8-sig", "utf-8"),
    "utf-16 as Excel writes it": (KAZAKH, "utf-16", "utf-16"),
    "windows-1251": (RUSSIAN, "windows-1251", "windows-1251"),
    "kz1048": (KAZAKH, "kz1048", "kz1048"),
}


@pytest.mark.parametrize(("text", "written", "found"), ENCODINGS.values(), ids=ENCODINGS.keys())
def test_the_encoding_is_found_out(text: str, written: str, found: str) -> None:
    assert decode(text.encode(written)) == (text, found)


def test_an_encoding_that_is_named_is_taken_and_a_wrong_one_refused_with_the_line() -> None:
    assert decode("é".encode("latin-1"), "latin-1").text == "é"
    with pytest.raises(UsageError, match="line 3 is not in the encoding utf-8: name the right one with --encoding"):
        decode(b"id\n1\n\xff\n", "utf-8")
    with pytest.raises(UsageError, match="'martian' is no encoding"):
        decode(b"id", "martian")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("id;name\n1;Школа, первая\n", "';'"),
        ('id,name\n1,"Школа, первая"\n', "','"),
        ("id\tname\n1\tШкола, первая\n", "tabs"),
        ("sep=;\r\nid;name\r\n1;Школа, первая\r\n", "';'"),
        ('"id";"a, b, c; d";"name"\n1;;Школа, первая\n', "';'"),
    ],
)
def test_what_parts_the_columns_is_found_out(text: str, kind: str) -> None:
    assert kind in read_table(text).kind
    (draft,) = drafts_of(text).usable
    assert draft.values["name"] == "Школа, первая"


def test_rows_have_the_line_they_begin_at_whatever_line_breaks_their_cells_hold() -> None:
    drafts = drafts_of('\nid,name\n1,"a\nb\r\nc"\n\n2,d\n,e\n')
    assert [(draft.line, draft.values["name"]) for draft in drafts.usable] == [(3, "a b c"), (7, "d")]
    assert [(remark.line, remark.text) for remark in drafts.errors] == [(8, "id is empty: the school has no id")]


NOT_A_FILE = {
    "": "the file is empty",
    "a,b\n1,2\n": "no column holds the id of the school (id, school_id, school_id_govt",
    "id,name,Name\n": "the column name is there twice",
    'id,name\n1,"open\n2,b\n': "line 2: this is not CSV from here on",
    "{": "this is not JSON",
    '{"type": "Feature"}': "not a GeoJSON FeatureCollection",
    "[1]": "not a GeoJSON FeatureCollection",
    '{"type": "FeatureCollection", "features": [], "crs": {"properties": {"name": "urn:ogc:def:crs:EPSG::3857"}}}': (
        "export the file in WGS 84"
    ),
}


@pytest.mark.parametrize(("text", "words"), NOT_A_FILE.items(), ids=range(len(NOT_A_FILE)))
def test_what_is_no_list_of_schools_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises((UsageError, ValueError)) as refused:
        drafts_of(text)
    assert words in str(refused.value)


GIGA = """school_id_giga,school_id_govt,school_name,admin1,admin2,latitude,longitude,education_level,\
connectivity_type,connectivity_type_govt,download_speed_contracted,download_speed_benchmark,num_students
3b1e0c9a-1d2f-4a77-9a0e-52a1c9e0b001,KZ-1,Мектеп №1,Алматы,Бостандық,43.23890,76.88970,Primary,unknown,fiber,100,\
20000000,640
"""


def test_gigas_columns_are_known_and_what_they_leave_open_stays_open() -> None:
    (draft,) = drafts_of(GIGA, id="school_id_govt").usable
    assert draft.id == "KZ-1"
    assert draft.values == {
        "giga_id": "3b1e0c9a-1d2f-4a77-9a0e-52a1c9e0b001",
        "name": "Мектеп №1",
        "region": "Алматы",
        "district": "Бостандық",
        "latitude": 43.2389,
        "longitude": 76.8897,
        "technology": "fiber",
        "contract_download_bps": 100e6,
        "download_floor_bps": 20e6,
    }
    assert layout_of(GIGA.splitlines()[0].split(",")).unused == ("education_level", "num_students")


def test_plain_columns_hold_all_that_can_be_set() -> None:
    (draft,) = drafts_of(
        "ID;Name;Country;ISP;Download floor;Contract download Mbps;contract_upload_bps;Time zone;weekdays;hours;"
        "holidays;terms;budget profile;budget;billing day\n"
        "s-1; Школа\u00a0 №1 ;kz;Kazakhtelecom;20M;100,5;5000000;Asia/Almaty;mon-sat;08:00-13:00, 14:00-19:00;"
        "2026-03-21/2026-03-29, 2026-05-01;–;Satellite;5G;3\n"
    ).usable
    assert draft.values == {
        "name": "Школа №1",
        "country": "KZ",
        "provider": "Kazakhtelecom",
        "download_floor_bps": 20e6,
        "contract_download_bps": 100.5e6,
        "contract_upload_bps": 5e6,
        "timezone": "Asia/Almaty",
    }
    assert as_json(draft.wishes) == {
        "calendar": {
            "weekdays": "mon-sat",
            "hours": "08:00-13:00, 14:00-19:00",
            "holidays": ["2026-03-21/2026-03-29", "2026-05-01"],
        },
        "budget": {"profile": "satellite", "bytes_per_month": 5_000_000_000, "billing_day": 3},
    }


BAD_CELLS = {
    "an id with blanks": ("id", "№ 5", "id: '№ 5' cannot be an id"),
    "no unit": ("download_floor", "20", "download_floor: '20' does not say of what: write 20M"),
    "an ambiguous comma": ("contract_upload_mbps", "8,500", "contract_upload_mbps: '8,500M' may mean"),
    "a word for a rate": ("download_speed_contracted", "fast", "download_speed_contracted: 'fast' is not a bit rate"),
    "degrees and minutes": ("latitude", "43°14'", 'latitude: "43°14\'" is not a number of degrees'),
    "a latitude alone": ("latitude", "43.1", "there is a latitude without the other coordinate"),
    "an unknown zone": ("timezone", "Asia/Almati", "timezone: 'Asia/Almati' is not a time zone; did you mean"),
    "a country by name": ("country", "Қазақстан", "country: 'Қазақстан' is not a country"),
    "hours that are none": ("hours", "8-14", "calendar.hours: '8-14' are no hours"),
    "a holiday that is none": ("holidays", "2026-02-30", "is no day there is"),
    "an unknown profile": ("budget_profile", "cheap", "budget.profile: Input should be 'unmetered'"),
    "a billing day": ("billing_day", "31", "less than or equal to 28"),
    "half a day": ("billing_day", "1.5", "billing_day: '1.5' is not a whole number"),
    "a name without end": ("name", "x" * 257, "longer than 256 characters"),
    "a name read backwards": ("name", "a\u202eb", "cannot be seen"),
}


@pytest.mark.parametrize(("column", "cell", "words"), BAD_CELLS.values(), ids=BAD_CELLS.keys())
def test_a_bad_cell_is_named_with_its_line_and_costs_no_other_row(column: str, cell: str, words: str) -> None:
    title = "note" if column == "id" else column
    bad = cell if column == "id" else "2"
    drafts = drafts_of(f"id;{title}\n1;\n{bad};{cell}\n3;\n")
    assert [draft.id for draft in drafts.usable] == ["1", "3"]
    (error,) = drafts.errors
    assert error.line == 3
    assert words in error.text


def test_a_school_that_is_twice_in_a_file_counts_the_first_time() -> None:
    drafts = drafts_of("id,name\n1,a\n1,a\n1,b\n2,c\n")
    assert [draft.line for draft in drafts.usable] == [2, 5]
    assert drafts.repeated == 1
    assert [(remark.line, remark.text) for remark in drafts.errors] == [
        (4, "school 1 is on line 2 already, with other values")
    ]


def test_a_row_with_too_many_cells_is_named_and_one_with_too_few_is_taken() -> None:
    assert [(line, text[:28]) for line, text in errors_of("id,name\n1,a,b\n2\n3,c,,\n")] == [
        (2, "has 3 cells for 2 columns: i")
    ]


COORDINATES = {
    "in order": ("43.24", "76.89", None),
    "a latitude beyond": ("143.24", "176.89", "latitude 143.24 is not between -90 and 90"),
    "a longitude beyond": ("43.24", "276.89", "longitude 276.89 is not between -180 and 180"),
    "swapped, and so impossible": ("131.9", "43.1", "43.1, 131.9 could: have the two changed places?"),
}


@pytest.mark.parametrize(("latitude", "longitude", "words"), COORDINATES.values(), ids=COORDINATES.keys())
def test_coordinates_that_cannot_be_are_refused(latitude: str, longitude: str, words: str | None) -> None:
    drafts = drafts_of(f"id,lat,lon\n1,{latitude},{longitude}\n")
    assert [words in remark.text for remark in drafts.errors if words] == ([] if words is None else [True])
    assert len(drafts.usable) == (words is None)


def test_zeros_are_no_place_and_the_rest_of_the_row_is_taken() -> None:
    drafts = drafts_of("id,name,lat,lon\n1,a,0,0.0\n")
    assert drafts.usable[0].values == {"name": "a"}
    assert "0, 0 is the place of no school" in drafts.notes[0].text


def test_letters_that_a_spreadsheet_lost_are_pointed_at() -> None:
    lost = KAZAKH.encode("windows-1251", "replace").decode("windows-1251")
    drafts = drafts_of(lost + "2;Кто там?\n")
    assert [remark.line for remark in drafts.notes] == [2]
    assert "letters were lost when the file was saved, save it as UTF-8" in drafts.notes[0].text
    assert len(drafts.usable) == 2


CITIES = [
    *((43.24, 76.89), (51.13, 71.43), (42.32, 69.59), (49.81, 73.09), (50.28, 57.17)),
    *((44.85, 65.5), (47.1, 51.9), (53.2, 63.6), (54.87, 69.15), (49.95, 82.6)),
]


@pytest.mark.parametrize("place", CITIES, ids=str)
def test_a_row_whose_coordinates_changed_places_is_found_by_where_the_others_are(place: places.Place) -> None:
    rows = [f"{number},{lat},{lon}" for number, (lat, lon) in enumerate(CITIES * 5)]
    text = "\n".join(["id,lat,lon", *rows, f"swapped,{place[1]},{place[0]}"])
    found = [remark for remark in drafts_of(text).errors if remark.line == len(rows) + 2]
    # The west of Kazakhstan lies as far east as north: there the two cannot be told apart.
    assert bool(found) == (place not in ((47.1, 51.9), (50.28, 57.17)))
    assert len(drafts_of(text).errors) == len(found)


def feature(**properties: Any) -> dict[str, Any]:
    point = {"type": "Point", "coordinates": [76.89, 43.24, 800]}
    return {"type": "Feature", "geometry": point, "properties": properties}


def collection(*features: Any, **more: Any) -> str:
    return json.dumps({"type": "FeatureCollection", **more, "features": features}, indent=1)


def test_geojson_gives_schools_with_the_line_of_their_feature() -> None:
    other = {
        "type": "Feature",
        "id": 7,
        "geometry": None,
        "properties": {"admin1": "Абай", "hours": None, "x": {"y": 1}},
    }
    area = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": []}, "properties": {"id": "9"}}
    text = collection(feature(school_id="s-1", school_name="Школа", download_floor_mbps=20), other, area, 5)
    table = read_table(text)
    drafts = drafts_of(text.replace('"school_id"', '"id"'))
    assert [(draft.id, dict(draft.values)) for draft in drafts.usable] == [
        ("s-1", {"name": "Школа", "latitude": 43.24, "longitude": 76.89, "download_floor_bps": 20e6}),
        ("7", {"region": "Абай"}),
    ]
    assert [remark.text for remark in drafts.errors] == [
        "its geometry is Polygon: only points are read",
        "is not a feature",
    ]
    lines = text.splitlines()
    assert [lines[row.line - 1].strip() for row in table.rows] == ["{", "{", "{", "5"]
    assert [remark.line for remark in drafts.errors] == [table.rows[2].line, table.rows[3].line]


def test_features_are_numbered_where_their_lines_cannot_be_found() -> None:
    text = collection(feature(id="a"), feature(id="b"), meta={"features": [1]})
    assert [row.line for row in read_table(text).rows] == [1, 2]


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (" a \u00a0 b\t", "a b"),
        ("\ufeffa\u200b", "a"),
        (" N/A ", ""),
        ("–", ""),
        ("Нет данных", ""),
        ("unknown x", "unknown x"),
    ],
)
def test_blanks_are_put_in_order_and_nothing_known_is_nothing(cell: str, text: str) -> None:
    assert clean(cell) == text


@given(st.text(max_size=300))
def test_no_text_at_all_brings_the_reader_down(text: str) -> None:
    for content in (text, f"id,name,lat,lon\n{text}\n", '{"type": "FeatureCollection", "features": [' + text + "]}"):
        try:
            drafts = drafts_of(content)
        except (UsageError, ValueError):
            continue
        assert all(clean(draft.id) for draft in drafts.usable)
