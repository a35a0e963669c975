"""M-Lab's own JavaScript client, unchanged, in a real browser, against our measurement server."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from playwright.async_api import async_playwright
from prometheus_client import CollectorRegistry

from linkbell_collector.measure.app import MeasurementServer
from linkbell_collector.measure.metrics import Metrics
from linkbell_collector.measure.settings import MeasureSettings

HERE = Path(__file__).parent
CLIENT = HERE / "node_modules" / "@m-lab" / "ndt7" / "src"
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
async def page_url() -> AsyncIterator[str]:
    """The test's page and the official client's files, served from this machine."""
    assert CLIENT.is_dir(), f"{CLIENT} is not there: `make test` installs M-Lab's client with npm"
    application = web.Application()
    application.router.add_static("/client", CLIENT)
    application.router.add_static("/", HERE / "ndt7")
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/index.html"
    await runner.cleanup()


@pytest.fixture
async def server() -> AsyncIterator[tuple[MeasurementServer, CollectorRegistry]]:
    registry = CollectorRegistry()
    started = MeasurementServer(MeasureSettings(host="127.0.0.1", port=0), Metrics(registry))
    await started.start()
    yield started, registry
    await started.stop(drain_s=0.0)


@pytest.fixture
def chromium() -> str:
    """The browser, from Debian."""
    assert CHROMIUM.exists(), f"{CHROMIUM} is not there: `make test` installs it"
    return str(CHROMIUM)


async def measure(chromium: str, page_url: str, server: MeasurementServer) -> dict[str, Any]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = await browser.new_page()
        await page.goto(page_url)
        seen: dict[str, Any] = await page.evaluate("server => measure(server)", f"127.0.0.1:{server.port}")
        await browser.close()
    return seen


async def test_the_official_client_measures_both_directions_and_believes_our_numbers(
    chromium: str, page_url: str, server: tuple[MeasurementServer, CollectorRegistry]
) -> None:
    started, registry = server
    seen = await measure(chromium, page_url, started)
    assert seen["errors"] == []
    assert seen["code"] == 0

    download = seen["download"]["LastClientMeasurement"]
    assert 9 < download["ElapsedTime"] < 11
    assert download["MeanClientMbps"] > 50
    # The server speaks last when it has sent all: the client may count what was under way at that moment.
    assert seen["download"]["LastServerMeasurement"]["TCPInfo"]["BytesAcked"] >= 0.95 * download["NumBytes"]

    upload = seen["upload"]["LastServerMeasurement"]
    assert upload["Origin"] == "server"
    assert upload["Test"] == "upload"
    tcp = upload["TCPInfo"]
    assert tcp["ElapsedTime"] > 9e6
    assert tcp["BytesReceived"] * 8 / tcp["ElapsedTime"] > 50
    assert upload["ConnectionInfo"]["UUID"]
    received = registry.get_sample_value("linkbell_measure_payload_bytes_total", {"direction": "upload"})
    assert received is not None
    assert received >= 0.9 * tcp["BytesReceived"]
