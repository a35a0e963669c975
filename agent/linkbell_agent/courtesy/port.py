"""What goes through the box's port while nothing of ours does."""

from collections.abc import Awaitable, Callable
from dataclasses import field

from linkbell_agent.courtesy.rule import Rates
from linkbell_agent.slim import dataclass
from linkbell_agent.watch.box import Box
from linkbell_agent.watch.traffic import flow, others_bps
from linkbell_wire.words import Direction


@dataclass(frozen=True, slots=True)
class PortLook:
    """Looks at the counters of ``device()``, the port of the uplink at that moment, ``None`` if there is none."""

    device: Callable[[], str | None]
    monotonic: Callable[[], float]
    sleep: Callable[[float], Awaitable[object]]
    box: Box = field(default_factory=Box)

    async def __call__(self, seconds: float) -> Rates:
        """Look for so long and return IP traffic each way; unknown on loopback, or if a counter went back."""
        device = self.device()
        port = None if device is None else self.box.port(device)
        if device is None or port is None or port.is_loopback:
            return Rates()
        before = self.box.counted(device, self.monotonic)
        await self.sleep(seconds)
        after = self.box.counted(device, self.monotonic)
        if before is None or after is None:
            return Rates()
        readings = (before, after)
        return Rates(
            *(
                others_bps(flow(readings, way), own_bytes=0, header_bytes=port.frame_bytes, unsure_bytes=0)
                for way in (Direction.DOWNLOAD, Direction.UPLOAD)
            )
        )
