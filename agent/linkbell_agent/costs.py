"""What a record says its measurement put on the line: the number that a data budget counts. Pure."""

from linkbell_agent.icmp import PAYLOAD_BYTES
from linkbell_agent.watch.pace import SYN_MORE_BYTES, TCP_BYTES
from linkbell_wire.records import CheckRecord, HttpRecord, PingRecord, Record, SpeedRecord
from linkbell_wire.words import PingMethod

IPV4_BYTES, IPV6_BYTES = 20, 40
ICMP_BYTES = 8

CLOSING_PACKETS = 4
"""Behind the handshake of a TCP ping: its last acknowledgement, one FIN each way, and the answer to ours or theirs."""


def bytes_of(record: Record) -> int:
    """Return the bytes, both ways together, that ``record`` accounts for; 0 for kinds that carry none.

    Speed tests and checks: what they counted themselves, failed ones too. Pings: whole IP packets, those that brought
    no reply counted one way. Fetches: the body.
    """
    if isinstance(record, SpeedRecord | CheckRecord):
        return record.cost_bytes
    if isinstance(record, PingRecord):
        return _ping_bytes(record)
    if isinstance(record, HttpRecord):
        return record.bytes or 0
    return 0


def _ping_bytes(record: PingRecord) -> int:
    ip_bytes = IPV6_BYTES if ":" in (record.address or "") else IPV4_BYTES
    if record.method is PingMethod.ICMP:
        return (record.sent + record.received) * (ip_bytes + ICMP_BYTES + PAYLOAD_BYTES)
    packet_bytes = ip_bytes + TCP_BYTES
    opening = (record.sent + record.received) * (packet_bytes + SYN_MORE_BYTES)
    return opening + record.received * CLOSING_PACKETS * packet_bytes
