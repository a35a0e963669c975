"""docs/schools.md and what docs/collector.md says of settings: complete, and their examples are read as they stand."""

import re
import tomllib
from pathlib import Path

from linkbell_collector import settings
from linkbell_collector.commands.profile_flags import FLAGS
from linkbell_collector.importing.columns import COLUMNS, ID_NAMES, layout_of
from linkbell_collector.importing.drafts import Drafts, read_drafts
from linkbell_collector.importing.table import read_table
from linkbell_collector.profile import Profile, read_profile
from linkbell_wire import configuration

DOCS = Path(__file__).parents[2] / "docs"
SCHOOLS = (DOCS / "schools.md").read_text(encoding="utf-8")
COLLECTOR = (DOCS / "collector.md").read_text(encoding="utf-8")
OF_FILES_ONLY = {"targets", "platforms", "dns", "uplinks"}


def block(text: str, language: str, number: int = 0) -> str:
    """Return one of the examples in a document."""
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return found[number]


def read(text: str) -> Drafts:
    table = read_table(text)
    return read_drafts(table.rows, layout_of(table.titles), lambda done: None)


def test_every_column_that_is_read_is_documented_and_no_other() -> None:
    known = {name for column in COLUMNS for name in column.names} | set(ID_NAMES)
    rows = re.findall(r"^\|[^|]*\|([^|]*)\|[^|]*\|$", SCHOOLS, re.MULTILINE)
    documented = set(re.findall(r"`(\w+)`", " ".join(rows)))
    assert documented == known


def test_the_example_files_are_read_without_a_complaint() -> None:
    for text in (block(SCHOOLS, "csv"), block(SCHOOLS, "json")):
        drafts = read(text)
        assert drafts.errors == []
        assert drafts.usable[0].id == "KZ-0173"
        assert drafts.usable[0].values["download_floor_bps"] == 20e6
        assert drafts.usable[0].place == (43.2389, 76.8897)


def test_every_setting_and_flag_is_documented_with_its_name_in_files() -> None:
    rows = re.findall(r"^\| (`--[^|]*)\| ([^|]*)\|", COLLECTOR, re.MULTILINE)
    documented = {
        flag: name
        for flags, names in rows
        for flag, name in zip(re.findall(r"`(--[\w-]+)`", flags), re.findall(r"`([\w.]+)`", names), strict=False)
    }
    assert {flag.name: flag.path for flag in FLAGS} == documented
    for section in set(Profile.model_fields) - OF_FILES_ONLY:
        assert any(flag.path.partition(".")[0] == section for flag in FLAGS), section
    fields = {
        "speed": configuration.SpeedConfiguration.model_fields,
        "check": configuration.CheckConfiguration.model_fields,
        "calendar": configuration.CalendarConfiguration.model_fields,
        "budget": configuration.BudgetConfiguration.model_fields,
        "ping": configuration.PingConfiguration.model_fields,
    }
    for section, names in fields.items():
        for name in names:
            assert f"`{section}.{name}`" in COLLECTOR, f"{section}.{name}"


def test_the_example_settings_can_be_used(tmp_path: Path) -> None:
    profile = read_profile(tomllib.loads(block(COLLECTOR, "toml")))
    assert profile.contract_download_bps == 100e6
    assert all(getattr(profile, name) for name in OF_FILES_ONLY)
    file = tmp_path / "collector.toml"
    file.write_text(block(COLLECTOR, "toml", 1), encoding="utf-8")
    found = settings.build(file, {}, {}).settings
    assert found.countries is not None
    assert found.countries["KZ"].timezone == "Asia/Almaty"
    assert found.country == "KZ"
