"""Settings: one order of precedence, and every mistake named with its place and the nearest right word."""

from pathlib import Path

import pytest

from linkbell_agent.settings import SettingsError, load, table

FULL = """
state = "/srv/linkbell"
log_level = "debug"

[uplink]
name = "fibre"
device = "eth0"

[ping]
count = 4

[speed]
per_day = 2
servers = [{ url = "wss://measure.example", scope = "domestic" }]

[[targets]]
name = "ministry"
layer = "domestic"
host = "edu.example.kz"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "agent.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_whole_file_is_understood(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, FULL), environment={})
    settings = loaded.settings
    assert settings.state == Path("/srv/linkbell")
    assert settings.uplink.device == "eth0"
    assert settings.ping.count == 4
    assert settings.ping.interval_s == 60
    assert settings.speed.servers[0].scope == "domestic"
    assert settings.targets[0].host == "edu.example.kz"
    assert loaded.origins["ping.count"].endswith("agent.toml")
    assert "ping.interval_s" not in loaded.origins


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    path = write(tmp_path, "[ping]\ncount = 2\ninterval_s = 20\n[report]\ninterval_s = 9\n")
    environment = {"LINKBELL_AGENT_PING_COUNT": "3", "LINKBELL_AGENT_PING_INTERVAL_S": "30", "HOME": "/root"}
    loaded = load(path, ["ping.count=4"], environment)
    assert loaded.settings.ping.count == 4
    assert loaded.settings.ping.interval_s == 30
    assert loaded.settings.report.interval_s == 9
    assert loaded.settings.report.batch_records == 60
    assert loaded.origins["ping.count"] == "flag --set"
    assert loaded.origins["ping.interval_s"] == "environment LINKBELL_AGENT_PING_INTERVAL_S"


def test_a_list_in_the_collectors_shape_cannot_come_from_one_string() -> None:
    with pytest.raises(SettingsError, match=r"targets is not a setting"):
        load(None, ["targets=x"], {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[ping]\ncuont = 3", "ping.cuont is not a setting. Did you mean ping.count?"),
        ("[pings]\ncount = 3", "pings is not a setting. Did you mean ping?"),
        ("logl_evel = 'info'", "logl_evel is not a setting. Did you mean log_level?"),
        ("[ping]\nzzz = 3", "ping.zzz is not a setting. Settings here: interval_s, count."),
        (
            "[[targets]]\nname = 'a'\nlayer = 'isp'\nhost = 'h'\nprot = 5",
            "targets.0.prot is not a setting. Did you mean port?",
        ),
        ("[speed]\nservers = [{ ulr = 'ws://x' }]", "speed.servers.0.ulr is not a setting. Did you mean url?"),
        ("[ping]\ncount = 0", "ping.count: input should be greater than or equal to 1"),
        ("[ping]\ncount = 'many'", "ping.count: input should be a valid integer"),
        ("[ping]\ninterval_s = nan", "ping.interval_s"),
        ("ping = 3", "ping: input should be"),
        ("[[targets]]\nname = 'a'\nhost = 'h'", "targets.0.layer: field required"),
        ("[[targets]]\nname = 'a'\nlayer = 'moon'\nhost = 'h'", "targets.0.layer"),
        ("[speed]\nservers = [{ url = 'ftp://x' }]", "speed.servers.0.url"),
        ("[speed]\nservers = [{ url = 'ws://x:99999' }]", "a port from 1 to 65535"),
        ("log_level = 'loud'", "log_level"),
        (
            "[calendar]\ntimezone = 'Asia/Almati'",
            "Asia/Almati is no time zone this box knows. Did you mean Asia/Almaty?",
        ),
        ("[calendar]\ntimezone = 'Almaty'", "Almaty is no time zone this box knows. Did you mean Asia/Almaty?"),
        (
            "[calendar]\ntimezone = 'asia/almaty'",
            "asia/almaty is no time zone this box knows. Did you mean Asia/Almaty?",
        ),
        ("[calendar]\ntimezone = 'UTC+5'", "UTC+5 is no time zone this box knows."),
        ("[calendar]\nhours = '8-18'", "calendar.hours: value error, '8-18' are no hours: write them like 08:00-18:00"),
        (
            "[calendar]\nweekdays = 'mon-fry'",
            "calendar.weekdays: value error, 'fry' is no weekday: write them like mon-fri",
        ),
        ("[calendar]\nholidays = ['2026-02-29']", "calendar.holidays.0: value error, '2026-02-29' is no day there is"),
        ("[check]\ndirections = ['sideways']", "check.directions.0"),
        ("[ping\ncount = 3", "is not TOML"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load(path, environment={})
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(write(tmp_path, "[ping]\ncount = 0\n[speed]\nper_dya = 1\n"), environment={})
    assert len(str(caught.value).splitlines()) == 2


def test_unknown_variables_and_flags_name_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"Did you mean LINKBELL_AGENT_PING_COUNT\?"):
        load(None, environment={"LINKBELL_AGENT_PING_CUONT": "3"})
    with pytest.raises(SettingsError, match="only the file can hold"):
        load(None, environment={"LINKBELL_AGENT_TARGETS": "x"})
    load(None, environment={"LINKBELL_AGENT_PORT": "tcp://10.0.0.1:8472", "LINKBELL_AGENT_SERVICE_HOST": "10.0.0.1"})
    with pytest.raises(SettingsError, match=r"Did you mean ping\.count\?"):
        load(None, ["ping.cuont=3"], {})
    with pytest.raises(SettingsError, match="write it as --set key=value"):
        load(None, ["ping.count"], {})


def test_a_file_that_was_asked_for_must_be_there_and_readable(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such file"):
        load(tmp_path / "none.toml", environment={})
    with pytest.raises(SettingsError, match="cannot be read"):
        load(tmp_path, environment={})
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="is not TOML"):
        load(binary, environment={})


def test_every_setting_has_a_default_that_is_valid_and_a_help() -> None:
    rows = list(table())
    assert len(rows) > 15
    assert all(row.help.endswith(".") for row in rows)
    settings = load(None, environment={}).settings
    for row in rows:
        value: object = settings
        for part in row.key.split("."):
            value = getattr(value, part)
        assert value == row.default
