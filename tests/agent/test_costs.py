"""What a record accounts for in bytes, kind by kind."""

import json
from typing import Any

import pytest

from linkbell_agent.costs import bytes_of
from linkbell_wire.records import RECORD_ADAPTER, Record

STAMP = {"seq": 1, "uplink": "main", "at": "2026-03-02T04:05:00Z", "boot_id": "b", "boottime_s": 1.0}
LOST = {"operation": "receive", "code": "connection_reset"}
TIMES = {"rtt_min_s": 0.01, "rtt_mean_s": 0.01, "rtt_p95_s": 0.01, "rtt_max_s": 0.01}


def made(kind: str, **fields: Any) -> Record:
    return RECORD_ADAPTER.validate_json(json.dumps({"kind": kind, **STAMP, **fields}))


def ping(sent: int, received: int, method: str = "icmp", address: str | None = "192.0.2.1") -> Record:
    lost = {"timeout": sent - received} if sent > received else {}
    fields = {"target": "t", "layer": "isp", "host": "h", "address": address, "method": method, "failures": lost}
    return made("ping", sent=sent, received=received, **fields, **(TIMES if received else {}))


def speed(**fields: Any) -> Record:
    return made("speed", engine="ndt7", server="ws://h:1", trigger="slot", **fields)


def check(**fields: Any) -> Record:
    return made("check", server="ws://h:1", trigger="slot", floor_bps=8e6, duration_s=1.0, **fields)


DOWN = {"bps": 1e6, "bytes": 1_000_000, "duration_s": 1.0, "stop": "stable"}


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        pytest.param(speed(download=DOWN), 1_000_000, id="one direction"),
        pytest.param(speed(download=DOWN, upload=DOWN | {"bytes": 7}, probe_bytes=80_000), 1_080_007, id="all of it"),
        pytest.param(
            speed(download={"bytes": 5_000, "duration_s": 1.0, "failure": LOST}), 5_000, id="a failed direction"
        ),
        pytest.param(speed(failure=LOST), 0, id="a test that never began"),
        pytest.param(check(passed=True, bps=9e6, bytes=450_000), 450_000, id="a check"),
        pytest.param(check(bytes=123, failure=LOST), 123, id="a check that did not find out"),
        pytest.param(ping(10, 10), 20 * 84, id="pings over IPv4"),
        pytest.param(ping(10, 9, address="2001:db8::1"), 19 * 104, id="pings over IPv6, one lost"),
        pytest.param(ping(2, 1, "tcp"), 328 + 60, id="TCP over IPv4, one unanswered"),
        pytest.param(ping(2, 1, "tcp", "2001:db8::1"), 448 + 80, id="TCP over IPv6, one unanswered"),
        pytest.param(
            made("ping", target="t", layer="isp", host="h", method="icmp", sent=0, received=0, failure=LOST),
            0,
            id="a ping that was not sent",
        ),
        pytest.param(
            made("http", target="t", layer="platform", url="http://h/", status=200, bytes=512), 512, id="http"
        ),
        pytest.param(made("http", target="t", layer="platform", url="http://h/", failure=LOST), 0, id="http, failed"),
        pytest.param(made("dns", target="t", name="h", duration_s=0.1), 0, id="dns"),
        pytest.param(made("verdict", verdict="ok"), 0, id="verdict"),
        pytest.param(made("event", event="start"), 0, id="event"),
        pytest.param(made("skip", skipped="speed", reason="busy"), 0, id="skip"),
    ],
)
def test_a_record_says_what_it_cost(record: Record, expected: int) -> None:
    assert bytes_of(record) == expected
