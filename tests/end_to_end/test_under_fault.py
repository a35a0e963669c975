"""The agent as installed, a collector, and between them whatever breaks: verdicts in time, the truth afterwards.

All faults run beside each other, each in a school of its own: most of the time an agent waits for its next round.
`make bench-faults` does the same again and again at other moments, and prints the times beside the mark.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.end_to_end.fault_matrix import MARK_S, Cell, Outcome, cells, killed_collector, run_cell
from tests.end_to_end.school_world import region, why_not

WHY_NOT = why_not()
pytestmark = [
    pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT)),
    pytest.mark.timeout(420),
]

CELLS = [cell.name for cell in cells()]
KILLED = "collector killed"


def _alone(folder: pytest.TempPathFactory, name: str) -> Outcome:
    """Run the cell that kills its collector before one that nobody else uses."""
    with region(folder.mktemp(name)) as made:
        return run_cell(made, 0, killed_collector(made))


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, "Future[Outcome]"]]:
    """Begin with all cells at once; each test waits for its own."""
    wanted: list[Cell] = cells()
    with region(tmp_path_factory.mktemp("region")) as made, ThreadPoolExecutor(len(wanted) + 1) as threads:
        begun = {cell.name: threads.submit(run_cell, made, number, cell) for number, cell in enumerate(wanted)}
        begun[KILLED] = threads.submit(_alone, tmp_path_factory, "killed")
        yield begun


@pytest.mark.parametrize("name", [*CELLS, KILLED])
def test_the_verdict_is_right_and_in_time_and_the_collector_has_the_whole_truth(
    outcomes: dict[str, "Future[Outcome]"], name: str
) -> None:
    outcome = outcomes[name].result()
    assert outcome.wrong == []
    if outcome.expected == "ok":
        return
    assert outcome.found_s is not None
    assert outcome.found_s <= MARK_S
    assert outcome.over_s is not None
