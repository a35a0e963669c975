"""When the server reports, what it says, and how much talk it stands."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from linkbell_collector.measure.reports import FloodGuard, next_interval_s, report
from linkbell_wire.ndt7.measurement import ConnectionInfo
from linkbell_wire.words import Direction

CONNECTION = ConnectionInfo(client="a:1", server="b:2", uuid="c")


def test_intervals_are_memoryless_within_m_labs_bounds_and_have_the_mean() -> None:
    dice = Random(1)
    drawn = [next_interval_s(dice, 0.25) for _ in range(20_000)]
    assert min(drawn) == 0.025
    assert max(drawn) == 0.625
    assert 0.22 < sum(drawn) / len(drawn) < 0.27


def test_without_the_kernels_word_there_is_no_tcp_info() -> None:
    message = report(Direction.UPLOAD, CONNECTION, None, 1.0)
    assert message.tcp is None
    assert message.connection == CONNECTION


@given(st.integers(min_value=0, max_value=50), st.floats(min_value=0, max_value=20))
def test_a_guard_lets_through_its_burst_and_its_rate_and_no_more(burst: int, elapsed_s: float) -> None:
    guard = FloodGuard(burst, 10.0)
    let_through = 0
    while not guard.is_flooded_by_one_more(elapsed_s):
        let_through += 1
    assert let_through == int(burst + 10.0 * elapsed_s)
