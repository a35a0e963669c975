"""A quarter of an hour of the agent's default work, in real time: what it takes of one core, and what it writes."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from tools.run_local import Local, tool

from benchmarks import small_world
from benchmarks.process import cpu_s, memory_mb, written_bytes

FULL_S = 900.0
SHORT_S = 15.0
STEPS = 5


@dataclass(frozen=True)
class Taken:
    """What it took: at the start, which is imports, the first round and the first speed test, and after it."""

    seconds: float
    highest_mb: float
    start_cpu_s: float
    start_written_bytes: int
    cpu_s: float
    written_bytes: int

    @property
    def cpu_share(self) -> float:
        """Share of one core, after the start."""
        return self.cpu_s / self.seconds

    @property
    def written_mb_per_day(self) -> float:
        """What the disk was made to write in a day that has one start."""
        return (self.start_written_bytes + self.written_bytes * 86_400 / self.seconds) / 1e6


async def measure(seconds: float, folder: Path, *, is_service: bool = True) -> Taken:
    """Run it and print how it goes."""
    local = Local(folder, 0, 0)
    try:
        await small_world.stand_up(local, is_service=is_service)
        state = ("--config", "/dev/null", "--state", str(folder / "agent"))
        agent = await local.start("agent", *tool("agent"), "run", *state)
        pid = agent.process.pid
        await asyncio.sleep(min(20.0, seconds / 2))
        start_cpu_s, start_written = cpu_s(pid), written_bytes(pid)
        highest_mb = memory_mb(pid, "VmHWM")
        print(f"start and first test: {start_cpu_s:.2f} s of processor, highest {highest_mb:.1f} MB", flush=True)
        step_s = seconds / STEPS
        for step in range(1, STEPS + 1):
            await asyncio.sleep(step_s)
            took_s = cpu_s(pid) - start_cpu_s
            print(
                f"{step * step_s:5.0f} s   resident {memory_mb(pid, 'VmRSS'):5.1f} MB, "
                f"its own {memory_mb(pid, 'RssAnon'):5.1f} MB   processor {took_s:6.2f} s, "
                f"{took_s / (step * step_s):.3%}   written {(written_bytes(pid) - start_written) / 1000:6.0f} kB, "
                f"by write(2) {written_bytes(pid, 'wchar') / 1000:6.0f} kB",
                flush=True,
            )
            highest_mb = max(highest_mb, memory_mb(pid, "VmHWM"))
        return Taken(
            seconds,
            highest_mb,
            start_cpu_s,
            start_written,
            cpu_s(pid) - start_cpu_s,
            written_bytes(pid) - start_written,
        )
    finally:
        await local.take_down()
