"""The whole agent on two real ways out: the fibre is cut, the route moves and comes back, the mobile line is spared."""

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from tests.agent.uplinks.school import UPLINKS, School, why_not
from tests.agent.uplinks.school import school as make_school
from tests.linkbed.namespaces import REPOSITORY, end

WHY_NOT = why_not()
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))

QUICK = """
[calendar]
weekdays = "mon-sun"
hours = "00:00-24:00"
"""


class Running:
    """An agent at work in the box, and what it has recorded."""

    def __init__(self, lines: IO[str]) -> None:
        self.records: list[dict[str, Any]] = []
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, args=(lines,), daemon=True)
        self._reader.start()

    def join(self) -> None:
        self._reader.join(5)

    def _read(self, lines: Iterator[str]) -> None:
        for line in lines:
            self._lines.put(line)

    def until(self, wanted: Callable[[dict[str, Any]], bool], within_s: float) -> dict[str, Any]:
        """Wait for a record that comes from now on."""
        deadline_s = time.monotonic() + within_s
        while True:
            try:
                record = json.loads(self._lines.get(timeout=max(0.01, deadline_s - time.monotonic())))
            except queue.Empty:
                raise AssertionError(f"not seen; {self.verdicts()}, {self.failovers()}") from None
            self.records.append(record)
            if wanted(record):
                return dict(record)

    def verdicts(self) -> list[tuple[str, str, bool | None]]:
        return [(one["uplink"], one["verdict"], one["carries"]) for one in self.records if one["kind"] == "verdict"]

    def failovers(self) -> list[dict[str, Any]]:
        return [one for one in self.records if one["kind"] == "event" and one["event"] == "failover"]


@pytest.fixture
def school(tmp_path: Path) -> Iterator[School]:
    with make_school(tmp_path) as made:
        yield made


@pytest.fixture
def agent(school: School, tmp_path: Path) -> Iterator[Running]:
    settings = school.settings()
    text = settings.read_text(encoding="utf-8")
    quick = text.replace("[ping]", "[ping]\ninterval_s = 10").replace("[layers]", "[layers]\nquick_interval_s = 5")
    settings.write_text(quick + QUICK, encoding="utf-8")
    words = ("run", "--json", "--speed-now", "--config", str(settings), "--state", str(tmp_path / "state"))
    command = school.box.inside(sys.executable, "-m", "linkbell_agent", *words)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    assert process.stdout is not None
    running = Running(process.stdout)
    try:
        yield running
    finally:
        end(process, 15)
        running.join()
        process.stdout.close()


def is_verdict(uplink: str, verdict: str) -> Callable[[dict[str, Any]], bool]:
    return lambda one: one["kind"] == "verdict" and (one["uplink"], one["verdict"]) == (uplink, verdict)


def is_failover(one: dict[str, Any]) -> bool:
    return bool(one["kind"] == "event" and one["event"] == "failover")


def test_a_cut_fibre_is_found_the_failover_reported_and_its_end_too(school: School, agent: Running) -> None:
    assert "budget" in UPLINKS
    agent.until(lambda one: len(agent.verdicts()) == 2, 40)
    assert sorted(agent.verdicts()) == [("fibre", "ok", True), ("mobile", "ok", False)]
    speed = agent.until(lambda one: one["kind"] == "speed", 60)
    assert speed["uplink"] == "fibre"
    assert speed["failure"] is None

    school.cut("fibre")
    school.route("fibre", "del")
    agent.until(lambda one: len(agent.failovers()) == 1 and ("fibre", "lan_down", False) in agent.verdicts(), 60)
    (event,) = agent.failovers()
    assert event["uplink"] == "mobile"
    details = event["details"]
    assert (details["from"], details["to"], details["back"], details["device"]) == ("fibre", "mobile", False, "wwan0")
    assert (details["reason"], details["to_verdict"], details["changes"]) == ("device_gone", "ok", 1)

    school.mend("fibre")
    school.route("fibre", "add")
    agent.until(lambda one: len(agent.failovers()) == 2 and agent.verdicts()[-1] == ("fibre", "ok", True), 60)
    back = agent.failovers()[-1]
    assert back["uplink"] == "fibre"
    assert (back["details"]["to"], back["details"]["back"], back["details"]["reason"]) == (
        "fibre",
        True,
        "other_preferred",
    )

    assert {one["verdict"] for one in agent.records if one["kind"] == "verdict" and one["uplink"] == "mobile"} == {"ok"}
    assert {one["uplink"] for one in agent.records if one["kind"] == "speed"} == {"fibre"}
    assert {one["uplink"] for one in agent.records if one["kind"] == "ping"} == {"fibre", "mobile"}
