"""One check against one server, from the name to the answer."""

import os
from collections.abc import Callable
from urllib.parse import urlencode

from linkbell_agent.classify import NetworkFailure
from linkbell_agent.floor.download import FloorDownload
from linkbell_agent.floor.exchange import Ending, Limits, SenderState
from linkbell_agent.floor.joining import open_others
from linkbell_agent.floor.judge import Answer, judge
from linkbell_agent.floor.upload import FloorUpload
from linkbell_agent.ndt7.connection import open_test
from linkbell_agent.ndt7.endpoint import Endpoint
from linkbell_agent.ndt7.upgrade import ServerBusy, Upgrade
from linkbell_agent.net import Uplink
from linkbell_agent.slim import dataclass
from linkbell_wire import floor
from linkbell_wire.ndt7 import TEST_PARAMETER
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
        upgrade = _upgrade(endpoint, direction, floor_bps)
        try:
            opened = await open_test(upgrade, self.uplink)
        except NetworkFailure as error:
            retry_after_s = error.retry_after_s if isinstance(error, ServerBusy) else None
            return Outcome(Answer(failure=error.failure), admitted=False, retry_after_s=retry_after_s)
        rtt_s = opened.rtt_idle_s or USUAL_RTT_S
        asked_s = self.monotonic()
        streams = min(floor.streams(floor_bps, rtt_s), opened.streams_offered)
        try:
            others = await open_others(upgrade, self.uplink, streams - 1, rtt_s)
        except BaseException:
            opened.connection.close()
            raise
        left_s = max_duration_s - (self.monotonic() - asked_s)
        limits = Limits(floor_bps, rtt_s, left_s, 1 + len(others), waits_for_begin=opened.streams_offered > 1)
        exchange = _EXCHANGES[direction](opened.connection, limits, self.monotonic, others)
        ending: Ending = await exchange.run(opened.first_bytes)
        answer = judge(ending, exchange.operation, floor_bps)
        return Outcome(answer, True, ending.cost_bytes, ending.duration_s, opened.rtt_idle_s, ending.sender)


def _upgrade(endpoint: Endpoint, direction: Direction, floor_bps: float) -> Upgrade:
    test = os.urandom(16).hex()
    query = urlencode(
        {
            "floor": round(floor_bps),
            TEST_PARAMETER: test,
            "client_name": "linkbell-agent",
            "client_version": __version__,
        }
    )
    target = f"{_PATHS[direction]}?{query}"
    return Upgrade(
        endpoint, direction, test=test, target=target, subprotocol=floor.SUBPROTOCOL, most_streams=floor.MAX_STREAMS
    )
