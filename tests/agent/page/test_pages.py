"""The pages say what there is to say, in each language, with nothing in them that could run."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from linkbell_agent.language import terms
from linkbell_agent.language.speech import LANGUAGES, Speech
from linkbell_agent.page import child
from linkbell_agent.page.markup import Markup, join, tag
from linkbell_agent.recent.history import History
from linkbell_wire.words import VerdictState
from tests.agent.page.school_day import BOOT, school_day, school_facts

VOID = {"meta", "link", "br", "hr"}


class Reader(HTMLParser):
    """Collects tags, attributes and text, and sees that every element is closed in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def drawn(path: str, language: str, history: History, **facts: object) -> Reader:
    wish = {"path": path, "language": language, "facts": school_facts(**facts).state(), "history": history.state()}
    reader = Reader()
    reader.feed(child.answer(wish).decode())
    assert reader.open == []
    return reader


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("state", [*VerdictState, None], ids=str)
def test_the_verdict_is_a_sentence_a_word_a_shape_and_what_to_do(language: str, state: VerdictState | None) -> None:
    page, say = drawn("/", language, school_day(state)), Speech(language).say
    name = None if state is None else state.value
    tone = terms.TONES.get(name or "", "unknown")
    text = page.text.replace("\u2060", "").replace("\u00a0", " ")
    assert say(terms.VERDICTS.get(name or "", terms.NO_VERDICT)) in text
    assert say(terms.STEPS.get(name or "", terms.NO_VERDICT_STEP)) in text
    assert say(terms.TONE_WORDS[tone]) in text
    icon = next(attributes for name, attributes in page.tags if attributes.get("class") == "icon")
    assert icon["aria-label"] == say(terms.TONE_WORDS[tone])
    assert any(attributes.get("class") == f"headline {tone}" for _, attributes in page.tags)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("path", ["/", "/provider"])
def test_nothing_in_a_page_can_run_or_reach_out(path: str, language: str) -> None:
    page = drawn(path, language, school_day())
    assert not {"script", "iframe", "object", "embed", "form", "img", "style"} & {name for name, _ in page.tags}
    for _, attributes in page.tags:
        assert "style" not in attributes
        assert not any(key.startswith("on") for key in attributes)
        for key in ("href", "src"):
            target = attributes.get(key)
            assert target is None or re.fullmatch(r"/(provider|style\.css|icon\.svg)?(\?lang=(en|ru|kk))?", target)


def test_what_others_named_is_text_and_never_markup() -> None:
    history = school_day()
    for track in history.present.tracks.values():
        track.target = "<script>alert(1)</script>"
    speed = history.present.speeds.pop()
    history.present.speeds.append(speed._replace(server='ws://"><img src=x onerror=alert(1)>'))
    for path in ("/", "/provider"):
        page = drawn(path, "en", history, school_name='<b onclick="x">&school</b>', gateway="<i>")
        assert not {"script", "img", "i"} & {name for name, _ in page.tags}
        assert '<b onclick="x">&school</b>' in page.text


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_provider_sees_outages_speeds_and_the_floor(language: str) -> None:
    text = drawn("/provider", language, school_day()).text.replace("\u2060", "").replace("\u00a0", " ")
    unit = "Mbit/s" if language == "en" else "Мбит/с"
    sign = "." if language == "en" else ","
    date = "24 Nov 2026 " if language == "en" else "24.11.2026 "
    assert f"20 {unit}" in text
    assert f"✗ 12{sign}1 {unit}" in text
    assert f"{date}03:55" in text
    assert f"{date}09:05" in text
    assert "192.168.1.1" in text
    assert "wss://measure.example.kz:8471" in text
    assert Speech(language).say(terms.SHORT["isp_down"]) in text


def test_the_provider_sees_what_a_fault_of_now_rests_on_and_nothing_of_it_when_all_is_well() -> None:
    text = drawn("/provider", "en", school_day(VerdictState.ISP_DOWN)).text
    assert "The school's router: ✓ answers gateway" in text
    assert "The provider: ✗ no answer isp-hop" in text
    assert "✗ no answer" not in drawn("/provider", "en", school_day()).text


def test_a_slow_line_is_called_slow_though_it_answers() -> None:
    text = drawn("/", "en", school_day(slow=True)).text
    assert terms.SLOW in text
    assert terms.VERDICTS["ok"] not in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_box_that_knows_nothing_yet_has_pages_all_the_same(language: str) -> None:
    for path in ("/", "/provider"):
        page = drawn(path, language, History(BOOT), school=None, school_name=None, timezone=None, gateway=None)
        assert Speech(language).say(terms.NO_VERDICT) in page.text


def test_a_clock_that_is_not_set_is_said() -> None:
    assert "clock is not set" in drawn("/", "en", school_day(), synced=False).text
    assert "clock is not set" not in drawn("/", "en", school_day()).text


def test_a_chart_has_a_title_and_a_failure_another_shape_than_a_good_measurement() -> None:
    page = drawn("/", "en", school_day())
    charts = [attributes for name, attributes in page.tags if attributes.get("class") == "chart"]
    assert len(charts) == 2 + 6
    assert sum(name == "title" for name, _ in page.tags) == len(charts) + 1
    fills = [attributes.get("fill") for name, attributes in page.tags if name == "rect"]
    assert fills.count("url(#below)") == 5
    assert "none" in fills


def test_the_status_document_says_the_same_as_data() -> None:
    wish = {"path": "/status.json", "language": "ru", "facts": school_facts().state(), "history": school_day().state()}
    document = json.loads(child.answer(wish))
    assert document["verdict"] == "ok"
    assert document["at"] == "2026-11-24T09:05:00Z"
    assert document["targets"][0]["layer"] == "gateway"
    assert all(len(one["rtt_s"]) == len(one["loss_ratio"]) == 96 for one in document["targets"])
    assert [one["verdict"] for one in document["outages_7d"]] == ["isp_down", "degraded", "international_down"]
    assert document["speeds"][0]["download_bps"] == 33e6


def test_the_child_loads_neither_pydantic_nor_asyncio_nor_babel() -> None:
    code = "import sys, linkbell_agent.page.child; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert {"pydantic", "asyncio", "babel", "aiohttp", "jinja2"} & set(loaded) == set()


def test_markup_escapes_what_is_not_markup() -> None:
    assert tag("p", "<&>", Markup("<b>x</b>"), title='"q"', data_x=1.5, gone=None) == (
        '<p title="&quot;q&quot;" data-x="1.5">&lt;&amp;&gt;<b>x</b></p>'
    )
    assert join("<", None, tag("br")) == "&lt;<br>"
