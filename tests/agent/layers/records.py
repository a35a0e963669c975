"""Records as a round brings them."""

from typing import Any

from linkbell_wire.failures import Failure, FailureCode, Operation
from linkbell_wire.records import DnsRecord, HttpRecord, PingRecord
from linkbell_wire.words import Layer, PingMethod
from tests.agent.fakes import BOOT, START

STAMP: dict[str, Any] = {"seq": 0, "uplink": "main", "at": START, "boot_id": BOOT, "boottime_s": 1.0}


def failure(operation: Operation, code: FailureCode) -> Failure:
    return Failure(operation=operation, code=code)


def ping(
    layer: Layer = Layer.INTERNATIONAL,
    lost: int = 0,
    rtt_s: float = 0.05,
    sent: int = 10,
    code: FailureCode = FailureCode.TIMEOUT,
    **more: Any,
) -> PingRecord:
    rtts = {} if lost == sent else dict.fromkeys(("rtt_min_s", "rtt_mean_s", "rtt_p95_s", "rtt_max_s"), rtt_s)
    values: dict[str, Any] = {"target": layer.value, "layer": layer, "host": "192.0.2.1", "method": PingMethod.ICMP}
    values |= {"sent": sent, "received": sent - lost, "failures": {code: lost} if lost else {}}
    return PingRecord(**STAMP, **(values | rtts | more))


def unsent(layer: Layer, operation: Operation, code: FailureCode) -> PingRecord:
    return ping(layer, sent=0, failure=failure(operation, code))


def dns(code: FailureCode | None = None, resolver: str | None = "198.51.100.53", target: str = "resolver") -> DnsRecord:
    failed = None if code is None else failure(Operation.RESOLVE, code)
    duration_s = 0.02 if failed is None else None
    return DnsRecord(
        **STAMP, target=target, resolver=resolver, name="example.kz", duration_s=duration_s, failure=failed
    )


def http(
    layer: Layer = Layer.PLATFORM,
    code: FailureCode | None = None,
    operation: Operation = Operation.HTTP_REQUEST,
    status: int | None = 200,
    url: str = "https://platform.example/",
    target: str | None = None,
) -> HttpRecord:
    failed = None if code is None else failure(operation, code)
    return HttpRecord(**STAMP, target=target or layer.value, layer=layer, url=url, status=status, failure=failed)
