"""What lines of each technology are like. Pure data: typical of rural lines, in seconds, bits per second and ratios.

Sources: Ookla and M-Lab's published medians for Central Asia, operators' tariffs, and for satellites the length of the
way (36 000 km up and down twice is 0.48 s). Nothing here is measured by us: it has to be believable, not exact.
"""

from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Technology:
    """Ranges from which each school's line is drawn.

    ``busy_loss`` is the share of the speed that goes in the busiest hour, ``weather_loss`` in the worst weather;
    ``loaded_s`` is how much longer round trips take while the line is full; ``outages_per_year`` of the line alone.
    """

    name: str
    down_bps: Range
    up_share: Range
    rtt_s: Range
    jitter_s: Range
    loss_ratio: float
    busy_loss: float
    weather_loss: float
    loaded_s: Range
    outages_per_year: float
    floor_bps: float


TECHNOLOGIES = {
    each.name: each
    for each in (
        Technology(
            "fibre", (25e6, 300e6), (0.5, 1), (0.002, 0.008), (3e-4, 0.002), 2e-4, 0.15, 0, (0.01, 0.06), 8, 20e6
        ),
        Technology(
            "adsl", (4e6, 16e6), (0.08, 0.15), (0.015, 0.035), (0.001, 0.005), 0.001, 0.2, 0, (0.1, 0.4), 20, 4e6
        ),
        Technology("4g", (9e6, 45e6), (0.2, 0.4), (0.03, 0.06), (0.006, 0.02), 0.003, 0.4, 0.15, (0.08, 0.3), 18, 8e6),
        Technology("geo", (8e6, 25e6), (0.1, 0.2), (0.56, 0.62), (0.008, 0.02), 0.004, 0.3, 0.5, (0.2, 0.6), 12, 5e6),
        Technology(
            "leo", (40e6, 180e6), (0.1, 0.15), (0.028, 0.05), (0.005, 0.012), 0.003, 0.35, 0.2, (0.03, 0.1), 15, 20e6
        ),
    )
}

SHARES = (("fibre", 0.46), ("4g", 0.26), ("adsl", 0.12), ("leo", 0.09), ("geo", 0.07))
"""How common each is among the schools."""

BACKUP_SHARE = 0.12
"""Schools with a second line."""
