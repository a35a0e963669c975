"""Sending: every reply does what the protocol says, and nothing is forgotten without a settled one."""

import json
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from linkbell_agent.classify import NetworkFailure
from linkbell_agent.collector_api import HttpReply
from linkbell_agent.retry import Backoff
from linkbell_agent.sender import REFUSED_WAIT_S, Sender, Step, decide
from linkbell_agent.spool import Limits, Spool
from linkbell_agent.spool_file import SpoolFile
from linkbell_wire import PROTOCOL_VERSION
from linkbell_wire.batch import Batch
from linkbell_wire.failures import FailureCode, Operation
from tests.agent.fakes import Answer, ToldClock, ToldCollector, event_record, ping_record, reply, settle_all, settled

STREAM = UUID("00000000-0000-4000-8000-000000000001")
TROUBLE = NetworkFailure(Operation.CONNECT, FailureCode.CONNECTION_REFUSED)


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    spool = Spool(lambda: SpoolFile(tmp_path / "spool.db"), STREAM, ToldClock(), Limits())
    assert await spool.open()
    yield spool
    await spool.close()


class Impatient(ToldClock):
    """Each look at the clock is an hour after the last: whatever wait was asked for is over."""

    def monotonic(self) -> float:
        self.advance(3600)
        return super().monotonic()


def make_sender(
    spool: Spool, *answers: Answer, batch_records: int = 60, clock: ToldClock | None = None
) -> tuple[Sender, ToldCollector]:
    collector = ToldCollector(*answers)
    backoff = Backoff(random.Random(1))
    sender = Sender(spool, collector, "lbc_secret", clock or Impatient(), backoff, batch_records=batch_records)
    return sender, collector


@pytest.mark.parametrize(
    ("answer", "step"),
    [
        (settled(stored=3), Step.SETTLED),
        (settled(stored=1, duplicate=2), Step.SETTLED),
        (settled(stored=2, rejected=[{"seq": 1, "code": "invalid", "detail": "no"}]), Step.SETTLED),
        (settled(stored=2), Step.BACK_OFF),
        (reply(200, b"<html>Welcome! Please log in</html>"), Step.BACK_OFF),
        (reply(200, {}), Step.BACK_OFF),
        (reply(201, {}), Step.BACK_OFF),
        (reply(204), Step.BACK_OFF),
        (reply(302, location="https://portal.example"), Step.BACK_OFF),
        (reply(400, {"code": "invalid_json", "message": "no JSON"}), Step.BACK_OFF),
        (reply(401, {"code": "credential_unknown", "message": "who?"}), Step.REFUSED),
        (reply(403, {"code": "credential_revoked", "message": "revoked"}), Step.REFUSED),
        (reply(404), Step.BACK_OFF),
        (reply(413), Step.HALVE),
        (reply(429), Step.WAIT),
        (reply(500), Step.BACK_OFF),
        (reply(503, retry_after="7"), Step.WAIT),
    ],
)
def test_each_reply_has_its_step(answer: HttpReply, step: Step) -> None:
    assert decide(answer, 3, 0.0).step is step


def test_the_collectors_words_reach_the_technician() -> None:
    answer = reply(403, {"code": "credential_revoked", "message": "This agent was revoked.", "action": "Enrol again."})
    assert decide(answer, 3, 0.0).reason.startswith("This agent was revoked. Enrol again.")
    assert "--again" in decide(answer, 3, 0.0).reason


async def test_a_batch_is_sent_as_the_protocol_says(spool: Spool) -> None:
    spool.append(ping_record())
    spool.append(event_record())
    sender, collector = make_sender(spool, settle_all)
    assert await sender.send_waiting() is None
    method, path, headers, body = collector.requests[0]
    assert (method, path, headers["Authorization"]) == ("POST", "/api/v1/records", "Bearer lbc_secret")
    batch = Batch.model_validate_json(json.dumps(body))
    assert batch.protocol == PROTOCOL_VERSION
    assert batch.stream == STREAM
    assert [record.seq for record in batch.records] == [0, 1]
    assert (batch.agent.spooled, batch.agent.dropped) == (0, 0)
    assert spool.waiting == 0
    assert sender.config_etag == '"e1"'


async def test_all_that_waits_is_sent_in_batches_and_the_rest_is_said_to_wait(spool: Spool) -> None:
    for _ in range(150):
        spool.append(ping_record())
    sender, collector = make_sender(spool, settle_all, settle_all, settle_all)
    await sender.send_waiting()
    assert [len(body["records"]) for *_, body in collector.requests] == [60, 60, 30]
    assert [body["agent"]["spooled"] for *_, body in collector.requests] == [90, 30, 0]


@pytest.mark.parametrize(
    "answer", [TROUBLE, reply(500), reply(401), reply(503), reply(200, b"<html>"), reply(302), settled(stored=7)]
)
async def test_nothing_is_forgotten_without_a_settled_reply(spool: Spool, answer: Answer) -> None:
    for _ in range(3):
        spool.append(ping_record())
    sender, collector = make_sender(spool, answer, settle_all)
    assert await sender.send_waiting() is not None
    assert spool.waiting == 3
    assert await sender.send_waiting() is None
    first, second = (body["records"] for *_, body in collector.requests)
    assert first == second


async def test_a_rejected_record_is_counted_and_does_not_hold_up_the_rest(spool: Spool) -> None:
    for _ in range(3):
        spool.append(ping_record())
    sender, _ = make_sender(spool, settled(stored=2, rejected=[{"seq": 1, "code": "invalid", "detail": "odd"}]))
    assert await sender.send_waiting() is None
    assert spool.waiting == 0
    assert spool.counter("rejected") == 1


async def test_what_time_it_is_at_the_collector_is_passed_on(spool: Spool) -> None:
    spool.append(ping_record())
    heard: list[datetime] = []
    collector = ToldCollector(settled(stored=1))
    backoff = Backoff(random.Random(1))
    sender = Sender(spool, collector, "lbc_x", Impatient(), backoff, batch_records=60, heard=heard.append)
    await sender.send_waiting()
    [reply_body] = [json.loads(settled(stored=1).body)]
    assert heard == [datetime.fromisoformat(reply_body["server_time"])]


async def test_too_large_a_batch_is_halved_until_it_fits(spool: Spool) -> None:
    for _ in range(8):
        spool.append(ping_record())
    sender, collector = make_sender(spool, reply(413), reply(413), settle_all, settle_all, settle_all)
    await sender.send_waiting()
    assert [len(body["records"]) for *_, body in collector.requests][:3] == [8, 4, 2]
    assert spool.waiting == 0


async def test_one_record_too_large_by_itself_is_counted_and_lets_the_next_pass(spool: Spool) -> None:
    spool.append(ping_record("monster"))
    spool.append(ping_record("next"))
    sender, _ = make_sender(spool, reply(413), reply(413), settle_all)
    await sender.send_waiting()
    assert spool.waiting == 0
    assert spool.counter("rejected") == 1


async def test_a_refused_credential_stops_sending_keeps_everything_and_recovers(spool: Spool) -> None:
    spool.append(ping_record())
    sender, _ = make_sender(spool, reply(401), settle_all)
    assert await sender.send_waiting() == REFUSED_WAIT_S
    assert (sender.refused, spool.waiting) == (True, 1)
    await sender.send_waiting()
    assert (sender.refused, spool.waiting) == (False, 0)


async def test_retry_after_is_obeyed_at_least_so_long(spool: Spool) -> None:
    spool.append(ping_record())
    sender, _ = make_sender(spool, reply(503, retry_after="120"))
    wait_s = await sender.send_waiting()
    assert wait_s is not None
    assert 120 <= wait_s <= 122


async def test_waits_grow_with_failures_and_begin_anew_after_success(spool: Spool) -> None:
    sender, _ = make_sender(spool, *[TROUBLE] * 12, settle_all, TROUBLE)
    spool.append(ping_record())
    waits = [await sender.send_waiting() for _ in range(12)]
    assert max(wait for wait in waits if wait is not None) > 30
    await sender.send_waiting()
    spool.append(ping_record())
    after = await sender.send_waiting()
    assert after is not None
    assert after <= 2


async def test_a_trouble_is_said_once_and_its_end_once(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    sender, _ = make_sender(spool, TROUBLE, TROUBLE, TROUBLE, settle_all)
    spool.append(ping_record())
    for _ in range(4):
        await sender.send_waiting()
    assert [message for message in caplog.messages if "nothing is lost" in message][1:] == []
    assert "the collector takes results again" in caplog.messages
    assert not any("lbc_secret" in message for message in caplog.messages)


async def test_nothing_is_sent_before_the_wait_that_was_asked_for_is_over(spool: Spool) -> None:
    clock = ToldClock()
    spool.append(ping_record())
    sender, collector = make_sender(spool, reply(503, retry_after="120"), settle_all, clock=clock)
    await sender.send_waiting()
    clock.advance(60)
    left_s = await sender.send_waiting()
    assert left_s is not None
    assert 60 <= left_s <= 62
    assert len(collector.requests) == 1
    clock.advance(62)
    assert await sender.send_waiting() is None


async def test_after_a_halving_batches_grow_slowly(spool: Spool) -> None:
    for _ in range(20):
        spool.append(ping_record())
    sender, collector = make_sender(spool, reply(413), *[settle_all] * 4)
    await sender.send_waiting()
    assert [len(body["records"]) for *_, body in collector.requests] == [20, 10, 10]


async def test_a_box_that_believes_it_is_1970_says_that_its_clock_is_the_trouble(
    spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    spool.append(ping_record())
    failure = NetworkFailure(Operation.TLS_HANDSHAKE, FailureCode.TLS_CERTIFICATE_NOT_YET_VALID)
    clock = ToldClock(datetime(1970, 1, 1, 0, 5, tzinfo=UTC))
    sender, _ = make_sender(spool, failure, clock=clock)
    await sender.send_waiting()
    assert "this box believes it is 1 January 1970" in caplog.text
    assert "its clock is wrong" in caplog.text


class SlowToReach(ToldCollector):
    """To connect takes as long as TCP tries."""

    def __init__(self, clock: ToldClock) -> None:
        super().__init__(settle_all)
        self._clock = clock

    async def ready(self) -> None:
        self._clock.advance(19)


async def test_a_batch_says_the_time_at_which_it_is_sent_and_not_when_connecting_began(spool: Spool) -> None:
    clock = ToldClock()
    spool.append(event_record())
    collector = SlowToReach(clock)
    await Sender(spool, collector, "lbc_secret", clock, Backoff(random.Random(1)), batch_records=60).send_waiting()
    ((_, _, _, batch),) = collector.requests
    assert batch["clock"]["boottime_s"] == clock.now().boottime_s
