"""Whether a line is good: told from chance, from one burst, and from routers that answer pings late."""

import random

import pytest

from linkbell_agent.layers.quality import RTT_P95_LIMIT_S, Quality, farthest
from linkbell_wire.words import Layer
from tests.agent.layers.records import ping


def after(*losses: int, rtt_s: float = 0.05) -> bool:
    quality = Quality()
    return [quality.add([ping(lost=lost, rtt_s=rtt_s)]) for lost in losses][-1]


@pytest.mark.parametrize(
    ("losses", "degraded"),
    [
        ([0, 0, 0], False),
        ([2, 2], False),  # two rounds are no several
        ([2, 2, 2], True),
        ([1, 1, 1], True),
        ([5, 0, 0], False),  # one burst
        ([1, 0, 1], False),
        ([1, 0, 0, 1, 0, 0, 1, 0, 0, 1], False),
        ([1, 0, 1, 0, 1, 0, 1, 0, 0, 1], True),  # 5 % of a hundred
    ],
)
def test_loss_counts_when_several_rounds_show_it(losses: list[int], degraded: bool) -> None:
    assert after(*losses) is degraded


@pytest.mark.parametrize(("loss", "longest_share"), [(0.002, 0.001), (0.01, 0.05)])
def test_little_loss_is_seldom_taken_for_much(loss: float, longest_share: float) -> None:
    draw, quality = random.Random(7), Quality()
    found = [quality.add([ping(lost=sum(draw.random() < loss for _ in range(10)))]) for _ in range(5000)]
    assert sum(found) / len(found) <= longest_share


def test_a_line_that_loses_a_fifth_is_found_within_three_rounds_nine_times_in_ten() -> None:
    draw = random.Random(7)
    found = [after(*(sum(draw.random() < 0.2 for _ in range(10)) for _ in range(3))) for _ in range(1000)]
    assert sum(found) / len(found) > 0.9


def test_a_satellite_is_not_degraded_and_leaves_when_its_queue_is_empty() -> None:
    assert after(0, 0, 0, 0, rtt_s=0.65) is False
    quality = Quality()
    times_s = [0.65] * 3 + [1.5] * 3 + [0.65] * 3
    found = [quality.add([ping(rtt_s=rtt_s)]) for rtt_s in times_s]
    assert found == [False, False, False, False, True, True, True, False, False]


def test_a_line_on_the_edge_does_not_flap() -> None:
    limit_s = RTT_P95_LIMIT_S[Layer.INTERNATIONAL]
    quality = Quality()
    found = [quality.add([ping(rtt_s=limit_s * (1.05 if number % 2 else 0.95))]) for number in range(3, 40)]
    assert found[2:] == [found[2]] * len(found[2:]) or found.count(True) > 30


def test_loss_that_lasted_is_over_after_five_good_rounds() -> None:
    quality = Quality()
    found = [quality.add([ping(lost=lost)]) for lost in [3, 3, 3, 0, 0, 0, 0, 0]]
    assert found == [False, False, True, True, True, True, True, False]


def test_a_near_hop_that_answers_pings_badly_is_no_bad_line() -> None:
    quality = Quality()
    for _ in range(10):
        assert not quality.add([ping(Layer.GATEWAY, lost=4), ping(Layer.ISP, lost=6, rtt_s=2.0), ping()])


def test_the_best_of_several_targets_speaks_for_the_line() -> None:
    quality = Quality()
    for _ in range(10):
        assert not quality.add([ping(lost=5), ping(lost=0), ping(Layer.DOMESTIC, lost=5)])


def test_the_farthest_layer_that_answers_is_looked_at() -> None:
    seen = farthest([ping(Layer.GATEWAY), ping(Layer.ISP, lost=1), ping(Layer.INTERNATIONAL, lost=10)])
    assert seen is not None
    assert (seen.layer, seen.received) == (Layer.ISP, 9)
    assert farthest([ping(Layer.DNS), ping(lost=10)]) is None


def test_a_round_without_any_reply_is_a_fault_and_no_quality() -> None:
    quality = Quality()
    for lost in (3, 3, 10, 10, 10, 10):
        assert not quality.add([ping(lost=lost)])
    assert quality.add([ping(lost=3)])


def test_a_round_that_loses_or_is_late_is_suspicious() -> None:
    quality = Quality()
    assert not quality.is_suspicious
    for lost, rtt_s, suspicious in ((0, 0.05, False), (1, 0.05, True), (0, 0.05, False), (0, 1.0, True)):
        quality.add([ping(lost=lost, rtt_s=rtt_s)])
        assert quality.is_suspicious is suspicious
