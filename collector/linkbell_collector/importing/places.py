"""Whether coordinates can be those of a school, and whether latitude and longitude have changed places. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

ENOUGH = 8
"""With fewer places nothing can be said of where a file's schools lie."""

MARGIN_DEG = 1.0

Place = tuple[float, float]
"""Latitude, longitude."""


def problem_of(place: Place) -> str | None:
    """Say why there is no such place."""
    latitude, longitude = place
    if abs(latitude) <= 90 and abs(longitude) <= 180:
        return None
    if abs(longitude) <= 90 and abs(latitude) <= 180:
        return f"latitude {latitude:g} cannot be; {longitude:g}, {latitude:g} could: have the two changed places?"
    name, value, limit = ("latitude", latitude, 90) if abs(latitude) > 90 else ("longitude", longitude, 180)
    return f"{name} {value:g} is not between -{limit} and {limit} degrees"


@dataclass(frozen=True, slots=True)
class Area:
    """Where most schools of a file lie: the middle three fifths of each coordinate, and as much again on each side."""

    latitudes: tuple[float, float]
    longitudes: tuple[float, float]

    def holds(self, place: Place) -> bool:
        """Tell whether a place is within."""
        return (
            self.latitudes[0] <= place[0] <= self.latitudes[1] and self.longitudes[0] <= place[1] <= self.longitudes[1]
        )

    def has_swapped(self, place: Place) -> bool:
        """Tell whether a place lies elsewhere, and here with its coordinates in the other order."""
        return not self.holds(place) and self.holds((place[1], place[0]))


def area_of(places: Sequence[Place]) -> Area | None:
    """Return where most of these places lie."""
    if len(places) < ENOUGH:
        return None
    return Area(_middle([place[0] for place in places]), _middle([place[1] for place in places]))


def _middle(degrees: list[float]) -> tuple[float, float]:
    ordered = sorted(degrees)
    low, high = ordered[len(ordered) // 5], ordered[len(ordered) * 4 // 5]
    return low - (high - low) - MARGIN_DEG, high + (high - low) + MARGIN_DEG
