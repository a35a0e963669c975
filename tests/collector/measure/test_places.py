"""Places for speedtest-cli's tests: whoever never leaves makes room for others, by a clock that moves when told."""

import asyncio
from unittest.mock import Mock

import pytest
from prometheus_client import CollectorRegistry

from linkbell_collector.measure.admission import NoSlotError, Slots
from linkbell_collector.measure.metrics import Metrics
from linkbell_collector.measure.places import PlaceLimits, Places, Visitor

LIMITS = PlaceLimits()
MINE, THEIRS = Visitor("192.0.2.1", "mine"), Visitor("192.0.2.1", "theirs")


class Hands:
    """The event loop's clock."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    async def move(self, seconds: float) -> None:
        self.now_s += seconds
        for _ in range(3):
            await asyncio.sleep(0)  # timers that are due are run


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Hands:
    hands = Hands()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", hands)
    return hands


def ask(places: Places, visitor: Visitor) -> None:
    with places.visit(visitor, Mock(spec=asyncio.Transport)):
        pass


async def overstay(places: Places, clock: Hands, *visitors: Visitor) -> None:
    """Ask again and again, just before the place would be free, until it is taken away."""
    ended_s = clock() + LIMITS.test_s
    while clock() < ended_s:
        for visitor in visitors:
            ask(places, visitor)
        await clock.move(min(0.9 * LIMITS.idle_s, ended_s - clock()))
    assert places.taken == 0


async def test_whoever_lost_a_place_waits_while_others_may_have_it(clock: Hands) -> None:
    places = Places(Slots(1, 13.0, clock), Metrics(CollectorRegistry()), LIMITS)
    await overstay(places, clock, MINE)
    await clock.move(0.4 * LIMITS.idle_s)
    with pytest.raises(NoSlotError) as caught:
        ask(places, MINE)
    assert caught.value.retry_after_s == 2
    ask(places, THEIRS)
    assert places.taken == 1


async def test_the_wait_is_as_long_as_a_place_may_be_idle_and_then_forgotten(clock: Hands) -> None:
    places = Places(Slots(4, 13.0, clock), Metrics(CollectorRegistry()), LIMITS)
    many = [Visitor(f"192.0.2.{n}") for n in range(4)]
    for _ in range(3):
        await overstay(places, clock, *many)
        assert places.waiting == 4
        await clock.move(0.99 * LIMITS.idle_s)
        with pytest.raises(NoSlotError):
            ask(places, many[0])  # which does not make it longer
        await clock.move(0.02 * LIMITS.idle_s)
        assert places.waiting == 0


async def test_a_test_that_ends_by_itself_may_be_followed_by_another(clock: Hands) -> None:
    places = Places(Slots(1, 13.0, clock), Metrics(CollectorRegistry()), LIMITS)
    for _ in range(3):
        ask(places, MINE)
        await clock.move(1.01 * LIMITS.idle_s)
        assert places.taken == places.waiting == 0
