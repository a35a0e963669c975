"""Medians, means and deviations: the few of :mod:`statistics` an agent needs.

That module is exact, by rational numbers, where no measurement is, and takes 0.14 MB of the 45 MB an agent may use.
"""

import math
from collections.abc import Iterable, Sequence


def median(values: Iterable[float]) -> float:
    """Return the middle one, or the mean of the middle two. Raises ``ValueError`` if there are none."""
    in_order = sorted(values)
    if not in_order:
        raise ValueError("no values have no median")
    half = len(in_order) // 2
    return in_order[half] if len(in_order) % 2 else (in_order[half - 1] + in_order[half]) / 2


def mean(values: Iterable[float]) -> float:
    """Return the arithmetic mean. Raises ``ValueError`` if there are none."""
    known = list(values)
    if not known:
        raise ValueError("no values have no mean")
    return math.fsum(known) / len(known)


def deviation(values: Sequence[float], *, of_sample: bool = True) -> float:
    """Return the standard deviation: of that which the values are a sample of, or of the values themselves.

    Raises ``ValueError`` if there are fewer than two, or none.
    """
    middle, degrees = mean(values), len(values) - (1 if of_sample else 0)
    if degrees < 1:
        raise ValueError("one value of a sample has no deviation")
    return math.sqrt(math.fsum((value - middle) ** 2 for value in values) / degrees)


def slope(values: Sequence[float]) -> float:
    """Return by how much the line of least squares through ``values``, evenly spaced, rises from each to the next.

    Raises ``ValueError`` if there are fewer than two.
    """
    if len(values) < 2:
        raise ValueError("one value has no slope")
    middle, centre = mean(values), (len(values) - 1) / 2
    covariance = math.fsum((place - centre) * (value - middle) for place, value in enumerate(values))
    return covariance / math.fsum((place - centre) ** 2 for place in range(len(values)))
