"""Lines nobody tuned for: every property drawn from what schools' lines have. The same seed draws the same line."""

import random
from dataclasses import dataclass

from tests.linkbed.lines import Line, Way, steady, wandering, with_gaps


@dataclass(frozen=True)
class Kind:
    """Ranges of one technology: Mbit/s down, share of it up, one-way delay, queue, and what may befall packets."""

    name: str
    down_mbit: tuple[float, float]
    up_share: tuple[float, float]
    delay_s: tuple[float, float]
    queue_s: tuple[float, float]
    jitter_s: tuple[float, float] = (0.0, 0.0)
    loss: tuple[float, float] = (0.0, 0.0)
    swing: tuple[float, float] = (0.0, 0.0)
    gap_s: float = 0.0


KINDS = (
    Kind("DSL", (1, 24), (0.08, 0.3), (0.008, 0.03), (0.1, 0.8)),
    Kind("VDSL", (20, 100), (0.15, 0.5), (0.004, 0.02), (0.05, 1.0)),
    Kind("4G", (3, 60), (0.15, 0.5), (0.02, 0.06), (0.2, 0.8), (0.0, 0.02), (0.0, 0.01)),
    Kind("4G that varies", (5, 60), (0.15, 0.5), (0.02, 0.06), (0.2, 0.8), (0.0, 0.015), (0.0, 0.003), (0.2, 0.5)),
    Kind("GEO", (4, 50), (0.1, 0.3), (0.27, 0.34), (0.3, 1.0), (0.0, 0.005), (0.0, 0.003)),
    Kind("LEO", (20, 150), (0.08, 0.2), (0.012, 0.03), (0.05, 0.2), (0.0, 0.008), (0.0, 0.004), (0.1, 0.4), 0.1),
    Kind("radio link", (4, 50), (0.5, 1.0), (0.003, 0.03), (0.05, 0.4), (0.0, 0.01), (0.0, 0.02)),
    Kind("fibre", (30, 300), (0.3, 1.0), (0.001, 0.04), (0.02, 0.2), (0.0, 0.002)),
)


def drawn(seed: int, kind: Kind | None = None) -> Line:
    """Draw a line, of ``kind`` or of the kind whose turn it is."""
    kind = kind or KINDS[seed % len(KINDS)]
    dice = random.Random(f"drawn {seed}")
    down_mbit = _between_by_ratio(dice, kind.down_mbit)
    up_mbit = down_mbit * dice.uniform(*kind.up_share)
    delay_s, jitter_s, swing = dice.uniform(*kind.delay_s), dice.uniform(*kind.jitter_s), dice.uniform(*kind.swing)
    loss, burst = dice.uniform(*kind.loss), dice.choice((1.0, 1.0, 4.0))

    def way(mbit: float, seed: int) -> Way:
        queue_s = dice.uniform(*kind.queue_s)
        if swing:
            varying = wandering(
                mbit, swing, seed, delay_s=delay_s, queue_s=queue_s, jitter_s=jitter_s, loss=loss, burst_packets=burst
            )
            return with_gaps(varying, 15, kind.gap_s, dice.uniform(0, 15)) if kind.gap_s else varying
        return steady(mbit, delay_s=delay_s, queue_s=queue_s, jitter_s=jitter_s, loss=loss, burst_packets=burst)

    name = (
        f"{kind.name} {down_mbit:.1f}/{up_mbit:.2f}, {2e3 * delay_s:.0f} ms, jitter {1e3 * jitter_s:.0f} ms, "
        f"loss {loss:.2%}{' in bursts' if loss and burst > 1 else ''}{f', ±{swing:.0%}' if swing else ''}"
    )
    return Line(name, way(down_mbit, seed), way(up_mbit, seed + 1000), is_steady=not swing, seed=seed)


def _between_by_ratio(dice: random.Random, bounds: tuple[float, float]) -> float:
    low, high = bounds
    return low * float((high / low) ** dice.random())
