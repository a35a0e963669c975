"""A week of the agent's default work in less than an hour; see :mod:`benchmarks.warp` for how its time is left out."""

import asyncio
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from tools.run_local import Local

from benchmarks import small_world
from benchmarks.process import cpu_s, memory_mb, written_bytes

HOURS = 168.0
SHORT_HOURS = 2.0
PAGE_EVERY_H = 6
LAUNCH = "from benchmarks.warp import main; main()"
"""As the installed command is started: ``-m`` would keep what it needs to find a module, 0.3 MB."""

PAGE = "http://127.0.0.1:8472/"


@dataclass
class Week:
    """What it took."""

    hours: float
    highest_mb: float = 0.0
    cpu_s: float = 0.0
    steady_cpu_s: float = 0.0
    written_bytes: int = 0
    real_s: float = 0.0
    days_mb: list[float] = field(default_factory=list)
    pages: int = 0

    @property
    def cpu_share(self) -> float:
        """Share of one core, all of it."""
        return self.cpu_s / (self.hours * 3600)

    @property
    def written_mb_per_day(self) -> float:
        """What the disk was made to write."""
        return self.written_bytes / 1e6 / (self.hours / 24)


async def measure(hours: float, folder: Path, *, is_service: bool = True) -> Week:
    """Run it and print memory, processor and disk as the days go by."""
    local, week, began_s = Local(folder, 0, 0), Week(hours), time.monotonic()
    try:
        await small_world.stand_up(local, is_service=is_service)
        agent = await local.start(
            "agent",
            *(sys.executable, "-c", LAUNCH, str(hours)),
            *("run", "--config", "/dev/null", "--state", str(folder / "agent")),
        )
        stdout, pid = agent.process.stdout, agent.process.pid
        assert stdout is not None
        first_s = None
        while line := (await stdout.readline()).decode().split():
            if line[0] == "end":
                break
            hour = int(line[1])
            if hour % PAGE_EVERY_H == 1:
                week.pages += await asyncio.to_thread(_read_page)
            week.highest_mb, week.cpu_s = max(week.highest_mb, memory_mb(pid, "VmHWM")), cpu_s(pid)
            first_s = week.cpu_s if first_s is None else first_s
            week.steady_cpu_s = week.cpu_s - first_s
            week.written_bytes, week.real_s = written_bytes(pid), time.monotonic() - began_s
            if hour in (1, hours) or hour % 24 == 0:
                week.days_mb.append(memory_mb(pid, "VmRSS"))
                print(_line(hour, week), flush=True)
        else:
            raise RuntimeError(f"the agent ended:\n{agent.last_words()}")
        return week
    finally:
        await local.take_down()


def _line(hour: int, week: Week) -> str:
    return (
        f"day {hour / 24:5.2f}   resident {week.days_mb[-1]:5.1f} MB   highest {week.highest_mb:5.1f} MB   "
        f"processor {week.cpu_s:6.1f} s, {week.cpu_s / hour / 36:.3f} %   "
        f"written {week.written_bytes / 1000:7.0f} kB   {week.real_s:5.0f} s passed"
    )


def _read_page() -> bool:
    with urllib.request.urlopen(PAGE, timeout=60) as answer:
        return answer.status == 200 and len(answer.read()) > 1000
