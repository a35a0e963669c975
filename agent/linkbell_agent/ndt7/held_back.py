"""What TCP's sender says of its own time: waiting for the receiver, for its program, or for the line. Pure."""

from collections.abc import Sequence

from linkbell_agent.ndt7.exchange import Ending
from linkbell_agent.slim import dataclass
from linkbell_wire.words import Direction


@dataclass(frozen=True, slots=True)
class HeldBack:
    """Shares of a test's time, as the sender's kernel counted it; ``None`` where it did not say.

    ``by_receiver`` (its window was full) and ``by_buffer`` (the send buffer was) are of the time in which there was
    something to send; ``idle``, with nothing to send, is of the whole test.
    """

    by_receiver: float | None = None
    by_buffer: float | None = None
    idle: float | None = None


def held_back(direction: Direction, ending: Ending) -> HeldBack | None:
    """Return it for one direction: an upload's from our kernel, a download's from the server's last words.

    Several streams count together, each by its busy time.
    """
    if direction is Direction.UPLOAD:
        return _shares([(own.busy_s, own.rwnd_limited_s, own.sndbuf_limited_s, None) for own in ending.own])
    last = {claim.stream: claim.tcp for claim in ending.claims}.values()
    return _shares([(tcp.busy_us, tcp.rwnd_limited_us, tcp.sndbuf_limited_us, tcp.elapsed_us) for tcp in last])


_Times = tuple[float | None, float | None, float | None, float | None]
"""Busy, held back by the receiver, held back by the buffer, and elapsed: all in one unit."""


def _shares(streams: Sequence[_Times]) -> HeldBack | None:
    told = [times for times in streams if times[0]]
    busy = sum(times[0] or 0 for times in told)
    if not busy:
        return None
    elapsed = _sum([times[3] for times in told])
    receiver, buffer = (_sum([times[place] for times in told]) for place in (1, 2))
    return HeldBack(
        None if receiver is None else min(1.0, receiver / busy),
        None if buffer is None else min(1.0, buffer / busy),
        None if not elapsed else max(0.0, 1 - busy / elapsed),
    )


def _sum(values: Sequence[float | None]) -> float | None:
    return None if None in values else sum(value or 0 for value in values)
