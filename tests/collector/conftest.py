"""Fixtures: a clock, and a real collector on a free port."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.collector.support import FakeClock, Site, running


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock at the tests' noon."""
    return FakeClock()


@pytest.fixture
async def site(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Site]:
    """Run a collector with default settings."""
    async with running(tmp_path / "data", clock) as running_site:
        yield running_site
