"""Where a sender paused on a full line: such stretches say nothing of the line, and are left out. Pure.

A sender that overshot loses packets, and waits for them to be acknowledged before it sends on: for a round trip the
line is all but empty. A line that slows down by itself looks quite different: what is under way has to wait, and round
trips grow. So a stretch that carried far less than before, while what did arrive had met no queue, is the sender's.
"""

from linkbell_agent.ndt7.rules import Sample

LOW = 0.85
"""A line that carries less than this share of what it did before."""

LOOK_BACK_S = 0.015
"""Over so long at least: a single look at the kernel's counts may come a few milliseconds late."""

MOST = 0.3
"""Of all the time so far no more than this part is left out; with more, the sender is not pausing but slow."""


class Pauses:
    """Turns samples of a test into samples without the sender's pauses, on a clock that stood still meanwhile."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._bytes: list[float] = []
        self._left_out_s = 0.0
        self._left_out_bytes = 0.0
        self.kept_s: list[float] = []
        """For each sample its time on the clock without pauses."""

    @property
    def times(self) -> list[float]:
        """For each sample its time as it came."""
        return self._times

    def leave_out(self, sample: Sample, level: float) -> Sample:
        """Return ``sample`` without all pauses so far. ``level`` is what was carried before, in bytes per second."""
        if self._times and self._is_pause(sample, level):
            self._left_out_s += sample.elapsed_s - self._times[-1]
            self._left_out_bytes += sample.bytes - self._bytes[-1]
        self._times.append(sample.elapsed_s)
        self._bytes.append(sample.bytes)
        self.kept_s.append(sample.elapsed_s - self._left_out_s)
        return Sample(self.kept_s[-1], sample.bytes - self._left_out_bytes)

    def _is_pause(self, sample: Sample, level: float) -> bool:
        if sample.is_queued is not False or self._left_out_s > MOST * sample.elapsed_s:
            return False
        before = len(self._times) - 1
        while before > 0 and sample.elapsed_s - self._times[before] < LOOK_BACK_S:
            before -= 1
        length_s = sample.elapsed_s - self._times[before]
        arrived = sample.bytes - self._bytes[before]
        return 0 < arrived < LOW * level * length_s
