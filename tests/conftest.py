"""Settings for all tests."""

import os

import pytest
from hypothesis import settings

# A deadline per example measures the machine, which other work may be busy with; the suite has its own time limit.
settings.register_profile("linkbell", deadline=None)
settings.load_profile("linkbell")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI nothing may be left out: a skipped test is a failed run there."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and os.environ.get("CI") and reporter.stats.get("skipped"):
        reporter.write_line("Tests were skipped; in CI none may be.", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
