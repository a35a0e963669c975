"""One batch: read, dated, settled in the store, then applied to live state."""

from dataclasses import dataclass

from linkbell_collector import redate
from linkbell_collector.domain import Agent, AgentReport, Delivery
from linkbell_collector.ingest.batches import ReadBatch, read_batch
from linkbell_collector.live import LiveState
from linkbell_collector.registry import Registry
from linkbell_collector.store.interface import Sink
from linkbell_wire import Rejection


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the agent is told."""

    stored: int
    duplicate: int
    rejected: list[Rejection]


class Ingest:
    """Takes bodies, gives receipts. A receipt means: on disk, or refused for good."""

    def __init__(self, sink: Sink, registry: Registry, live: LiveState) -> None:
        self._sink = sink
        self._registry = registry
        self._live = live
        self._boots: dict[int, redate.Boot] = {}
        """Of each agent. Not kept over a restart: the next batch says it anew."""

    async def take(self, agent: Agent, body: bytes, received_us: int) -> Receipt:
        """Settle the batch in ``body``, which came at ``received_us``. Raises ``CollectorError``."""
        batch = read_batch(body)
        boot = redate.see_boot(self._boots.get(agent.key), batch.head.clock, received_us)
        self._boots[agent.key] = boot
        delivery = _delivery(agent, batch, received_us, boot.booted_us, self._zone(agent))
        settled = await self._sink.settle(delivery)
        if self._registry.is_shown(agent):
            self._live.report(agent, delivery.report, settled.account)
            for dated in settled.new:
                self._live.apply(agent.school, dated)
        return Receipt(len(settled.new), settled.duplicate + batch.repeated, batch.rejected)

    def _zone(self, agent: Agent) -> str:
        school = self._registry.school(agent.school)
        return (school.timezone if school is not None else None) or "UTC"


def _delivery(agent: Agent, batch: ReadBatch, received_us: int, booted_us: int, zone: str) -> Delivery:
    head = batch.head
    report = AgentReport(
        version=head.agent.version,
        spooled=head.agent.spooled,
        dropped=head.agent.dropped,
        rejected=head.agent.rejected,
        clock_offset_s=redate.clock_offset_s(head.clock, received_us),
        received_us=received_us,
    )
    dated = list(redate.date_records(batch.records, head.clock, booted_us))
    refused = [refusal for refusal in batch.rejected if refusal.seq is not None]
    return Delivery(agent.key, head.stream, dated, refused, report, zone)
