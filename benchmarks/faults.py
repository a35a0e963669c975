"""Is the verdict right, and within 90 s? ``python -m benchmarks.faults [--runs 10] [--only NAME] [--short]``.

Every cell of the fault matrix (:mod:`tests.end_to_end.fault_matrix`): real agents with their defaults in schools of
their own, a real collector, real routes and servers that are made to fail. In each run the faults come at another
moment between two rounds; the last run has them right after one, which is the worst there is. Printed are the seconds
from the fault to its verdict and from its end to ``ok`` again, and whatever was not as promised.
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.end_to_end.fault_matrix import MARK_S, Cell, Outcome, cells, killed_collector, run_cell
from tests.end_to_end.school_world import Region, region, why_not

RUNS = 10
SHORT = ("name server silent", "one platform gone", "collector not reached")
INTERVAL_S = 60.0
"""From one round to the next, as agents have it."""


def run_once(folder: Path, wanted: Sequence[Cell], pauses_s: Sequence[float | None], *, killed: bool) -> list[Outcome]:
    """Go through all cells beside each other, each after its own pause."""
    with region(folder / "region") as made, ThreadPoolExecutor(len(wanted) + 1) as threads:
        begun = [
            threads.submit(_run, made, number, cell, pause_s)
            for number, (cell, pause_s) in enumerate(zip(wanted, pauses_s, strict=True))
        ]
        if killed:
            begun.append(threads.submit(_killed, folder / "killed", pauses_s[0]))
        return [one.result() for one in begun]


def _run(made: Region, number: int, cell: Cell, pause_s: float | None) -> Outcome:
    try:
        return run_cell(made, number, cell, pause_s)
    except (AssertionError, OSError) as error:  # one cell that could not be made must not cost all others
        return Outcome(cell.name, cell.verdict, wrong=[f"{type(error).__name__}: {error}"[:300]])


def _killed(folder: Path, pause_s: float | None) -> Outcome:
    with region(folder) as made:
        return _run(made, 0, killed_collector(made), pause_s)


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the lines that are printed: one a cell, with the seconds beside the mark."""
    lines = [f"{'fault':<38}{'verdict':<24}{'found in s: min, median, max':<32}{'mark':<10}over in s (median, max)"]
    for name in dict.fromkeys(one.name for one in outcomes):
        mine = [one for one in outcomes if one.name == name]
        found = [one.found_s for one in mine if one.found_s is not None]
        over = [one.over_s for one in mine if one.over_s is not None]
        right = sum(not one.wrong for one in mine)
        shown = f"{mine[0].expected} {right}/{len(mine)}"
        times = f"{min(found):.0f}, {statistics.median(found):.0f}, {max(found):.0f}" if found else "no false alarm"
        ratio = f"{max(found) / MARK_S:.2f}" if found else ""
        ends = f"{statistics.median(over):.0f}, {max(over):.0f}" if over else ""
        lines.append(f"{name:<38}{shown:<24}{times:<32}{ratio:<10}{ends}")
    return lines


def faults_of(outcomes: Sequence[Outcome]) -> list[str]:
    """Return every broken promise in a sentence."""
    late = [one for one in outcomes if one.expected != "ok" and (one.found_s is None or one.found_s > MARK_S)]
    sentences = [f"{one.name}: no {one.expected} within {MARK_S:.0f} s, but {one.found_s}" for one in late]
    return sentences + [f"{one.name}: {wrong}" for one in outcomes for wrong in one.wrong]


def main(argv: Sequence[str] | None = None) -> int:
    """Run, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=RUNS, help=f"how often each fault is made ({RUNS})")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="faults whose name has this in it")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    parser.add_argument("--short", action="store_true", help=f"once, of {', '.join(SHORT)}")
    arguments = parser.parse_args(argv)
    if (reason := why_not()) is not None:
        print(f"This benchmark cannot run here: {reason}", file=sys.stderr)
        return 1
    only = SHORT if arguments.short else arguments.only
    wanted = [cell for cell in cells() if not only or any(name in cell.name for name in only)]
    rng, runs = random.Random(arguments.seed), 1 if arguments.short else arguments.runs
    outcomes: list[Outcome] = []
    began = time.monotonic()
    for number in range(runs):
        last = number == runs - 1
        pauses_s = [None if last else rng.uniform(0, INTERVAL_S) for _ in wanted]
        with tempfile.TemporaryDirectory(prefix="linkbell-faults-") as folder:
            outcomes += run_once(Path(folder), wanted, pauses_s, killed=not only)
        print(f"run {number + 1} of {runs} done after {time.monotonic() - began:.0f} s", flush=True)
    print("\n".join(table(outcomes)))
    found = [one.found_s for one in outcomes if one.found_s is not None]
    if found:
        print(f"slowest verdict: {max(found):.1f} s of {MARK_S:.0f} s, {max(found) / MARK_S:.2f} of the mark")
    for sentence in faults_of(outcomes):
        print(f"FAULT: {sentence}")
    return 1 if faults_of(outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
