"""One check against one server, from the name to the answer."""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

from linkbell_agent.classify import NetworkFailure
from linkbell_agent.floor.download import FloorDownload
from linkbell_agent.floor.exchange import Ending, Limits, SenderState
from linkbell_agent.floor.judge import Answer, judge
from linkbell_agent.floor.upload import FloorUpload
from linkbell_agent.ndt7.connection import open_test
from linkbell_agent.ndt7.endpoint import Endpoint
from linkbell_agent.ndt7.upgrade import ServerBusy, Upgrade
from linkbell_agent.net import Uplink
from linkbell_wire import floor
from linkbell_wire.version import __version__
from linkbell_wire.words import Direction

USUAL_RTT_S = 0.05
"""For a kernel that cannot tell the round trip of its handshake."""

_PATHS = {Direction.DOWNLOAD: floor.DOWNLOAD_PATH, Direction.UPLOAD: floor.UPLOAD_PATH}
_EXCHANGES = {Direction.DOWNLOAD: FloorDownload, Direction.UPLOAD: FloorUpload}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one server. ``admitted`` says that it took the check, however that went.

    ``retry_after_s`` is for how long a busy one asked to be left alone.
    """

    answer: Answer
    admitted: bool
    bytes: int = 0
    duration_s: float = 0.0
    rtt_idle_s: float | None = None
    sender: SenderState | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class FloorClient:
    """Runs checks on one uplink. ``monotonic`` gives seconds that never jump."""

    uplink: Uplink
    monotonic: Callable[[], float]

    async def measure(
        self, endpoint: Endpoint, direction: Direction, floor_bps: float, max_duration_s: float
    ) -> Outcome:
        """Run one check. Network trouble is in the outcome; nothing is left open, cancelled or not."""
        try:
            opened = await open_test(_upgrade(endpoint, direction, floor_bps), self.uplink)
        except NetworkFailure as error:
            retry_after_s = error.retry_after_s if isinstance(error, ServerBusy) else None
            return Outcome(Answer(failure=error.failure), admitted=False, retry_after_s=retry_after_s)
        limits = Limits(floor_bps, opened.rtt_idle_s or USUAL_RTT_S, max_duration_s)
        exchange = _EXCHANGES[direction](opened.connection, limits, self.monotonic)
        ending: Ending = await exchange.run(opened.first_bytes)
        answer = judge(ending, exchange.operation, floor_bps)
        return Outcome(answer, True, ending.cost_bytes, ending.duration_s, opened.rtt_idle_s, ending.sender)


def _upgrade(endpoint: Endpoint, direction: Direction, floor_bps: float) -> Upgrade:
    query = urlencode({"floor": round(floor_bps), "client_name": "linkbell-agent", "client_version": __version__})
    return Upgrade(endpoint, direction, target=f"{_PATHS[direction]}?{query}", subprotocol=floor.SUBPROTOCOL)
