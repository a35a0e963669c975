"""What measuring costs on the line, in bytes as a provider counts them. Pure.

Sockets count payload. ``OVERHEAD`` is what the rest comes to, to the safe side: of a full packet of 1500 bytes IPv6,
TCP with time stamps and TLS take 95 (6.8 % on top of the payload), an acknowledgement for every second one 2.6 %, and
frames, where they are billed, 1.5 %.
"""

from linkbell_agent.budget.policy import Cost
from linkbell_wire import floor
from linkbell_wire.records import AnyRecord, CheckRecord, DnsRecord, HttpRecord, PingRecord, SpeedRecord, SpeedResult
from linkbell_wire.words import Layer, PingMethod, Stop

OVERHEAD = 1.12
WORST_RETRANSMITS = 0.1
USUAL_RETRANSMITS = 0.02
"""Where a record does not say."""

PROBES_BYTES = 250_000
"""Round trips timed beside a test, and handshakes: 220 probes of 750 bytes in a test of twice 15 s, and some more."""

UNDER_WAY_SHARE, UNDER_WAY_S = 0.25, 0.5
LEAST_UNDER_WAY_BYTES = 100_000
"""At its cap a download is cut off, and what is on its way still comes: half a second's worth of the known speed, a
quarter of the cap if none is known."""

ICMP_BYTES = 98
TCP_PING_BYTES = 74
"""One packet, one way, with Ethernet's header: 56 bytes of payload, or a SYN."""

DNS_BYTES = 400
HTTP_BYTES = 7000
"""One look-up, both ways; one fetch besides its body: handshakes, certificates, headers."""


def speed_cost(max_bytes: int, directions: int, known_bps: float | None, typical_bytes: float | None) -> Cost:
    """Return what a full test with ``max_bytes`` per direction may cost."""
    # Twice what is known: the line may have been made faster since.
    under_way = _under_way_bytes(max_bytes, None if known_bps is None else 2 * known_bps)
    each = (max_bytes + under_way) * OVERHEAD * (1 + WORST_RETRANSMITS)
    return _cost(directions * each + PROBES_BYTES, typical_bytes)


def check_cost(floor_bps: float, typical_bytes: float | None = None) -> Cost:
    """Return what a floor check may cost: its server sends no more than the budget of the floor."""
    worst = floor.budget_bytes(floor_bps) * OVERHEAD * (1 + WORST_RETRANSMITS) + 20_000
    return _cost(worst, typical_bytes)


def ping_bytes(packets: int, method: PingMethod | None = None) -> int:
    """Return what so many pings cost, both ways. A TCP handshake and its reset are four packets."""
    return packets * (4 * TCP_PING_BYTES if method is PingMethod.TCP else 2 * ICMP_BYTES)


def spent_bytes(record: AnyRecord) -> int:
    """Return what the measurement of ``record`` put on the line, headers and retransmissions included."""
    if isinstance(record, SpeedRecord):
        results = [result for result in (record.download, record.upload) if result is not None]
        down = 0 if record.download is None else _cut_off_bytes(record.download)
        return round(sum(map(_direction_bytes, results)) + down + (record.probe_bytes or 0))
    if isinstance(record, CheckRecord):
        return round(_on_the_line(record.bytes, record.retransmit_ratio))
    if isinstance(record, PingRecord):
        return 0 if record.layer is Layer.GATEWAY else ping_bytes(record.sent, record.method)
    if isinstance(record, DnsRecord):
        return DNS_BYTES
    if isinstance(record, HttpRecord):
        return HTTP_BYTES + round(_on_the_line(record.bytes or 0, None))
    return 0


def _cost(worst: float, typical_bytes: float | None) -> Cost:
    return Cost(round(worst), round(worst if typical_bytes is None else min(worst, typical_bytes)))


def _direction_bytes(result: SpeedResult) -> float:
    return _on_the_line(result.bytes, result.retransmit_ratio)


def _on_the_line(payload_bytes: int, retransmit_ratio: float | None) -> float:
    again = USUAL_RETRANSMITS if retransmit_ratio is None else retransmit_ratio
    return payload_bytes * OVERHEAD * (1 + again)


def _cut_off_bytes(download: SpeedResult) -> float:
    if not download.bytes or (download.stop is not Stop.BYTES and download.bps is not None):
        return 0.0
    return _under_way_bytes(download.bytes, download.bps)


def _under_way_bytes(max_bytes: int, known_bps: float | None) -> float:
    if known_bps is None:
        return max(LEAST_UNDER_WAY_BYTES, UNDER_WAY_SHARE * max_bytes)
    return max(LEAST_UNDER_WAY_BYTES, known_bps / 8 * UNDER_WAY_S)
