"""What an agent costs its box, each number beside its mark: memory, processor, disk, start, and size to fetch.

A real agent with default settings, started as a service, reports over TLS to a real collector, in a network of its own
that has all it looks for (root; :mod:`benchmarks.small_world`). Three parts run it: a week of simulated time
(:mod:`benchmarks.warp` says what of that is as in real life), a quarter of an hour of real time, and a few starts.
Memory is the kernel's high-water mark (VmHWM), which counts shared libraries as well; what is the process's own
(RssAnon) is beside it.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import agent_real, agent_start, agent_week, small_world, wheels
from benchmarks.mark import Mark, table

MEMORY_MB, CPU_SHARE, WRITTEN_MB_PER_DAY, START_S, WHEELS_MB = 45.0, 0.005, 5.0, 1.5, 15.0
PARTS = ("wheels", "start", "real", "week")


def _wheels(folder: Path, short: bool, _: bool) -> list[Mark]:
    marks = []
    for machine, sizes in wheels.fetch(folder, wheels.MACHINES[:1] if short else wheels.MACHINES).items():
        name = f"wheels with all dependencies, {machine}"
        marks.append(Mark(name, None if sizes is None else sum(sizes.values()) / 1e6, WHEELS_MB, "MB"))
    return marks


def _start(folder: Path, short: bool, is_service: bool) -> list[Mark]:
    starts = asyncio.run(agent_start.measure(folder, 1 if short else agent_start.STARTS, is_service=is_service))
    return [Mark("start to first ping", starts.median_s, START_S, "s")]


def _real(folder: Path, short: bool, is_service: bool) -> list[Mark]:
    seconds = agent_real.SHORT_S if short else agent_real.FULL_S
    taken = asyncio.run(agent_real.measure(seconds, folder, is_service=is_service))
    marks = [
        Mark(f"memory, {seconds:.0f} s of real time", taken.highest_mb, MEMORY_MB, "MB"),
        Mark(f"processor, {seconds:.0f} s of real time after the start", taken.cpu_share * 100, CPU_SHARE * 100, "%"),
        Mark("written a day, by that", taken.written_mb_per_day, WRITTEN_MB_PER_DAY, "MB"),
    ]
    return marks[:1] if short else marks  # of a few seconds the others say nothing


def _week(folder: Path, short: bool, is_service: bool) -> list[Mark]:
    hours = agent_week.SHORT_HOURS if short else agent_week.HOURS
    week = asyncio.run(agent_week.measure(hours, folder, is_service=is_service))
    span = f"{hours / 24:.0f} days simulated" if hours >= 24 else f"{hours:.0f} h simulated"
    return [
        Mark(f"memory, {span}", week.highest_mb, MEMORY_MB, "MB"),
        Mark(f"processor, {span}", week.cpu_share * 100, CPU_SHARE * 100, "%"),
        Mark(f"written a day, {span}", week.written_mb_per_day, WRITTEN_MB_PER_DAY, "MB"),
    ]


MEASURES = {"wheels": _wheels, "start": _start, "real": _real, "week": _week}


def run(arguments: argparse.Namespace) -> int:
    """Measure the parts that were asked for, inside, and print the table."""
    small_world.furnish()
    marks: list[Mark] = []
    for part in arguments.only:
        print(f"--- {part}", flush=True)
        with tempfile.TemporaryDirectory(prefix="linkbell-bench-") as folder:
            marks += MEASURES[part](Path(folder), arguments.short, not arguments.plain)
    print(table(marks))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Go into the small world, and measure there."""
    parser = argparse.ArgumentParser(description="what an agent costs its box, each number beside its mark")
    parser.add_argument("--short", action="store_true", help="half a minute each instead of an hour in all")
    parser.add_argument("--plain", action="store_true", help="start the agent as from a terminal, not as a service")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to measure")
    parser.add_argument(small_world.INSIDE, action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.inside:
        return run(arguments)
    reason = small_world.why_not()
    if reason is not None:
        print(f"bench-agent: {reason}", file=sys.stderr)
        return 1
    words = list(sys.argv[1:] if argv is None else argv)
    if "wheels" in arguments.only:  # the registry is outside
        with tempfile.TemporaryDirectory(prefix="linkbell-wheels-") as folder:
            os.environ[wheels.FOUND] = wheels.found(Path(folder), short=arguments.short)
            return small_world.enter("benchmarks.agent", words)
    return small_world.enter("benchmarks.agent", words)


if __name__ == "__main__":
    sys.exit(main())
