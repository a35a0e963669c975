"""What people see of several uplinks: on the page, in status, in doctor and in config check."""

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from linkbell_agent.language import terms
from linkbell_agent.language.speech import LANGUAGES, Speech
from linkbell_agent.page.child import find_zone
from linkbell_agent.page.request import parse_request
from linkbell_agent.page.status_json import status_document
from linkbell_agent.page.view import make_view
from linkbell_agent.recent.history import History
from linkbell_agent.recent.intake import Intake
from linkbell_agent.status.screen import UNICODE, Screen
from linkbell_agent.status.source import Origin
from linkbell_agent.ways_out import SENTENCES, Trouble
from linkbell_wire.records import EventRecord, VerdictRecord
from linkbell_wire.words import EventName, VerdictState
from tests.agent.page.school_day import BOOT, NOW, school_day, school_facts
from tests.agent.page.test_pages import Reader, drawn
from tests.agent.uplinks.school import school as make_school
from tests.agent.uplinks.school import why_not

ZONE = find_zone("Asia/Aqtau")
WHY_NOT = why_not()


def entry(name: str, **more: Any) -> dict[str, Any]:
    plain = {
        "name": name,
        "role": "primary",
        "device": "eth0",
        "gateway": "192.168.1.1",
        "address": "192.168.1.7",
        "carries": False,
        "trouble": None,
        "download_floor_bps": 20e6,
        "upload_floor_bps": None,
        "ping_interval_s": 60.0,
    }
    return plain | more


BACKUP = entry("4g", role="backup", device="wwan0", gateway="10.0.0.1", download_floor_bps=2e6, carries=True)
TWO = [entry("fibre"), BACKUP]


def history() -> History:
    """The fibre is cut, and the mobile line works."""
    made = school_day(VerdictState.ISP_DOWN)
    made.others = {"4g": school_day(VerdictState.OK)}
    return made


def page(language: str = "en", shown: str = "fibre", uplinks: list[dict[str, Any]] = TWO, path: str = "/") -> Reader:
    facts = school_facts(uplinks=uplinks).of(shown)
    return drawn(path, language, history(), **{key: value for key, value in facts.state().items() if key != "now_s"})


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_shows_each_uplink_and_which_is_used_and_the_first_in_full(language: str) -> None:
    read, say = page(language), Speech(language).say
    text = read.text.replace("\u2060", "").replace("\u00a0", " ")
    assert say(terms.VERDICTS["isp_down"]) in text
    for words in ("fibre", "4g", say("primary"), say("backup"), say("✓ yes"), say(terms.SHORT["isp_down"])):
        assert words in text
    assert "{" not in text


def test_each_name_leads_to_its_own_charts_and_stays_chosen() -> None:
    links = [attributes.get("href") or "" for name, attributes in page(shown="4g").tags if name == "a"]
    assert "/?lang=en&uplink=fibre" in links
    assert "/provider?lang=en&uplink=4g" in links
    assert "/?lang=kk&uplink=4g" in links
    assert Speech("en").say(terms.VERDICTS["ok"]) in page(shown="4g").text
    assert "10.0.0.1" in page(shown="4g", path="/provider").text


def test_a_name_that_is_no_uplink_shows_the_first() -> None:
    assert school_facts(uplinks=TWO).of("fibre").of("<script>").uplink == "fibre"


def test_a_box_with_one_uplink_has_a_page_without_any_of_it() -> None:
    read = drawn("/", "en", school_day(VerdictState.OK))
    assert "ways out" not in read.text
    assert not any("uplink=" in (attributes.get("href") or "") for _, attributes in read.tags)


def test_the_query_may_name_an_uplink() -> None:
    asked = parse_request(b"GET /?lang=kk&uplink=4g HTTP/1.1\r\nHost: box\r\n\r\n")
    assert (asked.path, asked.language, asked.uplink) == ("/", "kk", "4g")
    assert parse_request(b"GET / HTTP/1.1\r\nHost: box\r\n\r\n").uplink is None


@pytest.mark.parametrize("trouble", Trouble)
@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_wrong_with_an_uplink_is_said_in_words(language: str, trouble: Trouble) -> None:
    shown = [entry("fibre"), BACKUP | {"trouble": trouble.value}]
    assert Speech(language).say(terms.TROUBLES[trouble.value]) in page(language, uplinks=shown).text
    assert trouble in SENTENCES


@pytest.mark.parametrize("language", LANGUAGES)
def test_status_has_a_line_for_each_uplink(language: str) -> None:
    facts = school_facts(uplinks=TWO).of("fibre")
    document = json.loads(json.dumps(status_document(make_view(facts, history(), ZONE))))
    assert [(one["name"], one["verdict"], one["carries"]) for one in document["uplinks"]] == [
        ("fibre", "isp_down", False),
        ("4g", "ok", True),
    ]
    assert document["verdict"] == "isp_down"
    speech = Speech(language)
    lines = Screen(document, speech, UNICODE, ZONE).lines(Origin.AGENT)
    fibre, mobile = (next(line for line in lines if line.startswith(f"{name} (")) for name in ("fibre", "4g"))
    assert f"[✗] {speech.say(terms.SHORT['isp_down'])}" in fibre
    assert f"[✓] {speech.say(terms.SHORT['ok'])}" in mobile
    assert speech.say("carries the traffic now") in mobile
    assert speech.say("carries the traffic now") not in fibre


# --- the history behind it


def verdict(uplink: str, state: VerdictState, minute: int) -> VerdictRecord:
    at_s = 1000.0 + 60 * minute
    at = NOW + timedelta(minutes=minute)
    return VerdictRecord(seq=minute, uplink=uplink, at=at, boot_id=BOOT, boottime_s=at_s, verdict=state)


def test_each_uplink_has_a_history_and_what_happens_to_the_agent_is_in_all() -> None:
    intake = Intake(History(BOOT), ["4g"])
    start = EventRecord(seq=0, uplink="fibre", at=NOW, boot_id=BOOT, boottime_s=1000.0, event=EventName.START)
    for record in (start, verdict("fibre", VerdictState.ISP_DOWN, 1), verdict("4g", VerdictState.OK, 2)):
        intake.add(record)
    read = History.unpacked(intake.history.packed(), BOOT)
    for made in (intake.history, read):
        found = {name: made.of(name).last_verdict() for name in ("fibre", "4g")}
        assert {name: one.state for name, one in found.items() if one is not None} == {"fibre": "isp_down", "4g": "ok"}
        assert [len(made.of(name).present.events) for name in ("fibre", "4g")] == [1, 1]


def test_an_uplink_that_the_box_has_no_more_is_forgotten_and_the_others_are_kept() -> None:
    before = Intake(History(BOOT), ["4g", "satellite"])
    before.add(verdict("4g", VerdictState.OK, 1))
    kept = Intake(History.unpacked(before.history.packed(), BOOT), ["4g"]).history
    assert list(kept.others) == ["4g"]
    assert kept.of("4g").last_verdict() is not None


def test_a_history_of_one_uplink_is_written_as_ever() -> None:
    assert "others" not in Intake(History(BOOT)).history.state()


# --- doctor and config check, on a real box


@pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))
def test_doctor_looks_at_each_uplink_and_says_what_to_do(tmp_path: Path) -> None:
    def doctor() -> dict[str, dict[str, Any]]:
        words = ("doctor", "--json", "--config", str(school.settings()), "--state", str(tmp_path / "none"))
        done = subprocess.run(
            school.box.inside(sys.executable, "-m", "linkbell_agent", *words),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert "Traceback" not in done.stderr
        return {one["name"]: one for one in json.loads(done.stdout)["checks"]}

    with make_school(tmp_path) as school:
        found = doctor()
        for name in ("uplink", "gateway", "dns", "measurement"):
            for uplink in ("fibre", "mobile"):
                assert found[f"{name}.{uplink}"]["result"] == "good", found[f"{name}.{uplink}"]
        assert "The default route leaves by it." in found["uplink.fibre"]["said"]
        assert "does not leave by it" in found["uplink.mobile"]["said"]

        school.box.run("sysctl", "-qw", "net.ipv4.conf.wwan0.rp_filter=1")
        found = doctor()
        assert found["uplink.mobile"]["result"] == "warning"
        assert "net.ipv4.conf.wwan0.rp_filter=2" in found["uplink.mobile"]["advice"]
        school.box.run("sysctl", "-qw", "net.ipv4.conf.wwan0.rp_filter=0")

        school.route("mobile", "del")
        found = doctor()
        assert found["uplink.mobile"]["result"] == "warning"
        assert "No default route leads out by wwan0" in found["uplink.mobile"]["said"]
        assert found["gateway.fibre"]["result"] == "good"

        school.box.run("ip", "link", "set", "wwan0", "down")
        found = doctor()
        assert found["uplink.mobile"]["result"] == "failure"
        assert "ip link set wwan0 up" in found["uplink.mobile"]["advice"]
        assert [found[f"{name}.mobile"]["result"] for name in ("gateway", "dns", "measurement")] == ["skipped"] * 3
        assert found["uplink.fibre"]["result"] == "good"


def test_config_check_says_what_is_planned_on_each_uplink(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(
        '[[uplinks]]\nname = "fibre"\ndevice = "lo"\n'
        '[[uplinks]]\nname = "4g"\ndevice = "wwan9"\nbudget = { bytes_per_month = 500000000 }\n'
    )
    words = ("config", "check", "--config", str(file), "--state", str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-m", "linkbell_agent", *words], capture_output=True, text=True, check=True, timeout=60
    )
    fibre, mobile = done.stdout.splitlines()[-2:]
    assert fibre.startswith("uplink fibre: primary, lo; no budget; 3 full tests a day;")
    assert mobile.startswith("uplink 4g: backup, wwan9; 500.0 MB a month; no full tests;")


def test_an_uplink_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    for words in (("probe",), ("speed", "--server", "ws://192.0.2.1:8471"), ("check", "--floor", "2M")):
        done = subprocess.run(
            [sys.executable, "-m", "linkbell_agent", *words, "--uplink", "mian", "--state", str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 2
        assert "--uplink mian: there is none of that name. Did you mean main? Here: main." in done.stderr
