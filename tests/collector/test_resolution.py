"""Which value holds for a school: its own, else its region's, else its country's, else the collector's."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkbell_collector.agent_configuration import agent_configuration
from linkbell_collector.domain import School
from linkbell_collector.profile import (
    NO_WISHES,
    NOTHING,
    Profile,
    ProfileError,
    as_json,
    as_text,
    merge,
    read_profile,
    without,
)
from linkbell_collector.resolution import Defaults, Resolver, own_profile, with_profile

SCHOOL = School("s-1", region="Almaty", country="KZ")


def resolved(
    school: dict[str, Any], region: dict[str, Any], country: dict[str, Any], everywhere: dict[str, Any]
) -> Profile:
    defaults = Defaults(read_profile(everywhere), {"KZ": read_profile(country)})
    resolver = Resolver(defaults, {"Almaty": read_profile(region)})
    return own_profile(resolver.resolve(with_profile(SCHOOL, read_profile(school))))


FLOOR = "download_floor_bps"
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "nothing": ({}, {}, {}, {}, {}),
    "the nearest wins": ({FLOOR: 4e6}, {FLOOR: 3e6}, {FLOOR: 2e6}, {FLOOR: 1e6}, {FLOOR: 4e6}),
    "region before country": ({}, {FLOOR: 3e6}, {FLOOR: 2e6}, {FLOOR: 1e6}, {FLOOR: 3e6}),
    "country before collector": ({}, {}, {FLOOR: 2e6}, {FLOOR: 1e6}, {FLOOR: 2e6}),
    "the collector in the end": ({}, {}, {}, {FLOOR: 1e6}, {FLOOR: 1e6}),
    "parts of a section come from wherever they are set": (
        {"calendar": {"hours": "8:00-14:00"}},
        {"calendar": {"holidays": ["2026-03-22"], "hours": "9:00-15:00"}},
        {"calendar": {"weekdays": "mon-sat"}, "timezone": "Asia/Almaty"},
        {},
        {
            "calendar": {"hours": "8:00-14:00", "holidays": ["2026-03-22"], "weekdays": "mon-sat"},
            "timezone": "Asia/Almaty",
        },
    ),
    "an empty list is an answer": (
        {"calendar": {"holidays": []}},
        {"calendar": {"holidays": ["2026-03-22"]}},
        {},
        {},
        {"calendar": {"holidays": []}},
    ),
    "lists are taken whole": (
        {"targets": [{"name": "a", "layer": "domestic", "host": "a.example"}]},
        {"targets": [{"name": "b", "layer": "domestic", "host": "b.example"}]},
        {},
        {},
        {"targets": [{"name": "a", "layer": "domestic", "host": "a.example"}]},
    ),
    "tests a day here, servers there": (
        {"speed": {"per_day": 2}},
        {"speed": {"servers": [{"url": "wss://m.example"}]}},
        {},
        {"speed": {"per_day": 5}},
        {"speed": {"per_day": 2, "servers": [{"url": "wss://m.example"}]}},
    ),
    "uplinks are merged by name": (
        {"uplinks": [{"name": "lte", "budget": {"bytes_per_month": 2_000_000_000}}, {"name": "main", "speed": True}]},
        {"uplinks": [{"name": "lte", "role": "backup", "speed": False, "budget": {"billing_day": 4}}]},
        {},
        {},
        {
            "uplinks": [
                {
                    "name": "lte",
                    "role": "backup",
                    "speed": False,
                    "budget": {"bytes_per_month": 2_000_000_000, "billing_day": 4},
                },
                {"name": "main", "speed": True},
            ]
        },
    ),
    "no uplinks at all": ({"uplinks": []}, {"uplinks": [{"name": "lte"}]}, {}, {}, {"uplinks": []}),
    "an unmetered school has no bytes of others": (
        {"budget": {"profile": "unmetered"}},
        {"budget": {"profile": "metered", "bytes_per_month": 5_000_000_000, "billing_day": 5}},
        {},
        {},
        {"budget": {"profile": "unmetered", "billing_day": 5}},
    ),
    "a school with bytes is not unmetered by others": (
        {"budget": {"bytes_per_month": 5_000_000_000}},
        {},
        {"budget": {"profile": "unmetered"}},
        {},
        {"budget": {"bytes_per_month": 5_000_000_000}},
    ),
    "a satellite line's bytes": (
        {"budget": {"bytes_per_month": 5_000_000_000}},
        {"budget": {"profile": "satellite", "bytes_per_month": 1_000_000_000}},
        {},
        {},
        {"budget": {"profile": "satellite", "bytes_per_month": 5_000_000_000}},
    ),
}


@pytest.mark.parametrize(("school", "region", "country", "everywhere", "expected"), CASES.values(), ids=CASES.keys())
def test_what_holds_for_a_school(school: Any, region: Any, country: Any, everywhere: Any, expected: Any) -> None:
    assert as_json(resolved(school, region, country, everywhere)) == as_json(read_profile(expected))


def test_a_school_that_names_no_country_is_of_the_collectors() -> None:
    defaults = Defaults(NOTHING, {"KZ": read_profile({"timezone": "Asia/Almaty"})}, "KZ")
    school = Resolver(defaults, {}).resolve(School("s-1"))
    assert (school.timezone, school.country) == ("Asia/Almaty", "KZ")
    assert Resolver(defaults, {}).resolve(School("s-1", country="KG")).timezone is None


def test_each_value_says_who_set_it() -> None:
    defaults = Defaults(read_profile({FLOOR: 1e6}), {"KZ": read_profile({"timezone": "Asia/Almaty", FLOOR: 2e6})})
    resolver = Resolver(defaults, {"Almaty": read_profile({"calendar": {"hours": "9:00-15:00"}})})
    school = with_profile(SCHOOL, read_profile({"calendar": {"weekdays": "mon-sat"}}))
    assert {path: who for path, _, who in resolver.origins(school)} == {
        FLOOR: "country KZ",
        "timezone": "country KZ",
        "calendar.hours": "region Almaty",
        "calendar.weekdays": "school",
    }


rates = st.sampled_from([8e6, 2e7])
profiles = st.fixed_dictionaries(
    {},
    optional={
        FLOOR: rates,
        "timezone": st.sampled_from(["Asia/Almaty", "UTC"]),
        "portal_url": st.sampled_from(["collector", "http://a.example/204"]),
        "calendar": st.fixed_dictionaries({}, optional={"hours": st.just("8:00-9:00"), "holidays": st.just([])}),
        "check": st.fixed_dictionaries({}, optional={"enabled": st.booleans(), "directions": st.just(["upload"])}),
    },
).map(read_profile)


@given(profiles, profiles, profiles)
def test_merging_is_associative_and_what_is_kept_as_text_comes_back(one: Profile, two: Profile, three: Profile) -> None:
    assert as_json(merge(merge(one, two), three)) == as_json(merge(one, merge(two, three)))
    assert as_json(Profile.model_validate_json(as_text(one))) == as_json(one)
    assert as_json(own_profile(with_profile(SCHOOL, one))) == {
        name: value for name, value in as_json(one).items() if value is not None
    }


def test_what_is_cleared_is_not_set_and_an_unknown_name_is_refused() -> None:
    profile = read_profile({FLOOR: "20M", "calendar": {"hours": "8:00-9:00", "weekdays": "mon-sat"}})
    assert as_json(without(profile, "calendar.hours")) == {FLOOR: 2e7, "calendar": {"weekdays": "mon-sat"}}
    assert as_json(without(profile, "calendar")) == {FLOOR: 2e7}
    assert as_json(without(without(profile, "calendar.hours"), "calendar.weekdays")) == {FLOOR: 2e7}
    assert as_json(without(profile, "budget.profile")) == as_json(profile)
    with pytest.raises(ProfileError, match="did you mean hours"):
        without(profile, "calendar.huors")


def test_a_school_without_settings_shares_the_wishes_of_its_region() -> None:
    resolver = Resolver(Defaults(), {"Almaty": read_profile({"check": {"interval_s": 600}})})
    one, other = (resolver.resolve(School(name, region="Almaty")) for name in ("a", "b"))
    assert one.wishes is other.wishes
    assert Resolver(Defaults(), {}).resolve(SCHOOL).wishes is NO_WISHES


def test_all_of_it_reaches_the_agents_configuration() -> None:
    said: dict[str, Any] = {
        "timezone": "Asia/Almaty",
        FLOOR: 2e7,
        "upload_floor_bps": 4e6,
        "targets": [{"name": "ministry", "layer": "domestic", "host": "edu.example"}],
        "platforms": [{"name": "lms", "url": "https://lms.example/"}],
        "dns": {"names": ["lms.example"], "resolvers": ["192.0.2.53"]},
        "portal_url": "http://detect.example/204",
        "ping": {"interval_s": 120.0, "count": 5},
        "speed": {"per_day": 2, "max_bytes": 50_000_000, "servers": [{"url": "wss://m.example", "scope": "domestic"}]},
        "check": {"interval_s": 900.0, "directions": ["upload"]},
        "calendar": {"weekdays": "mon-sat", "hours": "8:00-14:00", "holidays": ["2026-03-22"], "terms": []},
        "budget": {"profile": "satellite", "bytes_per_month": 2_000_000_000, "billing_day": 3},
        "uplinks": [{"name": "backup", "role": "backup", "budget": {"bytes_per_month": 10**9}, "speed": False}],
    }
    school = with_profile(School("s-1", "Школа 1"), read_profile(said))
    told = agent_configuration(school, "ws://own.example:8471", "http://own.example:8470/generate_204")
    found = told.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    floors = {name: said.pop(name) for name in ("timezone", FLOOR, "upload_floor_bps")}
    assert found == {"school": {"id": "s-1", "name": "Школа 1", **floors}, **said}


@pytest.mark.parametrize(
    ("wished", "own", "told"),
    [
        (None, "http://c/generate_204", None),
        ("collector", "http://c/generate_204", "http://c/generate_204"),
        ("collector", None, None),
        ("http://a.example/204", None, "http://a.example/204"),
    ],
)
def test_the_collectors_own_page_is_told_only_where_it_is_wished_and_reached(
    wished: str | None, own: str | None, told: str | None
) -> None:
    school = with_profile(SCHOOL, read_profile({} if wished is None else {"portal_url": wished}))
    assert agent_configuration(school, None, own).portal_url == told
