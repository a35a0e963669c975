"""From ``linkbell-agent run`` to its first echo request on the wire, as a packet socket sees it."""

import asyncio
import socket
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from tools.run_local import Local, tool

from benchmarks import small_world
from benchmarks.process import cpu_s

STARTS = 5
TIMEOUT_S = 30.0
ETH_P_ALL, ETH_P_IP = 3, 0x0800
ECHO_REQUEST = 8

SLOWER = {"Raspberry Pi 4": 4.0, "Raspberry Pi 3": 9.0}
"""How many times slower one core is than the one of the published numbers: an estimate from single-core results."""


@dataclass(frozen=True)
class Starts:
    """Seconds to the first ping, and of processor until then."""

    wall_s: list[float]
    processor_s: list[float]

    @property
    def median_s(self) -> float:
        """The middle one."""
        return statistics.median(self.wall_s)


async def measure(folder: Path, starts: int, *, is_service: bool = True) -> Starts:
    """Start an enrolled agent so many times; the modules are compiled, the files mostly in memory."""
    local = Local(folder, 0, 0)
    wall_s, processor_s = [], []
    try:
        await small_world.stand_up(local, is_service=is_service)
        state = ("--config", "/dev/null", "--state", str(folder / "agent"))
        for _ in range(starts):
            with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)) as wire:
                wire.setblocking(False)
                began_s = time.monotonic()
                agent = await local.start("agent", *tool("agent"), "run", *state)
                await _first_echo(wire)
                wall_s.append(time.monotonic() - began_s)
                processor_s.append(cpu_s(agent.process.pid))
            await agent.stop()
            print(f"first ping after {wall_s[-1]:.2f} s, {processor_s[-1]:.2f} s of processor", flush=True)
    finally:
        await local.take_down()
    for box, times in SLOWER.items():
        estimate_s = statistics.median(processor_s) * times
        print(f"by its processor time on a {box}, {times:.0f} times slower: {estimate_s:.1f} s (an estimate)")
    return Starts(wall_s, processor_s)


async def _first_echo(wire: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            packet, (_, protocol, *_) = await loop.sock_recvfrom(wire, 2048)
            if (
                protocol == ETH_P_IP
                and packet[9] == socket.IPPROTO_ICMP
                and packet[(packet[0] & 15) * 4] == ECHO_REQUEST
            ):
                return
