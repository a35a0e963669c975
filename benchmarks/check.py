"""How often the floor check is right, and at what cost, on emulated lines. ``make bench-check``; needs root.

Each line carries a share of the floor, in payload: 5 and 15 % either side of it, and twice. The marks: right in 98 % of
the runs at 5 %, in all at 15 %; 2 MB at a floor of 8 Mbit/s; 20 ms more round trip for a bystander on a line of twice
the floor. ``above-floor`` and ``below-floor`` are lines of 8.4 and 7.6 Mbit/s with their headers, so 1.4 % above it and
8 % below it in payload.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.linkbed import drawn
from tests.linkbed.bed import Bed, linkbed, why_not
from tests.linkbed.lines import Line, steady
from tests.linkbed.profiles import PROFILES
from tests.linkbed.truth import PAYLOAD_SHARE

from linkbell_wire.words import Direction

FLOOR_BPS = 8e6
SHARES = (0.85, 0.95, 1.05, 1.15, 2.0)
DRAWN_KINDS = [kind for kind in drawn.KINDS if not any(kind.swing)]
DRAWN_FLOORS_BPS = (2e6, 4e6, 8e6, 8e6, 20e6)
LEAST_FULL_BUDGET_BPS = 0.65e6
"""Below this floor a check has a fixed number of packets."""

KINDS = {
    "DSL": {"delay_s": 0.02, "queue_s": 0.2},
    "4G, jitter, 0.5 % loss": {"delay_s": 0.035, "queue_s": 0.3, "jitter_s": 0.01, "loss": 0.005},
    "GEO, 580 ms": {"delay_s": 0.29, "queue_s": 0.6},
    "GEO, 0.1 % loss": {"delay_s": 0.29, "queue_s": 0.6, "loss": 0.001},
}


@dataclass(frozen=True)
class Case:
    """A line, a direction, and what the right answer is."""

    name: str
    line: Line
    direction: Direction
    right: bool
    share: float
    floor_bps: float = FLOOR_BPS


@dataclass(frozen=True)
class Run:
    """One check: its record, what was on the line, and how long a bystander's packets had to wait on average."""

    record: dict[str, object]
    wire_bytes: int
    wait_s: float


def cases(seed: int) -> Iterator[Case]:
    """Yield all cases, the quick lines first."""
    for kind, properties in KINDS.items():
        for share in SHARES:
            payload_mbit = share * FLOOR_BPS / 1e6
            way = steady(payload_mbit / PAYLOAD_SHARE / (1 - properties.get("loss", 0.0)), **properties)
            for direction in Direction:
                name = f"{kind}, {share:g} × floor, {direction}"
                yield Case(name, Line(name, way, way, seed=seed), direction, share >= 1, share)
        if kind == "DSL":
            for profile in ("below-floor", "above-floor"):
                yield Case(
                    f"profile {profile}", PROFILES[profile](seed), Direction.DOWNLOAD, profile == "above-floor", 1.0
                )


def drawn_cases(count: int, first: int) -> Iterator[Case]:
    """Yield lines nobody tuned for: technology, delays, queue, jitter, loss, floor and share are drawn.

    Only steady ones: on a line that wanders about its floor there is no right answer.
    """
    for seed in range(first, first + count):
        dice = random.Random(f"floor check {seed}")
        kind, floor_bps, share = dice.choice(DRAWN_KINDS), dice.choice(DRAWN_FLOORS_BPS), dice.choice(SHARES)
        loss, burst = dice.uniform(*kind.loss), dice.choice((1.0, 1.0, 4.0))
        delay_s, jitter_s = dice.uniform(*kind.delay_s), dice.uniform(*kind.jitter_s)
        way = steady(
            share * floor_bps / 1e6 / PAYLOAD_SHARE / (1 - loss),
            delay_s=delay_s,
            queue_s=dice.uniform(*kind.queue_s),
            jitter_s=jitter_s,
            loss=loss,
            burst_packets=burst,
        )
        direction = dice.choice(list(Direction))
        name = (
            f"{seed} {kind.name} {2e3 * delay_s:.0f} ms, jitter {1e3 * jitter_s:.0f} ms, "
            f"loss {loss:.2%}{' in bursts' if loss and burst > 1 else ''}, "
            f"{share:g} × {floor_bps / 1e6:g}M, {direction}"
        )
        yield Case(name, Line(name, way, way, seed=seed), direction, share >= 1, share, floor_bps)


async def check_here(url: str, direction: Direction, floor_bps: float, runs: int) -> None:
    """Be the agent's process, inside the school's namespace: print each record with when it began and ended."""
    from linkbell_agent.clock import SystemClock
    from linkbell_agent.net import Uplink
    from linkbell_agent.probes.base import CheckRequest, ProbeContext
    from linkbell_agent.probes.check import check
    from linkbell_wire.configuration import SpeedServer
    from linkbell_wire.words import Trigger

    context = ProbeContext(Uplink(), SystemClock())
    request = CheckRequest((SpeedServer(url=url),), Trigger.MANUAL, floor_bps, direction)
    for _ in range(runs):
        began = time.monotonic()
        record = await check(request, context)
        print(json.dumps([began, time.monotonic(), json.loads(record.model_dump_json())]), flush=True)
        await asyncio.sleep(0.3)


def runs_of(bed: Bed, url: str, case: Case, runs: int) -> list[Run]:
    """Run the checks on one line and read what the line says of them."""
    direction = case.direction
    command = [sys.executable, "-m", "benchmarks.check", "--inside", url, "--runs", str(runs), "--direction", direction]
    command += ["--floor", str(case.floor_bps)]
    printed = bed.school.run(*command, timeout_s=30 + 20 * runs)
    truth = bed.truth()
    return [
        Run(record, truth.carried_bytes(direction, began, ended), truth.mean_wait_s(direction, began, ended))
        for began, ended, record in map(json.loads, printed.splitlines())
    ]


def run_case(case: Case, runs: int) -> list[Run]:
    """Lay the line of one case and run its checks."""
    with linkbed(case.line) as bed, bed.measurement_server() as url:
        return runs_of(bed, url, case, runs)


def report(case: Case, runs: list[Run]) -> bool:
    """Print one line, each number beside its mark. Returns whether all marks are met."""
    right = sum(run.record["passed"] is case.right for run in runs)
    wire_mb = sorted(run.wire_bytes / 1e6 for run in runs)
    seconds = statistics.median(float(str(run.record["duration_s"])) for run in runs)
    wait_ms = max(run.wait_s for run in runs) * 1e3
    mark = 0.98 if 0.9 < case.share < 1.1 else 1.0
    most_mb = 2 * max(case.floor_bps, LEAST_FULL_BUDGET_BPS) / 8e6
    met = right / len(runs) >= mark and wire_mb[-1] <= most_mb and (case.share < 2 or wait_ms < 20)
    bystander = f"{wait_ms:5.1f} ms (< 20)" if case.share >= 2 else f"{wait_ms:5.1f} ms"
    print(
        f"{case.name:<48} right {right:3}/{len(runs)} (>= {mark:.0%})  "
        f"{statistics.median(wire_mb):.2f} MB, worst {wire_mb[-1]:.2f} (<= {most_mb:.2g})  "
        f"{seconds:.1f} s  wait {bystander}  {'' if met else 'MISSED'}",
        flush=True,
    )
    for run in runs:
        if run.record["passed"] is not case.right:
            print(f"    { ({k: run.record[k] for k in ('passed', 'bps', 'bps_low', 'bps_high', 'failure')}) }")
    return met


def main() -> int:
    """Run what was asked for. Returns 1 if a mark was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100, help="checks per case, default 100")
    parser.add_argument("--drawn", type=int, default=0, metavar="N", help="instead, N lines that are drawn by chance")
    parser.add_argument("--first", type=int, default=1, help="number of the first of them")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=4, help="lines at once, default 4: a check is paced and quiet")
    parser.add_argument("--short", action="store_true", help="three checks on two lines")
    parser.add_argument("--inside", metavar="URL", help=argparse.SUPPRESS)
    parser.add_argument("--direction", type=Direction, default=Direction.DOWNLOAD, help=argparse.SUPPRESS)
    parser.add_argument("--floor", type=float, default=FLOOR_BPS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        asyncio.run(check_here(args.inside, args.direction, args.floor, args.runs))
        return 0
    reason = why_not()
    if reason is not None:
        print(f"The floor check is not measured here: {reason}.")
        return 0
    every = drawn_cases(args.drawn, args.first) if args.drawn else cases(args.seed)
    chosen = [case for case in every if args.only in case.name]
    if args.short:
        chosen = [case for case in chosen if case.name.startswith("DSL") and case.share in (0.85, 2.0)][::3]
    with ThreadPoolExecutor(max_workers=args.jobs) as pool:
        reports = pool.map(lambda case: report(case, run_case(case, 3 if args.short else args.runs)), chosen)
        return 0 if all(list(reports)) else 1


if __name__ == "__main__":
    sys.exit(main())
