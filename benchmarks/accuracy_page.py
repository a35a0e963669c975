"""Draws ``docs/accuracy.md`` and its charts from what :mod:`benchmarks.accuracy` measured."""

import os
import platform
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator
from tests.linkbed.profiles import PROFILES

from benchmarks.accuracy import FULL, IPERF3, LINKBELL, SPEEDTEST, TITLES, Reading, marks, summarise, table
from linkbell_wire.words import Direction

DOCS = Path(__file__).resolve().parent.parent / "docs"
CHARTS = DOCS / "accuracy"

COLOURS = {LINKBELL: "#009E73", FULL: "#D55E00", SPEEDTEST: "#CC79A7", IPERF3: "#56B4E9"}
SHAPES = {Direction.DOWNLOAD: "v", Direction.UPLOAD: "^"}

INTRODUCTION = """# How near the numbers come

Four methods on the same emulated lines ([tests/linkbed](../tests/linkbed)), against servers at the same far end, {runs} runs each, every run on a line with another seed.
`make bench-accuracy` measures all of it anew and writes this page; `make bench-accuracy ARGS=--page` only draws it.

- **Error**: what the method said against what the line could have carried, as payload, over the time the method speaks of; median and worst of the runs. A run without a number is an error of 100 %.
- **MB**: IP packets the line carried in that direction for the test, whatever the method says it cost.
- **Bystander**: how long somebody else's packet had to wait in the line's queues, on average over the test.
- Linkbell, ndt7 and speedtest-cli use our measurement server, which sends with BBR; speedtest-cli's uploads and iperf3 use what the system has ({congestion}).

Measured on {machine}.

## Marks
{marks}

## Results
{table}

## Charts
Each sign is one run: ▼ download, ▲ upload. Across: error; up: what the test cost.

{charts}
"""


def write_page(found: Sequence[Reading]) -> None:
    """Write the page and one chart a profile."""
    CHARTS.mkdir(exist_ok=True)
    profiles = list(dict.fromkeys(reading.profile for reading in found))
    charts = []
    for profile in profiles:
        _draw(profile, [reading for reading in found if reading.profile == profile])
        charts.append(f"![{PROFILES[profile](1).name}](accuracy/{profile}.svg)\n")
    rows = summarise(found)
    text = INTRODUCTION.format(
        runs=max(row.runs for row in rows),
        congestion=_congestion_control(),
        machine=f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release().split('-')[0]}",
        marks="\n".join(_marks(found)),
        table="\n".join(table(rows)),
        charts="\n".join(charts),
    )
    (DOCS / "accuracy.md").write_text(text.rstrip() + "\n", encoding="utf-8")


def _congestion_control() -> str:
    return Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text(encoding="ascii").strip()


def _marks(found: Sequence[Reading]) -> list[str]:
    lines = ["| line | | median error | mark | worst | mark | bytes of the full test | mark | best other | |"]
    lines.append("|---|---|---|---|---|---|---|---|---|---|")
    for mark in marks(summarise(found)):
        row = mark.row
        share = "" if mark.share_of_bytes is None else f"{mark.share_of_bytes:.0%}"
        most = "" if mark.most_bytes is None else f"{mark.most_bytes:.0%}"
        other = "" if mark.best_other is None else f"{mark.best_other:.1%}"
        lines.append(
            f"| {PROFILES[row.profile](1).name} | {'down' if row.direction is Direction.DOWNLOAD else 'up'} "
            f"| {row.median_error:.2%} | {mark.median:.0%} | {row.worst_error:.2%} | {mark.worst:.0%} "
            f"| {share} | {most} | {other} | {'missed: ' + '; '.join(mark.missed) if mark.missed else ''} |"
        )
    return lines


def _draw(profile: str, found: Sequence[Reading]) -> None:
    mpl.rcParams["svg.hashsalt"] = profile  # the same numbers are the same file
    figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
    for method, colour in COLOURS.items():
        _scatter(axes, [reading for reading in found if reading.method == method], method, colour)
    axes.axvline(0, color="#888888", linewidth=0.8)
    axes.set_xscale("symlog", linthresh=1, linscale=1.2)
    axes.set_xlim(-110, 110)
    axes.set_xticks([-100, -10, -1, 0, 1, 10, 100])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:+.0f} %" if value else "0")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_title(PROFILES[profile](1).name)
    axes.set_ylabel("MB")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    axes.grid(alpha=0.25)
    figure.savefig(CHARTS / f"{profile}.svg", metadata={"Date": None})
    plt.close(figure)


def _scatter(axes: Axes, found: Sequence[Reading], method: str, colour: str) -> None:
    for direction, shape in SHAPES.items():
        mine = [reading for reading in found if reading.direction is direction]
        errors = [-100.0 if reading.error is None else reading.error * 100 for reading in mine]
        costs = [reading.carried_bytes / 1e6 for reading in mine]
        label = TITLES[method] if direction is Direction.DOWNLOAD else None
        axes.scatter(errors, costs, c=colour, marker=shape, s=36, alpha=0.75, label=label)
