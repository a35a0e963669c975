"""One pace, and one budget, for the connections of a floor check together. Pure: moments are arguments.

What one connection cannot send, because a packet of its own was lost, another sends in its place. A little is handed
over ahead of its time, for the kernels to pace: a busy box, or a busy server, is late now and then.
"""

MOST_AT_ONCE_S = 0.03
"""So much of the pace may be made up for that no connection could send; the rest of that is forgone."""

LEAD_S = 0.1
"""So much of the pace the kernels hold in hand once each connection's first flight, which no kernel paces, is over."""


class SharedPace:
    """Bytes accrue at ``rate_bps`` from the moment ``now_s`` on, and whoever can send takes them."""

    def __init__(self, rate_bps: float, budget_bytes: int, now_s: float) -> None:
        self._bytes_per_s = rate_bps / 8
        self._left_bytes = float(budget_bytes)
        self._at_hand_bytes = 0.0
        self._accrued_s = now_s
        self._lead_s = 0.0
        self.late_s = 0.0
        """Time lost because nobody asked for longer than what was in hand: the box was busy with something else."""

    @property
    def is_spent(self) -> bool:
        """Whether the budget is."""
        return self._left_bytes < 1

    @property
    def leads(self) -> bool:
        """Whether the kernels hold something in hand."""
        return self._lead_s > 0

    @property
    def lead_bytes(self) -> float:
        """What the kernels may hold in hand, together."""
        return self._lead_s * self._bytes_per_s

    def boost(self, piece_bytes: int) -> float:
        """Return how many times its part a connection should send, for those that cannot: from 1 to 2.

        Less than ``piece_bytes`` at hand are only waiting for the rest of a piece.
        """
        unused_bytes = max(0.0, self._at_hand_bytes - piece_bytes)
        return 1.0 + min(1.0, unused_bytes / (MOST_AT_ONCE_S * self._bytes_per_s))

    def lead(self) -> None:
        """Hand over a little ahead of its time from now on."""
        if not self.leads:
            self._lead_s = LEAD_S
            self._at_hand_bytes += self.lead_bytes

    def accrue(self, now_s: float) -> None:
        """Let time pass."""
        passed_s = max(0.0, now_s - self._accrued_s)
        self._accrued_s = max(now_s, self._accrued_s)
        in_hand_s = max(MOST_AT_ONCE_S, self._lead_s)
        if not self.is_spent:
            self.late_s += max(0.0, passed_s - in_hand_s)
        most = max(MOST_AT_ONCE_S, min(passed_s, in_hand_s)) * self._bytes_per_s
        self._at_hand_bytes = min(max(most, self._at_hand_bytes), self._at_hand_bytes + passed_s * self._bytes_per_s)

    def take(self, size: int) -> int:
        """Take ``size`` bytes, fewer if the budget ends, or none if so many are not at hand."""
        size = min(size, int(self._left_bytes))
        # Larger than anything that may be at hand: taken in advance, and waited for afterwards.
        if size <= 0 or self._at_hand_bytes < min(size, MOST_AT_ONCE_S / 3 * self._bytes_per_s):
            return 0
        self._at_hand_bytes -= size
        self._left_bytes -= size
        return size

    def charge(self, size: int) -> None:
        """Take note of bytes that the kernels sent again: they are on the line as well."""
        self._left_bytes = max(0.0, self._left_bytes - size)
        self._at_hand_bytes -= size
