"""The command line, run as people run it."""

import json
import re
from pathlib import Path

import pytest

from linkbell_collector.cli import build_parser
from tests.collector.process import run_command, run_json

DOCS = Path(__file__).parents[2] / "docs" / "collector.md"


def test_one_command_makes_a_token_on_a_fresh_machine_and_the_school_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    done = run_command("tokens", "create", "--school", "s-100", "--data", folder)
    assert done.returncode == 0
    assert re.fullmatch(r"lbj_[\w-]{43}\n", done.stdout)
    assert "school s-100 was not known and is made now" in done.stderr
    again = run_json("tokens", "create", "--school", "s-100", "--uses", "3", "--expires", "24h", "--data", folder)
    assert (again["school"], again["region"], again["uses"]) == ("s-100", None, 3)
    assert again["token"].startswith("lbj_")
    assert again["expires_at"].endswith("Z")


def test_tokens_are_listed_without_their_secrets_and_can_be_revoked(tmp_path: Path) -> None:
    made = run_json("tokens", "create", "--region", "Алматы", "--uses", "2", "--data", tmp_path)
    (listed,) = run_json("tokens", "list", "--data", tmp_path)
    assert made["token"] not in json.dumps(listed)
    assert (listed["region"], listed["used"], listed["state"]) == ("Алматы", 0, "usable")
    assert run_command("tokens", "revoke", listed["id"], "--data", tmp_path).returncode == 0
    assert run_json("tokens", "list", "--data", tmp_path)[0]["state"] == "revoked"
    assert "usable" not in run_command("tokens", "list", "--data", tmp_path).stdout


def test_schools_are_added_changed_listed_and_shown(tmp_path: Path) -> None:
    add = ["schools", "add", "s-1", "--data", str(tmp_path)]
    run_json(*add, "--name", "Школа №1", "--region", "Almaty", "--download-floor", "20M", "--latitude", "43.2")
    changed = run_json(*add, "--update", "--provider", "Kazakhtelecom")
    again = run_json("schools", "set", "s-1", "--giga-id", "g-1", "--country", "kz", "--data", tmp_path)
    assert (again["provider"], again["giga_id"], again["country"]) == ("Kazakhtelecom", "g-1", "KZ")
    assert (changed["name"], changed["provider"], changed["download_floor_bps"]) == ("Школа №1", "Kazakhtelecom", 2e7)
    (listed,) = run_json("schools", "list", "--data", tmp_path)
    assert (listed["id"], listed["agents"], listed["latitude"]) == ("s-1", 0, 43.2)
    assert run_json("schools", "show", "s-1", "--data", tmp_path)["agents"] == []
    assert "Школа №1" in run_command("schools", "list", "--data", tmp_path).stdout


def test_settings_are_set_for_schools_and_regions_shown_with_who_set_them_and_cleared(tmp_path: Path) -> None:
    data = ("--data", tmp_path)
    file = tmp_path / "school.toml"
    file.write_text(
        'download_floor_bps = "20M"\n[calendar]\nholidays = [2026-03-22, "2026-05-01/2026-05-09"]\n'
        '[[platforms]]\nname = "bilimland"\nurl = "https://bilimland.example/"\n'
    )
    run_json("schools", "add", "s-1", "--region", "Абай", "--hours", "08:00-14:00", "--settings", file, *data)
    done = run_command(
        "regions", "set", "Абай", "--timezone", "Asia/Almaty", "--budget", "5G", "--hours", "9:00-10:00", *data
    )
    assert "schools of it: 1" in done.stdout
    shown = run_json("schools", "show", "s-1", *data)["effective"]
    assert {path: (item["value"], item["set by"]) for path, item in shown.items()} == {
        "timezone": ("Asia/Almaty", "region Абай"),
        "download_floor_bps": (2e7, "school"),
        "calendar.hours": ("08:00-14:00", "school"),
        "calendar.holidays": (["2026-03-22", "2026-05-01/2026-05-09"], "school"),
        "platforms": ([{"name": "bilimland", "url": "https://bilimland.example/"}], "school"),
        "budget.bytes_per_month": (5_000_000_000, "region Абай"),
    }
    run_json("schools", "set", "s-1", "--clear", "calendar.hours", "--clear", "download_floor_bps", *data)
    shown = run_json("schools", "show", "s-1", *data)["effective"]
    assert shown["calendar.hours"]["value"] == "9:00-10:00"
    assert shown["download_floor_bps"] == {"setting": "download_floor_bps", "value": 8e6, "set by": "collector"}
    assert "bytes_per_month" in run_command("regions", "list", *data).stdout
    assert (
        "no school is of this region yet" in run_command("regions", "set", "Abay", "--hours", "8:00-9:00", *data).stdout
    )
    for name in ("Abay", "Абай"):
        assert run_command("regions", "remove", name, *data).returncode == 0
    assert run_json("regions", "list", *data) == {}


BAD_SETTINGS = {
    'hours = "8-14"\n': "hours: there is no such setting",
    '[calendar]\nhuors = "8:00-14:00"': "calendar.huors: there is no such setting; did you mean hours?",
    '[calendar]\nhours = "8-14"': "calendar.hours: '8-14' are no hours",
    "[[targets]]\nname = 'a'\nlayer = 'moon'\nhost = 'h'": "targets.0.layer",
    "download_floor_bps = '8,500M'": "download_floor_bps: '8,500M' may mean",
    "contract_upload_bps = -1": "contract_upload_bps: Input should be greater than 0",
    "budget = 5": "budget: ",
    "[budget]\nbytes_per_month = '1k'": "budget.bytes_per_month: Input should be greater than",
    "platforms = [{name = 'a', url = 'https://a/'}, {name = 'a', url = 'https://b/'}]": "names must be unique",
    "uplinks = [{name = 'a'}, {name = 'a'}]": "uplink names must be unique",
    "[[targets]]\nname = 'a b'\nlayer = 'isp'\nhost = 'h'": "targets.0.name: write letters, digits",
    "[[platforms]]\nname = 'a'\nurl = 'b'": "platforms.0.url: write an address such as",
    "[[uplinks]]\nname = 'a'\nbudjet = {}": "uplinks.0.budjet: there is no such setting; did you mean budget?",
    "???": "is neither TOML nor JSON",
}


@pytest.mark.parametrize(("content", "words"), BAD_SETTINGS.items(), ids=str)
def test_a_settings_file_that_cannot_be_used_is_refused_with_the_place(
    tmp_path: Path, content: str, words: str
) -> None:
    file = tmp_path / "school.toml"
    file.write_text(content)
    done = run_command("schools", "add", "s-1", "--settings", file, "--data", tmp_path / "data")
    assert done.returncode == 2
    assert words in done.stderr
    assert str(file) in done.stderr
    assert not (tmp_path / "data").exists()


REFUSED = {
    "a school that is there already": (["schools", "add", "s-1"], "is known already", "--update"),
    "an update of nothing": (["schools", "add", "s-9", "--update"], "is not known", "schools list"),
    "showing nothing": (["schools", "show", "s-9"], "is not known", "schools list"),
    "a region of which nothing is set": (["regions", "remove", "x"], "nothing is set for region x", "regions list"),
    "revoking an unknown token": (["tokens", "revoke", "token-1"], "no join token token-1", "tokens list"),
    "approving an unknown agent": (["agents", "approve", "agent-1"], "no agent agent-1", "agents list"),
    "revoking an unknown agent": (["agents", "revoke", "agent-1"], "no agent agent-1", "agents list"),
    "approving where nobody waits": (["agents", "approve", "--school", "s-1"], "no agent of school s-1", "pending"),
}


@pytest.mark.parametrize(("arguments", "message", "action"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_done_is_said_with_what_to_do(
    tmp_path: Path, arguments: list[str], message: str, action: str
) -> None:
    run_command("schools", "add", "s-1", "--data", tmp_path)
    done = run_command(*arguments, "--data", tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert action in done.stderr
    assert "Traceback" not in done.stderr


WRONG_USE = [
    ([], "required"),
    (["conquer"], "invalid choice"),
    (["tokens", "create"], "--school --region is required"),
    (["tokens", "create", "--school", "a", "--region", "b"], "not allowed with"),
    (["tokens", "create", "--school", "a b"], "--school: 'a b'"),
    (["tokens", "create", "--school", "a", "--uses", "0"], "--uses: 0"),
    (["tokens", "create", "--school", "a", "--expires", "soon"], "--expires: 'soon' is neither"),
    (["tokens", "create", "--region", "  "], "--region is empty"),
    (["schools", "add", "a", "--latitude", "91"], "--latitude: 91.0 is not between"),
    (["schools", "add", "a", "--download-floor", "fast"], "--download-floor: 'fast'"),
    (["schools", "add", "../etc"], "ID: '../etc'"),
    (["schools", "add", "a", "--country", "Kazakhstan"], "--country: 'Kazakhstan' is not a country"),
    (["schools", "add", "a", "--hours", "8-14"], "--hours: '8-14' are no hours"),
    (["schools", "add", "a", "--billing-day", "31"], "--billing-day: Input should be less than or equal to 28"),
    (["schools", "set", "a", "--clear", "calender.hours"], "--clear calender.hours: there is no such setting"),
    (["regions", "set", "a", "--timezone", "Almaty"], "--timezone: 'Almaty' is not a time zone"),
    (["serve", "--listen", "nowhere"], "flag --listen: 'nowhere' is not HOST:PORT"),
    (["serve", "--config", "/nonexistent"], "cannot be read"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG_USE, ids=str)
def test_wrong_use_ends_with_status_2_and_words(tmp_path: Path, arguments: list[str], message: str) -> None:
    data = ["--data", str(tmp_path)] if len(arguments) > 1 else []
    done = run_command(*arguments, *data)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_with_json_even_a_refusal_is_json(tmp_path: Path) -> None:
    missing = run_command("schools", "list", "--json", "--data", tmp_path)
    assert missing.returncode == 1
    assert "no collector's database" in json.loads(missing.stdout)["error"]
    assert list(tmp_path.iterdir()) == [], "looking makes nothing"
    run_command("schools", "add", "s-1", "--data", tmp_path)
    done = run_command("schools", "show", "s-9", "--json", "--data", tmp_path)
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"] == "school s-9 is not known"


def all_parsers() -> dict[str, object]:
    """Return every command with its parser."""
    found = {}

    def walk(parser: object, path: str) -> None:
        found[path] = parser
        for action in parser._actions:  # type: ignore[attr-defined]
            if getattr(action, "choices", None) and hasattr(action.choices, "items"):
                for name, sub in action.choices.items():
                    walk(sub, f"{path} {name}".strip())

    walk(build_parser(), "")
    return found


def test_every_command_teaches_with_examples_in_its_help() -> None:
    for path, parser in all_parsers().items():
        assert "linkbell-collector" in (parser.epilog or "linkbell-collector"), path  # type: ignore[attr-defined]
        if not path.startswith("measure"):
            assert parser.epilog, path  # type: ignore[attr-defined]


def test_every_command_and_flag_is_documented() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for path, parser in all_parsers().items():
        if path.startswith("measure"):
            continue
        assert path in text, path
        for action in parser._actions:  # type: ignore[attr-defined]
            for flag in action.option_strings:
                assert f"`{flag}" in text or flag in ("-h", "--help"), f"{path} {flag}"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bad id!"], "letters, digits and _ . : -"),
        (["s-1", "--download-floor", "0"], "give more than 0"),
        (["s-1", "--timezone", "Asia/Almati"], "did you mean Asia/Almaty?"),
        (["s-1", "--latitude", "91"], "between -90 and 90"),
    ],
)
def test_a_school_that_cannot_be_is_refused_with_words(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = run_command("schools", "add", *arguments, "--data", tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
