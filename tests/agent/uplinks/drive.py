"""A watch of each uplink over real probes, driven line by line from outside: started inside a network namespace."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from linkbell_agent.app import build_plan
from linkbell_agent.clock import SystemClock
from linkbell_agent.layers.watch import LayerWatch
from linkbell_agent.net import Uplink
from linkbell_agent.probes.base import ProbeContext
from linkbell_agent.settings import load
from linkbell_agent.ways_out import carrying, trouble_with
from linkbell_wire.records import Record
from tests.agent.layers.drive import IDENTITY, QUICK


async def obey(settings_file: Path) -> None:
    settings = load(settings_file, environment={}).settings
    ways = {way.name: way for way in settings.ways}
    records: list[Record] = []
    clock = SystemClock()
    watches = {
        name: LayerWatch(QUICK, ProbeContext(Uplink(name, way.device, way.source), clock), records.append)
        for name, way in ways.items()
    }
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        answer: dict[str, Any]
        if command["do"] == "round":
            watch = watches[command["uplink"]]
            records.clear()
            watch._well_at_s.clear()  # tests look at every record
            await watch.round(build_plan(settings, None, IDENTITY, command["uplink"]))
            answer = {
                "verdict": watch.verdict.state,
                "records": [json.loads(record.model_dump_json()) for record in records],
            }
        elif command["do"] == "carrier":
            answer = {"carrier": carrying(settings.ways)}
        else:
            answer = {"trouble": trouble_with(ways[command["uplink"]])}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(obey(Path(sys.argv[1])))
