"""How near each way of measuring comes to what a line carries, and at what cost. ``python -m benchmarks.accuracy``.

Four methods take turns on the same emulated lines, against servers at the same far end: Linkbell, the same ndt7 run for
its full ten seconds, speedtest-cli, and iperf3 for ten seconds. What the line could have carried, what it did carry and
how long a bystander's packet had to wait are read from the line's own log (``tests/linkbed``).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from tests.linkbed.bed import WORLD, Bed, linkbed, why_not
from tests.linkbed.drawn import drawn
from tests.linkbed.lines import Line, Way
from tests.linkbed.profiles import PROFILES
from tests.linkbed.truth import BIN_S, PAYLOAD_SHARE, Truth

from linkbell_wire.words import Direction

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "var" / "accuracy.json"

LINKBELL, FULL, SPEEDTEST, IPERF3 = "linkbell", "ndt7", "speedtest-cli", "iperf3"
TITLES = {LINKBELL: "Linkbell", FULL: "ndt7, full 10 s", SPEEDTEST: "speedtest-cli", IPERF3: "iperf3, 10 s"}
FAST_BPS = 90e6
MEDIAN_STEADY, MEDIAN_VARYING = 0.01, 0.04
WORST_STEADY, WORST_GEO, WORST_VARYING = 0.03, 0.05, 0.10
SETTLE_S = 1.0
"""Between two tests: what one left in the queue must not be there for the next."""


@dataclass(frozen=True)
class Reading:
    """One direction of one test. ``truth_bps`` is payload, over ``window`` where the method names one."""

    profile: str
    is_steady: bool
    method: str
    direction: Direction
    seed: int
    bps: float | None
    truth_bps: float
    carried_bytes: int
    seconds: float
    wait_s: float
    """What a packet arriving at a random moment of the test had to wait in the line's queue, on average."""

    @property
    def error(self) -> float | None:
        """How far off, as a share of the truth; a method that gave no number has none."""
        return None if self.bps is None else self.bps / self.truth_bps - 1


@dataclass(frozen=True)
class Measured:
    """What a method says of one direction, how long it took, and which stretch of CLOCK_MONOTONIC it speaks of."""

    bps: float | None
    seconds: float | None = None
    window: tuple[float, float] | None = None


Method = Callable[[Bed, str], dict[Direction, Measured]]


def _agent(bed: Bed, *flags: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "linkbell_agent", "speed", "--json", *flags]
    done = subprocess.run(
        bed.school.inside(*command), capture_output=True, text=True, check=False, cwd=ROOT, timeout=120
    )
    record: dict[str, Any] = json.loads(done.stdout)
    return record


def _results(record: dict[str, Any]) -> dict[Direction, Measured]:
    asleep_s = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    found = {}
    for direction in Direction:
        result = record[direction] or {}
        window = None
        if result.get("window_end_boottime_s") is not None:
            end_s = result["window_end_boottime_s"] - asleep_s
            window = (end_s - result["window_s"], end_s)
        found[direction] = Measured(result.get("bps"), result.get("duration_s"), window)
    return found


def linkbell(bed: Bed, url: str) -> dict[Direction, Measured]:
    """Measure as an agent does."""
    return _results(_agent(bed, "--server", url))


def full(bed: Bed, url: str) -> dict[Direction, Measured]:
    """Measure with ndt7 as M-Lab runs it: the mean of ten seconds of one connection."""
    return _results(_agent(bed, "--server", url, "--full"))


STOCK_SPEEDTEST = """
import json, sys, time, speedtest
class Offline(speedtest.Speedtest):
    # What speedtest.net's configuration says: without it speedtest-cli does not start.
    def get_config(self):
        self.lat_lon = (0.0, 0.0)
        self.config.update(client={}, ignore_servers=[], counts={"upload": 17, "download": 4}, upload_max=51,
            sizes={"upload": [524288, 1048576, 7340032],
                "download": [350, 500, 750, 1000, 1500, 2000, 2500, 3000, 3500, 4000]},
            threads={"upload": 2, "download": 8}, length={"upload": 10, "download": 10})
test = Offline()
test.get_best_server(test.set_mini_server(sys.argv[1]))
said = {}
for direction, run in (("download", test.download), ("upload", lambda: test.upload(pre_allocate=False))):
    began = time.monotonic()
    said[direction] = [run(), time.monotonic() - began]
print(json.dumps(said))
"""


def speedtest(bed: Bed, url: str) -> dict[Direction, Measured]:
    """Measure with speedtest-cli as it comes, pointed at the same server."""
    command = [sys.executable, "-W", "ignore", "-c", STOCK_SPEEDTEST, url.replace("ws://", "http://")]
    done = subprocess.run(bed.school.inside(*command), capture_output=True, text=True, check=False, timeout=120)
    if done.returncode != 0:
        return dict.fromkeys(Direction, Measured(None))
    said = json.loads(done.stdout)
    return {direction: Measured(*said[direction]) for direction in Direction}


def iperf3(bed: Bed, url: str) -> dict[Direction, Measured]:
    """Measure with iperf3 as it comes: one connection, ten seconds, the mean at the receiver."""
    found = {}
    for direction, flags in ((Direction.DOWNLOAD, ["-R"]), (Direction.UPLOAD, [])):
        with bed.world.service(["iperf3", "-s", "-1", "--forceflush"], "-----", quiet=True):
            time.sleep(0.3)
            printed = subprocess.run(
                bed.school.inside("iperf3", "-c", WORLD, "-t", "10", "-J", *flags),
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            ).stdout
        with suppress(ValueError, KeyError):
            received = json.loads(printed)["end"]["sum_received"]
            found[direction] = Measured(float(received["bits_per_second"]), float(received["seconds"]))
        found.setdefault(direction, Measured(None))
    return found


METHODS: dict[str, Method] = {LINKBELL: linkbell, FULL: full, SPEEDTEST: speedtest, IPERF3: iperf3}


def active(truth: Truth, way: Way, direction: Direction, start_s: float, end_s: float) -> tuple[float, float]:
    """Return when one direction was under test: when a tenth of a second carried a third of what it can, or more.

    The other direction's acknowledgements are less than that.
    """
    least_bytes = way.mean_bps / 8 * BIN_S * 10 / 3
    bins = truth.bins(direction, start_s, end_s)
    tens = [bins[index : index + 10] for index in range(0, len(bins) - 9, 10)]
    busy = [ten for ten in tens if sum(one.served_bytes for one in ten) >= least_bytes]
    return (busy[0][0].start_s, busy[-1][-1].start_s + BIN_S) if busy else (start_s, end_s)


def readings(line: Line, profile: str, method: str) -> Iterator[Reading]:
    """Run one test on a line of its own and yield both directions, of which the download came first."""
    with linkbed(line) as bed, bed.measurement_server() as url:
        time.sleep(SETTLE_S + line.seed * 0.37 % 1)
        began_s = time.monotonic()
        measured = METHODS[method](bed, url)
        time.sleep(SETTLE_S)
        ended_s = time.monotonic() - 0.1
        truth = bed.truth()
    turn_s = active(truth, line.down, Direction.DOWNLOAD, began_s, ended_s)[1]
    phases = {Direction.DOWNLOAD: (began_s, turn_s + 0.2), Direction.UPLOAD: (turn_s, ended_s)}
    for direction, way in ((Direction.DOWNLOAD, line.down), (Direction.UPLOAD, line.up)):
        says, phase = measured[direction], phases[direction]
        busy = active(truth, way, direction, *phase)
        yield Reading(
            profile,
            line.is_steady,
            method,
            direction,
            line.seed,
            says.bps,
            truth.payload_bps(direction, *(says.window or busy), way.delay_s if says.window else 0.0),
            truth.carried_bytes(direction, *phase),
            busy[1] - busy[0] if says.seconds is None else says.seconds,
            sum(truth.mean_wait_s(either, *busy) for either in Direction),
        )


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def measure(profiles: Sequence[str], methods: Sequence[str], runs: int, jobs: int) -> list[Reading]:
    """Run everything, ``jobs`` lines at once; each has namespaces, servers and an emulator of its own.

    Fast lines go one at a time: two would measure this machine.
    """
    work = [
        (profile, method, PROFILES[profile](seed))
        for seed in range(1, runs + 1)
        for method in methods
        for profile in profiles
    ]
    return measure_all(work, jobs)


def measure_all(work: Sequence[tuple[str, str, Line]], jobs: int) -> list[Reading]:
    """Run one test for each name, method and line, and print it as it comes."""
    found: list[Reading] = []
    machine = Lock()

    def one(job: tuple[str, str, Line]) -> list[Reading]:
        profile, method, line = job
        with machine if line.down.mean_bps >= FAST_BPS else nullcontext():
            return list(readings(line, profile, method))

    with ThreadPoolExecutor(jobs) as pool:
        for number, result in enumerate(pool.map(one, work), 1):
            found += result
            for reading in result:
                error = "no number" if reading.error is None else f"{reading.error:+7.2%}"
                say(
                    f"{number:4}/{len(work)}  {reading.profile:12} {reading.method:15} {reading.direction:8} "
                    f"{(reading.bps or 0) / 1e6:8.3f} Mbit/s, off by {error}, {reading.carried_bytes / 1e6:7.2f} MB, "
                    f"{reading.seconds:5.1f} s, bystander +{reading.wait_s * 1e3:.0f} ms"
                )
    return found


@dataclass(frozen=True)
class Summary:
    """One method on one direction of one profile, over all runs. A missing number is an error of 1, which is 100 %."""

    profile: str
    is_steady: bool
    method: str
    direction: Direction
    runs: int
    median_error: float
    worst_error: float
    carried_bytes: float
    seconds: float
    wait_s: float


def summarise(found: Sequence[Reading]) -> list[Summary]:
    """Sum up, in the order of the profiles and methods."""
    groups: dict[tuple[str, Direction, str], list[Reading]] = {
        (profile, direction, method): [] for profile in PROFILES for direction in Direction for method in METHODS
    }
    for reading in found:
        groups[reading.profile, reading.direction, reading.method].append(reading)
    return [
        Summary(
            profile,
            group[0].is_steady,
            method,
            direction,
            len(group),
            statistics.median(abs(-1.0 if one.error is None else one.error) for one in group),
            max(abs(-1.0 if one.error is None else one.error) for one in group),
            statistics.median(one.carried_bytes for one in group),
            statistics.median(one.seconds for one in group),
            statistics.median(one.wait_s for one in group),
        )
        for (profile, direction, method), group in groups.items()
        if group
    ]


@dataclass(frozen=True)
class Mark:
    """What Linkbell is held to on one direction of one profile, and how it did."""

    row: Summary
    median: float
    worst: float
    share_of_bytes: float | None
    most_bytes: float | None
    best_other: float | None

    @property
    def missed(self) -> list[str]:
        """Say which marks were missed."""
        row, missed = self.row, []
        if row.median_error > self.median:
            missed.append(f"median error {row.median_error:.2%} of {self.median:.0%}")
        if row.worst_error > self.worst:
            missed.append(f"worst error {row.worst_error:.2%} of {self.worst:.0%}")
        if self.share_of_bytes is not None and self.most_bytes is not None and self.share_of_bytes > self.most_bytes:
            missed.append(f"bytes {self.share_of_bytes:.1%} of {self.most_bytes:.0%}")
        if self.best_other is not None and row.median_error > self.best_other + 0.001:
            missed.append(f"median error {row.median_error:.2%}, another method {self.best_other:.2%}")
        return missed


def is_geo(profile: str) -> bool:
    """Say whether a line is a geostationary satellite's, by its name."""
    return profile.lower().startswith("geo")


def marks(rows: Sequence[Summary]) -> Iterator[Mark]:
    """Hold Linkbell's rows against the marks, and against the other methods on the same line."""
    for row in rows:
        if row.method != LINKBELL:
            continue
        others = [o for o in rows if (o.profile, o.direction) == (row.profile, row.direction) and o is not row]
        whole = next((other.carried_bytes for other in others if other.method == FULL), None)
        line = PROFILES[row.profile](1)
        way = line.down if row.direction is Direction.DOWNLOAD else line.up
        yield Mark(
            row,
            median=MEDIAN_STEADY if row.is_steady else MEDIAN_VARYING,
            worst=WORST_GEO if is_geo(row.profile) else WORST_STEADY if row.is_steady else WORST_VARYING,
            share_of_bytes=None if whole is None else row.carried_bytes / whole,
            most_bytes=1.0 if is_geo(row.profile) else 0.15 if way.mean_bps * PAYLOAD_SHARE >= 7e6 else None,
            best_other=min((other.median_error for other in others), default=None),
        )


def table(rows: Sequence[Summary]) -> Iterator[str]:
    """Yield the results as a Markdown table."""
    yield "| line | | method | median error | worst | MB | seconds | bystander |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in rows:
        line, ours = PROFILES[row.profile](1), row.method == LINKBELL
        cells = [
            f"{row.median_error:.1%}",
            f"{row.worst_error:.1%}",
            f"{row.carried_bytes / 1e6:.1f}",
            f"{row.seconds:.1f}",
            f"+{row.wait_s * 1e3:.0f} ms",
        ]
        bold = [f"**{cell}**" for cell in cells] if ours else cells
        way = "down" if row.direction is Direction.DOWNLOAD else "up"
        yield f"| {line.name} | {way} | {'**Linkbell**' if ours else TITLES[row.method]} | {' | '.join(bold)} |"


def report(found: Sequence[Reading]) -> bool:
    """Print the table and the marks. Returns whether all were reached."""
    rows = summarise(found)
    say("\n".join(table(rows)))
    reached = True
    for mark in marks(rows):
        row = mark.row
        share = "" if mark.share_of_bytes is None else f", {mark.share_of_bytes:.1%} of the bytes of ten seconds"
        verdict = f"MISSED: {'; '.join(mark.missed)}" if mark.missed else "reached"
        say(
            f"{row.profile:12} {row.direction:8} error {row.median_error / mark.median:.2f} of its mark, "
            f"worst {row.worst_error / mark.worst:.2f}{share}: {verdict}"
        )
        reached &= not mark.missed
    return reached


def report_drawn(found: Sequence[Reading]) -> bool:
    """Print how far off lines drawn at random are read. Returns whether all are within the marks for the worst of five.

    Each is measured once, so the median is over lines.
    """
    reached = True
    for name, worst_allowed, group in (
        ("steady", WORST_STEADY, [one for one in found if one.is_steady and not is_geo(one.profile)]),
        ("GEO", WORST_GEO, [one for one in found if is_geo(one.profile)]),
        ("varying", WORST_VARYING, [one for one in found if not one.is_steady]),
    ):
        errors = sorted(1.0 if one.error is None else abs(one.error) for one in group)
        if not errors:
            continue
        over = sum(error > worst_allowed for error in errors)
        say(
            f"{name} lines: {len(errors)} directions, error {errors[len(errors) // 2]:.2%} median, "
            f"{errors[int(0.95 * (len(errors) - 1))]:.2%} at 95 %, {errors[-1]:.2%} worst; "
            f"{over} beyond {worst_allowed:.0%}"
        )
        reached &= not over
    return reached


def load(file: Path) -> list[Reading]:
    """Read results back."""
    rows = json.loads(file.read_text(encoding="utf-8"))
    return [Reading(**{**row, "direction": Direction(row["direction"])}) for row in rows]


def save(found: Sequence[Reading], file: Path) -> None:
    """Keep results, so that the page can be drawn anew without measuring."""
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps([asdict(reading) for reading in found]), encoding="utf-8")


def main() -> int:
    """Read the command line, measure, and write the page if all was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="one line, one run, no page: under 30 s, for CI")
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="runs of each method on each line (5)")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="lines at once (2); slow lines need little")
    parser.add_argument("--profiles", default=",".join(PROFILES), help=f"some of {','.join(PROFILES)}")
    parser.add_argument("--methods", default=",".join(METHODS), help=f"some of {','.join(METHODS)}")
    parser.add_argument("--drawn", type=int, metavar="N", help="measure N lines drawn at random instead; no page")
    parser.add_argument("--first", type=int, default=1, metavar="SEED", help="with --drawn: the first line's seed (1)")
    parser.add_argument("--keep", action="store_true", help="add to what was measured before in var/accuracy.json")
    parser.add_argument("--page", action="store_true", help="only draw docs/accuracy.md anew")
    args = parser.parse_args()
    reason = why_not()
    if reason is not None and not args.page:
        say(f"Cannot measure here: {reason}.")
        return 0 if args.short and not os.environ.get("CI") else 1
    if args.short:
        report(measure(["adsl-8"], [LINKBELL, FULL], 1, 2))
        return 0
    if args.drawn:
        lines = [drawn(seed) for seed in range(args.first, args.first + args.drawn)]
        return 0 if report_drawn(measure_all([(line.name, LINKBELL, line) for line in lines], args.jobs)) else 1
    if not args.page:
        new = measure(args.profiles.split(","), args.methods.split(","), args.runs, args.jobs)
        done = {(one.profile, one.method) for one in new}
        old = load(RESULTS) if args.keep and RESULTS.exists() else []
        save([one for one in old if (one.profile, one.method) not in done] + new, RESULTS)
    from benchmarks.accuracy_page import write_page

    found = load(RESULTS)
    reached = report(found)
    write_page(found)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
