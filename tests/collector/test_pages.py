"""The page, the errors, and the doors around them."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from linkbell_collector.domain import School, SchoolEdits
from linkbell_collector.http.errors import STATUS
from linkbell_collector.lifetimes import Lifetimes
from linkbell_collector.pages.failure_words import STAGES, WORDS
from linkbell_collector.pages.overview import MARKS, PAGE_SIZE, Grade, ago
from linkbell_wire import ErrorCode, FailureCode, Operation
from tests.collector.support import NOON_US, FakeClock, Site, lost_ping, ping, running, speed

BROWSER = {"Accept": "text/html,application/xhtml+xml"}
DOCS = Path(__file__).parents[2] / "docs" / "collector.md"


class Page(HTMLParser):
    """Collects a page's text, and refuses unbalanced or foreign things."""

    VOID = frozenset({"meta", "link", "input", "br"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.links: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note links; no scripts, no inline styles or handlers."""
        assert tag not in ("script", "style", "iframe", "img")
        for name, value in attrs:
            assert not name.startswith("on")
            assert name != "style"
            if name in ("href", "src", "action"):
                self.links.append(value or "")
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check that tags nest."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Gather the text."""
        self.text += " " + " ".join(data.split())


async def page(site: Site, path: str = "/") -> Page:
    reply = await site.get(path, headers=BROWSER)
    assert reply.status == 200, reply.text
    return Page(reply.text)


async def test_an_empty_collector_says_how_to_begin(site: Site) -> None:
    text = (await page(site)).text
    assert "No school reports yet" in text
    assert "linkbell-collector tokens create --school" in text
    assert "linkbell-agent enrol" in text


async def test_a_school_is_shown_with_speed_against_its_floor_and_its_last_failure_in_words(site: Site) -> None:
    await site.store.add_school(School("s-1", name="Мектеп №1", region="Алматы", download_floor_bps=20e6), NOON_US)
    agent = await site.agent("s-1")
    await agent.send([speed(0, down_bps=12.5e6), lost_ping(1, target="gateway"), ping(2)])
    text = (await page(site)).text
    for expected in ("Мектеп №1", "Алматы", "12.5", "(bad)", "trouble", "ping gateway: no answer in time", "just now"):
        assert expected in text
    assert "no answer in time (" not in text, "a lost packet is lost at no stage of ours"
    assert "2026-03-02 05:40:00 UTC" in text
    assert "agent 0.1.0" in text


async def test_a_silent_school_is_marked_and_comes_first(site: Site, clock: FakeClock) -> None:
    silent = await site.agent("s-z")
    await silent.send([ping(0)])
    clock.advance(3600)
    fine = await site.agent("s-a")
    await fine.send([speed(0), {**ping(1), "received": 10, "failures": {}}])
    text = (await page(site)).text
    assert text.index("s-z") < text.index("s-a")
    assert "■ silent" in text.replace("  ", " ")
    assert "1 h ago" in text
    assert "● fine" in text.replace("  ", " ")


async def test_a_failed_speed_test_does_not_stand_as_new(site: Site, clock: FakeClock) -> None:
    agent = await site.agent()
    await agent.send([speed(0, boottime_s=1400.0), speed(1, down_bps=None)])
    text = (await page(site)).text
    assert "1 h ago, newest test failed" in text
    assert "▲ watch" in text.replace("  ", " "), "a number that could not be confirmed is not fine"


async def test_a_target_that_could_not_be_asked_is_trouble_and_everything_that_fails_is_named(site: Site) -> None:
    agent = await site.agent()
    nothing: dict[str, Any] = dict.fromkeys(("rtt_min_s", "rtt_mean_s", "rtt_p95_s", "rtt_max_s")) | {"received": 0}
    unasked = nothing | {"sent": 0, "jitter_s": None, "failures": {}}
    unresolved = {**unasked, "target": "platform", "failure": {"operation": "resolve", "code": "dns_timeout"}}
    await agent.send([speed(0), {**ping(1), **unresolved}])
    text = (await page(site)).text
    assert "■ trouble" in text.replace("  ", " ")
    assert "ping platform: name server does not answer" in text
    await agent.send([lost_ping(2, target="gateway"), lost_ping(3, target="isp")])
    assert "also ping" in (await page(site)).text


async def test_waiting_agents_are_counted(site: Site) -> None:
    await site.enrol(await site.token(None, region="Almaty"), school="s-7")
    text = (await page(site)).text
    assert "1 agent waits for approval" in text
    assert "s-7" not in text


async def test_names_are_escaped(site: Site) -> None:
    await site.store.add_school(School("s-1", name='<script>alert("1")</script>'), NOON_US)
    await site.agent("s-1")
    html = (await site.get("/?q=%22%3E%3Cscript%3E", headers=BROWSER)).text
    assert "<script" not in html
    Page(html)


async def test_many_schools_come_in_pages_and_can_be_searched(tmp_path: Path, clock: FakeClock) -> None:
    async with running(tmp_path, clock) as site:
        async with site.changed():
            schools = [School(f"s-{index:04}", region="Osh" if index == 7 else None) for index in range(PAGE_SIZE + 3)]
            await site.store.edit_schools(SchoolEdits(schools), NOON_US, lambda done: None)
        first = await page(site)
        assert f"page 1 of 2, {PAGE_SIZE + 3} schools" in first.text
        assert "/?q=&page=2" in first.links
        assert "s-0202" in (await page(site, "/?page=2")).text
        found = (await page(site, "/?q=osh")).text
        assert "s-0007" in found
        assert "s-0008" not in found
        for nonsense in ("/?page=0", "/?page=-1", "/?page=x", "/?page=99999999999", "/?q=" + "x" * 1000):
            await page(site, nonsense)


async def test_the_page_loads_nothing_from_elsewhere_and_forbids_scripts(site: Site) -> None:
    reply = await site.get("/", headers=BROWSER)
    policy = reply.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    for link in Page(reply.text).links:
        assert link.startswith("/")
    style = next(link for link in Page(reply.text).links if "style.css" in link)
    sheet = await site.get(style)
    assert sheet.headers["Content-Type"].startswith("text/css")
    assert "url(" not in sheet.text
    again = await site.get(style, headers={"If-None-Match": sheet.headers["ETag"]})
    assert again.status == 304


async def test_an_unknown_address_is_answered_as_json_to_programs_and_as_a_page_to_people(site: Site) -> None:
    program = await site.get("/api/v1/nothing")
    assert (program.status, program.json["code"]) == (404, "not_found")
    person = await site.get("/nothing", headers=BROWSER)
    assert person.status == 404
    assert "nothing at this address" in Page(person.text).text


async def test_a_wrong_method_is_answered_with_the_right_ones(site: Site) -> None:
    reply = await site.get("/api/v1/records")
    assert (reply.status, reply.json["code"], reply.headers["Allow"]) == (405, "method_not_allowed", "POST")


async def test_health_and_readiness_are_told(site: Site) -> None:
    assert (await site.get("/healthz")).json == {"status": "ok"}
    assert (await site.get("/generate_204")).status == 204
    assert (await site.get("/readyz")).json == {"status": "ready"}


async def test_what_is_taken_and_refused_is_counted_from_zero(site: Site) -> None:
    text = (await site.get("/metrics")).text
    assert 'linkbell_collector_batches_total{outcome="storage_full"} 0.0' in text
    agent = await site.agent()
    await agent.send([ping(0), ping(1) | {"sent": -1}])
    await agent.send([ping(0)])
    await agent.post(b"{")
    text = (await site.get("/metrics")).text
    for line in (
        'linkbell_collector_batches_total{outcome="settled"} 2.0',
        'linkbell_collector_batches_total{outcome="invalid_json"} 1.0',
        'linkbell_collector_records_total{outcome="stored"} 1.0',
        'linkbell_collector_records_total{outcome="duplicate"} 1.0',
        'linkbell_collector_records_rejected_total{code="invalid"} 1.0',
        'linkbell_collector_http_requests_total{route="/api/v1/records",status="200"} 2.0',
        "linkbell_collector_live_schools 1.0",
        "linkbell_collector_queue_records 0.0",
    ):
        assert line in text


def test_every_refusal_has_a_status_and_is_documented() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert set(STATUS) == set(ErrorCode)
    for code, status in STATUS.items():
        assert f"| `{code.value}` | {status} |" in text, code


def test_every_failure_and_every_grade_has_its_words() -> None:
    assert set(WORDS) == set(FailureCode)
    assert set(STAGES) == set(Operation)
    assert set(MARKS) == set(Grade)
    assert len({shape for _, shape in MARKS.values()}) == len(Grade)


async def test_every_address_is_documented(site: Site) -> None:
    text = DOCS.read_text(encoding="utf-8")
    counted = (await site.get("/metrics")).text
    assert counted
    for path in ("/api/v1/enrol", "/api/v1/records", "/api/v1/agent/config", "/healthz", "/readyz", "/metrics/schools"):
        assert f"`{path}`" in text
        assert (await site.request("OPTIONS", path)).status == 405


AGES = {0: "just now", 59: "just now", 60: "1 min ago", 3599: "59 min ago", 7200: "2 h ago", 172_800: "2 days ago"}


@pytest.mark.parametrize(("seconds", "words"), AGES.items())
def test_ages_are_coarse(seconds: int, words: str) -> None:
    assert ago(NOON_US - seconds * 1_000_000, NOON_US) == words


def test_the_clock_of_a_box_ahead_of_ours_is_not_in_the_future() -> None:
    assert ago(NOON_US + 5_000_000, NOON_US) == "just now"
    assert Lifetimes(1, 2, 3, 4).at(NOON_US).school_us == NOON_US - 4_000_000
