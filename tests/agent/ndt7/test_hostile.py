"""Tests that end when they know, against servers and lines that would have them know something wrong."""

import json
import subprocess
import sys
import time

import pytest

from linkbell_agent.ndt7.client import Client, Outcome
from linkbell_agent.ndt7.endpoint import Endpoint
from linkbell_agent.ndt7.plateau import Plateau
from linkbell_agent.ndt7.rules import Caps
from linkbell_agent.net import Uplink
from linkbell_wire.failures import Failure, FailureCode, Operation
from linkbell_wire.ndt7 import frames
from linkbell_wire.ndt7.frames import Opcode
from linkbell_wire.words import Direction, Stop
from tests.agent.ndt7 import servers
from tests.agent.ndt7.servers import Behaviour, Visitor, serving
from tests.linkbed.bed import linkbed, why_not
from tests.linkbed.lines import Line, Way, steady
from tests.linkbed.namespaces import REPOSITORY

DOWN, UP = Direction.DOWNLOAD, Direction.UPLOAD
REASON = why_not()
needs_root = pytest.mark.skipif(REASON is not None, reason=str(REASON))

OFFER = "Linkbell-Streams: 4\r\n"


async def measure(behaviour: Behaviour, direction: Direction, caps: Caps | None = None) -> Outcome:
    client = Client(Uplink(), time.monotonic, Plateau, streams=4)
    async with serving(behaviour) as server:
        return await client.measure(direction, Endpoint("127.0.0.1", server.port), caps or Caps(4.0))


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        pytest.param(servers.floods_then("close", 0.15), FailureCode.CONNECTION_CLOSED, id="closes in the ramp"),
        pytest.param(servers.floods_then("hang_up", 0.15), FailureCode.CONNECTION_CLOSED, id="hangs up in the ramp"),
        pytest.param(servers.floods_then("reset", 0.15), FailureCode.CONNECTION_RESET, id="resets in the ramp"),
        pytest.param(servers.floods_then("refuse", 0.15), FailureCode.PROTOCOL_ERROR, id="refuses in the ramp"),
        pytest.param(servers.floods_then("stall", 0.15), FailureCode.TIMEOUT, id="stalls in the ramp"),
        pytest.param(servers.sends(b"garbage" * 999), FailureCode.PROTOCOL_ERROR, id="garbage"),
        pytest.param(
            servers.sends(frames.header(Opcode.BINARY, 1 << 30)), FailureCode.MESSAGE_TOO_LARGE, id="a message of 1 GiB"
        ),
        pytest.param(
            servers.sends(frames.message(Opcode.TEXT, b"{}"), for_ever=True),
            FailureCode.PROTOCOL_ERROR,
            id="text flood",
        ),
    ],
)
async def test_a_download_that_ends_before_the_line_was_seen_full_has_a_code_and_no_number(
    behaviour: Behaviour, code: FailureCode
) -> None:
    result = (await measure(behaviour, DOWN)).result
    assert result.failure == Failure(operation=Operation.RECEIVE, code=code)
    assert result.bps is None


@pytest.mark.parametrize("lie", ["rtt", "bytes", "both"])
async def test_a_server_that_lies_about_the_connection_changes_no_speed(lie: str) -> None:
    """Twenty times a second it says that it received a tenth, over round trips of a microsecond or an hour."""
    received = 0

    async def lies(visitor: Visitor) -> None:
        nonlocal received
        await visitor.upgrade()
        for turn in range(200):
            received = await visitor.swallow(0.05)
            rtt = (1, 3_600_000_000)[turn % 2] if lie != "bytes" else 1000
            claimed = received // 10 if lie != "rtt" else received
            visitor.say(bytes_received=claimed, elapsed_us=(turn + 1) * 50_000, min_rtt_us=rtt, rtt_us=rtt)

    result = (await measure(lies, UP)).result
    assert result.bps is not None
    assert result.stop in (Stop.STABLE, Stop.VARYING)
    assert result.bps == pytest.approx(received * 8 / result.duration_s, rel=0.4)


async def test_tiny_segments_are_not_taken_for_full_ones() -> None:
    """Eight megabits a second in ten thousand segments; taken for full ones they would be hundreds or thousands."""
    sent: list[tuple[float, int]] = []
    result = (await measure(servers.dribbles(8e6, sent), DOWN)).result
    (first_s, first_bytes), (last_s, last_bytes) = sent[0], sent[-1]
    true_bps = (last_bytes - first_bytes) * 8 / (last_s - first_s)
    assert result.bps is not None
    assert result.bps == pytest.approx(true_bps, rel=0.2)
    assert result.bytes < last_bytes + (1 << 18)  # which is what could have waited


async def test_a_server_that_mostly_talks_gives_no_speed() -> None:
    """What came was no payload, however much of it there was."""
    result = (await measure(servers.talks(20e6), DOWN)).result
    assert result.failure == Failure(operation=Operation.RECEIVE, code=FailureCode.PROTOCOL_ERROR)
    assert result.bps is None
    assert result.bytes > 100_000


@pytest.mark.parametrize("then", ["hangs", "refuses", "resets"])
async def test_streams_that_a_server_offers_and_does_not_give_are_done_without(then: str) -> None:
    first = True

    async def offers(visitor: Visitor) -> None:
        nonlocal first
        if first:
            first = False
            await visitor.upgrade(more=OFFER)
            await visitor.flood(20)
        await visitor.request()
        if then == "hangs":
            await visitor.swallow(20)
        elif then == "refuses":
            visitor.writer.write(b"HTTP/1.1 503 Busy\r\nRetry-After: 9\r\n\r\n")
            await visitor.swallow(1)
        else:
            visitor.reset()

    began = time.monotonic()
    result = (await measure(offers, DOWN)).result
    assert result.bps is not None
    assert result.streams == 1
    assert time.monotonic() - began < 6


async def test_a_byte_cap_holds_over_all_streams_of_an_upload() -> None:
    async def swallows(visitor: Visitor) -> None:
        await visitor.upgrade(more=OFFER)
        await visitor.swallow(20)

    result = (await measure(swallows, UP, Caps(10.0, max_bytes=50_000_000))).result
    assert result.bytes <= 50_000_000


@needs_root
def test_a_line_that_dies_in_the_middle_is_a_failure_with_its_cost_and_ends() -> None:
    alive = steady(8, delay_s=0.02, queue_s=0.2)
    dying = Way([8e6, *[0.0] * 20], alive.delay_s, alive.queue_bytes, step_s=6.0)
    with linkbed(Line("dies", dying, dying, is_steady=False)) as bed, bed.measurement_server() as url:
        began = time.monotonic()
        command = [sys.executable, "-m", "linkbell_agent", "speed", "--server", url, "--full", "--json"]
        done = subprocess.run(
            bed.school.inside(*command), capture_output=True, text=True, check=False, cwd=REPOSITORY, timeout=90
        )
        took_s = time.monotonic() - began
    record = json.loads(done.stdout)
    assert done.returncode == 1
    assert record["download"]["failure"] == {"operation": "receive", "code": "timeout"}
    assert record["download"]["bytes"] > 100_000
    assert record["download"]["bps"] is None
    assert record["upload"]["failure"] is not None
    assert took_s < 60
