"""Sending: takes batches from the spool, gives them to the collector, and does what the reply asks for."""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from uuid import UUID

from pydantic import ValidationError

from linkbell_agent.classify import NetworkFailure
from linkbell_agent.clock import Clock
from linkbell_agent.collector_api import CollectorApi, HttpReply
from linkbell_agent.describe import advice, unreachable
from linkbell_agent.retry import Backoff, retry_after_s
from linkbell_agent.slim import dataclass
from linkbell_agent.spool import Spool, WaitingBatch
from linkbell_agent.turns import Lane
from linkbell_wire import PROTOCOL_VERSION
from linkbell_wire.batch import AgentStatus, BatchHead, BatchReply
from linkbell_wire.batch import Clock as WireClock
from linkbell_wire.errors import ErrorReply
from linkbell_wire.version import __version__

log = logging.getLogger(__name__)

RECORDS_PATH = "/api/v1/records"
REFUSED_WAIT_S = 900.0
"""How often an agent whose credential was refused asks again: an operator may have set things right."""


LONGEST_PAUSE_S = 30.0
DISK_WAIT_S = 30.0

ENROL_AGAIN = "With a new join token: linkbell-agent enrol URL --token - --again. The running agent notices by itself."


class Step(Enum):
    """What to do next after a reply."""

    SETTLED = "settled"
    HALVE = "halve"
    WAIT = "wait"
    BACK_OFF = "back off"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Decision:
    """A step, with the wait the collector asked for, its settled reply, and a sentence for the log."""

    step: Step
    reason: str = ""
    wait_s: float | None = None
    reply: BatchReply | None = None


def decide(reply: HttpReply, batch_size: int, now_unix_s: float) -> Decision:
    """Say what a reply to a batch of ``batch_size`` records means. Nothing is settled but by a reply that adds up."""
    if reply.status == 200:
        return _decide_on_success(reply.body, batch_size)
    reason = _reason(reply)
    if reply.status in (401, 403):
        return Decision(Step.REFUSED, f"{reason} {ENROL_AGAIN}")
    if reply.status == 413:
        return Decision(Step.HALVE, reason)
    if reply.status in (429, 503):
        return Decision(Step.WAIT, reason, wait_s=retry_after_s(reply.headers.get("retry-after"), now_unix_s))
    return Decision(Step.BACK_OFF, reason)


def _decide_on_success(body: bytes, batch_size: int) -> Decision:
    try:
        reply = BatchReply.model_validate_json(body)
    except ValidationError:
        # A captive portal answers 200 to everything. Its word settles nothing.
        return Decision(Step.BACK_OFF, "something that is not a collector answered 200")
    if reply.stored + reply.duplicate + len(reply.rejected) != batch_size:
        return Decision(Step.BACK_OFF, "the collector's reply does not account for every record sent")
    return Decision(Step.SETTLED, reply=reply)


def _reason(reply: HttpReply) -> str:
    try:
        error = ErrorReply.model_validate_json(reply.body)
    except ValidationError:
        return f"the collector answered HTTP {reply.status}"
    return advice(error)


class Sender:
    """Empties the spool. ``config_etag`` is the newest the collector named.

    History is sent during at most ``max_share`` of the time: the line is there for the school, and a batch that took
    long is followed by a long pause. What is new never pauses.
    """

    def __init__(  # noqa: PLR0913 - the last four are plain values
        self,
        spool: Spool,
        api: CollectorApi,
        credential: str,
        clock: Clock,
        backoff: Backoff,
        *,
        batch_records: int,
        max_share: float = 1.0,
        agent: str | None = None,
        heard: Callable[[datetime], None] | None = None,
    ) -> None:
        self._spool = spool
        self._api = api
        self._headers: Mapping[str, str] = {"Authorization": f"Bearer {credential}"}
        self._clock = clock
        self._backoff = backoff
        self._batch_records = batch_records
        self._limit = batch_records
        self._agent = agent
        self._heard = heard
        self._pause_ratio = 1 / max_share - 1
        self._said = ""
        self._not_before_s = 0.0
        self._history_not_before_s = 0.0
        self.config_etag: str | None = None
        self.refused = False
        """Whether the collector refuses this agent's credential; everything is kept meanwhile."""

    async def send_waiting(self) -> float | None:
        """Send until the spool is empty or something is in the way. Returns how long to wait in the latter case."""
        remaining_s = self._not_before_s - self._clock.monotonic()
        if remaining_s > 0:
            return remaining_s
        if self._agent is not None and not await self._spool.belong_to(self._agent):
            return DISK_WAIT_S
        while True:
            pause_s = self._history_not_before_s - self._clock.monotonic()
            batch = await self._spool.next_batch(self._limit, history=pause_s <= 0)
            if batch is None:
                return pause_s if pause_s > 0 and self._spool.history_waits else None
            began_s = self._clock.monotonic()
            wait_s = await self._send(batch)
            now_s = self._clock.monotonic()
            if wait_s is not None:
                self._not_before_s = now_s + wait_s
                return wait_s
            if batch.lane is not Lane.LIVE:
                self._history_not_before_s = now_s + min(LONGEST_PAUSE_S, self._pause_ratio * (now_s - began_s))

    async def _send(self, batch: WaitingBatch) -> float | None:
        try:
            await self._api.ready()
            reply = await self._api.request("POST", RECORDS_PATH, self._headers, self._body(batch))
        except NetworkFailure as failure:
            decision = Decision(Step.BACK_OFF, unreachable(failure.failure, self._clock.now().wall.date()))
        else:
            decision = decide(reply, len(batch.seqs), self._clock.now().wall.timestamp())
        self.refused = decision.step is Step.REFUSED
        if decision.step is Step.SETTLED and decision.reply is not None:
            await self._settle(batch, decision.reply)
            return None
        self._say(decision.reason)
        if decision.step is Step.HALVE:
            await self._halve(batch)
            return None
        if decision.step is Step.REFUSED:
            return REFUSED_WAIT_S
        jitter_s = self._backoff.next_wait_s()
        return jitter_s if decision.wait_s is None else decision.wait_s + jitter_s

    async def _settle(self, batch: WaitingBatch, reply: BatchReply) -> None:
        for rejection in reply.rejected:
            log.warning("the collector rejected record %s: %s: %s", rejection.seq, rejection.code, rejection.detail)
        await self._spool.settle(batch, rejected=len(reply.rejected))
        self._backoff.reset()
        # One more each time: what refused a large batch has not gone away.
        self._limit = min(self._batch_records, self._limit + 1)
        self.config_etag = reply.config_etag
        if self._heard is not None:
            self._heard(reply.server_time)
        if self._said:
            log.info("the collector takes results again")
        self._said = ""

    async def _halve(self, batch: WaitingBatch) -> None:
        if len(batch.seqs) > 1:
            self._limit = max(1, len(batch.seqs) // 2)
            return
        # One record too large by itself would stand before all others for ever.
        log.error("the collector takes no record as large as number %d: it is given up and counted", batch.seqs[0])
        await self._spool.settle(batch, rejected=1)

    def _body(self, batch: WaitingBatch) -> bytes:
        moment = self._clock.now()
        head = BatchHead(
            protocol=PROTOCOL_VERSION,
            stream=UUID(batch.stream),
            clock=WireClock(
                boot_id=self._clock.boot_id,
                boottime_s=round(moment.boottime_s, 3),
                wall=moment.wall,
                synced=self._clock.synced(),
            ),
            agent=AgentStatus(
                version=__version__,
                spooled=self._spool.waiting - len(batch.seqs),
                dropped=self._spool.counter("dropped"),
                rejected=self._spool.counter("rejected"),
            ),
        )
        # The records are JSON texts already: put behind the head as they are, not parsed again.
        return f'{head.model_dump_json()[:-1]},"records":[{",".join(batch.bodies)}]}}'.encode()

    def _say(self, reason: str) -> None:
        """Log a trouble when it begins or changes, not each time it holds."""
        if reason != self._said:
            log.warning("results wait here, nothing is lost: %s", reason)
        self._said = reason
