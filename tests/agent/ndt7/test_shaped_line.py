"""The number itself: a line shaped to a known rate, in a network namespace of our own, must read as that rate."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from itertools import count, islice

import pytest

from linkbell_agent.ndt7.client import Client
from linkbell_agent.ndt7.endpoint import Endpoint
from linkbell_agent.ndt7.rules import Caps
from linkbell_agent.net import Uplink
from linkbell_wire.words import Direction

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="shaping a line takes root: run as root to test the number")

# A subnet of the benchmarking network (RFC 2544) for each process: two runs of this test at once must not meet.
NEAR, FAR = islice(IPv4Network((int(IPv4Address("198.18.0.0")) + os.getpid() % 32768 * 4, 30)).hosts(), 2)
PAYLOAD_SHARE = 1448 / 1514
"""Payload in a full frame as tbf counts it: Ethernet, IPv4 and TCP with time stamps are the rest."""

SERVER = f"""
import asyncio
from linkbell_collector.measure.app import build
from linkbell_collector.measure.settings import MeasureSettings
async def main():
    server = build(MeasureSettings(host="{FAR}", port=8471))
    await server.start()
    print("ready", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


SERIAL = count()


def run(command: str) -> None:
    subprocess.run(command.split(), check=True, capture_output=True)


@pytest.fixture(params=[2, 8, 50], ids=lambda mbit: f"{mbit} Mbit/s")
def line_bps(request: pytest.FixtureRequest) -> Iterator[float]:
    """A server behind a line of this rate in both directions, at the address ``FAR``."""
    rate, burst = f"{request.param}mbit", 8192 + request.param * 2000  # 16 ms' worth: a busy machine looks away longer
    name = f"{os.getpid()}x{next(SERIAL)}"  # the kernel removes a namespace in its own time: no name twice
    space, near, far = f"lb{name}", f"lbn{name}", f"lbf{name}"
    run(f"ip netns add {space}")
    try:
        run(f"ip link add {near} type veth peer name {far} netns {space}")
        run(f"ip address add {NEAR}/30 dev {near}")
        run(f"ip -n {space} address add {FAR}/30 dev {far}")
        run(f"ip link set {near} up")
        run(f"ip -n {space} link set {far} up")
        for where, device in (("", near), (f"-n {space}", far)):
            run(f"tc {where} qdisc add dev {device} root tbf rate {rate} burst {burst} latency 200ms")
        server = subprocess.Popen(
            ["ip", "netns", "exec", space, sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True
        )
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield request.param * 1e6
        server.terminate()
        server.wait()
        server.stdout.close()
    finally:
        subprocess.run(["ip", "link", "delete", near], check=False, capture_output=True)
        run(f"ip netns delete {space}")


@pytest.mark.parametrize("direction", list(Direction))
async def test_a_shaped_line_reads_as_its_rate(line_bps: float, direction: Direction) -> None:
    client = Client(Uplink(), time.monotonic)
    async with asyncio.timeout(20):
        result = (await client.measure(direction, Endpoint(str(FAR), 8471), Caps(5.0))).result
    print(result.model_dump_json(exclude_none=True))
    assert result.bps is not None
    assert 0.93 * PAYLOAD_SHARE < result.bps / line_bps < 1.02 * PAYLOAD_SHARE
