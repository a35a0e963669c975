"""One direction of one test against one server, from the name to the result."""

from collections.abc import Callable
from dataclasses import dataclass

from linkbell_agent.classify import NetworkFailure
from linkbell_agent.ndt7.connection import open_test
from linkbell_agent.ndt7.download import Download
from linkbell_agent.ndt7.endpoint import Endpoint
from linkbell_agent.ndt7.judge import failed, judge
from linkbell_agent.ndt7.rules import Caps
from linkbell_agent.ndt7.upgrade import ServerBusy, Upgrade
from linkbell_agent.ndt7.upload import Upload
from linkbell_agent.net import Uplink
from linkbell_wire.records import SpeedResult
from linkbell_wire.words import Direction


@dataclass(frozen=True, slots=True)
class Outcome:
    """One direction's result. ``admitted`` says that the server took the test, however it went after that."""

    result: SpeedResult
    admitted: bool
    rtt_idle_s: float | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Client:
    """Runs tests on one uplink. ``monotonic`` gives seconds that never jump."""

    uplink: Uplink
    monotonic: Callable[[], float]

    async def measure(self, direction: Direction, endpoint: Endpoint, caps: Caps) -> Outcome:
        """Run one direction. Network trouble is in the result; nothing is left open, cancelled or not."""
        try:
            opened = await open_test(Upgrade(endpoint, direction), self.uplink)
        except NetworkFailure as error:
            retry_after_s = error.retry_after_s if isinstance(error, ServerBusy) else None
            return Outcome(failed(error.failure), admitted=False, retry_after_s=retry_after_s)
        make = Download if direction is Direction.DOWNLOAD else Upload
        ending = await make(opened.connection, caps, self.monotonic).run(opened.first_bytes)
        return Outcome(judge(direction, ending, caps.max_duration_s), admitted=True, rtt_idle_s=opened.rtt_idle_s)
