"""The ndt7 client against servers that do what they should not: every run ends, with a code and every byte counted."""

import asyncio
import socket
import time

import pytest

from linkbell_agent.ndt7.client import Client, Outcome
from linkbell_agent.ndt7.endpoint import Endpoint
from linkbell_agent.ndt7.exchange import STALL_S
from linkbell_agent.ndt7.plateau import Plateau
from linkbell_agent.ndt7.rules import Caps, Estimate, Sample
from linkbell_agent.net import Uplink
from linkbell_wire.failures import Failure, FailureCode, Operation
from linkbell_wire.ndt7 import frames
from linkbell_wire.ndt7.frames import Opcode
from linkbell_wire.words import Direction, Stop
from tests.agent.ndt7 import servers
from tests.agent.ndt7.servers import Behaviour, serving

DOWN, UP = Direction.DOWNLOAD, Direction.UPLOAD
CLIENT = Client(Uplink(), time.monotonic)
A_SECOND = Caps(1.0)


async def measure(behaviour: Behaviour, direction: Direction = DOWN, caps: Caps = A_SECOND) -> Outcome:
    async with serving(behaviour) as server, asyncio.timeout(15):
        return await CLIENT.measure(direction, Endpoint("127.0.0.1", server.port), caps)


PORTAL = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>Please log in"


@pytest.mark.parametrize("direction", [DOWN, UP])
@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        pytest.param(servers.hangs_up, FailureCode.CONNECTION_CLOSED, id="hangs up"),
        pytest.param(servers.resets_at_once, FailureCode.CONNECTION_RESET, id="resets"),
        pytest.param(servers.answers(PORTAL), FailureCode.HTTP_STATUS, id="captive portal"),
        pytest.param(
            servers.answers("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n"), FailureCode.REDIRECTED, id="redirect"
        ),
        pytest.param(servers.answers("HTTP/1.1 404 No\r\n\r\n"), FailureCode.HTTP_STATUS, id="404"),
        pytest.param(servers.answers("<html>not even http</html>"), FailureCode.PROTOCOL_ERROR, id="html"),
        pytest.param(servers.answers("220 mail.example ESMTP\r\n"), FailureCode.PROTOCOL_ERROR, id="another protocol"),
        pytest.param(servers.answers(b"\x15\x03\x01\x00\x02\x02\x46"), FailureCode.PROTOCOL_ERROR, id="tls alert"),
        pytest.param(servers.drips_headers, FailureCode.PROTOCOL_ERROR, id="endless headers"),
        pytest.param(servers.upgrades_badly(accept="x"), FailureCode.PROTOCOL_ERROR, id="wrong accept"),
        pytest.param(servers.upgrades_badly(subprotocol="chat"), FailureCode.PROTOCOL_ERROR, id="wrong subprotocol"),
    ],
)
async def test_a_server_that_does_not_take_the_test(
    behaviour: Behaviour, code: FailureCode, direction: Direction
) -> None:
    outcome = await measure(behaviour, direction)
    assert outcome.result.failure == Failure(operation=Operation.UPGRADE, code=code)
    assert outcome.result.bytes == 0
    assert not outcome.admitted


async def test_a_busy_server_says_when_to_come_back() -> None:
    outcome = await measure(servers.answers("HTTP/1.1 503 Busy\r\nRetry-After: 9\r\n\r\n"))
    assert outcome.result.failure == Failure(operation=Operation.UPGRADE, code=FailureCode.SERVER_BUSY)
    assert outcome.retry_after_s == 9


async def test_a_server_that_never_answers_is_given_seven_seconds() -> None:
    began = time.monotonic()
    outcome = await measure(servers.says_nothing)
    assert outcome.result.failure == Failure(operation=Operation.UPGRADE, code=FailureCode.TIMEOUT)
    assert 6.9 < time.monotonic() - began < 9


async def test_nothing_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        outcome = await CLIENT.measure(DOWN, Endpoint("127.0.0.1", unused.getsockname()[1]), Caps(1.0))
    assert outcome.result.failure == Failure(operation=Operation.CONNECT, code=FailureCode.CONNECTION_REFUSED)


async def test_tls_with_a_server_that_has_none() -> None:
    async with serving(servers.speaks_first) as server:
        outcome = await CLIENT.measure(DOWN, Endpoint("127.0.0.1", server.port, tls=True), Caps(1.0))
    assert outcome.result.failure == Failure(operation=Operation.TLS_HANDSHAKE, code=FailureCode.TLS_FAILED)


TEXT = frames.message(Opcode.TEXT, b"{}")


@pytest.mark.parametrize(
    ("behaviour", "operation", "code"),
    [
        pytest.param(servers.floods_then("stall", 0), Operation.RECEIVE, FailureCode.TIMEOUT, id="never sends"),
        pytest.param(servers.floods_then("stall", 0.3), Operation.RECEIVE, FailureCode.TIMEOUT, id="stalls"),
        pytest.param(servers.floods_then("close", 0), Operation.RECEIVE, FailureCode.CONNECTION_CLOSED, id="closes"),
        pytest.param(
            servers.floods_then("close", 0.3), Operation.RECEIVE, FailureCode.CONNECTION_CLOSED, id="closes early"
        ),
        pytest.param(
            servers.floods_then("hang_up", 0.3), Operation.RECEIVE, FailureCode.CONNECTION_CLOSED, id="hangs up early"
        ),
        pytest.param(servers.floods_then("reset", 0.3), Operation.RECEIVE, FailureCode.CONNECTION_RESET, id="resets"),
        pytest.param(servers.floods_then("refuse", 0.3), Operation.RECEIVE, FailureCode.PROTOCOL_ERROR, id="refuses"),
        pytest.param(servers.sends(b"garbage" * 999), Operation.RECEIVE, FailureCode.PROTOCOL_ERROR, id="garbage"),
        pytest.param(
            servers.sends(frames.header(Opcode.BINARY, 1 << 25)),
            Operation.RECEIVE,
            FailureCode.MESSAGE_TOO_LARGE,
            id="huge message",
        ),
        pytest.param(servers.sends(TEXT * 999), Operation.RECEIVE, FailureCode.PROTOCOL_ERROR, id="text burst"),
        pytest.param(
            servers.sends(TEXT, for_ever=True), Operation.RECEIVE, FailureCode.PROTOCOL_ERROR, id="text flood"
        ),
        pytest.param(
            servers.sends(frames.message(Opcode.PING, b"x" * 125), for_ever=True),
            Operation.RECEIVE,
            FailureCode.PROTOCOL_ERROR,
            id="ping flood",
        ),
        pytest.param(
            servers.sends(frames.message(Opcode.BINARY, b""), for_ever=True),
            Operation.RECEIVE,
            FailureCode.PROTOCOL_ERROR,
            id="empty messages",
        ),
    ],
)
async def test_a_download_that_goes_wrong_has_a_code_and_counts_its_bytes(
    behaviour: Behaviour, operation: Operation, code: FailureCode
) -> None:
    began = time.monotonic()
    outcome = await measure(behaviour)
    assert outcome.result.failure == Failure(operation=operation, code=code)
    assert outcome.admitted
    assert outcome.result.bps is None
    assert time.monotonic() - began < 3


async def test_a_failed_download_says_what_it_cost() -> None:
    outcome = await measure(servers.floods_then("reset", 0.3))
    assert outcome.result.bytes >= 1 << 16


async def test_a_dead_line_ends_a_long_test_after_five_seconds_of_silence() -> None:
    began = time.monotonic()
    outcome = await measure(servers.floods_then("stall", 0.2), caps=Caps(13.0))
    assert outcome.result.failure == Failure(operation=Operation.RECEIVE, code=FailureCode.TIMEOUT)
    assert STALL_S < time.monotonic() - began < STALL_S + 1.5


@pytest.mark.parametrize("what", ["close", "hang_up"])
async def test_a_server_that_ends_after_a_real_amount_gives_a_result(what: str) -> None:
    outcome = await measure(servers.floods_then(what, 0.7))
    assert outcome.result.stop is Stop.SERVER
    assert outcome.result.bps is not None


async def test_a_server_that_never_stops_is_cut_off() -> None:
    began = time.monotonic()
    outcome = await measure(servers.never_stops_sending, caps=Caps(0.5))
    assert outcome.result.stop is Stop.TIME
    assert 0.5 <= outcome.result.duration_s < 0.6
    assert time.monotonic() - began < 1.5


class AfterAWhile:
    """A rule that ends a test after 0.3 s, and keeps what it saw."""

    def __init__(self, rtt_s: float) -> None:
        self.estimate: Estimate | None = None
        self.samples: list[Sample] = []

    def __call__(self, sample: Sample) -> Stop | None:
        self.samples.append(sample)
        if sample.elapsed_s < 0.3 or sample.bytes == 0:
            return None
        self.estimate = Estimate(8e6, 7e6, 9e6, 0.1, sample.elapsed_s)
        return Stop.STABLE


@pytest.mark.parametrize("direction", [DOWN, UP])
async def test_a_rule_sees_samples_that_only_grow_and_may_end_the_test(direction: Direction) -> None:
    rules: list[AfterAWhile] = []

    def make_rule(rtt_s: float) -> AfterAWhile:
        rules.append(AfterAWhile(rtt_s))
        return rules[-1]

    behaviour = servers.never_stops_sending if direction is DOWN else servers.swallows_then("close", 20)
    client = Client(Uplink(), time.monotonic, make_rule)
    async with serving(behaviour) as server, asyncio.timeout(15):
        outcome = await client.measure(direction, Endpoint("127.0.0.1", server.port), Caps(5.0))
    result, samples = outcome.result, rules[0].samples
    assert result.stop is Stop.STABLE
    assert result.bps == pytest.approx(8e6, rel=0.01)  # less frame headers
    assert 0.3 <= result.duration_s < 0.6
    assert len(samples) >= 6
    assert samples == sorted(samples, key=lambda sample: (sample.elapsed_s, sample.bytes))


@pytest.mark.parametrize("direction", [DOWN, UP])
async def test_what_came_after_the_stop_is_a_cost_and_no_sample(direction: Direction) -> None:
    rule = AfterAWhile(0.0)
    behaviour = servers.floods_then("stall", 0.2) if direction is DOWN else servers.swallows_then("close", 20)
    client = Client(Uplink(), time.monotonic, lambda _: rule)
    async with serving(behaviour) as server, asyncio.timeout(15):
        outcome = await client.measure(direction, Endpoint("127.0.0.1", server.port), Caps(5.0))
    assert 0.5 * outcome.result.bytes < rule.samples[-1].bytes <= 1.01 * outcome.result.bytes


async def test_a_test_that_is_cut_while_it_speeds_up_has_no_number() -> None:
    client = Client(Uplink(), time.monotonic, Plateau)
    async with serving(servers.never_stops_sending) as server, asyncio.timeout(15):
        outcome = await client.measure(DOWN, Endpoint("127.0.0.1", server.port), Caps(0.15))
    assert outcome.result.failure == Failure(operation=Operation.RECEIVE, code=FailureCode.INCONCLUSIVE)
    assert outcome.result.bytes > 0


async def test_a_server_that_offers_no_streams_is_asked_for_none() -> None:
    client = Client(Uplink(), time.monotonic, Plateau, streams=4)
    async with serving(servers.never_stops_sending) as server, asyncio.timeout(15):
        outcome = await client.measure(DOWN, Endpoint("127.0.0.1", server.port), Caps(5.0))
    assert outcome.result.streams == 1
    assert len(server.requests) == 1


async def test_a_byte_cap_ends_a_download_soon() -> None:
    outcome = await measure(servers.never_stops_sending, caps=Caps(10.0, max_bytes=1 << 20))
    assert outcome.result.stop is Stop.BYTES
    assert outcome.result.bytes >= 1 << 20


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        pytest.param(servers.never_reads, FailureCode.TIMEOUT, id="never reads"),
        pytest.param(servers.swallows_then("stall", 0.1), FailureCode.TIMEOUT, id="stops reading"),
        pytest.param(servers.swallows_then("close", 0.1), FailureCode.CONNECTION_CLOSED, id="closes early"),
    ],
)
async def test_an_upload_that_goes_wrong_has_a_code_and_counts_its_bytes(
    behaviour: Behaviour, code: FailureCode
) -> None:
    began = time.monotonic()
    outcome = await measure(behaviour, UP)
    assert outcome.result.failure == Failure(operation=Operation.SEND, code=code)
    assert outcome.result.bytes > 0
    assert time.monotonic() - began < 3


async def test_an_upload_that_is_reset_says_so() -> None:
    outcome = await measure(servers.swallows_then("reset", 0.2), UP)
    assert outcome.result.failure is not None
    assert outcome.result.failure.code is FailureCode.CONNECTION_RESET
    assert outcome.result.bytes > 0


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(frames.message(Opcode.BINARY, b"x"), id="binary the wrong way"),
        pytest.param(b"garbage" * 99, id="garbage"),
        pytest.param(TEXT * 999, id="text flood"),
    ],
)
async def test_an_upload_to_a_server_that_breaks_the_rules_is_a_failure(stream: bytes) -> None:
    outcome = await measure(servers.sends(stream), UP)
    assert outcome.result.failure == Failure(operation=Operation.RECEIVE, code=FailureCode.PROTOCOL_ERROR)


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(servers.swallows_then("close", 20), id="says nothing"),
        pytest.param(servers.claims(10.0), id="claims ten times the bytes"),
        pytest.param(servers.claims(1.0, elapsed=0.1), id="claims a tenth of the time"),
        pytest.param(servers.claims(1.0, age_s=0.1), id="speaks once, early"),
    ],
)
async def test_an_upload_without_a_believable_word_is_what_our_own_kernel_saw(behaviour: Behaviour) -> None:
    result = (await measure(behaviour, UP)).result
    assert result.bps is not None
    assert result.bps == pytest.approx(result.bytes * 8 / result.duration_s, rel=0.25)


async def test_an_upload_takes_the_receivers_number_when_it_can_be_true() -> None:
    result = (await measure(servers.claims(0.5), UP)).result
    assert result.bps is not None
    assert result.bps == pytest.approx(0.5 * result.bytes * 8 / result.duration_s, rel=0.25)
    assert result.congestion_control


async def test_an_upload_never_sends_more_than_its_cap() -> None:
    result = (await measure(servers.swallows_then("close", 20), UP, Caps(5.0, max_bytes=300_001))).result
    assert result.stop is Stop.BYTES
    assert result.bytes == 300_001


@pytest.mark.parametrize("direction", [DOWN, UP])
async def test_cancelling_ends_at_once_and_leaves_no_socket(direction: Direction) -> None:
    behaviour = servers.never_stops_sending if direction is DOWN else servers.swallows_then("close", 60)
    async with serving(behaviour) as server:
        endpoint = Endpoint("127.0.0.1", server.port)
        task = asyncio.create_task(CLIENT.measure(direction, endpoint, Caps(10.0)))
        await server.began.wait()
        await asyncio.sleep(0.1)  # well into the test
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began < 0.3


class Noting:
    """A rule that only takes note."""

    def __init__(self, rtt_s: float) -> None:
        self.estimate: Estimate | None = None
        self.queued: list[bool | None] = []

    def __call__(self, sample: Sample) -> Stop | None:
        self.queued.append(sample.is_queued)
        return None


@pytest.mark.parametrize("direction", [DOWN, UP])
async def test_the_rule_is_told_of_an_uploads_queue_which_only_its_sender_sees(direction: Direction) -> None:
    rules: list[Noting] = []

    def make(rtt_s: float) -> Noting:
        rules.append(Noting(rtt_s))
        return rules[-1]

    behaviour = servers.swallows_then("waits", 3) if direction is UP else servers.never_stops_sending
    async with serving(behaviour) as server, asyncio.timeout(15):
        await Client(Uplink(), time.monotonic, make).measure(direction, Endpoint("127.0.0.1", server.port), Caps(0.5))
    told = {value for value in rules[0].queued if value is not None}
    assert bool(told) is (direction is UP)
