"""The records: one result, one skip or one event each. A failure is a result, never silence."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, TypeAdapter, model_validator

from linkbell_wire import fields, words
from linkbell_wire.failures import Failure, FailureCode
from linkbell_wire.fields import WireModel

MAX_DETAILS = 16

NO_SUCH_NAME = "linkbell-check.invalid"
"""Looked up now and then to see whether a name server makes answers up: no such name will ever exist (RFC 6761)."""


def _require_result_or_failure(name: str, value: object, failure: Failure | None) -> None:
    """Hold that absent is ``None`` and that exactly one of a value and a failure is given."""
    if value is None and failure is None:
        raise ValueError(f"needs {name} or a failure")
    if value is not None and failure is not None:
        raise ValueError(f"a failure has no {name}")


class Record(WireModel):
    """What every record carries: who it is (``seq``), where it was measured and when.

    ``at`` is the wall clock of the box at the end of the measurement; ``boot_id`` and ``boottime_s`` let the
    collector correct it. ``clock`` says whether the wall clock was synchronised at that moment, ``None`` if unknown.
    """

    seq: fields.Count
    uplink: fields.Name
    at: fields.Timestamp
    boot_id: fields.Name
    boottime_s: fields.Uptime
    clock: words.ClockQuality | None = None


class PingRecord(Record):
    """A summary of several round trips to one target. ``sent`` = ``received`` + the sum of ``failures``.

    A name that did not resolve is ``failure`` with nothing sent: no packet was lost. ``neighbour`` is looked at where
    no reply came from a gateway: one that ignores pings and answers ARP is up.
    """

    kind: Literal["ping"] = "ping"
    target: fields.Name
    layer: words.Layer
    host: fields.Host
    address: fields.Host | None = None
    port: fields.Port | None = None
    method: words.PingMethod
    socket: words.PingSocket | None = None
    sent: fields.Packets
    received: fields.Packets
    rtt_min_s: fields.Seconds | None = None
    rtt_mean_s: fields.Seconds | None = None
    rtt_p95_s: fields.Seconds | None = None
    rtt_max_s: fields.Seconds | None = None
    jitter_s: fields.Seconds | None = None
    failures: Annotated[
        dict[FailureCode, Annotated[int, Field(ge=1, le=100_000)]], Field(max_length=len(FailureCode))
    ] = Field(default_factory=dict)
    failure: Failure | None = None
    neighbour: words.NeighbourState | None = None

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.received > self.sent:
            raise ValueError("received must not be greater than sent")
        if self.sent != self.received + sum(self.failures.values()):
            raise ValueError("sent must equal received plus the failures")
        round_trips = (self.rtt_min_s, self.rtt_mean_s, self.rtt_p95_s, self.rtt_max_s)
        if self.received == 0 and any(value is not None for value in (*round_trips, self.jitter_s)):
            raise ValueError("without a reply there is no round-trip time")
        if self.received > 0:
            if any(value is None for value in round_trips):
                raise ValueError("with a reply all of rtt_min_s, rtt_mean_s, rtt_p95_s, rtt_max_s are needed")
            low, mean, p95, high = (value for value in round_trips if value is not None)
            if not (low <= mean <= high and low <= p95 <= high):
                raise ValueError("round-trip times must satisfy min <= mean, p95 <= max")
        if self.failure is not None and self.sent:
            raise ValueError("failure is for pings that could not be sent; a lost packet is counted in failures")
        return self

    @property
    def loss_ratio(self) -> float | None:
        """Share of packets sent that brought no reply, ``None`` if none was sent."""
        return None if self.sent == 0 else 1 - self.received / self.sent


class DnsRecord(Record):
    """One look-up of one name at one resolver. ``duration_s`` counts from the first of ``tries`` questions."""

    kind: Literal["dns"] = "dns"
    target: fields.Name
    layer: words.Layer = words.Layer.DNS
    resolver: fields.Host | None = None
    name: fields.Host
    record_type: Literal["A", "AAAA", "SOA"] = "A"
    duration_s: fields.Seconds | None = None
    tries: Annotated[int, Field(ge=1, le=10)] | None = None
    answers: Annotated[int, Field(ge=0, le=1000)] | None = None
    failure: Failure | None = None

    @model_validator(mode="after")
    def _is_a_result_or_a_failure(self) -> Self:
        _require_result_or_failure("duration_s", self.duration_s, self.failure)
        return self


class HttpRecord(Record):
    """One fetch, its phases timed one by one. Phases not reached, or not needed, are ``None``."""

    kind: Literal["http"] = "http"
    target: fields.Name
    layer: words.Layer
    url: fields.Url
    address: fields.Host | None = None
    status: Annotated[int, Field(ge=100, le=599)] | None = None
    resolve_s: fields.Seconds | None = None
    connect_s: fields.Seconds | None = None
    tls_s: fields.Seconds | None = None
    first_byte_s: fields.Seconds | None = None
    duration_s: fields.Seconds | None = None
    bytes: fields.ByteCount | None = None
    failure: Failure | None = None

    @model_validator(mode="after")
    def _is_a_result_or_a_failure(self) -> Self:
        if self.status is None and self.failure is None:
            raise ValueError("needs status or a failure")
        return self


class SpeedResult(WireModel):
    """One direction of a speed test. A failure has no ``bps``, but still says what it cost in bytes.

    ``bps`` is payload at the receiver; ``bps_low`` and ``bps_high`` bound it where the method can tell. It speaks of
    ``window_s`` seconds that ended at ``window_end_boottime_s`` on the agent's boot-time clock.
    ``rtt_loaded_s`` and what follows it is of ``probes`` small connections beside the full line; ``rtt_smoothed_s``
    is the loading connection's own. ``others_bps`` is payload of others the same way at the same time.
    """

    bps: fields.BitRate | None = None
    bps_low: fields.BitRate | None = None
    bps_high: fields.BitRate | None = None
    window_s: fields.Seconds | None = None
    window_end_boottime_s: fields.Uptime | None = None
    bytes: fields.ByteCount
    duration_s: fields.Seconds
    streams: Annotated[int, Field(ge=1, le=64)] = 1
    stop: words.Stop | None = None
    rtt_min_s: fields.Seconds | None = None
    rtt_loaded_s: fields.Seconds | None = None
    rtt_loaded_p95_s: fields.Seconds | None = None
    jitter_loaded_s: fields.Seconds | None = None
    loss_ratio: fields.Ratio | None = None
    probes: fields.Packets | None = None
    responsiveness_rpm: fields.RoundTripsPerMinute | None = None
    rtt_smoothed_s: fields.Seconds | None = None
    retransmit_ratio: fields.Ratio | None = None
    congestion_control: fields.Name | None = None
    others_bps: fields.BitRate | None = None
    limited_by: words.LimitedBy = words.LimitedBy.UNKNOWN
    device_limit: words.DeviceLimit | None = None
    failure: Failure | None = None

    @model_validator(mode="after")
    def _is_a_result_or_a_failure(self) -> Self:
        if (self.bps is None) != (self.stop is None):
            raise ValueError("bps and stop belong together")
        _require_result_or_failure("bps", self.bps, self.failure)
        if (self.device_limit is not None) != (self.limited_by is words.LimitedBy.DEVICE):
            raise ValueError("device_limit says what of the device it was, and belongs to limited_by device")
        return self


class SpeedRecord(Record):
    """A speed test. A direction that was not asked for is ``None``; one that failed is there, with its failure.

    ``limited_by`` sums the directions up: ``device`` if either was, else ``server``, ``line``, ``unknown``.
    ``forced``: it ran though others used the line, after several tests were skipped for that.
    ``sees_only_itself``: the box stands beside the router, and ``others_...`` are of this box alone, not the school's.
    """

    kind: Literal["speed"] = "speed"
    engine: words.Engine
    server: fields.Url
    server_scope: words.ServerScope = words.ServerScope.UNKNOWN
    trigger: words.Trigger
    download: SpeedResult | None = None
    upload: SpeedResult | None = None
    rtt_idle_s: fields.Seconds | None = None
    jitter_idle_s: fields.Seconds | None = None
    bufferbloat: words.Grade | None = None
    probe_bytes: fields.ByteCount | None = None
    others_before_bps: fields.BitRate | None = None
    others_during_bps: fields.BitRate | None = None
    sees_only_itself: bool | None = None
    forced: bool | None = None
    limited_by: words.LimitedBy = words.LimitedBy.UNKNOWN
    failure: Failure | None = None

    @model_validator(mode="after")
    def _has_a_direction(self) -> Self:
        if self.download is None and self.upload is None and self.failure is None:
            raise ValueError("a speed record needs a direction or a failure")
        return self

    @property
    def cost_bytes(self) -> int:
        """All that this test put on the line: both directions' payload and the probes beside them."""
        directions = [result.bytes for result in (self.download, self.upload) if result is not None]
        return sum(directions) + (self.probe_bytes or 0)


class CheckRecord(Record):
    """Is the line at least at its floor? ``passed`` is ``None`` when the check failed to find out.

    The sender is paced at ``paced_bps``, so ``bps`` (payload at the receiver, within ``bps_low`` and ``bps_high``) is
    what the line carried up to that and says nothing of what it could carry beyond. ``sure`` is false where the budget
    was spent near the floor and the best estimate decided. ``forced``: it ran though others used the line.
    """

    kind: Literal["check"] = "check"
    server: fields.Url
    server_scope: words.ServerScope = words.ServerScope.UNKNOWN
    direction: words.Direction = words.Direction.DOWNLOAD
    trigger: words.Trigger
    forced: bool | None = None
    floor_bps: fields.BitRate
    passed: bool | None = None
    sure: bool | None = None
    bps: fields.BitRate | None = None
    bps_low: fields.BitRate | None = None
    bps_high: fields.BitRate | None = None
    paced_bps: fields.BitRate | None = None
    bytes: fields.ByteCount
    duration_s: fields.Seconds
    rtt_idle_s: fields.Seconds | None = None
    rtt_min_s: fields.Seconds | None = None
    rtt_loaded_s: fields.Seconds | None = None
    retransmit_ratio: fields.Ratio | None = None
    congestion_control: fields.Name | None = None
    failure: Failure | None = None

    @model_validator(mode="after")
    def _is_a_result_or_a_failure(self) -> Self:
        if self.passed is not None and self.bps is None:
            raise ValueError("a check that found out says the bps it reached")
        if self.passed is not None and self.floor_bps == 0:
            raise ValueError("no line is held to a floor of 0")
        _require_result_or_failure("passed", self.passed, self.failure)
        return self

    @property
    def cost_bytes(self) -> int:
        """All that this check put on the line: its payload, whether it found out or not."""
        return self.bytes


class Evidence(WireModel):
    """What one layer looked like when a verdict was reached."""

    layer: words.Layer
    target: fields.Name
    up: bool
    failure: Failure | None = None


class VerdictRecord(Record):
    """Where the fault is on one uplink; sent when it changes, with the evidence.

    ``carries`` says whether the box's default route left by this uplink then; None on a box with one uplink.
    """

    kind: Literal["verdict"] = "verdict"
    verdict: words.VerdictState
    previous: words.VerdictState | None = None
    carries: bool | None = None
    evidence: Annotated[list[Evidence], Field(max_length=64)] = Field(default_factory=list)


class EventRecord(Record):
    """Something that happened to the agent or its line."""

    kind: Literal["event"] = "event"
    event: words.EventName
    details: Annotated[
        dict[fields.Name, fields.Text | bool | fields.WholeNumber | fields.Number | None],
        Field(max_length=MAX_DETAILS),
    ] = Field(default_factory=dict)


class SkipRecord(Record):
    """What was not measured, why, and the value that decided against the limit it was held to."""

    kind: Literal["skip"] = "skip"
    skipped: Literal["ping", "dns", "http", "speed", "check"]
    target: fields.Name | None = None
    reason: words.SkipReason
    value: fields.Number | None = None
    limit: fields.Number | None = None


AnyRecord = Annotated[
    PingRecord | DnsRecord | HttpRecord | SpeedRecord | CheckRecord | VerdictRecord | EventRecord | SkipRecord,
    Field(discriminator="kind"),
]
RECORD_ADAPTER: TypeAdapter[AnyRecord] = TypeAdapter(AnyRecord, config=ConfigDict(defer_build=True))
