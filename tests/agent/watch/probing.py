"""Run inside a namespace: probe a server for some seconds and print what came of it.

python -m tests.agent.watch.probing HOST PORT SECONDS INTERVAL
"""

import asyncio
import json
import sys
import time

from linkbell_agent.ndt7.endpoint import Endpoint
from linkbell_agent.net import Uplink
from linkbell_agent.watch.latency import settled
from linkbell_agent.watch.sampler import Sampler, find_target


async def probe(host: str, port: int, seconds: float, interval_s: float) -> None:
    """Print the probes as [handshake, exchange], and their cost in bytes."""
    sampler = Sampler(await find_target(Endpoint(host, port), Uplink()), Uplink(), time.monotonic)
    until = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, until.set)
    await sampler.run(lambda: interval_s, until)
    probes = [[one.tcp_s, one.http_s] for one in settled(sampler.probes)]
    print(json.dumps({"probes": probes, "cost_bytes": sampler.cost_bytes}))


if __name__ == "__main__":
    asyncio.run(probe(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])))
