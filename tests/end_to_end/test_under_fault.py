"""The agent as installed, a collector, and between them whatever breaks: verdicts in time, the truth afterwards.

Everything runs beside everything else, each in a school of its own, for most of the time an agent waits for its next
round. `make bench-faults` makes the faults again and again at other moments, and prints the times beside the mark;
`make bench-survival` kills two hundred times, and `make bench-outage` lives through thirty whole days.
"""

import asyncio
import os
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from benchmarks.survival import Findings, survive

from tests.end_to_end.fault_matrix import MARK_S, Outcome, cells, killed_collector, run_cell
from tests.end_to_end.school_world import region, why_not
from tests.end_to_end.storage_faults import SCENARIOS, run_scenario
from tests.linkbed.namespaces import REPOSITORY

WHY_NOT = why_not()
pytestmark = [
    pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT)),
    pytest.mark.timeout(420),
]

CELLS = [cell.name for cell in cells()]
KILLED = "collector killed"
KILLS = int(os.environ.get("LINKBELL_KILLS", "20"))
OUTAGE = ("-m", "benchmarks.outage", "--days", "30", "--minutes", "20", "--records", "6000", "--rtt", "0.002")
"""Thirty days, a round every twenty minutes, and a spool that is too small for them."""


@dataclass(frozen=True)
class Begun:
    """What runs, by name."""

    cells: "dict[str, Future[Outcome]]"
    scenarios: "dict[str, Future[list[str]]]"
    kills: "Future[Findings]"
    outage: "Future[tuple[int, str]]"


def _alone(folder: Path) -> Outcome:
    """Run the cell that kills its collector before one that nobody else uses."""
    with region(folder) as made:
        return run_cell(made, 0, killed_collector(made))


async def _output(*command: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.PIPE, cwd=REPOSITORY
    )
    printed, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed.decode()


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Begun]:
    """Begin with everything at once; each test waits for its own."""
    place, wanted = tmp_path_factory.mktemp, cells()
    threads = ThreadPoolExecutor(len(wanted) + len(SCENARIOS) + 3)
    with region(place("region")) as made, threads:
        yield Begun(
            {
                **{cell.name: threads.submit(run_cell, made, number, cell) for number, cell in enumerate(wanted)},
                KILLED: threads.submit(_alone, place("killed")),
            },
            {
                name: threads.submit(run_scenario, made, number, scenario)
                for number, (name, scenario) in enumerate(SCENARIOS.items(), len(wanted))
            },
            threads.submit(lambda: asyncio.run(survive(place("survival"), KILLS, seed=20260302))),
            threads.submit(lambda: asyncio.run(_output(*OUTAGE))),
        )


@pytest.mark.parametrize("name", [*CELLS, KILLED])
def test_the_verdict_is_right_and_in_time_and_the_collector_has_the_whole_truth(begun: Begun, name: str) -> None:
    outcome = begun.cells[name].result()
    assert outcome.wrong == []
    if outcome.expected == "ok":
        return
    assert outcome.found_s is not None
    assert outcome.found_s <= MARK_S
    assert outcome.over_s is not None


@pytest.mark.parametrize("name", SCENARIOS)
def test_whatever_fails_in_the_box_nothing_is_lost_uncounted_or_doubled_and_times_are_true(
    begun: Begun, name: str
) -> None:
    assert begun.scenarios[name].result() == []


def test_of_an_agent_killed_at_random_what_was_kept_comes_once_and_what_was_lost_is_counted(begun: Begun) -> None:
    findings = begun.kills.result()
    assert findings.faults() == []
    # What this is about did happen: lives that were told of, and records on their way.
    assert findings.kills >= KILLS / 2
    assert findings.kept >= 20 * KILLS / 2


def test_after_thirty_days_offline_the_newest_comes_first_and_what_is_not_there_is_counted(begun: Begun) -> None:
    status, printed = begun.outage.result()
    assert status == 0, printed
    assert " 0 dropped by worth" not in printed
