"""The local page in a real Chromium: on a telephone and on a desk, in all languages, under its own strict rules."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, async_playwright

from linkbell_agent.language import terms
from linkbell_agent.language.speech import LANGUAGES, Speech
from linkbell_agent.page.server import PageServer, ServedAt
from linkbell_wire.words import VerdictState
from tests.agent.page.school_day import school_day, school_facts
from tests.browser.test_ndt7_official_js import CHROMIUM, FLAGS


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    assert CHROMIUM.exists(), f"{CHROMIUM} is not there: `make test` installs it"
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield started
        await started.close()


@pytest.fixture
async def address() -> AsyncIterator[str]:
    server = PageServer(ServedAt("127.0.0.1", 0), school_day(VerdictState.ISP_DOWN), school_facts)
    await server.start()
    yield f"http://127.0.0.1:{server.port}"
    server.close()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("width", [320, 390, 1280])
async def test_a_page_fits_its_screen_is_styled_and_breaks_none_of_its_own_rules(
    browser: Browser, address: str, language: str, width: int
) -> None:
    context = await browser.new_context(viewport={"width": width, "height": 800}, locale=language)
    page = await context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("requestfailed", lambda request: complaints.append(request.url))
    for path in ("/", "/provider"):
        await page.goto(address + path)
        assert await page.evaluate("document.documentElement.lang") == language
        assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert await page.evaluate("getComputedStyle(document.querySelector('section')).borderRadius") != "0px"
        text = await page.inner_text("main")
        assert Speech(language).say(terms.VERDICTS["isp_down"]) in text
    assert complaints == []
    await context.close()


async def test_without_scripts_the_language_is_switched_and_the_other_page_is_reached(
    browser: Browser, address: str
) -> None:
    context = await browser.new_context(java_script_enabled=False, locale="en")
    page = await context.new_page()
    await page.goto(address)
    await page.click("text=Қазақша")
    assert Speech("kk").say(terms.VERDICTS["isp_down"]) in await page.inner_text("main")
    await page.click(f"text={Speech('kk').say('For the provider')} >> nth=0")
    assert page.url.endswith("/provider?lang=kk")
    await context.close()


async def test_the_charts_are_drawn_as_wide_as_the_page(browser: Browser, address: str, tmp_path: Path) -> None:
    page = await browser.new_page(viewport={"width": 390, "height": 800})
    await page.goto(address)
    widths = await page.evaluate(
        "[...document.querySelectorAll('.chart')].map(one => one.getBoundingClientRect().width)"
    )
    assert len(widths) == 8
    assert min(widths) > 250
    picture = tmp_path / "page.png"
    await page.screenshot(path=str(picture), full_page=True)
    assert picture.stat().st_size > 20_000
    await page.close()
