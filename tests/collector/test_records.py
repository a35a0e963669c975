"""Delivering records: settled means on disk, once, whatever else is in the batch."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from linkbell_collector import settings
from linkbell_collector.agent_configuration import agent_configuration
from linkbell_collector.domain import School
from linkbell_collector.profile import read_profile
from linkbell_collector.resolution import Resolver, with_profile
from linkbell_collector.store.sqlite_connection import DATABASE_NAME, Database, open_connection
from tests.collector.support import (
    NOON_US,
    FakeClock,
    Reply,
    Site,
    TestAgent,
    batch,
    check,
    dns,
    event,
    http,
    iso,
    lost_ping,
    ping,
    running,
    speed,
)


def stored(folder: Path) -> list[tuple[Any, ...]]:
    """Return (seq, kind, at_us, clock, body) of all records in the database, read by a connection of our own."""
    connection = open_connection(Database(folder / DATABASE_NAME), read_only=True)
    try:
        query = (
            "SELECT records.seq, series.kind, records.at_us, records.clock, records.body "
            "FROM records JOIN series ON series.id = records.series ORDER BY records.stream, records.seq"
        )
        return connection.execute(query).fetchall()
    finally:
        connection.close()


async def test_every_kind_of_record_is_kept_whole(site: Site, tmp_path: Path) -> None:
    agent = await site.agent()
    verdict = {**event(5), "kind": "verdict", "verdict": "isp_down"}
    skip = {**event(6), "kind": "skip", "skipped": "speed", "reason": "budget"}
    sent = [ping(0), speed(1), check(2), dns(3), http(4), verdict, skip, event(7)]
    reply = await agent.send(sent)
    assert reply.status == 200
    assert (reply.json["stored"], reply.json["duplicate"], reply.json["rejected"]) == (8, 0, [])
    assert reply.json["server_time"] == iso(NOON_US)
    rows = stored(tmp_path / "data")
    assert [row[1] for row in rows] == ["ping", "speed", "check", "dns", "http", "verdict", "skip", "event"]
    assert json.loads(rows[0][4])["rtt_p95_s"] == 0.031


async def test_sending_twice_stores_once(site: Site, tmp_path: Path) -> None:
    agent = await site.agent()
    assert (await agent.send([ping(0), ping(1)])).json["stored"] == 2
    again = await agent.send([ping(0), ping(1), ping(2)])
    assert (again.json["stored"], again.json["duplicate"]) == (1, 2)
    assert [row[0] for row in stored(tmp_path / "data")] == [0, 1, 2]


async def test_sending_twice_stores_once_across_a_restart(tmp_path: Path, clock: FakeClock) -> None:
    async with running(tmp_path, clock) as site:
        agent = await site.agent()
        await agent.send([ping(5)])
    async with running(tmp_path, clock) as restarted:
        agent.site = restarted
        again = await agent.send([ping(3), ping(5), ping(6)])
    assert (again.json["stored"], again.json["duplicate"]) == (2, 1)


async def test_the_same_number_of_another_stream_or_agent_is_another_record(site: Site) -> None:
    one, other = await site.agent("s-1"), await site.agent("s-2")
    assert (await one.send([ping(0)])).json["stored"] == 1
    assert (await one.send([ping(0)], stream="00000000-0000-4000-8000-000000000001")).json["stored"] == 1
    assert (await other.send([ping(0)])).json["stored"] == 1


async def test_a_bad_record_is_rejected_by_number_and_the_rest_is_on_disk(site: Site, tmp_path: Path) -> None:
    agent = await site.agent()
    reply = await agent.send([ping(0), ping(1) | {"sent": -1}, ping(2) | {"kind": "telepathy"}, {"seq": "x"}, ping(4)])
    assert reply.status == 200
    assert reply.json["stored"] == 2
    assert [(entry["seq"], entry["code"]) for entry in reply.json["rejected"]] == [
        (1, "invalid"),
        (2, "unknown_kind"),
        (None, "invalid"),
    ]
    assert [row[0] for row in stored(tmp_path / "data")] == [0, 4]


async def test_a_refusal_is_remembered_so_that_its_number_is_no_loss(site: Site) -> None:
    agent = await site.agent()
    for _ in range(2):  # the second time as after a lost reply
        await agent.send([ping(0), ping(1) | {"sent": -1}, ping(2)])
    assert f'linkbell_agent_records_lost{{school="s-1",agent="{agent.id}"}} 0\n' in await site.metrics()


async def test_gaps_that_nobody_explains_are_exported_as_loss(site: Site) -> None:
    agent = await site.agent()
    await agent.send([ping(0), ping(7)], agent={"version": "1", "spooled": 1, "dropped": 2})
    assert f'linkbell_agent_records_lost{{school="s-1",agent="{agent.id}"}} 3\n' in await site.metrics()
    await agent.send([ping(1), ping(2)], agent={"version": "1", "spooled": 0, "dropped": 2})
    assert f'linkbell_agent_records_lost{{school="s-1",agent="{agent.id}"}} 2\n' in await site.metrics()


def lost(agent: TestAgent, count: int) -> str:
    """Return the line that says how many records of ``agent`` are lost."""
    return f'linkbell_agent_records_lost{{school="s-1",agent="{agent.id}"}} {count}\n'


BROKEN = ping(0) | {"sent": -1}
SAME_NUMBER = {
    "in one batch": [[ping(0), BROKEN, ping(2)]],
    "refused before": [[BROKEN], [ping(0), ping(2)]],
    "stored before": [[ping(0)], [BROKEN, ping(2)]],
    "in one batch, and sent again": [[ping(0), BROKEN, ping(2)]] * 2,
}


@pytest.mark.parametrize("batches", SAME_NUMBER.values(), ids=SAME_NUMBER.keys())
async def test_a_number_that_is_stored_and_refused_hides_no_gap(site: Site, batches: list[list[Any]]) -> None:
    agent = await site.agent()
    for records in batches:
        await agent.send(records)
    assert lost(agent, 1) in await site.metrics()
    await agent.send([ping(3)], agent={"version": "1", "spooled": 0, "dropped": 0, "rejected": 1})
    assert lost(agent, 1) in await site.metrics()


async def test_what_an_agent_dropped_before_its_counters_started_anew_is_no_loss(
    tmp_path: Path, clock: FakeClock
) -> None:
    counters = {"version": "1", "spooled": 0, "dropped": 7, "rejected": 3}
    anew = counters | {"dropped": 0, "rejected": 0}
    async with running(tmp_path, clock) as site:
        agent = await site.agent()
        await agent.send([ping(0), ping(11)], agent=counters)
        assert lost(agent, 0) in await site.metrics()
    async with running(tmp_path, clock) as site:
        agent.site = site
        await agent.send([ping(12)], agent=anew)
        assert lost(agent, 0) in await site.metrics()
        await agent.send([ping(13), ping(16)], agent=anew | {"dropped": 1})
        assert lost(agent, 1) in await site.metrics()
    async with running(tmp_path, clock) as site:
        assert lost(agent, 1) in await site.metrics()


async def test_loss_is_still_known_after_a_restart(tmp_path: Path, clock: FakeClock) -> None:
    async with running(tmp_path, clock) as site:
        agent = await site.agent()
        await agent.send([ping(0), ping(7)])
    async with running(tmp_path, clock) as restarted:
        assert f'linkbell_agent_records_lost{{school="s-1",agent="{agent.id}"}} 6\n' in await restarted.metrics()


async def test_times_are_corrected_and_what_cannot_be_is_marked(site: Site, tmp_path: Path) -> None:
    agent = await site.agent()
    before = {"boot_id": "boot-1", "boottime_s": 10.0, "at": "2026-02-01T00:00:00Z"}
    wrong_wall = ping(0, at="1970-01-01T00:10:00Z", boottime_s=4940.0)
    await agent.send([wrong_wall, ping(1, **before, clock="synced"), ping(2, **before, clock="unsynced")])
    rows = stored(tmp_path / "data")
    assert rows[0][2:4] == (NOON_US - 60_000_000, 0)
    assert [row[3] for row in rows] == [0, 1, 2]


async def test_plain_json_is_taken_as_well_as_gzip(site: Site) -> None:
    agent = await site.agent()
    reply = await agent.post(json.dumps(batch([ping(0)])).encode())
    assert reply.json["stored"] == 1


CREDENTIALS = {
    "none": ({}, 401, "credential_missing"),
    "another scheme": ({"Authorization": "Basic abc"}, 401, "credential_missing"),
    "unknown": ({"Authorization": "Bearer lbc_nobody"}, 401, "credential_unknown"),
    "absurdly long": ({"Authorization": "Bearer " + "x" * 4000}, 401, "credential_unknown"),
}


@pytest.mark.parametrize(("headers", "status", "code"), CREDENTIALS.values(), ids=CREDENTIALS.keys())
async def test_without_a_good_credential_nothing_is_taken(
    site: Site, headers: dict[str, str], status: int, code: str
) -> None:
    body = json.dumps(batch([ping(0)])).encode()
    reply = await site.request(
        "POST", "/api/v1/records", data=body, headers=headers | {"Content-Type": "application/json"}
    )
    assert (reply.status, reply.json["code"]) == (status, code)
    assert "enrol" in reply.json["action"]


BODIES: dict[str, tuple[bytes, dict[str, str], int, str, str]] = {
    "broken json": (b'{"protocol": 1,,}', {}, 400, "invalid_json", "column 16"),
    "another protocol": (b'{"protocol": 3}', {}, 400, "unsupported_protocol", "speaks protocol 1"),
    "a head with a hole": (b'{"protocol": 1, "records": []}', {}, 400, "invalid_request", "stream"),
    "a wrong content type": (b"a=1", {"Content-Type": "text/plain"}, 415, "unsupported_media_type", "text/plain"),
    "an unknown compression": (b"{}", {"Content-Encoding": "br"}, 415, "unsupported_media_type", "br"),
    "broken gzip": (b"\x1f\x8b\x08garbage", {"Content-Encoding": "gzip"}, 400, "invalid_request", "decompressed"),
    "cut-off gzip": (
        gzip.compress(json.dumps(batch([ping(0)])).encode())[:-9],
        {"Content-Encoding": "gzip"},
        400,
        "invalid_request",
        "cut off",
    ),
    "plain text that claims to be gzip": (b"{}", {"Content-Encoding": "gzip"}, 400, "invalid_request", "decompressed"),
    "a body over the limit": (b" " * (1 << 20) + b"{}", {}, 413, "body_too_large", "1048576"),
    "a small body that unpacks to a gigabyte": (
        gzip.compress(bytes(1 << 30), 9),
        {"Content-Encoding": "gzip"},
        413,
        "body_too_large",
        "after decompression",
    ),
}


@pytest.mark.parametrize(("body", "headers", "status", "code", "hint"), BODIES.values(), ids=BODIES.keys())
async def test_a_bad_body_is_refused_with_words_and_the_next_good_one_is_taken(
    site: Site, body: bytes, headers: dict[str, str], status: int, code: str, hint: str
) -> None:
    agent = await site.agent()
    reply = await agent.post(body, headers)
    assert (reply.status, reply.json["code"]) == (status, code)
    assert hint in reply.json["message"]
    assert reply.json["action"]
    assert "Traceback" not in reply.text
    assert (await agent.send([ping(0)])).json["stored"] == 1


async def test_a_revoked_agent_is_refused_within_two_seconds_and_its_records_stay(site: Site, tmp_path: Path) -> None:
    agent = await site.agent()
    await agent.send([ping(0)])
    async with site.changed():
        await site.store.revoke_agent(agent.id)
    reply = await agent.send([ping(1)])
    assert (reply.status, reply.json["code"]) == (403, "credential_revoked")
    assert "keeps its records" in reply.json["action"]
    assert len(stored(tmp_path / "data")) == 1


async def test_a_slow_body_is_given_up(tmp_path: Path, clock: FakeClock) -> None:
    async with running(tmp_path, clock, body_timeout_s="0.2") as site:
        agent = await site.agent()

        never = asyncio.Event()

        async def trickle() -> AsyncIterator[bytes]:
            yield b'{"protocol": 1'
            await never.wait()

        headers = {"Authorization": f"Bearer {agent.credential}", "Content-Type": "application/json"}
        reply = await site.request("POST", "/api/v1/records", data=trickle(), headers=headers)
        assert reply.status == 503
        assert "did not arrive" in reply.json["message"]
        assert int(reply.headers["Retry-After"]) > 0


async def test_the_configuration_is_sent_once_and_then_only_confirmed(site: Site) -> None:
    agent = await site.agent()
    headers = {"Authorization": f"Bearer {agent.credential}"}
    first = await site.get("/api/v1/agent/config", headers=headers)
    etag = first.headers["ETag"]
    assert first.json["school"]["id"] == "s-1"
    assert first.json["speed"]["servers"] == [{"url": "ws://127.0.0.1:8471", "scope": "collector"}]
    again = await site.get("/api/v1/agent/config", headers=headers | {"If-None-Match": f'"other", {etag}'})
    assert (again.status, again.text, again.headers["ETag"]) == (304, "", etag)
    assert (await agent.send([])).json["config_etag"] == etag


async def test_a_changed_school_changes_the_configuration_and_its_etag(site: Site) -> None:
    agent = await site.agent()
    before = (await agent.send([])).json["config_etag"]
    school = (await site.store.directory()).schools["s-1"]
    async with site.changed():
        await site.store.update_school(replace(school, download_floor_bps=20e6))
    assert (await agent.send([])).json["config_etag"] != before


async def test_an_agent_is_told_the_measurement_server_of_the_settings(tmp_path: Path, clock: FakeClock) -> None:
    async with running(tmp_path, clock, measurement_url="wss://measure.example/") as site:
        agent = await site.agent()
        headers = {"Authorization": f"Bearer {agent.credential}"}
        reply = await site.get("/api/v1/agent/config", headers=headers)
        assert [server["url"] for server in reply.json["speed"]["servers"]] == ["wss://measure.example"]


async def _told(agent: TestAgent, **headers: str) -> Reply:
    return await agent.site.get(
        "/api/v1/agent/config", headers={"Authorization": f"Bearer {agent.credential}", **headers}
    )


async def test_whatever_is_set_for_school_region_or_country_changes_the_etag_and_reaches_the_agent(
    tmp_path: Path, clock: FakeClock
) -> None:
    countries = '{"KZ": {"timezone": "Asia/Almaty"}}'
    async with running(tmp_path, clock, country="KZ", countries=countries) as site:
        await site.store.add_school(School("s-1", region="Almaty"), clock.now_us())
        agent = await site.agent("s-1")
        seen = [(await agent.send([])).json["config_etag"]]
        steps: list[dict[str, Any]] = [
            {"calendar": {"hours": "8:00-14:00"}},
            {"calendar": {"hours": "8:00-14:00", "holidays": ["2026-03-22"]}},
            {"budget": {"bytes_per_month": 10**9}},
            {"platforms": [{"name": "lms", "url": "https://lms.example/"}]},
            {"upload_floor_bps": 2e6},
            {"portal_url": "collector"},
        ]
        for step in steps:
            async with site.changed():
                await site.store.set_region("Almaty", read_profile(step))
            seen.append((await agent.send([])).json["config_etag"])
            reply = await _told(agent)
            assert reply.headers["ETag"] == seen[-1]
            assert reply.json["school"]["timezone"] == "Asia/Almaty"
            assert _plainly(reply.json).items() >= _plainly(step).items()
        assert len(set(seen)) == len(seen)
        assert reply.json["portal_url"] == f"{site.url}/generate_204"
        assert (await _told(agent, **{"If-None-Match": seen[-1]})).status == 304


def _plainly(configuration: dict[str, Any]) -> dict[str, str]:
    """Return what is set, as text, without the school's own fields and what is the collector's to say."""
    told = {**(configuration.get("school") or {}), **configuration}
    parts = {name: value for name, value in told.items() if name not in ("school", "speed", "portal_url")}
    set_parts = {
        name: {key: held for key, held in value.items() if held is not None} if isinstance(value, dict) else value
        for name, value in parts.items()
    }
    return {name: json.dumps(value) for name, value in set_parts.items()}


THROUGH_A_PROXY = [
    {"X-Forwarded-Proto": "https"},
    {"Forwarded": "for=192.0.2.1"},
    {"Via": "1.1 proxy"},
    {"Host": "collector.example"},
    {"Host": "collector.example:PORT"},
    {"Host": "[::"},
]


@pytest.mark.parametrize("headers", THROUGH_A_PROXY, ids=str)
async def test_the_collectors_page_is_no_portal_check_for_agents_that_may_come_through_tls(
    site: Site, headers: dict[str, str]
) -> None:
    school = with_profile(School("s-1"), read_profile({"portal_url": "collector"}))
    await site.store.add_school(school, NOON_US)
    agent = await site.agent("s-1")
    assert (await _told(agent)).json["portal_url"] == f"{site.url}/generate_204"
    port = str(site.application.port)
    proxied = {name: value.replace("PORT", port) for name, value in headers.items()}
    assert (await _told(agent, **proxied)).json["portal_url"] is None


CONFIGURATIONS: dict[str, tuple[dict[str, str], str | None, dict[str, Any] | None, dict[str, Any] | None]] = {
    "nothing is set": ({}, None, None, None),
    "a server alone": ({}, "ws://m:1", None, {"servers": [{"url": "ws://m:1", "scope": "collector"}]}),
    "pings": ({"ping_interval_s": "120"}, None, {"interval_s": 120.0}, None),
    "tests": ({"speed_tests_per_day": "2"}, None, None, {"per_day": 2, "servers": []}),
}


@pytest.mark.parametrize(("chosen", "url", "ping_part", "speed_part"), CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_what_the_operator_has_not_set_is_left_to_the_agents(
    chosen: dict[str, str], url: str | None, ping_part: object, speed_part: object
) -> None:
    defaults = settings.build(None, {}, chosen).settings.defaults
    configuration = agent_configuration(Resolver(defaults, {}).resolve(School("s-1")), url)
    found = json.loads(configuration.model_dump_json(exclude_none=True))
    assert (found.get("ping"), found.get("speed")) == (ping_part, speed_part)


async def test_a_ping_without_replies_is_a_result(site: Site) -> None:
    agent = await site.agent()
    assert (await agent.send([lost_ping(0)])).json["stored"] == 1
