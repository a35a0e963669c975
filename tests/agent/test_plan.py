"""The plan: the collector's wishes where there are any, the local settings where not, the box's own layers always."""

from datetime import date
from typing import Any

import pytest

from linkbell_agent.plan import Plan, Surroundings, is_mlab, make_plan
from linkbell_agent.schedule.slots import Kind
from linkbell_agent.sections import (
    CalendarSettings,
    CheckSettings,
    ServerSettings,
    Settings,
    SpeedSettings,
    TargetSettings,
)
from linkbell_wire.configuration import (
    AgentConfiguration,
    CalendarConfiguration,
    CheckConfiguration,
    DnsConfiguration,
    PingConfiguration,
    PlatformConfiguration,
    SchoolConfiguration,
    SpeedConfiguration,
    SpeedServer,
)
from linkbell_wire.configuration import TargetConfiguration as Target
from linkbell_wire.words import Direction, Engine, Layer

HERE = Surroundings(gateway="192.0.2.1", nameservers=["192.0.2.53"], collector="https://collector.example")
NOWHERE = Surroundings(gateway=None, nameservers=[], collector=None)
MINISTRY = TargetSettings(name="ministry", layer=Layer.DOMESTIC, host="edu.example.kz")


def plan(surroundings: Surroundings = HERE, remote: AgentConfiguration | None = None, **settings: Any) -> Plan:
    return make_plan(Settings(**settings), remote, surroundings)


def test_the_layers_a_box_finds_by_itself_are_pinged_nearest_first() -> None:
    assert [(target.name, target.host) for target in plan().targets] == [
        ("gateway", "192.0.2.1"),
        ("resolver", "192.0.2.53"),
        ("international", "1.1.1.1"),
        ("collector", "collector.example"),
    ]


def test_a_box_without_a_line_still_asks_for_the_world() -> None:
    assert [target.name for target in plan(NOWHERE).targets] == ["international"]


def test_a_resolver_on_the_box_itself_says_nothing_of_the_line() -> None:
    local = Surroundings("192.0.2.1", ["127.0.0.53", "::1", "192.0.2.54"], None)
    assert next(target.host for target in plan(local).targets if target.name == "resolver") == "192.0.2.54"


def test_the_collectors_targets_replace_the_local_ones() -> None:
    other = Target(name="other", layer=Layer.ISP, host="192.0.2.9")
    remote = AgentConfiguration(targets=[other])
    names = [target.name for target in plan(remote=remote, targets=[MINISTRY], default_targets=False).targets]
    assert names == ["other"]
    assert [t.name for t in plan(remote=AgentConfiguration(), targets=[MINISTRY], default_targets=False).targets] == [
        "ministry"
    ]


def test_a_configured_target_of_the_same_name_wins_over_the_default_one() -> None:
    mine = TargetSettings(name="international", layer=Layer.INTERNATIONAL, host="198.51.100.1")
    hosts = [target.host for target in plan(targets=[mine]).targets if target.name == "international"]
    assert hosts == ["198.51.100.1"]


def test_parts_the_collector_leaves_out_stay_as_they_are_here() -> None:
    remote = AgentConfiguration(ping=PingConfiguration(interval_s=300, count=3))
    merged = plan(remote=remote, speed={"per_day": 5})
    assert (merged.ping_interval_s, merged.ping_count, merged.speed_per_day) == (300, 3, 5)
    half = AgentConfiguration(ping=PingConfiguration(interval_s=300), speed=SpeedConfiguration(per_day=9))
    merged = plan(remote=half, ping={"count": 4}, speed={"max_duration_s": 5})
    assert (merged.ping_count, merged.speed_per_day, merged.speed_max_duration_s) == (4, 9, 5)


def test_what_the_owner_of_the_box_forbids_the_collector_cannot_allow() -> None:
    remote = AgentConfiguration(speed=SpeedConfiguration(max_bytes=10**9, max_duration_s=15))
    merged = plan(remote=remote, speed={"enabled": False, "max_bytes": 10**6, "max_duration_s": 5})
    assert (merged.speed_enabled, merged.speed_max_bytes, merged.speed_max_duration_s) == (False, 10**6, 5)


@pytest.mark.parametrize(
    ("collector", "server"),
    [
        ("https://collector.example", "ws://collector.example:8471"),
        ("http://192.0.2.7:8470", "ws://192.0.2.7:8471"),
        ("http://[2001:db8::1]:8470", "ws://[2001:db8::1]:8471"),
    ],
)
def test_without_a_server_the_one_beside_the_collector_is_used(collector: str, server: str) -> None:
    assert plan(Surroundings(None, [], collector)).servers[0].url == server


def test_local_servers_come_before_the_collectors() -> None:
    remote = AgentConfiguration(speed=SpeedConfiguration(servers=[SpeedServer(url="ws://remote:1")]))
    assert plan(remote=remote).servers[0].url == "ws://remote:1"
    assert plan(remote=remote, speed={"servers": [ServerSettings(url="ws://local:1")]}).servers[0].url == "ws://local:1"


MLAB = "wss://ndt-mlab1-ala01.mlab-oti.measurement-lab.org/ndt/v7/download"
OURS = "ws://measure.example.kz:8471"


@pytest.mark.parametrize(
    ("local", "remote", "used"),
    [
        pytest.param(False, None, [OURS], id="nobody allowed it"),
        pytest.param(False, False, [OURS], id="the collector says no"),
        pytest.param(True, None, [MLAB, OURS], id="this box allows it"),
        pytest.param(False, True, [MLAB, OURS], id="the collector allows it"),
    ],
)
def test_servers_that_publish_addresses_are_used_only_where_that_is_meant(
    local: bool, remote: bool | None, used: list[str]
) -> None:
    servers = [SpeedServer(url=MLAB), SpeedServer(url=OURS)]
    configuration = AgentConfiguration(speed=SpeedConfiguration(servers=servers, mlab_consent=remote))
    assert [server.url for server in plan(remote=configuration, speed={"mlab_consent": local}).servers] == used


@pytest.mark.parametrize(
    ("url", "answer"),
    [
        (MLAB, True),
        ("https://locate.measurementlab.net", True),
        ("ws://MEASUREMENT-LAB.ORG.", True),
        ("ws://not-measurement-lab.org", False),
        ("ws://measurement-lab.org.example", False),
        (OURS, False),
    ],
)
def test_mlabs_servers_are_known_by_their_names(url: str, answer: bool) -> None:
    assert is_mlab(url) is answer


def test_the_engine_is_the_boxs_own_choice() -> None:
    assert plan().speed_engine is Engine.NDT7
    assert plan(speed=SpeedSettings(engine=Engine.OOKLA)).speed_engine is Engine.OOKLA


ALMATY = SchoolConfiguration(id="s-1", name="School 1", timezone="Asia/Almaty", download_floor_bps=8e6)


@pytest.mark.parametrize(
    ("remote", "local", "zone"),
    [
        (None, None, "UTC"),
        (None, "Europe/Berlin", "Europe/Berlin"),
        ("Asia/Almaty", "Europe/Berlin", "Asia/Almaty"),
        ("UTC", "Europe/Berlin", "Europe/Berlin"),
        ("Mars/Olympus", "Europe/Berlin", "Europe/Berlin"),
        ("Mars/Olympus", None, "UTC"),
    ],
)
def test_the_zone_is_the_collectors_else_the_boxs_own_else_utc(
    remote: str | None, local: str | None, zone: str
) -> None:
    school = None if remote is None else ALMATY.model_copy(update={"timezone": remote})
    merged = plan(remote=AgentConfiguration(school=school), calendar=CalendarSettings(timezone=local))
    assert str(merged.calendar.zone) == zone


def test_the_calendar_is_merged_part_by_part() -> None:
    local = CalendarSettings(hours="09:00-15:00", holidays=["2026-12-16"], terms=["2026-09-01/2027-05-25"])
    remote = CalendarConfiguration(weekdays="mon-sat", holidays=["2026-12-17"], terms=[])
    calendar = plan(remote=AgentConfiguration(calendar=remote), calendar=local).calendar
    open_days = [day for day in range(14, 21) if calendar.open_spans(date(2026, 12, day))]
    assert open_days == [14, 15, 16, 18, 19]
    assert [span.start.hour for span in calendar.open_spans(date(2026, 12, 19))] == [9]
    assert calendar.is_school_day(date(2027, 7, 1)), "the collector says that it always is term"


@pytest.mark.parametrize(
    ("local", "remote", "checked"),
    [
        ({}, None, [Kind.CHECK_DOWNLOAD]),
        ({}, CheckConfiguration(directions=[Direction.UPLOAD, Direction.DOWNLOAD]), [Kind.CHECK_DOWNLOAD]),
        ({"enabled": False}, CheckConfiguration(enabled=True), []),
        ({}, CheckConfiguration(enabled=False), []),
        ({"directions": [Direction.UPLOAD]}, None, []),
    ],
)
def test_floors_are_checked_where_they_are_known_and_wanted(
    local: dict[str, Any], remote: CheckConfiguration | None, checked: list[Kind]
) -> None:
    merged = plan(remote=AgentConfiguration(school=ALMATY, check=remote), check=CheckSettings(**local))
    assert [kind for kind in (Kind.CHECK_DOWNLOAD, Kind.CHECK_UPLOAD) if merged.timetable(kind)] == checked
    assert plan().timetable(Kind.CHECK_DOWNLOAD) is None, "no floor is known without a collector"


def test_one_of_two_directions_says_that_the_school_is_closed() -> None:
    both = ALMATY.model_copy(update={"upload_floor_bps": 2e6})
    check = CheckConfiguration(interval_s=600, directions=[Direction.DOWNLOAD, Direction.UPLOAD])
    merged = plan(remote=AgentConfiguration(school=both, check=check))
    tables = [merged.timetable(kind) for kind in (Kind.CHECK_DOWNLOAD, Kind.CHECK_UPLOAD)]
    assert [(table.interval_s, table.says_closed) for table in tables if table] == [(600, True), (600, False)]


def test_full_tests_have_a_timetable_unless_they_are_off() -> None:
    table = plan(speed={"per_day": 5}).timetable(Kind.SPEED)
    assert table is not None
    assert table.per_day == 5
    assert plan(speed={"enabled": False}).timetable(Kind.SPEED) is None


# --- layers, and which addresses may be talked to


def test_the_layers_beside_pings_are_found_by_the_box_itself() -> None:
    here = Surroundings(
        "192.168.1.1", ["127.0.0.53", "192.168.1.1", "198.51.100.53"], "https://c.example", ["192.168.1.0/24"]
    )
    layers = plan(here).layers
    assert layers.gateway == "192.168.1.1"
    assert layers.resolvers == ("192.168.1.1", "198.51.100.53")
    assert layers.local_resolvers == {"192.168.1.1"}
    assert layers.names == ("c.example", "example.com")
    assert (layers.collector, layers.portal_url) == (
        "https://c.example",
        "http://connectivitycheck.gstatic.com/generate_204",
    )
    assert layers.discovers_isp


def test_a_collector_without_a_name_is_not_looked_up() -> None:
    for collector in ("http://192.0.2.7:8470", "http://localhost:8470", None):
        assert plan(Surroundings(None, [], collector)).layers.names == ("example.com",)


def test_a_box_told_to_ask_nothing_by_itself_asks_nothing() -> None:
    layers = plan(default_targets=False).layers
    assert (layers.collector, layers.portal_url, layers.names, layers.discovers_isp) == (None, None, (), False)
    told = plan(default_targets=False, layers={"portal_url": "http://p.example/204", "dns_names": ["a.example"]}).layers
    assert (told.portal_url, told.names) == ("http://p.example/204", ("a.example",))


def test_the_collectors_layers_replace_the_local_ones() -> None:
    local: dict[str, Any] = {
        "platforms": [{"name": "a", "url": "https://a.example/"}],
        "layers": {"resolvers": ["9.9.9.9"]},
    }
    assert [one.name for one in plan(**local).layers.platforms] == ["a"]
    assert plan(**local).layers.given == ("9.9.9.9",)
    remote = AgentConfiguration(
        platforms=[PlatformConfiguration(name="b", url="https://b.example/")],
        dns=DnsConfiguration(names=["b.example"], resolvers=["8.8.8.8", "192.0.2.53"]),
        portal_url="http://b.example/204",
    )
    layers = plan(remote=remote, **local).layers
    assert [one.name for one in layers.platforms] == ["b"]
    assert (layers.names, layers.given, layers.portal_url) == (("b.example",), ("8.8.8.8",), "http://b.example/204")


def test_a_target_on_the_providers_layer_is_enough_of_one() -> None:
    mine = TargetSettings(name="mine", layer=Layer.ISP, host="198.51.100.1")
    assert not plan(targets=[mine]).layers.discovers_isp


def test_what_the_collector_names_is_not_permitted_for_that() -> None:
    remote = AgentConfiguration(
        targets=[Target(name="x", layer=Layer.DOMESTIC, host="10.9.9.9")],
        platforms=[PlatformConfiguration(name="b", url="https://10.9.9.8/")],
        dns=DnsConfiguration(names=["b.example"], resolvers=["10.9.9.7"]),
        portal_url="http://10.9.9.6/204",
        speed=SpeedConfiguration(servers=[SpeedServer(url="ws://10.9.9.5")]),
    )
    permitted = plan(Surroundings(None, [], None), remote).permit
    assert permitted is not None
    for last in range(5, 10):
        assert not permitted.allows(f"10.9.9.{last}", f"10.9.9.{last}")


def test_what_this_box_was_told_and_what_it_found_is_permitted() -> None:
    here = Surroundings("172.16.0.1", ["172.16.0.2"], "http://10.0.0.5:8470", ["192.168.1.0/24"])
    told = plan(
        here,
        allow_private=["10.1.0.0/16"],
        targets=[TargetSettings(name="t", layer=Layer.DOMESTIC, host="10.2.0.1")],
        platforms=[{"name": "p", "url": "https://intranet.example/"}],
        speed={"servers": [{"url": "ws://measure.example"}]},
        layers={"resolvers": ["10.3.0.1"]},
    ).permit
    assert told is not None
    for address in ("172.16.0.1", "172.16.0.2", "192.168.1.9", "10.1.2.3", "10.3.0.1"):
        assert told.allows(address), address
    for host in ("10.0.0.5", "10.2.0.1", "intranet.example", "measure.example"):
        assert told.allows("10.200.0.1", host), host
    assert not told.allows("10.200.0.1", "other.example")


def test_an_answer_from_the_schools_own_network_is_no_answer_for_a_public_name() -> None:
    here = Surroundings("192.168.1.1", ["192.168.1.1"], "https://c.example", ["192.168.1.0/24"])
    expected = plan(here, allow_private=["10.1.0.0/16"]).layers.expected
    assert expected is not None
    assert not expected.allows("192.168.1.1", "example.com")
    assert expected.allows("10.1.0.1", "example.com")
    assert expected.allows("192.168.1.7", "c.example")
