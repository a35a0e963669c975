"""Is the line good, beyond working? Loss and round trips over several rounds of pings. Pure.

Routers answer pings to themselves last, so loss or delay at a near hop that the hops behind it do not show is none.
So the farthest layer that is pinged is looked at, and of it the best target: the others' trouble is their own.
"""

from collections import deque
from collections.abc import Sequence

from linkbell_agent.averages import median
from linkbell_agent.slim import dataclass
from linkbell_wire.records import PingRecord
from linkbell_wire.words import Layer

FAR_TO_NEAR = (Layer.INTERNATIONAL, Layer.DOMESTIC, Layer.ISP, Layer.GATEWAY)

RTT_P95_LIMIT_S = {
    Layer.INTERNATIONAL: 0.8,
    Layer.DOMESTIC: 0.8,
    Layer.ISP: 0.8,
    Layer.GATEWAY: 0.1,
}
"""Above this the line is degraded. Talk breaks down at 400 ms one way (ITU-T G.114); a geostationary satellite takes
about 600 ms there and back and is not degraded for being one. Within a school, 100 ms is bad Wi-Fi."""

LOSS_LEAVES_BELOW, RTT_LEAVES_BELOW = 0.5, 0.9
"""A limit that was crossed is left behind at this share of it, so that a line on the edge does not flap. The time of a
round trip does not fall to half: a satellite's never would."""


@dataclass(frozen=True, slots=True)
class Window:
    """So many rounds must show at least this loss; fewer packets than ``LEAST_LOST`` are chance."""

    rounds: int
    loss_ratio: float


SHORT, LONG = Window(3, 0.10), Window(10, 0.05)
"""Heavy loss is seen within three rounds. Loss of 5 % needs 100 packets to be told from a few lost by chance."""

LEAST_LOST = 3
RTT_ROUNDS = 3
LEAVING_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Round:
    """The best target of the farthest layer pinged in one round."""

    layer: Layer
    sent: int
    received: int
    rtt_p95_s: float | None


class Quality:
    """Looks back over the last rounds of one uplink."""

    def __init__(self) -> None:
        self._rounds: deque[Round] = deque(maxlen=LONG.rounds)
        self._degraded = False

    def add(self, pings: Sequence[PingRecord]) -> bool:
        """Take one round's pings; return whether the line is degraded after it.

        A round without any reply is a fault and no quality: it is left to the layers, and changes nothing here.
        """
        seen = farthest(pings)
        if seen is None:
            return self._degraded
        if self._rounds and self._rounds[-1].layer is not seen.layer:
            self._rounds.clear()
        self._rounds.append(seen)
        self._degraded = self._is_still_bad() if self._degraded else self._is_bad()
        return self._degraded

    @property
    def is_suspicious(self) -> bool:
        """Whether the last round alone crosses a limit: worth a closer look."""
        if not self._rounds:
            return False
        last = self._rounds[-1]
        return last.received <= last.sent * (1 - LONG.loss_ratio) or _is_late([last], 1.0)

    def _is_bad(self) -> bool:
        rounds = list(self._rounds)
        heavy = any(
            _loses(rounds[-window.rounds :], window) for window in (SHORT, LONG) if len(rounds) >= window.rounds
        )
        return heavy or (len(rounds) >= RTT_ROUNDS and _is_late(rounds[-RTT_ROUNDS:], 1.0))

    def _is_still_bad(self) -> bool:
        rounds = list(self._rounds)[-LEAVING_ROUNDS:]
        lost, sent = _lost(rounds)
        return lost > sent * LONG.loss_ratio * LOSS_LEAVES_BELOW or _is_late(rounds[-RTT_ROUNDS:], RTT_LEAVES_BELOW)


def farthest(pings: Sequence[PingRecord]) -> Round | None:
    """Return the best target of the farthest layer that answered at all, ``None`` if none did."""
    for layer in FAR_TO_NEAR:
        heard = [ping for ping in pings if ping.layer is layer and ping.received]
        if heard:
            best = min(heard, key=lambda ping: (ping.loss_ratio or 0.0, ping.rtt_p95_s or 0.0))
            return Round(layer, best.sent, best.received, best.rtt_p95_s)
    return None


def _lost(rounds: Sequence[Round]) -> tuple[int, int]:
    sent = sum(one.sent for one in rounds)
    return sent - sum(one.received for one in rounds), sent


def _loses(rounds: Sequence[Round], window: Window) -> bool:
    """In several rounds, not in one: one burst is soon over."""
    lost, sent = _lost(rounds)
    lossy = sum(one.received < one.sent for one in rounds)
    return lost >= LEAST_LOST and lossy >= 2 and lost >= sent * window.loss_ratio


def _is_late(rounds: Sequence[Round], share: float) -> bool:
    times = [one.rtt_p95_s for one in rounds if one.rtt_p95_s is not None]
    return bool(times) and median(times) > RTT_P95_LIMIT_S[rounds[-1].layer] * share
