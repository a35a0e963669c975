"""Measurement servers on free ports, with tests that take a moment instead of ten seconds."""

import asyncio
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest

from linkbell_collector.measure.app import MeasurementServer, build
from linkbell_collector.measure.settings import MeasureSettings, Timings

QUICK = Timings(test_s=0.6, hard_stop_s=1.2, interval_s=0.05, linger_s=0.2)
SETTINGS = MeasureSettings(host="127.0.0.1", port=0, max_tests=4, drain_s=0.2, timings=QUICK)

Start = Callable[..., Awaitable[MeasurementServer]]


@asynccontextmanager
async def running(settings: MeasureSettings) -> AsyncIterator[MeasurementServer]:
    server = build(settings)
    await server.start()
    try:
        yield server
    finally:
        await server.stop(drain_s=0.0)


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start a server with some settings changed; stopped after the test."""
    async with AsyncExitStack() as stack:

        async def start_one(**changes: object) -> MeasurementServer:
            return await stack.enter_async_context(running(replace(SETTINGS, **changes)))  # type: ignore[arg-type]

        yield start_one


async def metrics(server: MeasurementServer) -> dict[str, float]:
    """Return what ``/metrics`` says, series by series."""

    def fetch() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())

    text = await asyncio.to_thread(fetch)
    pairs = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}
