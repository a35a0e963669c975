"""Memory of a running agent: a real one, reporting to a real collector, with its speed tests, for ten minutes.

Prints the largest resident set (VmHWM, the kernel's own high-water mark) beside the limit of 45 MB, and what the
agent wrote to disk meanwhile (/proc/PID/io, write_bytes).
"""

import argparse
import asyncio
import contextlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools.run_local import Local

LIMIT_MB = 45.0
FULL_S = 600.0
SHORT_S = 35.0
# Only this machine is asked: a benchmark must not ping the world.
CONFIGURATION = """
default_targets = false
targets = [
  { name = "gateway", layer = "gateway", host = "127.0.0.1" },
  { name = "resolver", layer = "dns", host = "127.0.0.2" },
  { name = "international", layer = "international", host = "localhost" },
  { name = "collector", layer = "collector", host = "127.0.0.1", method = "tcp", port = 9 },
]
platforms = [{ name = "platform", url = "https://localhost:9/" }]
[layers]
portal_url = "http://localhost:9/generate_204"
dns_names = ["localhost"]
resolvers = ["127.0.0.2"]
"""


def status_mb(pid: int, field: str) -> float:
    """Return a field of /proc/PID/status, which is in KiB, as MB of a million bytes."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024 / 1e6
    raise LookupError(field)


def written_bytes(pid: int) -> int:
    """Return what the process made the disk write so far."""
    for line in Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines():
        if line.startswith("write_bytes:"):
            return int(line.split()[1])
    raise LookupError("write_bytes")


async def measure(seconds: float, folder: Path) -> float:
    """Run everything for ``seconds`` and print the memory as it goes. Returns the agent's high-water mark in MB."""
    configuration = folder / "agent.toml"
    configuration.write_text(CONFIGURATION, encoding="utf-8")
    local = Local(folder, 0, 0, ["--config", str(configuration)])
    try:
        agent = await local.bring_up()
        assert agent.process.stdout is not None
        reader = asyncio.create_task(_count_lines(agent.process.stdout))
        pid = agent.process.pid
        step_s = seconds / 10
        for step in range(1, 11):
            await asyncio.sleep(step_s)
            resident, highest = status_mb(pid, "VmRSS"), status_mb(pid, "VmHWM")
            print(
                f"{step * step_s:6.0f} s   resident {resident:5.1f} MB   highest {highest:5.1f} MB   "
                f"written {written_bytes(pid) / 1000:7.0f} kB",
                flush=True,
            )
        highest = status_mb(pid, "VmHWM")
        reader.cancel()
        return highest
    finally:
        await local.take_down()


async def _count_lines(stream: asyncio.StreamReader) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        while await stream.readline():
            pass


def main(argv: Sequence[str] | None = None) -> int:
    """Run and print the ratio to the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help=f"{SHORT_S:.0f} seconds instead of {FULL_S:.0f}")
    arguments = parser.parse_args(argv)
    seconds = SHORT_S if arguments.short else FULL_S
    with tempfile.TemporaryDirectory(prefix="linkbell-bench-") as folder:
        highest_mb = asyncio.run(measure(seconds, Path(folder)))
    ratio = highest_mb / LIMIT_MB
    print(f"agent memory after {seconds:.0f} s: {highest_mb:.1f} MB, {ratio:.2f} of the limit of {LIMIT_MB:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
