"""Which uplink carries the default route, and when that is worth an event. Pure: told what is seen, and when.

A move counts once it has held for ten seconds: a route that is taken away and set anew, as by a lease that is renewed,
is none. Of a route that flaps, six moves an hour are reported one by one; then the next event says how many there
were, so nothing goes unsaid and nobody is flooded.
"""

from collections import deque

from linkbell_agent.slim import dataclass

HOLDS_S = 10.0
MOST_AN_HOUR = 6
HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Move:
    """The default route has gone from one uplink to another; ``None`` is none of them. Stands for ``changes`` moves."""

    before: str | None
    now: str | None
    changes: int


class DefaultRoute:
    """Believes what is seen after a while. ``carrier`` is the uplink believed to carry, ``is_known`` whether any is."""

    def __init__(self, carrier: str | None = None, *, is_known: bool = False) -> None:
        self.carrier = carrier
        self.is_known = is_known
        self._reported = carrier
        self._candidate: str | None = None
        self._since_s: float | None = None
        self._changes = 0
        self._moves_s: deque[float] = deque(maxlen=MOST_AN_HOUR)

    def see(self, carrier: str | None, now_s: float) -> Move | None:
        """Take in what is the case at ``now_s`` (monotonic); return the move to report, if there is one."""
        if not self.is_known:
            # A start is no move. Without any route yet there is nothing to compare with either.
            if carrier is not None:
                self.carrier = self._reported = carrier
                self.is_known = True
            return None
        self._believe(carrier, now_s)
        if self._since_s is not None or self.carrier == self._reported or self._is_too_often(now_s):
            return None
        move = Move(self._reported, self.carrier, self._changes)
        self._reported, self._changes = self.carrier, 0
        self._moves_s.append(now_s)
        return move

    def _believe(self, carrier: str | None, now_s: float) -> None:
        if carrier == self.carrier:
            self._since_s = None
        elif self._since_s is None or carrier != self._candidate:
            self._candidate, self._since_s = carrier, now_s
        elif now_s - self._since_s >= HOLDS_S:
            self.carrier, self._since_s = carrier, None
            self._changes += 1

    def _is_too_often(self, now_s: float) -> bool:
        return len(self._moves_s) == MOST_AN_HOUR and now_s - self._moves_s[0] < HOUR_S
