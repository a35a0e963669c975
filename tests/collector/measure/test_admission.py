"""Slots: never more than the limit, free again however the test ended."""

import pytest

from linkbell_collector.measure.admission import NoSlotError, Slots


class Hands:
    """A clock that moves when told."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_the_one_too_many_is_told_when_the_first_must_be_over() -> None:
    clock = Hands()
    slots = Slots(2, 13.0, clock)
    with slots.hold():
        clock.now_s += 4
        with slots.hold():
            clock.now_s += 0.5
            with pytest.raises(NoSlotError) as caught, slots.hold():
                pass
            assert caught.value.retry_after_s == 9
            assert slots.taken == 2
    assert slots.taken == 0


def test_nobody_is_told_to_come_back_at_once() -> None:
    clock = Hands()
    slots = Slots(1, 13.0, clock)
    with slots.hold():
        clock.now_s += 20
        with pytest.raises(NoSlotError) as caught, slots.hold():
            pass
    assert caught.value.retry_after_s == 1


def test_a_slot_is_free_again_after_an_exception() -> None:
    slots = Slots(1, 13.0, Hands())
    with pytest.raises(ZeroDivisionError), slots.hold():
        raise ZeroDivisionError
    with slots.hold():
        assert slots.taken == 1
