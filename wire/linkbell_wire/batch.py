"""`POST /api/v1/records`: a batch of records and the reply that settles it."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from linkbell_wire import fields
from linkbell_wire.fields import WireModel
from linkbell_wire.records import AnyRecord

MAX_BATCH_RECORDS = 1000
MAX_BODY_BYTES = 1 << 20
"""Largest body a collector reads, counted after decompression. Larger ones are answered 413; halve the batch."""


class Clock(WireModel):
    """The clocks of the box at the moment of sending."""

    boot_id: fields.Name
    boottime_s: fields.Uptime
    wall: fields.Timestamp
    synced: bool | None = None


class AgentStatus(WireModel):
    """How the agent itself is doing.

    ``spooled`` counts the records that wait besides those of this batch; ``dropped`` those given up for want of
    space and ``rejected`` those the collector would not take, both since the agent was installed.
    """

    version: fields.Name
    spooled: fields.Count
    dropped: fields.Count
    rejected: fields.Count = 0


class BatchHead(WireModel):
    """A batch without its records: what must be right for any of them to be kept."""

    protocol: Annotated[int, Field(ge=1, le=1_000_000)]
    stream: UUID
    clock: Clock
    agent: AgentStatus


class Batch(BatchHead):
    """What an agent sends. Records of one stream only, each ``seq`` once."""

    records: Annotated[list[AnyRecord], Field(max_length=MAX_BATCH_RECORDS)]


class Rejection(WireModel):
    """One record the collector will never take. ``seq`` is ``None`` if it could not even be read."""

    seq: fields.Count | None
    code: fields.Name
    detail: fields.Text


class BatchReply(WireModel):
    """200 means settled: every record of the batch is on disk, or rejected for good."""

    stored: fields.Count
    duplicate: fields.Count
    rejected: Annotated[list[Rejection], Field(max_length=MAX_BATCH_RECORDS)]
    server_time: fields.Timestamp
    config_etag: fields.Text | None = None
