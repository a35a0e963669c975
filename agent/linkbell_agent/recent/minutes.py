"""Round trips and losses of one target, minute by minute, in three bytes each. Pure."""

import base64
from array import array
from collections.abc import Iterator
from typing import NamedTuple, TypedDict

WIDTH = 1440
"""Minutes kept: a day."""

_RTT_STEP_S = 1e-4
_RTT_MOST = 0xFFFF
_LOSS_STEPS = 200


class Minute(NamedTuple):
    """One minute: mean round trip in seconds and the share lost, ``None`` where nothing was found out."""

    rtt_s: float | None
    loss_ratio: float | None


class MinutesState(TypedDict):
    """:class:`Minutes` as JSON: the number of the newest minute, and the values in base64, oldest first."""

    newest: int
    rtt: str
    loss: str


NOTHING = Minute(None, None)


class Minutes:
    """A ring of the last :data:`WIDTH` minutes. A minute is a whole number: seconds on some clock, divided by 60.

    Round trips are kept to a tenth of a millisecond, up to 6.5 s; losses to half a percent.
    """

    def __init__(self) -> None:
        self._rtt = array("H", bytes(2 * WIDTH))
        self._loss = array("B", bytes(WIDTH))
        self.newest: int | None = None
        self._so_far: list[float] = [0.0, 0, 0.0, 0]

    def put(self, minute: int, rtt_s: float | None, loss_ratio: float | None) -> None:
        """Add one result; several of the newest minute are averaged. What is older than the ring is passed over."""
        if self.newest is None or minute > self.newest:
            self._go_on_to(minute)
        if minute <= self.newest_or(minute) - WIDTH:
            return
        if minute == self.newest:
            rtt_s, loss_ratio = self._averaged(rtt_s, loss_ratio)
        place = minute % WIDTH
        self._rtt[place] = 0 if rtt_s is None else max(1, min(_RTT_MOST, round(rtt_s / _RTT_STEP_S)))
        self._loss[place] = 0 if loss_ratio is None else 1 + round(max(0.0, min(1.0, loss_ratio)) * _LOSS_STEPS)

    def newest_or(self, minute: int) -> int:
        """Return the newest minute, ``minute`` if there is none yet."""
        return minute if self.newest is None else self.newest

    def at(self, minute: int) -> Minute:
        """Return what is known of one minute."""
        if self.newest is None or not self.newest - WIDTH < minute <= self.newest:
            return NOTHING
        rtt, loss = self._rtt[minute % WIDTH], self._loss[minute % WIDTH]
        return Minute(rtt * _RTT_STEP_S if rtt else None, (loss - 1) / _LOSS_STEPS if loss else None)

    def known(self) -> Iterator[tuple[int, Minute]]:
        """Yield the minutes of which something is known, oldest first."""
        if self.newest is None:
            return
        for minute in range(self.newest - WIDTH + 1, self.newest + 1):
            found = self.at(minute)
            if found != NOTHING:
                yield minute, found

    def state(self) -> MinutesState:
        """Return all of it as JSON can hold it. Needs at least one minute."""
        assert self.newest is not None
        start = (self.newest + 1) % WIDTH
        rtt, loss = self._rtt[start:] + self._rtt[:start], self._loss[start:] + self._loss[:start]
        return MinutesState(
            newest=self.newest,
            rtt=base64.b64encode(rtt.tobytes()).decode(),
            loss=base64.b64encode(loss.tobytes()).decode(),
        )

    @classmethod
    def from_state(cls, state: MinutesState) -> "Minutes":
        """Read what :meth:`state` wrote. Raises :class:`ValueError` for anything else."""
        made = cls()
        rtt, loss = base64.b64decode(state["rtt"]), base64.b64decode(state["loss"])
        if len(rtt) != 2 * WIDTH or len(loss) != WIDTH or max(loss) > _LOSS_STEPS + 1:
            raise ValueError("not a day of minutes")
        made.newest = int(state["newest"])
        start = (made.newest + 1) % WIDTH
        ring_rtt, ring_loss = array("H", rtt), array("B", loss)
        cut = WIDTH - start
        made._rtt = ring_rtt[cut:] + ring_rtt[:cut]
        made._loss = ring_loss[cut:] + ring_loss[:cut]
        return made

    def _go_on_to(self, minute: int) -> None:
        passed = WIDTH if self.newest is None else min(WIDTH, minute - self.newest)
        for step in range(passed):
            place = (minute - step) % WIDTH
            self._rtt[place] = self._loss[place] = 0
        self.newest = minute
        self._so_far = [0.0, 0, 0.0, 0]

    def _averaged(self, rtt_s: float | None, loss_ratio: float | None) -> tuple[float | None, float | None]:
        so_far = self._so_far
        if rtt_s is not None:
            so_far[0] += rtt_s
            so_far[1] += 1
        if loss_ratio is not None:
            so_far[2] += loss_ratio
            so_far[3] += 1
        return (so_far[0] / so_far[1] if so_far[1] else None), (so_far[2] / so_far[3] if so_far[3] else None)
