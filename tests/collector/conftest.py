"""Fixtures: a clock, and a real collector on a free port."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.collector.postgres import PostgresServer
from tests.collector.stores import Place
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


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Run a PostgreSQL server for all tests."""
    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Return a place for a store of each kind."""
    if request.param == "sqlite":
        return Place(tmp_path / "data", None)
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return Place(tmp_path / "data", server.new_database())
