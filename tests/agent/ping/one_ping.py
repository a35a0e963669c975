"""Run one ping and print its record: started by tests inside a network namespace, with or without privilege."""

import argparse
import asyncio

from linkbell_agent.clock import SystemClock
from linkbell_agent.net import Uplink
from linkbell_agent.probes.base import PingRequest, ProbeContext
from linkbell_agent.probes.ping import ping
from linkbell_wire.configuration import TargetConfiguration
from linkbell_wire.words import Layer, PingMethod


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("--method", type=PingMethod)
    parser.add_argument("--port", type=int)
    parser.add_argument("--device")
    parser.add_argument("--source")
    parser.add_argument("--count", type=int, default=4)
    parser.add_argument("--timeout", type=float, default=0.5)
    arguments = parser.parse_args()
    target = TargetConfiguration(
        name="target", layer=Layer.ISP, host=arguments.host, method=arguments.method, port=arguments.port
    )
    request = PingRequest(target, count=arguments.count, spacing_s=0.02, timeout_s=arguments.timeout)
    context = ProbeContext(Uplink(device=arguments.device, source=arguments.source), SystemClock())
    print(asyncio.run(ping(request, context)).model_dump_json())


if __name__ == "__main__":
    main()
