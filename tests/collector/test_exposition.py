"""``/metrics/schools``: what Prometheus reads."""

import asyncio
import re
import shutil
import subprocess
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from linkbell_collector.domain import School
from linkbell_collector.exposition import FAMILIES
from linkbell_collector.profile import read_profile
from linkbell_collector.resolution import with_profile
from tests.collector.support import (
    NOON_US,
    FakeClock,
    Site,
    TestAgent,
    batch,
    check,
    data_use,
    dns,
    event,
    http,
    lost_ping,
    ping,
    running,
    speed,
)

HOSTILE = 'Мектеп "№5" \\ Ақтөбе, әұ\u2028х\n{evil="1"} 7'
DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return all samples of an exposition, read by prometheus-client's own parser."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, f"{key} twice"
            found[key] = sample.value
    return found


def value(text: str, name: str, **labels: str) -> float | None:
    """Return one sample of ``s-1``."""
    return samples(text).get((name, tuple(sorted({"school": "s-1", **labels}.items()))))


async def full_site(site: Site) -> str:
    """Deliver one of everything and return the exposition."""
    school = School("s-1", "Школа 1", "Almaty", "Bostandyk", "KT", "fibre", 43.2, 76.9, "Asia/Almaty", 8e6, 2e6)
    await site.store.add_school(school, NOON_US)
    agent = await site.agent("s-1")
    await agent.send([ping(0), speed(1), check(2), dns(3), http(4), data_use(5), event(6)])
    return await site.metrics()


async def test_every_family_is_exported_with_its_labels_and_base_units(site: Site) -> None:
    text = await full_site(site)
    main = {"uplink": "main"}
    assert value(text, "linkbell_download_bytes_per_second", **main) == 40e6 / 8
    assert value(text, "linkbell_upload_bytes_per_second", **main) == 8e6 / 8
    assert value(text, "linkbell_download_floor_bytes_per_second") == 1e6
    assert value(text, "linkbell_upload_floor_bytes_per_second") == 0.25e6
    assert value(text, "linkbell_ping_rtt_seconds", **main, target="isp-dns") == 0.024
    assert value(text, "linkbell_ping_loss_ratio", **main, target="isp-dns") == 0.1
    assert value(text, "linkbell_ping_up", **main, target="isp-dns") == 1
    assert value(text, "linkbell_loaded_rtt_seconds", **main, direction="download") == 0.08
    assert value(text, "linkbell_floor_check_passed", **main, direction="download") == 1
    assert value(text, "linkbell_last_report_timestamp_seconds") == NOON_US / 1e6
    assert value(text, "linkbell_last_speed_timestamp_seconds", **main, direction="upload") == NOON_US / 1e6 - 1
    assert value(text, "linkbell_data_used_bytes", **main) == 250_000_000
    assert value(text, "linkbell_data_budget_bytes", **main) == 10**9
    assert value(text, "linkbell_school_up") == 1
    by_name = {name: set(dict(labels)) for name, labels in samples(text)}
    assert by_name == {family.name: set(family.labels) for family in FAMILIES}


async def test_help_and_type_come_once_per_family_and_no_line_has_a_timestamp(site: Site) -> None:
    text = await full_site(site)
    for family in FAMILIES:
        assert text.count(f"# HELP {family.name} ") == 1
        assert text.count(f"# TYPE {family.name} gauge\n") == 1
    for line in text.splitlines():
        assert line.startswith("#") or re.fullmatch(r'\w+\{(\w+="(\\.|[^"\\])*",?)+\} \S+', line), line


async def test_hostile_names_cannot_break_out_of_their_label(site: Site) -> None:
    await site.store.add_school(School("s-1", name=HOSTILE, region="Ғ\\"), NOON_US)
    agent = await site.agent("s-1")
    await agent.send([ping(0)])
    text = await site.metrics()
    labels = next(dict(labels) for name, labels in samples(text) if name == "linkbell_school_info")
    assert labels["name"] == HOSTILE
    assert labels["region"] == "Ғ\\"
    assert "evil" not in labels


def complaints(promtool: str, text: str) -> str:
    """Return all that ``promtool check metrics`` has to say; nothing is good."""
    command = [promtool, "check", "metrics"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr + ("" if done.returncode == 0 else f"exit status {done.returncode}")


async def test_promtool_finds_nothing_to_say(site: Site) -> None:
    promtool = shutil.which("promtool")
    assert promtool is not None, "promtool is not installed; `make test` installs it (Debian's package prometheus)"
    for text in (await full_site(site), (await site.get("/metrics")).text):
        assert samples(text)
        assert await asyncio.to_thread(complaints, promtool, text) == ""


async def test_two_agents_of_one_school_make_one_series(site: Site) -> None:
    one, other = await site.agent("s-1"), await site.agent("s-1")
    await one.send([ping(0, jitter_s=0.001), speed(1)])
    await other.send([ping(0, jitter_s=0.002, boottime_s=4999.5), speed(1)])
    text = await site.metrics()
    assert value(text, "linkbell_ping_jitter_seconds", uplink="main", target="isp-dns") == 0.002
    assert {dict(labels)["agent"] for name, labels in samples(text) if name == "linkbell_agent_info"} == {
        one.id,
        other.id,
    }


async def test_without_a_reply_the_round_trip_leaves_and_the_loss_is_whole(site: Site) -> None:
    agent = await site.agent()
    await agent.send([ping(0, boottime_s=4000.0), lost_ping(1)])
    text = await site.metrics()
    assert value(text, "linkbell_ping_rtt_seconds", uplink="main", target="isp-dns") is None
    assert value(text, "linkbell_ping_loss_ratio", uplink="main", target="isp-dns") == 1


async def test_a_failed_speed_test_is_marked_and_the_old_speed_keeps_its_own_time(site: Site) -> None:
    agent = await site.agent()
    await agent.send([speed(0, boottime_s=1400.0), speed(1, down_bps=None)])
    text = await site.metrics()
    down = {"uplink": "main", "direction": "download"}
    assert value(text, "linkbell_speed_test_failed", **down) == 1
    assert value(text, "linkbell_download_bytes_per_second", uplink="main") == 5e6
    assert value(text, "linkbell_last_speed_timestamp_seconds", **down) == NOON_US / 1e6 - 3600
    assert value(text, "linkbell_speed_test_failed", uplink="main", direction="upload") == 0


async def test_data_used_is_of_the_newest_account_and_a_line_without_a_budget_has_none(site: Site) -> None:
    agent = await site.agent()
    await agent.send([data_use(0, 30, None), data_use(1, 40, 50, uplink="backup"), data_use(2, 9, 9, boottime_s=10.0)])
    await agent.send([data_use(3, "much", True, boottime_s=4999.5), data_use(4, -5, boottime_s=4999.5)])
    text = await site.metrics()
    assert value(text, "linkbell_data_used_bytes", uplink="main") == 30
    assert value(text, "linkbell_data_budget_bytes", uplink="main") is None
    assert value(text, "linkbell_data_used_bytes", uplink="backup") == 40
    assert value(text, "linkbell_data_budget_bytes", uplink="backup") == 50


async def test_a_school_with_rare_rounds_keeps_its_readings_for_three_of_them(site: Site) -> None:
    await site.store.add_school(with_profile(School("s-1"), read_profile({"ping": {"interval_s": 600}})), NOON_US)
    agent, other = await site.agent("s-1"), await site.agent("s-2")
    for sender in (agent, other):
        await sender.send([ping(0, boottime_s=5000.0 - 1500)])
    found = {dict(labels)["school"] for name, labels in samples(await site.metrics()) if name == "linkbell_ping_up"}
    assert found == {"s-1"}


async def test_what_grows_old_leaves_step_by_step(tmp_path: Path, clock: FakeClock) -> None:
    ttl = {"silent_after_s": "300", "reading_ttl_s": "900", "speed_ttl_s": "7200", "school_ttl_s": "86400"}
    async with running(tmp_path, clock, **ttl) as site:
        agent = await site.agent()
        await agent.send([ping(0), speed(1)])
        clock.advance(400)
        text = await site.metrics()
        assert value(text, "linkbell_school_up") == 0
        assert "linkbell_ping_rtt_seconds{" in text
        clock.advance(600)
        text = await site.metrics()
        assert "linkbell_ping_rtt_seconds{" not in text
        assert "linkbell_download_bytes_per_second{" in text
        clock.advance(7200)
        text = await site.metrics()
        assert "linkbell_download_bytes_per_second{" not in text
        assert value(text, "linkbell_school_up") == 0
        clock.advance(86_400)
        assert 'linkbell_school_up{school="s-1"' not in await site.metrics()
        await agent.send([ping(2)])
        assert value(await site.metrics(), "linkbell_school_up") == 1


async def test_a_backlog_of_old_records_is_kept_but_shows_nothing_as_current(site: Site) -> None:
    agent = await site.agent()
    reply = await agent.send([ping(0, boottime_s=10.0)])
    assert reply.json["stored"] == 1
    text = await site.metrics()
    assert value(text, "linkbell_school_up") == 1
    assert "linkbell_ping_rtt_seconds{" not in text


async def test_a_restart_changes_nothing(tmp_path: Path, clock: FakeClock) -> None:
    async with running(tmp_path, clock) as site:
        agent = await site.agent()
        old = batch([ping(0, boot_id="boot-1", target="old", at="2026-03-02T05:39:00Z", clock="unsynced")])
        await agent.send(old["records"])
        await agent.send([speed(1, boottime_s=3000.0), speed(2, down_bps=None), ping(3), check(4), dns(5), http(6)])
        await agent.send([data_use(10, 5), event(11), data_use(12, 3, boottime_s=100.0), event(13, event="stop")])
        await agent.send([ping(7, boottime_s=100.0), check(8, passed=None), speed(9, up_bps=None, boottime_s=4000.0)])
        before = samples(await site.metrics())
        assert before["linkbell_data_used_bytes", (("school", "s-1"), ("uplink", "main"))] == 5
    async with running(tmp_path, clock) as restarted:
        assert samples(await restarted.metrics()) == before


async def test_what_a_waiting_agent_sent_is_shown_once_it_is_approved_and_gone_once_it_is_revoked(site: Site) -> None:
    reply = await site.enrol(await site.token(None, region="Almaty"), school="s-1")
    agent = TestAgent(site, reply.json["agent"], reply.json["credential"])
    assert (await agent.send([ping(0)])).json["stored"] == 1
    assert 'linkbell_school_up{school="s-1"' not in await site.metrics()
    async with site.changed():
        await site.store.approve(agent.id)
    assert value(await site.metrics(), "linkbell_ping_rtt_seconds", uplink="main", target="isp-dns") == 0.024
    async with site.changed():
        await site.store.revoke_agent(agent.id)
    assert 'linkbell_school_up{school="s-1"' not in await site.metrics()


async def test_it_is_compressed_when_asked_for_and_says_what_it_is(site: Site) -> None:
    await full_site(site)
    plain = await site.get("/metrics/schools", headers={"Accept-Encoding": "identity"})
    packed = await site.get("/metrics/schools", headers={"Accept-Encoding": "gzip"})
    assert plain.text == packed.text
    assert packed.headers["Content-Encoding"] == "gzip"
    assert plain.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"


def documented() -> dict[str, str]:
    """Return the metrics that docs/metrics.md has a row for, with their labels."""
    rows = re.findall(r"^\| `(linkbell_\w+)` \|([^|]*)\|", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    return {name: labels.replace("`", "").strip() for name, labels in rows}


def test_the_documentation_lists_exactly_the_metrics_of_the_schools() -> None:
    exported = {family.name: ", ".join(family.labels) for family in FAMILIES}
    in_docs = {name: labels for name, labels in documented().items() if not name.startswith("linkbell_collector_")}
    assert in_docs == exported


async def test_the_documentation_lists_exactly_the_metrics_of_the_collector(site: Site) -> None:
    text = (await site.get("/metrics")).text
    exported = set(re.findall(r"^# TYPE (linkbell_\w+) ", text, re.MULTILINE))
    assert {name for name in documented() if name.startswith("linkbell_collector_")} == exported
