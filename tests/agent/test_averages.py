"""The agent's averages agree with the standard library's."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkbell_agent.averages import deviation, mean, median, slope

VALUES = st.lists(st.floats(min_value=0, max_value=1e9), min_size=2, max_size=40)


@given(VALUES)
def test_they_are_those_of_the_standard_library(values: list[float]) -> None:
    assert median(values) == pytest.approx(statistics.median(values), rel=1e-9, abs=1e-5)
    assert mean(iter(values)) == pytest.approx(statistics.fmean(values), rel=1e-9, abs=1e-5)
    assert deviation(values) == pytest.approx(statistics.stdev(values), rel=1e-9, abs=1e-5)
    assert deviation(values, of_sample=False) == pytest.approx(statistics.pstdev(values), rel=1e-9, abs=1e-5)
    assert slope(values) == pytest.approx(
        statistics.linear_regression(range(len(values)), values).slope, rel=1e-9, abs=1e-5
    )


def test_what_has_no_average_is_refused() -> None:
    for average in (median, mean, deviation, slope):
        with pytest.raises(ValueError, match=r"no values|one value"):
            average([])
    with pytest.raises(ValueError, match="no deviation"):
        deviation([1.0])
    assert deviation([1.0], of_sample=False) == 0
    with pytest.raises(ValueError, match="no slope"):
        slope([1.0])
