"""How fast the ndt7 pair is on loopback: our client on one core, our server on another. ``python -m benchmarks.ndt7``.

The marks are 3 Gbit/s down and 1.5 Gbit/s up: a school's line must be the slowest part of a test by far. iperf3, where
installed, runs in the same way on the same cores as the peer to be compared with.
"""

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from linkbell_wire.words import Direction

MARKS_BPS = {Direction.DOWNLOAD: 3e9, Direction.UPLOAD: 1.5e9}


@dataclass(frozen=True)
class Result:
    """One run: bits per second, processor seconds per second in the client, and by how much its memory grew."""

    bps: float
    cpu: float
    grown_kib: int
    rss_kib: int


def cores() -> tuple[int, int]:
    """Return one core for the server and one for the client; the same one if there is no other."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


def rss_kib() -> int:
    """Return this process' resident memory."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


async def serve() -> None:
    """Be the server's process."""
    from linkbell_collector.measure.app import build
    from linkbell_collector.measure.settings import MeasureSettings

    server = build(MeasureSettings(host="127.0.0.1", port=0))
    await server.start()
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


async def run_client(port: int, direction: Direction, seconds: float) -> Result:
    """Be the client's process: one test."""
    from linkbell_agent.ndt7.client import Client
    from linkbell_agent.ndt7.endpoint import Endpoint
    from linkbell_agent.ndt7.rules import Caps
    from linkbell_agent.net import Uplink

    client = Client(Uplink(), time.monotonic)
    before_kib, cpu, began = rss_kib(), time.process_time(), time.monotonic()
    outcome = await client.measure(direction, Endpoint("127.0.0.1", port), Caps(seconds))
    used = (time.process_time() - cpu) / (time.monotonic() - began)
    if outcome.result.bps is None:
        raise SystemExit(f"the {direction} failed: {outcome.result.failure}")
    return Result(outcome.result.bps, used, rss_kib() - before_kib, rss_kib())


@contextmanager
def pinned(core: int, command: list[str]) -> Iterator["subprocess.Popen[str]"]:
    """Run a command on one core and stop it in the end."""
    process = subprocess.Popen(
        ["taskset", "-c", str(core), *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        yield process
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def output(core: int, command: list[str]) -> str:
    """Return what a command prints, run on one core."""
    return subprocess.run(["taskset", "-c", str(core), *command], stdout=subprocess.PIPE, text=True, check=True).stdout


def own_piece(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.ndt7", *arguments]


def measure(port: int, core: int, direction: Direction, seconds: float) -> Result:
    """Run one test in a process of its own."""
    return Result(**json.loads(output(core, own_piece("--client", str(port), direction, str(seconds)))))


def iperf3(port: int, core: int, direction: Direction, seconds: float) -> float:
    """Run iperf3 in the same direction for as long. Returns bits per second at the receiver."""
    command = ["iperf3", "-c", "127.0.0.1", "-p", str(port), "-t", str(max(1, round(seconds))), "-J"]
    reverse = ["-R"] if direction is Direction.DOWNLOAD else []
    return float(json.loads(output(core, command + reverse))["end"]["sum_received"]["bits_per_second"])


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def report(direction: Direction, results: list[Result], peer_bps: float | None) -> bool:
    """Print one direction. Returns whether it reaches its mark."""
    speeds = [result.bps for result in results]
    median, mark = statistics.median(speeds), MARKS_BPS[direction]
    say(
        f"{direction:8} {median / 1e9:6.2f} Gbit/s median of {len(speeds)} ({min(speeds) / 1e9:.2f} to "
        f"{max(speeds) / 1e9:.2f}); {median / mark:.1f} x the mark of {mark / 1e9:g} Gbit/s"
    )
    worst = max(results, key=lambda result: result.grown_kib)
    say(
        f"         client: {statistics.median(result.cpu for result in results):.0%} of a core, "
        f"memory +{worst.grown_kib / 1024:.1f} MiB to {worst.rss_kib / 1024:.1f} MiB"
    )
    if peer_bps is not None:
        say(f"         iperf3: {peer_bps / 1e9:.2f} Gbit/s; we reach {median / peer_bps:.0%} of it")
    return median >= mark


def compare(seconds: float, runs: int) -> int:
    """Run everything. Returns the exit status: 1 if a mark was missed."""
    server_core, client_core = cores()
    peer = shutil.which("iperf3") is not None
    say(f"server on core {server_core}, client on core {client_core}, {runs} runs of {seconds:g} s each way")
    if server_core == client_core:
        say("there is only one core: both share it, so expect about half")
    if not peer:
        say("iperf3 is not installed, so there is no peer to compare with (Debian: apt-get install iperf3)")
    reached = True
    with pinned(server_core, own_piece("--server")) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        for direction in Direction:
            results = [measure(port, client_core, direction, seconds) for _ in range(runs)]
            reached &= report(direction, results, peer_speed(server_core, client_core, direction, seconds, peer=peer))
    return 0 if reached else 1


def peer_speed(server_core: int, client_core: int, direction: Direction, seconds: float, *, peer: bool) -> float | None:
    """Measure iperf3 once, right after our own runs."""
    if not peer:
        return None
    port = 5291
    with pinned(server_core, ["iperf3", "-s", "-B", "127.0.0.1", "-p", str(port), "--forceflush"]) as server:
        assert server.stdout is not None
        while "listening" not in server.stdout.readline():
            pass
        return iperf3(port, client_core, direction, seconds)


def main() -> int:
    """Read the command line and be whichever piece it asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="under 15 seconds, for CI: shorter and fewer runs")
    parser.add_argument("--server", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--client", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.server:
        from linkbell_collector.measure.command import loop_factory

        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(serve())
    if args.client:
        port, direction, seconds = args.client
        result = asyncio.run(run_client(int(port), Direction(direction), float(seconds)))
        say(json.dumps({name: getattr(result, name) for name in Result.__dataclass_fields__}))
        return 0
    return compare(0.7, 3) if args.short else compare(4.0, 5)


if __name__ == "__main__":
    sys.exit(main())
