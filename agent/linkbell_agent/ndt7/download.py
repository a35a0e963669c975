"""Download: the server sends, we count what reaches us."""

from collections.abc import Callable

from linkbell_agent.ndt7.connection import Connection
from linkbell_agent.ndt7.exchange import Exchange
from linkbell_agent.ndt7.rules import Caps
from linkbell_wire.failures import Operation

BUFFER_BYTES = 1 << 18


class Download(Exchange):
    """Payload is counted as it arrives, byte by byte, however large the messages are."""

    goodbye_s = 0.05
    """Time for our close frame to arrive, no more: what the server still sends only costs the school."""

    operation = Operation.RECEIVE

    def __init__(self, connection: Connection, caps: Caps, monotonic: Callable[[], float]) -> None:
        super().__init__(connection, caps, monotonic, BUFFER_BYTES)

    def _delivered_bytes(self) -> int:
        return self._reader.payload_bytes

    def _cost_bytes(self) -> int:
        return self._reader.payload_bytes
