"""Settings: one table, four sources, and words for what is wrong."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from linkbell_collector import settings, values
from linkbell_collector.clock import from_us
from linkbell_collector.errors import UsageError
from linkbell_collector.settings import NAMES, Settings
from tests.collector.process import run_command

DOCS = Path(__file__).parents[2] / "docs" / "collector.md"


def test_later_sources_win_and_each_value_says_where_it_came_from(tmp_path: Path) -> None:
    file = tmp_path / "collector.toml"
    file.write_text('data = "/srv/a"\nping_interval_s = 30\nlisten = "127.0.0.1:1"\n')
    environment = {"LINKBELL_COLLECTOR_LISTEN": "127.0.0.1:2", "LINKBELL_COLLECTOR_DATA": "/srv/b", "HOME": "/root"}
    effective = settings.build(file, environment, {"data": "/srv/c", "listen": None})
    assert effective.settings.data == Path("/srv/c")
    assert effective.settings.listen == values.Listen("127.0.0.1", 2)
    assert effective.settings.ping_interval_s == 30
    assert effective.origins["data"] == "flag --data"
    assert effective.origins["listen"] == "environment, LINKBELL_COLLECTOR_LISTEN"
    assert effective.origins["ping_interval_s"] == f"{file}, ping_interval_s"
    assert effective.origins["speed_ttl_s"] == "default"


BAD_FILES = {
    "an unknown key": (
        "pingg_interval_s = 3",
        "pingg_interval_s: there is no such setting; did you mean ping_int",
    ),
    "nonsense": ("???", "is not TOML"),
    "a word for a number": ('silent_after_s = "soon"', "silent_after_s: 'soon' is not a positive number"),
    "a number out of range": ("ping_interval_s = 1", "ping_interval_s: 1 is not between 10 and 86400"),
    "true for a number": ("speed_tests_per_day = true", "speed_tests_per_day: True is not a number"),
    "a listen address without a port": ('listen = "localhost"', "is not HOST:PORT"),
    "a host name with an empty label": ('listen = "a..b:0"', "'a..b' cannot be one"),
    "a host name with a label that does not end": (f'listen = "{"a" * 64}:0"', "cannot be one"),
    "a host name that cannot be seen": ('listen = "a\\u0000b:0"', "cannot be seen"),
    "an ipv6 address without brackets": ('listen = "::1:8470"', "in brackets"),
    "a measurement server that is no websocket": ('measurement_url = "http://x"', "ws://"),
    "a country by name": ('country = "Kazakhstan"', "country: 'Kazakhstan' is not a country: write two letters"),
    "countries without a table": ('countries = "KZ"', "countries: 'KZ' is not JSON such as"),
    "a country that is no table": ("[countries]\nKZ = 5", "countries: KZ.5 is not a table"),
    "an unknown setting of a country": (
        "[countries.KZ.calendar]\nhuors = '8:00-9:00'",
        "countries: KZ.calendar.huors: there is no such setting; did you mean hours?",
    ),
    "a portal page that is none": (
        "[countries.KZ]\nportal_url = 'ftp://x'",
        "countries: KZ.portal_url: write collector, or an address such as",
    ),
    "an unknown level": ('log_level = "loud"', "is not one of debug"),
    "a number for a path": ("data = 5", "data: 5 is not text"),
}


@pytest.mark.parametrize(("content", "message"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_bad_file_is_refused_with_the_place_and_the_reason(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "collector.toml"
    file.write_text(content)
    with pytest.raises(UsageError) as refused:
        settings.build(file, {}, {})
    assert message in str(refused.value)
    assert str(file) in str(refused.value)


def test_what_holds_for_a_country_is_read_from_file_and_environment(tmp_path: Path) -> None:
    file = tmp_path / "collector.toml"
    file.write_text("[countries.kz]\ndownload_floor_bps = '20M'\nbudget = { bytes_per_month = '5G' }\n")
    in_file = settings.build(file, {}, {}).settings
    text = '{"KZ": {"download_floor_bps": 20000000, "budget": {"bytes_per_month": 5000000000}}}'
    in_environment = settings.build(None, {"LINKBELL_COLLECTOR_COUNTRIES": text}, {}).settings
    assert in_file.countries is not None
    assert list(in_file.countries) == ["KZ"]
    assert in_file.countries == in_environment.countries
    done = run_command("check-config", "--config", file, "--json")
    assert json.loads(done.stdout)["countries"]["value"]["KZ"]["budget"] == {"bytes_per_month": 5_000_000_000}


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        settings.build(tmp_path / "nowhere.toml", {}, {})


def test_an_unknown_variable_of_ours_is_refused_and_others_are_left_alone() -> None:
    with pytest.raises(UsageError, match="LINKBELL_COLLECTOR_LISTN: there is no such setting; did you mean listen"):
        settings.build(None, {"LINKBELL_COLLECTOR_LISTN": "x", "LINKBELL_AGENT_X": "y"}, {})


SERVICE_LINKS = {
    "LINKBELL_COLLECTOR_PORT": "tcp://10.0.0.7:8470",
    "LINKBELL_COLLECTOR_PORT_8470_TCP": "tcp://10.0.0.7:8470",
    "LINKBELL_COLLECTOR_PORT_8470_TCP_ADDR": "10.0.0.7",
    "LINKBELL_COLLECTOR_SERVICE_HOST": "10.0.0.7",
    "LINKBELL_COLLECTOR_SERVICE_PORT": "8470",
    "LINKBELL_COLLECTOR_SERVICE_PORT_HTTP": "8470",
    "LINKBELL_COLLECTOR_MEASURE_SERVICE_HOST": "10.0.0.8",
    "LINKBELL_COLLECTOR_MEASURE_PORT_8471_TCP_PROTO": "tcp",
}


def test_variables_that_kubernetes_makes_of_a_service_of_our_name_are_left_alone() -> None:
    effective = settings.build(None, SERVICE_LINKS | {"LINKBELL_COLLECTOR_SILENT_AFTER_S": "60"}, {})
    assert effective.settings == Settings(silent_after_s=60)


@pytest.mark.parametrize("name", ["LINKBELL_COLLECTOR_REPORTS", "LINKBELL_COLLECTOR_PORTS_8470"])
def test_variables_that_only_look_like_those_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="there is no such setting"):
        settings.build(None, {name: "1"}, {})


def test_every_default_passes_its_own_check() -> None:
    for item in fields(Settings):
        if item.default is not None:
            value = item.default if isinstance(item.default, (int, float)) else str(item.default)
            assert item.metadata["parse"](value) == item.default, item.name


def test_every_setting_is_documented_with_its_default() -> None:
    text = DOCS.read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| `?([^|`]*?)`? \|", text, re.MULTILINE))
    for item in fields(Settings):
        shown = "unset" if item.default is None else f"{item.default:g}" if _number(item.default) else str(item.default)
        assert rows.get(item.name) == shown, item.name


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value < 1e6


def test_check_config_shows_everything_and_names_mistakes(tmp_path: Path) -> None:
    file = tmp_path / "collector.toml"
    file.write_text("silent_after_s = 600\n")
    done = run_command("check-config", "--config", file, "--listen", "[::1]:9", "--json")
    shown = json.loads(done.stdout)
    assert set(shown) == set(NAMES)
    assert shown["silent_after_s"] == {"value": 600.0, "from": f"{file}, silent_after_s"}
    assert shown["listen"] == {"value": "[::1]:9", "from": "flag --listen"}
    file.write_text("silent_afterr_s = 600")
    done = run_command("check-config", "--config", file)
    assert done.returncode == 2
    assert "did you mean silent_after_s" in done.stderr


PERIODS = {"90m": 5400, "24h": 86_400, "7d": 604_800, "2w": 1_209_600}


@pytest.mark.parametrize(("text", "seconds"), PERIODS.items())
def test_a_period_counts_from_now(text: str, seconds: int) -> None:
    assert values.moment_us(text, from_us(10**15)) == 10**15 + seconds * 10**6


@pytest.mark.parametrize("text", ["", "7", "7y", "-7d", "0d", "yesterday", "1999-01-01", "9999-01-01", "99999d"])
def test_a_moment_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not|is neither"):
        values.moment_us(text, from_us(1_772_430_000_000_000))


def test_a_date_is_the_start_of_that_day_in_utc() -> None:
    moment = values.moment_us("2026-09-01", from_us(1_772_430_000_000_000))
    assert from_us(moment).isoformat() == "2026-09-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("text", "number"), [("8M", 8e6), ("500k", 5e5), ("1.5G", 1.5e9), (20, 20.0), ("20000000", 2e7)]
)
def test_rates_may_be_written_short(text: object, number: float) -> None:
    assert values.scaled(text) == number
