"""How many records a second can the simulation generate? ``python -m benchmarks.simulate [--short]``.

Real simulation processes send to a sink: an HTTP server in a process of its own that counts the records of each batch
and answers that all are stored, without reading or keeping them. So what is measured is the simulation, and on a
machine with few processors the sink besides. Mark: 60 000 records/s, what a collector has to be loaded with.
"""

import argparse
import asyncio
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
import zlib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from aiohttp import web

from linkbell_collector.simulate.children import ShardProcess
from linkbell_collector.simulate.conductor import split
from linkbell_collector.simulate.display import summed
from linkbell_collector.simulate.driver import Rhythm
from linkbell_collector.simulate.fleet import FleetSpec, build_fleet
from linkbell_collector.simulate.run_file import Shard
from linkbell_collector.simulate.state import StateFolder
from linkbell_collector.simulate.timeline import Timeline

RECORDS_MARK = 60_000


async def _take(request: web.Request) -> web.Response:
    body = zlib.decompress(await request.read(), 31)
    records = body.count(b'"seq":')
    reply = f'{{"stored":{records},"duplicate":0,"rejected":[],"server_time":"2026-03-02T04:10:00Z"}}'
    return web.Response(text=reply, content_type="application/json")


async def _enrol(request: web.Request) -> web.Response:
    reply = {"agent": "agent-1", "credential": "lbc_" + "x" * 20, "status": "active"}
    return web.json_response(reply, status=201)


def sink(ports: "multiprocessing.Queue[int]") -> None:
    """Serve until killed."""

    async def main() -> None:
        application = web.Application(client_max_size=1 << 20)
        application.add_routes([web.post("/api/v1/records", _take), web.post("/api/v1/enrol", _enrol)])
        runner = web.AppRunner(application, access_log=None, auto_decompress=False)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        ports.put(runner.addresses[0][1])
        await asyncio.Event().wait()

    import uvloop

    uvloop.run(main())


async def measure(url: str, processes: int, rhythm: Rhythm, speed: float, seconds: float) -> dict[str, Any]:
    """Return rates of one run: records and requests a second, processor seconds a second, how far it fell behind."""
    spec = FleetSpec(schools=4000, regions=5, districts=40)
    fleet = build_fleet(spec)
    with tempfile.TemporaryDirectory() as name:
        state = StateFolder(Path(name))
        state.truth_file.touch()
        now_us = time.time_ns() // 1000
        shard = Shard(
            url=url,
            agents_file="",
            truth_file=str(state.truth_file),
            schools=[],
            spec=spec,
            timeline=Timeline(now_us, now_us, speed),
            rhythm=rhythm,
            drain_s=0.0,
            tokens={"": "lbj_" + str(uuid4())},
        )
        said: dict[int, list[dict[str, Any]]] = {number: [] for number in range(processes)}
        running = [asyncio.Event() for _ in range(processes)]

        def heard(number: int, line: Mapping[str, Any]) -> None:
            said[number].append(dict(line))
            if line["phase"] == "running":
                running[number].set()

        shards = split(shard, state.share_out(fleet, processes))
        started = [await ShardProcess.start(part, partial(heard, number)) for number, part in enumerate(shards)]
        listeners = [asyncio.create_task(process.listen()) for process in started]
        await asyncio.gather(*(ready.wait() for ready in running))
        await asyncio.sleep(2)
        first, began_s, cpu_s = _total(said), time.monotonic(), _cpu_s(started)
        await asyncio.sleep(seconds)
        last, took_s = _total(said), time.monotonic() - began_s
        cpu_s = _cpu_s(started) - cpu_s
        for process in started:
            process.stop()
        await asyncio.gather(*listeners)
    return {
        "records": (last["stored"] - first["stored"]) / took_s,
        "requests": (last["requests"] - first["requests"]) / took_s,
        "cores": cpu_s / took_s,
        "behind_s": last["behind_s"],
    }


def _total(said: dict[int, list[dict[str, Any]]]) -> dict[str, Any]:
    return summed([line for line in lines if line["phase"] == "running"][-1] for lines in said.values())


def _cpu_s(processes: list[ShardProcess]) -> float:
    ticks = 0
    for process in processes:
        parts = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(parts[11]) + int(parts[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="one short run of each")
    parsed = parser.parse_args()
    seconds, runs = (3.0, 1) if parsed.short else (15.0, 3)
    ports: multiprocessing.Queue[int] = multiprocessing.Queue()
    server = multiprocessing.Process(target=sink, args=(ports,), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{ports.get()}"
    live = Rhythm(connections=16)
    gathered = replace(live, report_every_s=600.0)
    print(f"{os.cpu_count()} processors; 4000 schools; the sink takes one of them")
    for title, rhythm, processes in (
        ("each round at once, 1 process", live, 1),
        ("each round at once, 2 processes", live, 2),
        ("batches of 60, 1 process", gathered, 1),
        ("batches of 60, 2 processes", gathered, 2),
    ):
        found = [asyncio.run(measure(url, processes, rhythm, 400.0, seconds)) for _ in range(runs)]
        rates = [one["records"] for one in found]
        requests = statistics.median(one["requests"] for one in found)
        cores = statistics.median(one["cores"] for one in found)
        median = statistics.median(rates)
        print(
            f"{title}: {median:,.0f} records/s ({min(rates):,.0f} to {max(rates):,.0f}), {requests:,.0f} requests/s, "
            f"{cores:.2f} cores: {median / cores:,.0f} records/s a core; mark {RECORDS_MARK:,}, ratio "
            f"{median / RECORDS_MARK:.2f}"
        )
    server.terminate()
    server.join()
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"largest process: {peak:.0f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
