"""A watch over real probes, driven line by line from outside: started by tests inside a network namespace."""

import asyncio
import json
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from linkbell_agent.app import LAYERS, build_context, build_plan
from linkbell_agent.identity import Identity
from linkbell_agent.layers.watch import LayerWatch
from linkbell_agent.neighbour import neighbour_state
from linkbell_agent.net import Address
from linkbell_agent.probes.base import PingRequest, ProbeContext
from linkbell_agent.probes.dns import DnsRequest, dns
from linkbell_agent.probes.gateway import gateway_probe
from linkbell_agent.probes.http import HttpRequest, http
from linkbell_agent.probes.ping import ping
from linkbell_agent.settings import load
from linkbell_wire.configuration import AgentConfiguration, TargetConfiguration
from linkbell_wire.records import Record
from linkbell_wire.words import Layer

IDENTITY = Identity(
    agent="agent-1", school="KZ-1", collector="http://collector.example.kz", credential=SecretStr("lbc_" + "x" * 20)
)


async def quick_ping(request: PingRequest, context: ProbeContext) -> Record:
    return await ping(replace(request, spacing_s=0.02, timeout_s=0.3), context)


async def quick_dns(request: DnsRequest, context: ProbeContext) -> Record:
    return await dns(replace(request, timeout_s=0.3), context)


async def quick_http(request: HttpRequest, context: ProbeContext) -> Record:
    return await http(replace(request, timeout_s=0.8), context)


QUICK = replace(LAYERS, ping=quick_ping, gateway=gateway_probe(quick_ping), dns=quick_dns, http=quick_http)


async def obey(settings_file: Path) -> None:
    settings = load(settings_file, environment={}).settings
    records: list[Record] = []
    watch = LayerWatch(QUICK, build_context(settings), records.append)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        if command["do"] == "round":
            remote = command.get("configuration")
            configuration = None if remote is None else AgentConfiguration.model_validate_json(json.dumps(remote))
            records.clear()
            watch._well_at_s.clear()  # tests look at every record
            await watch.round(build_plan(settings, configuration, IDENTITY))
            answer: Any = {
                "verdict": watch.verdict.state,
                "looks_wrong": watch.looks_wrong,
                "records": [json.loads(record.model_dump_json()) for record in records],
            }
        else:
            host = command["host"]
            address = Address(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
            context, started_s = build_context(settings), loop.time()
            await quick_ping(PingRequest(TargetConfiguration(name="n", layer=Layer.GATEWAY, host=host)), context)
            answer = {"neighbour": await neighbour_state(address, context.uplink, loop.time() - started_s)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(obey(Path(sys.argv[1])))
